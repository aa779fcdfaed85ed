use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::head::Moved;
use super::landing::{ATTEMPTS, pause};
use super::manifest::{Manifest, ManifestPack};
use super::merge::{changed, each_object, merge};
use super::packs::Packs;
use super::repository::{ObjectStoreRepository, Settings};
use super::seal::{Sealed, Sealer};
use super::upload::Upload;
use super::writer::PackWriter;
use crate::push::Progress;
use crate::store::PackLimits;
use crate::store::blocking::{Cancelled, blocking};
use crate::store::examine::Examine;
use crate::{Error, ErrorKind};

/// Makes one pack of the latest ones.
pub(super) struct Repack {
    repository: ObjectStoreRepository,
    cancelled: Cancelled,
}

impl Repack {
    pub(super) fn new(repository: &ObjectStoreRepository) -> Self {
        // All of it was looked at when it came.
        let limits = PackLimits {
            resolved_floor: u64::MAX,
            delta_result: u64::MAX,
            chain_depth: u32::MAX,
            structured_object: u64::MAX,
            ..repository.settings.limits
        };
        let settings = Settings { limits, threads: NonZeroUsize::MIN, ..repository.settings.clone() };
        let repository = ObjectStoreRepository { settings, examine: Examine::default(), ..repository.clone() };
        Self { repository, cancelled: Cancelled::default() }
    }

    pub(super) fn cancelled(&self) -> Cancelled {
        self.cancelled.clone()
    }

    /// Merges them, and says how many there were; 0 if it is not worth it, or somebody else has merged some of them
    /// meanwhile.
    pub(super) async fn run(self) -> Result<usize, Error> {
        let head = self.repository.head().await?;
        let latest = latest(head.manifest.packs());
        if latest.is_empty() {
            return Ok(0);
        }
        let merged = Arc::new(self.merge(&head.manifest, latest.len()).await?);
        // Whatever was removed while they were merged, the new pack was not.
        let now = self.repository.head().await?;
        let upload = Upload::new(&self.repository.bucket, &self.repository.layout, &now.manifest);
        let replaced = self.replace(&upload, &merged, latest).await;
        let replaced = match replaced {
            Ok(Moved::Yes) => Ok(latest.len()),
            Ok(Moved::Unknown(error)) => Err(error),
            Ok(Moved::No) => {
                upload.remove().await;
                Ok(0)
            }
            Err(error) => {
                upload.remove().await;
                Err(error)
            }
        };
        // To give a large file back to the disk may block.
        let _ = blocking(move || {
            drop(merged);
            Ok(())
        })
        .await;
        replaced
    }

    /// Makes one pack of the last `count`.
    async fn merge(&self, manifest: &Manifest, count: usize) -> Result<Sealed, Error> {
        let ObjectStoreRepository { bucket, layout, format, .. } = &self.repository;
        let packs = Packs::new(bucket, layout, &Handle::current(), manifest);
        packs.open().await?;
        let (repository, cancelled, format) = (self.repository.clone(), self.cancelled.clone(), *format);
        let merged = blocking(move || {
            let progress = Progress::default();
            let (_, last) = packs.packs.split_at(packs.packs.len().saturating_sub(count));
            let mut writer = PackWriter::new(&repository, &progress);
            let checksum = merge(last, format, &mut writer, &cancelled)?;
            let settings = &repository.settings;
            let sealer = Sealer { packs: &packs, settings, progress: &progress, cancelled: &cancelled };
            let sealed = sealer.seal(writer, &checksum)?;
            let mut sealed = sealed.ok_or_else(|| Error::new(ErrorKind::Store, "there is nothing in the packs"))?;
            sealer.carry_over(&mut sealed)?;
            // Were there two objects by one id, what was made of the one would be something else now.
            each_object(last, |id| sealed.index.kind_of(id).map(drop).ok_or_else(changed))?;
            Ok(sealed)
        });
        merged.await.map_err(|error| Error::store("packs cannot be merged", error))
    }

    /// Has the manifest name the new pack in place of the old ones.
    async fn replace(&self, upload: &Upload<'_>, merged: &Arc<Sealed>, old: &[ManifestPack]) -> Result<Moved, Error> {
        let ObjectStoreRepository { bucket, layout, .. } = &self.repository;
        upload.put(merged, &Progress::default(), &self.cancelled).await?;
        for attempt in 0..ATTEMPTS {
            let head = self.repository.head().await?;
            let packs = head.manifest.packs();
            // Pushes that have landed meanwhile stand behind.
            let at = packs.windows(old.len()).position(|packs| packs == old);
            let Some(at) = at.filter(|_| upload.is_safe_beside(&head.manifest)) else { return Ok(Moved::No) };
            let mut next = head.manifest.next(head.id);
            next.packs.splice(at..at.saturating_add(old.len()), [merged.as_pack(upload.name())]);
            match head.advance(bucket, layout, &next, &self.cancelled).await? {
                Moved::No => sleep(pause(attempt)).await,
                moved => return Ok(moved),
            }
        }
        Ok(Moved::No)
    }
}

/// The latest packs that are to be one. Each pack is to have at least twice as many objects as the next one: from the first
/// place on where that is not so all are merged, and before it those that have less than twice as many as what is merged so
/// far. So there are never more than the logarithm of all objects, and no object is copied more often than that (`git repack
/// --geometric=2`).
fn latest(packs: &[ManifestPack]) -> &[ManifestPack] {
    let is_small = |pack: &ManifestPack, objects: u64| u64::from(pack.objects) < objects.saturating_mul(2);
    let place = packs.windows(2).position(|two| matches!(two, [one, next] if is_small(one, next.objects.into())));
    let Some(mut start) = place else { return &[] };
    let mut objects: u64 = packs.iter().skip(start).map(|pack| u64::from(pack.objects)).sum();
    while let Some(before) = start.checked_sub(1)
        && let Some(pack) = packs.get(before).filter(|pack| is_small(pack, objects))
    {
        objects = objects.saturating_add(pack.objects.into());
        start = before;
    }
    packs.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_that_stay_are_twice_as_large_as_the_next() {
        let latest = |sizes: &[u32]| {
            let pack = |objects: &u32| ManifestPack { name: String::new(), len: 0, idx_len: 0, objects: *objects };
            latest(&sizes.iter().map(pack).collect::<Vec<_>>()).len()
        };
        assert_eq!([latest(&[]), latest(&[7]), latest(&[9, 4, 1]), latest(&[2, 1])], [0; 4]);
        assert_eq!([latest(&[3, 3]), latest(&[100, 3, 3, 3]), latest(&[3, 100])], [2, 3, 2]);
        // A larger pack behind smaller ones takes them along.
        assert_eq!([latest(&[1000, 10, 20, 300]), latest(&[600, 10, 20, 300])], [3, 4]);
        assert_eq!(latest(&[1, 1, 1, 1, 1000, 1, 1]), 7);
    }
}
