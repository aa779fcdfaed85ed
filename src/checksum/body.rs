use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::throttle::Meter;
use crate::checksum::{Hasher, Throttle};
use crate::proto::{Complete, ObjectFormat, ObjectId, PackFrame, Tail};
use crate::{Error, ErrorKind};

/// Bytes, on the wire and inflated, that pass in one turn before the task yields: so one fast client does not keep a
/// runtime thread from the others for as much as a millisecond.
pub(crate) const WORK_PER_POLL: usize = 128 << 10;

pin_project! {
    /// A body whose pack is verified as it passes; the [`Complete`] at its end says so.
    ///
    /// Frames pass unchanged and at once. The stream ends after `Complete` or the first error: a pack whose trailer is
    /// wrong ends in [`ErrorKind::ChecksumMismatch`], one that is cut short in [`ErrorKind::IncompletePack`].
    ///
    /// After every 128 KiB (on the wire and inflated, together; see [`work_per_poll`](Self::work_per_poll)) the stream
    /// yields to the runtime once.
    ///
    /// # Cancel safety
    ///
    /// Full: all state is in the stream.
    pub struct Checksummed<B> {
        #[pin]
        body: B,
        hasher: Hasher,
        // The last bytes of an opaque body, which may be the trailer, and are not in the hash yet.
        tail: Option<Tail>,
        meter: Meter,
        format: ObjectFormat,
        pack_len: u64,
        spent: usize,
        work_per_poll: usize,
        // The end, found while the last data passed.
        found: Option<Complete>,
        ended: bool,
    }
}

impl<B> Checksummed<B> {
    /// Verifies `body`, a stream of the frames of a pack in a repository of this format.
    pub fn new(body: B, format: ObjectFormat, throttle: Throttle) -> Self {
        Self {
            body,
            hasher: Hasher::new(format),
            tail: None,
            meter: Meter::new(throttle),
            format,
            pack_len: 0,
            spent: 0,
            work_per_poll: WORK_PER_POLL,
            found: None,
            ended: false,
        }
    }

    /// Sets after how many bytes, on the wire and inflated, the stream yields. Default 128 KiB: half a millisecond.
    #[must_use]
    pub fn work_per_poll(mut self, bytes: usize) -> Self {
        self.work_per_poll = bytes.max(1);
        self
    }
}

impl<B> Stream for Checksummed<B>
where
    B: Stream<Item = Result<PackFrame, Error>>,
{
    type Item = Result<PackFrame, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        if *this.ended {
            return Poll::Ready(None);
        }
        if let Some(complete) = this.found.take() {
            *this.ended = true;
            return Poll::Ready(Some(Ok(PackFrame::Complete(complete))));
        }
        if *this.spent >= *this.work_per_poll {
            *this.spent = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = this.body.as_mut().poll_next(cx);
        let mut check = Check {
            hasher: this.hasher,
            tail: this.tail,
            meter: this.meter,
            format: *this.format,
            pack_len: this.pack_len,
            spent: this.spent,
        };
        let item = match polled {
            Poll::Pending => match check.when_idle() {
                Some(complete) => Ok(PackFrame::Complete(complete)),
                None => return Poll::Pending,
            },
            Poll::Ready(None) => check.at_end(None).map(PackFrame::Complete),
            Poll::Ready(Some(Ok(PackFrame::Complete(complete)))) => {
                check.at_end(Some(complete)).map(PackFrame::Complete)
            }
            Poll::Ready(Some(Ok(frame))) => {
                *this.found = check.pass(&frame);
                Ok(frame)
            }
            Poll::Ready(Some(Err(error))) => Err(error),
        };
        *this.ended = matches!(item, Err(_) | Ok(PackFrame::Complete(_)));
        Poll::Ready(Some(item))
    }
}

/// The state of a [`Checksummed`] without its body.
struct Check<'a> {
    hasher: &'a mut Hasher,
    tail: &'a mut Option<Tail>,
    meter: &'a mut Meter,
    format: ObjectFormat,
    pack_len: &'a mut u64,
    spent: &'a mut usize,
}

impl Check<'_> {
    /// Takes a frame in; gives the end of the pack if this frame was the last of an opaque one.
    fn pass(&mut self, frame: &PackFrame) -> Option<Complete> {
        *self.pack_len = self.pack_len.saturating_add(frame.wire_len() as u64);
        *self.spent = self.spent.saturating_add(frame.wire_len());
        match frame {
            PackFrame::Header(header) => self.hasher.update(&header.wire()),
            PackFrame::Object(object) => {
                *self.spent = self.spent.saturating_add(object.data().len());
                self.hasher.update(object.wire());
            }
            PackFrame::Data(data) => {
                let (kept, fresh) = self.tail.get_or_insert_with(|| Tail::new(self.format)).push(data);
                self.hasher.update(kept.as_ref());
                self.hasher.update(fresh);
                if self.meter.is_due(*self.pack_len) {
                    return self.opaque();
                }
            }
            PackFrame::Complete(_) => {}
        }
        None
    }

    fn when_idle(&mut self) -> Option<Complete> {
        if self.tail.is_some() && self.meter.is_due_when_idle(*self.pack_len) { self.opaque() } else { None }
    }

    /// The end of the stream, with the `Complete` of the codec, which has verified nothing.
    fn at_end(&mut self, complete: Option<Complete>) -> Result<Complete, Error> {
        match complete {
            // A push without a pack.
            Some(complete) if complete.checksum().is_none() => Ok(complete),
            Some(complete) if self.tail.is_none() => self.objects(complete),
            _ => self.opaque().ok_or_else(|| {
                let text = "the pack is incomplete: the stream ended and its checksum does not match";
                Error::new(ErrorKind::IncompletePack, text).with_offset(*self.pack_len)
            }),
        }
    }

    /// An opaque pack is complete if its last bytes are the hash of those before them.
    fn opaque(&self) -> Option<Complete> {
        let trailer = self.tail.as_ref()?.id()?;
        (self.hash()? == trailer).then_some(Complete {
            checksum: Some(trailer),
            pack_len: *self.pack_len,
            verified: true,
        })
    }

    /// The structure of the pack said where it ends; only the trailer is left to be compared.
    fn objects(&self, complete: Complete) -> Result<Complete, Error> {
        if self.hash().as_ref() == complete.checksum() {
            return Ok(Complete { verified: true, ..complete });
        }
        let text = "the pack is corrupted: its trailer is not the hash of its bytes";
        Err(Error::new(ErrorKind::ChecksumMismatch, text).with_offset(*self.pack_len))
    }

    fn hash(&self) -> Option<ObjectId> {
        // A plain hasher sees no collisions.
        self.hasher.clone().finish().ok()
    }
}

impl<B> fmt::Debug for Checksummed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checksummed")
            .field("pack_len", &self.pack_len)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
