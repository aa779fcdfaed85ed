use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::ObjectMeta;
use object_store::path::Path;
use tokio::time::sleep;

use super::head::{Head, Moved, earlier_manifest};
use super::landing::{ATTEMPTS, pause};
use super::layout::{Layout, PACK_FILES};
use super::repository::ObjectStoreRepository;
use crate::store::blocking::Cancelled;
use crate::{Error, ErrorKind};

/// Nothing is removed that is younger, whoever asks for it: somebody may be reading it.
const MIN_GRACE: Duration = Duration::from_secs(3600);

/// Removes what nothing has named for so long, but not less than an hour; says how many objects that was.
pub(super) async fn prune(repository: &ObjectStoreRepository, grace: Duration) -> Result<u64, Error> {
    let since = SystemTime::now().checked_sub(grace.max(MIN_GRACE)).unwrap_or(UNIX_EPOCH);
    prune_before(repository, since).await
}

/// Removes what nothing has named since then.
///
/// 1. Look for what is there. What comes later is not removed.
/// 2. Move the head to a manifest that counts one more prune, if a landing may be about to name what step 3 takes away. It
///    cannot move the head any more then; it sees the number, and uploads its pack anew.
/// 3. Remove what is old, and named neither by that manifest nor by one that was in use since then.
async fn prune_before(repository: &ObjectStoreRepository, since: SystemTime) -> Result<u64, Error> {
    let layout = &repository.layout;
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let is_old =
        |object: &ObjectMeta| u128::try_from(object.last_modified.timestamp_millis()).is_ok_and(|at| at < since);
    let mut old = list(repository, &layout.packs(), |path| layout.pack_at(path).is_some()).await?;
    let manifests = list(repository, &layout.manifests(), |path| layout.manifest_at(path).is_some()).await?;
    old.extend(manifests.iter().cloned());
    old.retain(is_old);
    let manifests: HashMap<_, _> = manifests.iter().map(|object| (&object.location, object)).collect();
    let is_old_manifest = |path: &Path| manifests.get(path).is_some_and(|object| is_old(object));

    let head = repository.head().await?;
    let written = manifests.get(&layout.manifest(&head.id)).map(|object| object.last_modified);
    let mut in_use = InUse::default();
    in_use.add(repository, head, is_old_manifest).await?;
    old.retain(|object| !in_use.contains(layout, &object.location));
    // A manifest that may still become the next one was written after that of the head, give or take what clocks differ.
    let is_past = |object: &ObjectMeta| {
        let age = written.and_then(|written| written.signed_duration_since(object.last_modified).to_std().ok());
        layout.manifest_at(&object.location).is_some() && age.is_some_and(|age| age > MIN_GRACE)
    };
    if !old.iter().all(is_past) {
        let head = count_one_more(repository).await?;
        in_use.add(repository, head, is_old_manifest).await?;
    }
    let unused = old.into_iter().map(|object| object.location).filter(|path| !in_use.contains(layout, path));
    remove(repository, unused.collect()).await
}

/// The manifests that were those of the head since some moment, and the packs that they name.
#[derive(Default)]
struct InUse {
    manifests: HashSet<Path>,
    packs: HashSet<String>,
}

impl InUse {
    /// Adds the manifest of the head, and those before it down to one that is here already, or that is old: that was in use
    /// until one came that is not.
    async fn add(
        &mut self,
        repository: &ObjectStoreRepository,
        head: Head,
        is_old: impl Fn(&Path) -> bool,
    ) -> Result<(), Error> {
        let ObjectStoreRepository { bucket, layout, .. } = repository;
        let (mut path, mut manifest) = (layout.manifest(&head.id), head.manifest);
        while self.manifests.insert(path.clone()) {
            self.packs.extend(manifest.packs().iter().map(|pack| pack.name().to_owned()));
            let Some(parent) = manifest.parent.filter(|_| !is_old(&path)) else { break };
            path = layout.manifest(&parent);
            let Some(parent) = earlier_manifest(bucket, layout, &parent).await? else { break };
            manifest = parent;
        }
        Ok(())
    }

    fn contains(&self, layout: &Layout, path: &Path) -> bool {
        self.manifests.contains(path) || layout.pack_at(path).is_some_and(|pack| self.packs.contains(pack))
    }
}

/// Moves the head to a manifest that is the same but for the number of prunes; gives what it was before.
async fn count_one_more(repository: &ObjectStoreRepository) -> Result<Head, Error> {
    for attempt in 0..ATTEMPTS {
        let head = repository.head().await?;
        let mut next = head.manifest.next(head.id);
        next.prunes = next.prunes.saturating_add(1);
        match head.advance(&repository.bucket, &repository.layout, &next, &Cancelled::default()).await? {
            Moved::Yes => return Ok(head),
            Moved::No => sleep(pause(attempt)).await,
            Moved::Unknown(error) => return Err(error),
        }
    }
    Err(Error::new(ErrorKind::Store, "too many others push at the same time"))
}

/// Removes a repository, its head first; what comes to lie there meanwhile stays, unless the head names it.
pub(super) async fn delete(repository: &ObjectStoreRepository) -> Result<(), Error> {
    let layout = &repository.layout;
    let mut rest = list(repository, &layout.packs(), |path| layout.pack_at(path).is_some()).await?;
    rest.extend(list(repository, &layout.manifests(), |path| layout.manifest_at(path).is_some()).await?);
    let mut rest: HashSet<Path> = rest.into_iter().map(|object| object.location).collect();
    // Whose head it is: another repository may have come after ours.
    match repository.head().await {
        Ok(Head { id, manifest, .. }) => {
            rest.insert(layout.manifest(&id));
            let packs = manifest.packs().iter();
            rest.extend(packs.flat_map(|pack| PACK_FILES.map(|ending| layout.pack(pack.name(), ending))));
            remove(repository, vec![layout.head()]).await?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound && !repository.is_replaced().await? => {}
        Err(error) => return Err(error),
    }
    remove(repository, rest.into_iter().collect()).await.map(drop)
}

/// Removes these objects, or sees that they are not there; says how many it was.
async fn remove(repository: &ObjectStoreRepository, paths: Vec<Path>) -> Result<u64, Error> {
    let paths = stream::iter(paths).map(Ok).boxed();
    let mut removing = repository.bucket.store().delete_stream(paths);
    let mut removed = 0_u64;
    while let Some(answer) = removing.next().await {
        match answer {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => removed = removed.saturating_add(1),
            Err(error) => return Err(Error::store("what is not needed cannot be removed", error)),
        }
    }
    Ok(removed)
}

/// What lies there of ours: there may be a repository below.
async fn list(
    repository: &ObjectStoreRepository,
    prefix: &Path,
    is_ours: impl Fn(&Path) -> bool,
) -> Result<Vec<ObjectMeta>, Error> {
    let found: object_store::Result<Vec<ObjectMeta>> = repository.bucket.store().list(Some(prefix)).try_collect().await;
    let mut found = found.map_err(|error| Error::store(format!("{prefix} cannot be listed"), error))?;
    found.retain(|object| is_ours(&object.location));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;

    use super::super::bucket::Bucket;
    use super::super::manifest::ManifestPack;
    use super::*;
    use crate::proto::ObjectFormat;

    /// Has a pack by this name lie there.
    async fn put(repository: &ObjectStoreRepository, name: &str) {
        for ending in PACK_FILES {
            let path = repository.layout.pack(name, ending);
            repository.bucket.store().put(&path, "bytes".into()).await.unwrap();
        }
    }

    /// Has the head name just this pack.
    async fn name(repository: &ObjectStoreRepository, name: &str) {
        let head = repository.head().await.unwrap();
        let mut next = head.manifest.next(head.id);
        next.packs = vec![ManifestPack { name: name.to_owned(), len: 5, idx_len: 5, objects: 1 }];
        head.advance(&repository.bucket, &repository.layout, &next, &Cancelled::default()).await.unwrap();
    }

    /// The packs that are there whole, and the number of manifests.
    async fn there(repository: &ObjectStoreRepository) -> (Vec<String>, usize) {
        let packs = list(repository, &repository.layout.packs(), |_| true).await.unwrap();
        let mut names: Vec<_> = packs.iter().filter_map(|object| object.location.filename()).collect();
        names.sort_unstable();
        let whole = names.chunk_by(|a, b| a.split('.').next() == b.split('.').next());
        let whole = whole.map(|files| {
            assert_eq!(files.len(), 4, "{files:?}");
            files[0].split('.').next().unwrap().to_owned()
        });
        (whole.collect(), list(repository, &repository.layout.manifests(), |_| true).await.unwrap().len())
    }

    async fn tick() -> SystemTime {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = SystemTime::now();
        tokio::time::sleep(Duration::from_millis(20)).await;
        now
    }

    #[tokio::test]
    async fn what_may_be_in_use_stays() {
        let bucket = Bucket::open(Arc::new(InMemory::new())).await.unwrap();
        let repository = ObjectStoreRepository::init(&bucket, "any.git", ObjectFormat::Sha1).await.unwrap();
        put(&repository, "pack-dead").await;
        put(&repository, "pack-1").await;
        name(&repository, "pack-1").await;
        let first = tick().await;
        put(&repository, "pack-2").await;
        name(&repository, "pack-2").await;
        let second = tick().await;
        put(&repository, "pack-on-its-way").await;
        let third = tick().await;

        assert_eq!(prune(&repository, Duration::ZERO).await.unwrap(), 0, "all of it is younger than an hour");
        // Each prune makes a manifest. At the first moment pack-1 was named, and whoever read that manifest may be at work.
        assert_eq!(prune_before(&repository, first).await.unwrap(), 4 + 1);
        assert_eq!(there(&repository).await, (["pack-1", "pack-2", "pack-on-its-way"].map(String::from).into(), 3));
        assert_eq!(prune_before(&repository, second).await.unwrap(), 4 + 1);
        assert_eq!(there(&repository).await, (["pack-2", "pack-on-its-way"].map(String::from).into(), 3));
        // From before there is nothing left to read, and nothing to remove.
        assert_eq!(prune_before(&repository, first).await.unwrap(), 0);
        assert_eq!(prune_before(&repository, third).await.unwrap(), 4);
        assert_eq!(there(&repository).await, (vec!["pack-2".to_owned()], 4));
        // Where there is nothing to remove, not even the head moves.
        let before = repository.manifest().await.unwrap();
        assert_eq!(prune_before(&repository, third).await.unwrap(), 0);
        assert_eq!(repository.manifest().await.unwrap(), before);
        assert_eq!(before.packs().len(), 1);
    }
}
