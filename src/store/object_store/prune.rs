use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};

use super::head::Head;
use super::layout::PACK_FILES;
use super::manifest::Manifest;
use super::repository::ObjectStoreRepository;
use crate::Error;
use crate::proto::ObjectId;

/// Nothing is removed that is younger, whoever asks for it: pushes may be at work with it.
const MIN_GRACE: Duration = Duration::from_secs(3600);

/// Removes what nothing has named for so long, but not less than an hour; says how many objects that was.
pub(super) async fn prune(repository: &ObjectStoreRepository, grace: Duration) -> Result<u64, Error> {
    let since = SystemTime::now().checked_sub(grace.max(MIN_GRACE)).unwrap_or(UNIX_EPOCH);
    prune_before(repository, since).await
}

/// Removes what nothing has named since then.
///
/// What the manifest named that held at that time may be in use since; it is the youngest of those that are older.
async fn prune_before(repository: &ObjectStoreRepository, since: SystemTime) -> Result<u64, Error> {
    let ObjectStoreRepository { bucket, layout, .. } = repository;
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let is_old =
        |object: &ObjectMeta| u128::try_from(object.last_modified.timestamp_millis()).is_ok_and(|at| at < since);
    // In this order: what is uploaded after we have looked for it is not removed.
    let packs = list(repository, &layout.packs()).await?;
    let manifests = list(repository, &layout.manifests()).await?;
    let Some(head) = Head::read(bucket, layout).await? else { return Ok(0) };

    let mut named = HashSet::new();
    let mut kept = HashSet::new();
    let mut next = Some((head.id, head.manifest));
    while let Some((id, manifest)) = next {
        named.extend(manifest.packs().iter().map(|pack| pack.name().to_owned()));
        let path = layout.manifest(&id);
        // One that we have not seen is younger than our look.
        let was_old = manifests.iter().find(|object| object.location == path).is_some_and(is_old);
        kept.insert(path);
        next = match manifest.parent.filter(|_| !was_old) {
            Some(parent) => read(repository, &parent).await?.map(|manifest| (parent, manifest)),
            None => None,
        };
    }
    let is_named = |object: &ObjectMeta| {
        let name = object.location.filename().unwrap_or_default();
        let pack = PACK_FILES.iter().find_map(|ending| name.strip_suffix(ending)?.strip_suffix('.'));
        pack.is_some_and(|pack| named.contains(pack))
    };
    let manifests = manifests.into_iter().filter(|object| is_old(object) && !kept.contains(&object.location));
    let packs = packs.into_iter().filter(|object| is_old(object) && !is_named(object));
    let mut removed = 0_u64;
    for object in manifests.chain(packs) {
        match bucket.store().delete(&object.location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => removed = removed.saturating_add(1),
            Err(error) => return Err(Error::store(format!("{} cannot be removed", object.location), error)),
        }
    }
    Ok(removed)
}

async fn list(repository: &ObjectStoreRepository, prefix: &Path) -> Result<Vec<ObjectMeta>, Error> {
    let found = repository.bucket.store().list(Some(prefix)).try_collect().await;
    found.map_err(|error| Error::store(format!("{prefix} cannot be listed"), error))
}

/// A manifest; `None` if it was removed before.
async fn read(repository: &ObjectStoreRepository, id: &ObjectId) -> Result<Option<Manifest>, Error> {
    let object = repository.bucket.store().get(&repository.layout.manifest(id)).await;
    match async { object?.bytes().await }.await {
        Ok(text) => Manifest::decode(id, &text).map(Some),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(Error::store(format!("the manifest {id} cannot be read"), error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
        next.packs = vec![ManifestPack { name: name.to_owned(), len: 5, idx_len: 5, objects: 1, is_whole: true }];
        head.advance(&repository.bucket, &repository.layout, &next, || Ok(())).await.unwrap();
    }

    /// The packs that are there whole, and the number of manifests.
    async fn there(repository: &ObjectStoreRepository) -> (Vec<String>, usize) {
        let packs = list(repository, &repository.layout.packs()).await.unwrap();
        let mut names: Vec<_> = packs.iter().filter_map(|object| object.location.filename()).collect();
        names.sort_unstable();
        let whole = names.chunk_by(|a, b| a.split('.').next() == b.split('.').next());
        let whole = whole.map(|files| {
            assert_eq!(files.len(), 4, "{files:?}");
            files[0].split('.').next().unwrap().to_owned()
        });
        (whole.collect(), list(repository, &repository.layout.manifests()).await.unwrap().len())
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
        // At the first moment pack-1 was named, and whoever read that manifest may be at work.
        assert_eq!(prune_before(&repository, first).await.unwrap(), 4 + 1);
        assert_eq!(there(&repository).await, (["pack-1", "pack-2", "pack-on-its-way"].map(String::from).into(), 2));
        assert_eq!(prune_before(&repository, second).await.unwrap(), 4 + 1);
        assert_eq!(there(&repository).await, (["pack-2", "pack-on-its-way"].map(String::from).into(), 1));
        // From before there is nothing left to read, and nothing to remove.
        assert_eq!(prune_before(&repository, first).await.unwrap(), 0);
        assert_eq!(prune_before(&repository, third).await.unwrap(), 4);
        assert_eq!(there(&repository).await, (vec!["pack-2".to_owned()], 1));
        assert_eq!(repository.manifest().await.unwrap().packs().len(), 1);
    }
}
