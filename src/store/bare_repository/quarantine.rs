use std::fmt;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::Odb;
use super::incoming::Brought;
use super::landing::Landing;
use super::sealed::Sealed;
use super::store::BareRepository;
use super::writer::PackWriter;
use crate::Error;
use crate::proto::{Complete, ObjectId, ObjectKind, PackFrame, Report};
use crate::push::{Progress, UpdateRequest};
use crate::store::Quarantine;
use crate::store::batches::{Batches, FrameWriter as _, out_of_order};
use crate::store::blocking::{Landed, blocking};
use crate::store::complete::Objects as _;

/// A push on its way into a [`BareRepository`].
pub struct BareQuarantine {
    store: BareRepository,
    progress: Progress,
    /// How long the pack is so far.
    pack_bytes: u64,
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

impl BareQuarantine {
    /// For a push with a pack, or one without.
    pub(super) fn new(store: BareRepository, progress: Progress, has_pack: bool) -> Self {
        let writer = has_pack.then(|| Batches::new(PackWriter::new(&store, &progress)));
        Self { store, progress, pack_bytes: 0, stage: Stage::Writing(writer) }
    }

    /// Refuses a pack that is longer than it may be.
    fn judge_size(&self, bytes: u64) -> Result<(), Error> {
        match self.store.settings.max_input_size.filter(|limit| bytes > *limit) {
            Some(limit) => Err(Error::refused(format!("pack exceeds maximum allowed size of {limit} bytes"))),
            None => Ok(()),
        }
    }

    /// Does a part of the landing on a blocking thread.
    fn land<T: Send + 'static>(&self, work: impl FnOnce(&Landing) -> Result<T, Error> + Send + 'static) -> Landed<T> {
        let landing = Landing::new(self.store.clone(), self.progress.clone());
        Landed::new(landing.cancelled(), spawn_blocking(move || work(&landing)))
    }

    fn sealed(&self) -> Option<&Arc<Sealed>> {
        match &self.stage {
            Stage::Sealed(sealed) => sealed.as_ref(),
            _ => None,
        }
    }

    /// Asks the objects of the push, then those of the repository for something, where that may block.
    async fn ask<T: Send + 'static>(
        &self,
        brought: impl FnOnce(&Brought<'_>) -> Result<Option<T>, Error> + Send + 'static,
        repository: impl FnOnce(&Odb) -> Result<Option<T>, Error> + Send + 'static,
    ) -> Result<Option<T>, Error> {
        let (sealed, odb) = (self.sealed().cloned(), Arc::clone(&self.store.odb));
        blocking(move || match sealed.map(|sealed| brought(&sealed.brought())).transpose()?.flatten() {
            Some(found) => Ok(Some(found)),
            None => repository(&odb),
        })
        .await
    }
}

impl Quarantine for BareQuarantine {
    async fn write(&mut self, frame: PackFrame) -> Result<(), Error> {
        self.pack_bytes = self.pack_bytes.saturating_add(frame.wire_len() as u64);
        self.judge_size(self.pack_bytes)?;
        match &mut self.stage {
            Stage::Writing(Some(batches)) => batches.write(frame).await,
            _ => Err(out_of_order()),
        }
    }

    async fn seal(&mut self, request: &mut UpdateRequest, complete: &Complete) -> Result<(), Error> {
        // With its trailer.
        self.judge_size(complete.pack_len())?;
        let Stage::Writing(batches) = mem::replace(&mut self.stage, Stage::Lost) else { return Err(out_of_order()) };
        let pack = match (batches, complete.checksum()) {
            (Some(batches), Some(checksum)) => Some((batches.finish().await?, *checksum)),
            _ => None,
        };
        let mut judged = request.clone();
        let (sealed, judged) = self
            .land(move |landing| {
                let sealed = match pack {
                    Some(((mut writer, batch), checksum)) => {
                        writer.write(batch)?;
                        landing.seal(*writer, &checksum)?
                    }
                    None => None,
                };
                landing.check_connectivity(&mut judged, sealed.as_ref())?;
                landing.judge_hidden(&mut judged);
                Ok((sealed.map(Arc::new), judged))
            })
            .await?;
        self.stage = Stage::Sealed(sealed);
        *request = judged;
        Ok(())
    }

    fn new_objects(&self) -> impl Iterator<Item = (ObjectId, ObjectKind)> + Send {
        self.sealed().into_iter().flat_map(|sealed| sealed.new_objects())
    }

    async fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        let id = *id;
        self.ask(move |brought| brought.kind(&id), move |odb| odb.kind(&id)).await
    }

    async fn object(&self, id: &ObjectId, max_len: u64) -> Result<Option<(ObjectKind, Bytes)>, Error> {
        let id = *id;
        let found = self.ask(move |brought| brought.read(&id, max_len), move |odb| odb.read(&id, max_len));
        Ok(found.await?.map(|(kind, data)| (kind, data.into())))
    }

    async fn commit(mut self, request: UpdateRequest) -> Result<Report, Error> {
        let Stage::Sealed(sealed) = mem::replace(&mut self.stage, Stage::Lost) else { return Err(out_of_order()) };
        self.land(move |landing| landing.land(sealed.as_deref(), request)).await
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

/// Removing the quarantine's files may block, so it is left to a blocking thread where there is one.
impl Drop for BareQuarantine {
    fn drop(&mut self) {
        if let Stage::Sealed(Some(sealed)) = mem::replace(&mut self.stage, Stage::Lost)
            && let Ok(runtime) = Handle::try_current()
        {
            drop(runtime.spawn_blocking(move || drop(sealed)));
        }
    }
}

impl fmt::Debug for BareQuarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BareQuarantine").field("store", &self.store).finish_non_exhaustive()
    }
}
