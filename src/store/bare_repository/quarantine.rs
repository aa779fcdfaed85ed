use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::task::{JoinHandle, spawn_blocking};

use super::landing::Landing;
use super::store::{BareRepository, blocking};
use super::writer::PackWriter;
use crate::proto::{Complete, PackFrame, Report};
use crate::push::{Progress, UpdateRequest};
use crate::store::Quarantine;
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
    writer: Writer,
}

/// Where the writer is.
enum Writer {
    /// The push has no pack.
    None,
    Idle(Box<PackWriter>),
    /// On a blocking thread, with a batch.
    Busy(JoinHandle<(Box<PackWriter>, Result<(), Error>)>),
}

/// Bytes, on the wire and inflated together, that make a batch: large enough to be worth the way to another thread.
const BATCH: usize = 512 << 10;

impl BareQuarantine {
    /// For a push without a pack.
    pub(super) fn without_pack(store: BareRepository, progress: Progress) -> Self {
        Self { store, progress, batch: Vec::new(), batch_bytes: 0, writer: Writer::None }
    }

    /// Makes the quarantine directory. Blocks.
    pub(super) fn new(store: BareRepository, progress: Progress) -> Result<Self, Error> {
        let writer = PackWriter::create(&store)?;
        let mut quarantine = Self::without_pack(store, progress);
        quarantine.writer = Writer::Idle(Box::new(writer));
        Ok(quarantine)
    }

    /// Waits for the writer to come back.
    async fn idle(&mut self) -> Result<(), Error> {
        let Writer::Busy(task) = &mut self.writer else { return Ok(()) };
        let (writer, result) = task.await.map_err(|error| {
            Error::new(ErrorKind::Store, "the thread that writes the pack did not end").with_source(error)
        })?;
        self.writer = Writer::Idle(writer);
        result
    }

    /// Sends the batch to a blocking thread, once the one before is done.
    async fn send_batch(&mut self) -> Result<(), Error> {
        self.idle().await?;
        if let Writer::Idle(mut writer) = mem::replace(&mut self.writer, Writer::None) {
            let batch = mem::take(&mut self.batch);
            self.batch_bytes = 0;
            self.writer = Writer::Busy(spawn_blocking(move || {
                let result = writer.write(batch);
                (writer, result)
            }));
        }
        Ok(())
    }
}

impl Quarantine for BareQuarantine {
    async fn write(&mut self, frame: PackFrame) -> Result<(), Error> {
        self.batch_bytes = self.batch_bytes.saturating_add(frame.wire_len());
        if let PackFrame::Object(object) = &frame {
            self.batch_bytes = self.batch_bytes.saturating_add(object.data().len());
        }
        self.batch.push(frame);
        if self.batch_bytes >= BATCH {
            self.send_batch().await?;
        }
        Ok(())
    }

    async fn commit(mut self, request: UpdateRequest, complete: Complete) -> Result<Report, Error> {
        self.idle().await?;
        let writer = match mem::replace(&mut self.writer, Writer::None) {
            Writer::Idle(writer) => Some(writer),
            Writer::None | Writer::Busy(_) => None,
        };
        let batch = mem::take(&mut self.batch);
        let landing = Landing::new(self.store.clone(), self.progress.clone());
        let mut task = CancelOnDrop { cancel: landing.cancel(), task: None };
        task.task = Some(spawn_blocking(move || {
            let writer = match writer {
                Some(mut writer) => {
                    writer.write(batch)?;
                    Some(*writer)
                }
                None => None,
            };
            landing.land(writer, request, &complete)
        }));
        task.await
    }

    async fn abort(mut self) {
        // What went wrong with the last batch does not matter any more.
        let _ = self.idle().await;
        let writer = mem::replace(&mut self.writer, Writer::None);
        let _ = blocking(move || {
            drop(writer);
            Ok(())
        })
        .await;
    }
}

/// A landing that nobody waits for any more is told to stop; it does, as long as no ref has moved.
struct CancelOnDrop {
    cancel: Arc<AtomicBool>,
    task: Option<JoinHandle<Result<Report, Error>>>,
}

impl Future for CancelOnDrop {
    type Output = Result<Report, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(task) = &mut self.task else { return Poll::Pending };
        Poll::Ready(ready!(Pin::new(task).poll(cx)).unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Store, "the thread that lands the push did not end").with_source(error))
        }))
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
    }
}

/// Removing the quarantine's files may block, so it is left to a blocking thread where there is one.
impl Drop for BareQuarantine {
    fn drop(&mut self) {
        let writer = mem::replace(&mut self.writer, Writer::None);
        match (writer, tokio::runtime::Handle::try_current()) {
            (Writer::Idle(writer), Ok(runtime)) => drop(runtime.spawn_blocking(move || drop(writer))),
            // A busy writer is dropped by its own thread when it is done.
            (writer, _) => drop(writer),
        }
    }
}

impl fmt::Debug for BareQuarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BareQuarantine").field("store", &self.store).finish_non_exhaustive()
    }
}
