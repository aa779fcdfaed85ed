use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Odb;
use super::incoming::Brought;
use super::landing::Landing;
use super::sealed::Sealed;
use super::store::{BareRepository, blocking};
use super::writer::PackWriter;
use crate::proto::{Complete, ObjectId, ObjectKind, PackFrame, Report};
use crate::push::{Progress, UpdateRequest};
use crate::store::Quarantine;
use crate::store::complete::Objects as _;
use crate::{Error, ErrorKind};

/// A push on its way into a [`BareRepository`].
///
/// Frames are gathered into batches, and while one batch is hashed and written on a blocking thread the next is decoded:
/// two batches, and what they point into, are all the memory that the body of a push takes here.
pub struct BareQuarantine {
    store: BareRepository,
    progress: Progress,
    batch: Vec<PackFrame>,
    batch_bytes: usize,
    /// How long the pack is so far.
    pack_bytes: u64,
    stage: Stage,
}

/// How far the push is.
enum Stage {
    /// The push has no pack.
    Empty,
    Idle(Box<PackWriter>),
    /// On a blocking thread, with a batch.
    Busy(JoinHandle<Result<Box<PackWriter>, Error>>),
    /// With the pack, if there is one and something is in it.
    Sealed(Option<Arc<Sealed>>),
    /// Something went wrong, or was broken off.
    Lost,
}

/// Bytes, on the wire and inflated together, that make a batch: large enough to be worth the way to another thread.
const BATCH: usize = 512 << 10;

impl BareQuarantine {
    /// For a push without a pack.
    pub(super) fn without_pack(store: BareRepository, progress: Progress) -> Self {
        Self { store, progress, batch: Vec::new(), batch_bytes: 0, pack_bytes: 0, stage: Stage::Empty }
    }

    /// For a push with a pack.
    pub(super) fn new(store: BareRepository, progress: Progress) -> Self {
        let stage = Stage::Idle(Box::new(PackWriter::new(&store, &progress)));
        Self { store, progress, batch: Vec::new(), batch_bytes: 0, pack_bytes: 0, stage }
    }

    /// Refuses a pack that is longer than it may be.
    fn judge_size(&self, bytes: u64) -> Result<(), Error> {
        match self.store.settings.max_input_size.filter(|limit| bytes > *limit) {
            Some(limit) => Err(Error::refused(format!("pack exceeds maximum allowed size of {limit} bytes"))),
            None => Ok(()),
        }
    }

    /// Waits for the writer to come back.
    async fn idle(&mut self) -> Result<(), Error> {
        let Stage::Busy(task) = &mut self.stage else { return Ok(()) };
        let result = task.await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Store, "the thread that writes the pack did not end").with_source(error))
        });
        self.stage = Stage::Lost;
        self.stage = Stage::Idle(result?);
        Ok(())
    }

    fn take_writer(&mut self) -> Result<Box<PackWriter>, Error> {
        match mem::replace(&mut self.stage, Stage::Lost) {
            Stage::Idle(writer) => Ok(writer),
            other => {
                self.stage = other;
                Err(out_of_order())
            }
        }
    }

    /// Sends the batch to a blocking thread, once the one before is done.
    async fn send_batch(&mut self) -> Result<(), Error> {
        self.idle().await?;
        let mut writer = self.take_writer()?;
        let batch = mem::take(&mut self.batch);
        self.batch_bytes = 0;
        self.stage = Stage::Busy(spawn_blocking(move || {
            writer.write(batch)?;
            Ok(writer)
        }));
        Ok(())
    }

    /// Does a part of the landing on a blocking thread; it is told to stop if nobody waits for it any more.
    fn land<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Landing) -> Result<T, Error> + Send + 'static,
    ) -> CancelOnDrop<T> {
        let landing = Landing::new(self.store.clone(), self.progress.clone());
        CancelOnDrop { cancel: landing.cancel(), task: spawn_blocking(move || work(&landing)) }
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
        // The frame itself counts, too: of the smallest entries there are a hundred thousand in a megabyte.
        self.batch_bytes = self.batch_bytes.saturating_add(frame.wire_len()).saturating_add(size_of::<PackFrame>());
        if let PackFrame::Object(object) = &frame {
            self.batch_bytes = self.batch_bytes.saturating_add(object.data().len());
        }
        self.batch.push(frame);
        if self.batch_bytes >= BATCH {
            self.send_batch().await?;
        }
        Ok(())
    }

    async fn seal(&mut self, request: &mut UpdateRequest, complete: &Complete) -> Result<(), Error> {
        // With its trailer.
        self.judge_size(complete.pack_len())?;
        self.idle().await?;
        let writer = if let Stage::Empty = self.stage { None } else { Some(self.take_writer()?) };
        let (batch, complete, mut judged) = (mem::take(&mut self.batch), *complete, request.clone());
        let (sealed, judged) = self
            .land(move |landing| {
                let sealed = match (writer, complete.checksum()) {
                    (Some(mut writer), Some(checksum)) => {
                        writer.write(batch)?;
                        landing.seal(*writer, checksum)?
                    }
                    _ => None,
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
        // What went wrong with the last batch does not matter any more.
        let _ = self.idle().await;
        let stage = mem::replace(&mut self.stage, Stage::Lost);
        let _ = blocking(move || {
            drop(stage);
            Ok(())
        })
        .await;
    }
}

fn out_of_order() -> Error {
    Error::new(ErrorKind::Store, "a push is written, then sealed, then committed")
}

/// A landing that nobody waits for any more is told to stop; it does, as long as no ref has moved.
struct CancelOnDrop<T> {
    cancel: Arc<AtomicBool>,
    task: JoinHandle<Result<T, Error>>,
}

impl<T> Future for CancelOnDrop<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.task).poll(cx)).unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Store, "the thread that lands the push did not end").with_source(error))
        }))
    }
}

impl<T> Drop for CancelOnDrop<T> {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
    }
}

/// Removing the quarantine's files may block, so it is left to a blocking thread where there is one.
impl Drop for BareQuarantine {
    fn drop(&mut self) {
        let stage = mem::replace(&mut self.stage, Stage::Lost);
        match (stage, tokio::runtime::Handle::try_current()) {
            (stage @ (Stage::Idle(_) | Stage::Sealed(Some(_))), Ok(runtime)) => {
                drop(runtime.spawn_blocking(move || drop(stage)));
            }
            // A busy writer is dropped by its own thread when it is done.
            (stage, _) => drop(stage),
        }
    }
}

impl fmt::Debug for BareQuarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BareQuarantine").field("store", &self.store).finish_non_exhaustive()
    }
}
