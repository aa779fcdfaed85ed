use std::fmt;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::landing::Landing;
use super::packs::Packs;
use super::repository::ObjectStoreRepository;
use super::seal::{Sealed, Sealer};
use super::writer::PackWriter;
use crate::Error;
use crate::proto::{Complete, ObjectId, ObjectKind, PackFrame, Report};
use crate::push::{Progress, UpdateRequest};
use crate::store::Quarantine;
use crate::store::batches::{Batches, FrameWriter as _, out_of_order};
use crate::store::blocking::{Cancelled, Landed, blocking};
use crate::store::complete::{Objects as _, PackIds as _};

/// A push on its way into an [`ObjectStoreRepository`].
///
/// Nothing of it is in the object store before it is committed.
pub struct ObjectStoreQuarantine {
    repository: ObjectStoreRepository,
    progress: Progress,
    /// The objects that the repository had when the push began, and then those that it had when the pack was in: packs may
    /// have been merged meanwhile, and the old ones be gone.
    packs: Arc<Packs>,
    stage: Stage,
}

/// How far the push is.
enum Stage {
    /// With where the pack goes, if the push has one.
    Writing(Option<Batches<PackWriter>>),
    /// With the pack, if there is one and something is in it.
    Sealed(Option<Arc<Sealed>>),
    /// Something went wrong, or was broken off.
    Lost,
}

impl ObjectStoreQuarantine {
    pub(super) fn new(repository: ObjectStoreRepository, progress: Progress, packs: Packs, has_pack: bool) -> Self {
        let writer = has_pack.then(|| Batches::new(PackWriter::new(&repository, &progress)));
        Self { repository, progress, packs: Arc::new(packs), stage: Stage::Writing(writer) }
    }

    fn sealed(&self) -> Option<&Arc<Sealed>> {
        match &self.stage {
            Stage::Sealed(sealed) => sealed.as_ref(),
            _ => None,
        }
    }
}

impl Quarantine for ObjectStoreQuarantine {
    async fn write(&mut self, frame: PackFrame) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Writing(Some(batches)) => batches.write(frame).await,
            _ => Err(out_of_order()),
        }
    }

    async fn seal(&mut self, request: &mut UpdateRequest, complete: &Complete) -> Result<(), Error> {
        if request.has_pack() {
            self.packs = Arc::new(self.repository.packs().await?);
            self.packs.open().await?;
        }
        let Stage::Writing(batches) = mem::replace(&mut self.stage, Stage::Lost) else { return Err(out_of_order()) };
        let pack = match (batches, complete.checksum()) {
            (Some(batches), Some(checksum)) => Some((batches.finish().await?, *checksum)),
            _ => None,
        };
        let mut judged = request.clone();
        let (packs, progress, cancelled) = (Arc::clone(&self.packs), self.progress.clone(), Cancelled::default());
        let repository = self.repository.clone();
        let told = cancelled.clone();
        let work = spawn_blocking(move || {
            let settings = &repository.settings;
            let sealer = Sealer { packs: &packs, settings, progress: &progress, cancelled: &told };
            let mut sealed = match pack {
                Some(((mut writer, batch), checksum)) => {
                    writer.write(batch)?;
                    sealer.seal(*writer, &checksum)?
                }
                None => None,
            };
            sealer.judge(&mut judged, sealed.as_mut())?;
            repository.judge_hidden(&mut judged);
            Ok((sealed.map(Arc::new), judged))
        });
        let (sealed, judged) = Landed::new(cancelled, work).await?;
        self.stage = Stage::Sealed(sealed);
        *request = judged;
        Ok(())
    }

    fn new_objects(&self) -> impl Iterator<Item = (ObjectId, ObjectKind)> + Send {
        self.sealed().into_iter().flat_map(|sealed| sealed.brought())
    }

    async fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        if let Some(kind) = self.sealed().and_then(|sealed| sealed.kind_of(id)) {
            return Ok(Some(kind));
        }
        let (packs, id) = (Arc::clone(&self.packs), *id);
        blocking(move || packs.kind_of(&id)).await
    }

    async fn object(&self, id: &ObjectId, max_len: u64) -> Result<Option<(ObjectKind, Bytes)>, Error> {
        let (sealed, packs, id) = (self.sealed().cloned(), Arc::clone(&self.packs), *id);
        blocking(move || {
            let found = match sealed.map(|sealed| sealed.read(&id, max_len)).transpose()?.flatten() {
                Some(found) => Some(found),
                None => packs.reader(max_len).object(&id)?,
            };
            Ok(found.map(|(kind, data)| (kind, data.into())))
        })
        .await
    }

    /// The landing is a task of its own: dropped before the head is about to move, it removes what it has uploaded.
    async fn commit(mut self, request: UpdateRequest) -> Result<Report, Error> {
        let Stage::Sealed(sealed) = mem::replace(&mut self.stage, Stage::Lost) else { return Err(out_of_order()) };
        let cancelled = Cancelled::default();
        let landing = Landing {
            repository: self.repository.clone(),
            progress: self.progress.clone(),
            cancelled: cancelled.clone(),
            packs: Arc::clone(&self.packs),
            sealed,
        };
        let guard = self.repository.bucket.landing();
        let land = async move {
            let landed = landing.land(request).await;
            drop(guard);
            landed
        };
        Landed::new(cancelled, tokio::spawn(land)).await
    }

    async fn abort(mut self) {
        match mem::replace(&mut self.stage, Stage::Lost) {
            Stage::Writing(Some(batches)) => batches.abort().await,
            stage => {
                let _ = blocking(move || {
                    drop(stage);
                    Ok(())
                })
                .await;
            }
        }
    }
}

/// To give a large file back to the disk may block, so it is left to a blocking thread where there is one.
impl Drop for ObjectStoreQuarantine {
    fn drop(&mut self) {
        if let Stage::Sealed(Some(sealed)) = mem::replace(&mut self.stage, Stage::Lost)
            && let Ok(runtime) = Handle::try_current()
        {
            drop(runtime.spawn_blocking(move || drop(sealed)));
        }
    }
}

impl fmt::Debug for ObjectStoreQuarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStoreQuarantine").field("repository", &self.repository).finish_non_exhaustive()
    }
}
