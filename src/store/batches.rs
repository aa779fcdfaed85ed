//! The body of a push on its way to a thread that may block.

use std::mem;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::proto::PackFrame;
use crate::store::blocking::blocking;
use crate::{Error, ErrorKind};

/// Takes frames where it may block.
pub(crate) trait FrameWriter: Send + 'static {
    /// Hashes and writes some frames.
    fn write(&mut self, frames: Vec<PackFrame>) -> Result<(), Error>;
}

/// Gathers frames into batches, and while one batch is hashed and written on a blocking thread the next is decoded: two
/// batches, and what they point into, are all the memory that the body of a push takes here.
pub(crate) struct Batches<W: FrameWriter> {
    batch: Vec<PackFrame>,
    batch_bytes: usize,
    writer: Writer<W>,
}

enum Writer<W> {
    Idle(Box<W>),
    /// On a blocking thread, with a batch.
    Busy(JoinHandle<Result<Box<W>, Error>>),
    /// Something went wrong, or was broken off.
    Lost,
}

/// Bytes, on the wire and inflated together, that make a batch: large enough to be worth the way to another thread.
const BATCH: usize = 512 << 10;

impl<W: FrameWriter> Batches<W> {
    /// Nothing has been written yet.
    pub(crate) fn new(writer: W) -> Self {
        Self { batch: Vec::new(), batch_bytes: 0, writer: Writer::Idle(Box::new(writer)) }
    }

    /// Takes a frame; waits for the writer when it is a batch behind.
    pub(crate) async fn write(&mut self, frame: PackFrame) -> Result<(), Error> {
        // The frame itself counts, too: of the smallest entries there are a hundred thousand in a megabyte.
        self.batch_bytes = self.batch_bytes.saturating_add(frame.wire_len()).saturating_add(size_of::<PackFrame>());
        if let PackFrame::Object(object) = &frame {
            self.batch_bytes = self.batch_bytes.saturating_add(object.data().len());
        }
        self.batch.push(frame);
        if self.batch_bytes >= BATCH {
            self.idle().await?;
            let mut writer = self.take_writer()?;
            let batch = mem::take(&mut self.batch);
            self.batch_bytes = 0;
            self.writer = Writer::Busy(spawn_blocking(move || {
                writer.write(batch)?;
                Ok(writer)
            }));
        }
        Ok(())
    }

    /// The writer, once it has written all but the last frames, and those.
    pub(crate) async fn finish(mut self) -> Result<(Box<W>, Vec<PackFrame>), Error> {
        self.idle().await?;
        Ok((self.take_writer()?, mem::take(&mut self.batch)))
    }

    /// Lets go of all of it, and waits until that is done.
    pub(crate) async fn abort(mut self) {
        // What went wrong with the last batch does not matter any more.
        let _ = self.idle().await;
        let writer = mem::replace(&mut self.writer, Writer::Lost);
        let _ = blocking(move || {
            drop(writer);
            Ok(())
        })
        .await;
    }

    /// Waits for the writer to come back.
    async fn idle(&mut self) -> Result<(), Error> {
        let Writer::Busy(task) = &mut self.writer else { return Ok(()) };
        let result = task.await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Store, "the thread that writes the pack did not end").with_source(error))
        });
        self.writer = Writer::Lost;
        self.writer = Writer::Idle(result?);
        Ok(())
    }

    fn take_writer(&mut self) -> Result<Box<W>, Error> {
        match mem::replace(&mut self.writer, Writer::Lost) {
            Writer::Idle(writer) => Ok(writer),
            other => {
                self.writer = other;
                Err(out_of_order())
            }
        }
    }
}

/// The error of a quarantine that is not used as [`Quarantine`](crate::store::Quarantine) says.
pub(crate) fn out_of_order() -> Error {
    Error::new(ErrorKind::Store, "a push is written, then sealed, then committed")
}

/// Removing files may block, so it is left to a blocking thread where there is one.
impl<W: FrameWriter> Drop for Batches<W> {
    fn drop(&mut self) {
        // A busy writer is dropped by its own thread when it is done.
        if let Writer::Idle(writer) = mem::replace(&mut self.writer, Writer::Lost)
            && let Ok(runtime) = Handle::try_current()
        {
            drop(runtime.spawn_blocking(move || drop(writer)));
        }
    }
}
