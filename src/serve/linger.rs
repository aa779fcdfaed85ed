use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{io, mem};

use bytes::BytesMut;
use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;
use tokio_util::codec::{Decoder, FramedRead};

use crate::Error;
use crate::checksum::WORK_PER_POLL;
use crate::codec::ReceivePackCodec;
use crate::proto::Frame;
use crate::push::{Reclaim, TimeLeft, Unread};
use crate::yield_now::yield_now;

/// How a connection is read from when nobody wants any more what comes, so that the last words arrive.
///
/// The client of a push that was refused early has the time of any other for the rest of it:
/// [`Serve::idle_timeout`](super::Serve::idle_timeout) for each silence, in which it may compress what it sends, and
/// [`Serve::deadline`](super::Serve::deadline) for all; only `bytes` bounds that as well. When the push has ended, or that
/// time is over, and everything was said, the client is read from for a little longer, so that it can close first.
///
/// To find the end of a push it is inflated. That of a malformed one is not there to be found, nor that of an
/// [opaque](crate::proto::Payload) one. The client of a malformed push has the time of a push until it closes; that of an
/// opaque one, from which something was taken, is taken to have sent all. Over HTTP the request's body says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Linger {
    /// Bytes that are read and discarded. Default 1 GiB: a client that was refused early sends its whole pack before it
    /// reads the report. Beyond that the connection closes, and a client that goes on sending may find it broken.
    pub bytes: u64,
    /// How long the client may send nothing, behind the end of its push or when its time is over. Default 15 seconds.
    pub idle: Duration,
    /// How long it is read from there in all. Default 10 minutes.
    pub total: Duration,
    /// Whether a client is read from behind the end of its push as well. Default true, for what it may send there would
    /// reset a TCP connection. A channel of SSH loses nothing when it closes: there, false spares a client that keeps its
    /// side open the wait.
    ///
    /// What is left of a push that was refused early is read in any case: git copes with a channel that closes while it
    /// still sends, but a client that reads nothing until it has sent all would never read why.
    pub after_complete: bool,
}

impl Default for Linger {
    fn default() -> Self {
        Self { bytes: 1 << 30, idle: Duration::from_secs(15), total: Duration::from_secs(600), after_complete: true }
    }
}

impl Linger {
    /// Not at all: only where somebody else reads the rest, as under `--stateless-rpc`, or where nothing is lost if
    /// nobody does. Never for `HttpReceivePack`, whose refusals would be lost.
    pub const fn none() -> Self {
        Self { bytes: 0, idle: Duration::ZERO, total: Duration::ZERO, after_complete: false }
    }

    /// Reads and discards the rest of a request, to the end of its body if no bound is reached.
    #[cfg(feature = "http")]
    pub(crate) async fn discard<R: AsyncRead + Unpin>(&self, unread: Unread<R>) {
        let time = unread.time;
        let mut rest = Rest { end: PushEnd::Unknown, after_complete: true, ..Rest::new(self, unread.framed) };
        self.drain(&mut rest, time).await;
    }

    /// The connection of a service that has answered and keeps the body somewhere else: it keeps the connection, too, and
    /// is not waited for without end.
    pub(crate) async fn reclaimed<R>(&self, reclaim: Reclaim<R>) -> Option<Unread<R>> {
        if self.bytes == 0 {
            return None;
        }
        reclaim.while_it_is_read(self.total).await
    }

    /// Writes, and discards meanwhile what the client still sends and nobody reads any more: a client that reads nothing
    /// until it has sent all would wait for us as we for it. Then reads to the end of the push, and lingers, if what stands
    /// behind that [matters](Self::after_complete), until the client closes. Says how many bytes that were.
    pub(crate) async fn discard_beside<R>(
        &self,
        mut reclaim: Reclaim<R>,
        writing: impl Future<Output = Result<(), Error>>,
    ) -> Result<u64, Error>
    where
        R: AsyncRead + Unpin,
    {
        let heard = reclaim.given();
        let mut writing = pin!(writing);
        let (unread, mut is_written) = match select(writing.as_mut(), poll_fn(|cx| reclaim.poll_unread(cx))).await {
            Either::Left((written, _)) => {
                written?;
                (None, true)
            }
            Either::Right((unread, _)) => (unread, false),
        };
        let unread = if is_written { self.reclaimed(reclaim).await } else { unread };
        let Some(Unread { framed, mut time }) = unread else {
            return if is_written { Ok(0) } else { writing.await.map(|()| 0) };
        };
        // Who takes such a pack knows where it ends, and is done with it.
        if framed.decoder().is_opaque() && heard.load(Ordering::Relaxed) > 0 {
            time = None;
        }
        let mut rest = Rest::new(self, framed);
        while !is_written {
            let has_more = match select(writing.as_mut(), pin!(rest.skip())).await {
                Either::Left((written, _)) => {
                    written?;
                    is_written = true;
                    true
                }
                Either::Right((Err(error), _)) if is_hang_up(&error) => return Err(error.into()),
                Either::Right((has_more, _)) => {
                    heard.fetch_add(1, Ordering::Relaxed);
                    has_more.unwrap_or(false)
                }
            };
            if !has_more {
                return writing.await.map(|()| rest.discarded);
            }
        }
        self.drain(&mut rest, time).await;
        Ok(rest.discarded)
    }

    /// Reads to the end of the push for as long as its client has time, then lingers.
    async fn drain<R: AsyncRead + Unpin>(&self, rest: &mut Rest<R>, time: Option<TimeLeft>) {
        if let Some(time) = time {
            let push = async {
                while !rest.has_ended().await && matches!(time.within_idle(rest.read()).await, Some(Ok(true))) {}
            };
            time.within_deadline(push).await;
        }
        let all = async { while let Ok(Ok(true)) = timeout(self.idle, rest.skip()).await {} };
        // Too late or not: what counts is what was read.
        let _ = timeout(self.total, all).await;
    }
}

/// Whether a connection that cannot be read from is gone. What else may fail, a time-out of the reader's own say, does not
/// keep a client from reading; nor does the end of what it sends.
fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

/// What a client still sends that nobody wants any more.
struct Rest<R> {
    framed: FramedRead<R, ReceivePackCodec>,
    unread: BytesMut,
    end: PushEnd,
    bytes: u64,
    after_complete: bool,
    discarded: u64,
}

/// Where the push ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PushEnd {
    Ahead,
    Behind,
    /// It is malformed, or somebody else knows.
    Unknown,
}

impl<R: AsyncRead + Unpin> Rest<R> {
    fn new(linger: &Linger, mut framed: FramedRead<R, ReceivePackCodec>) -> Self {
        let Linger { bytes, after_complete, .. } = *linger;
        let unread = mem::take(framed.read_buffer_mut());
        Self { framed, unread, end: PushEnd::Ahead, bytes, after_complete, discarded: 0 }
    }

    /// Reads and discards some of it; false at its end. Cancel safe: what was read is discarded.
    async fn skip(&mut self) -> io::Result<bool> {
        if self.has_ended().await && !self.after_complete {
            return Ok(false);
        }
        self.read().await
    }

    /// Whether the end of the push was read.
    async fn has_ended(&mut self) -> bool {
        if self.end == PushEnd::Ahead {
            self.end = end_of(self.framed.decoder_mut(), &mut self.unread).await;
        }
        if self.end != PushEnd::Ahead {
            self.unread.clear();
            self.unread.reserve(64 << 10);
        }
        self.end == PushEnd::Behind
    }

    async fn read(&mut self) -> io::Result<bool> {
        let left = self.bytes.saturating_sub(self.discarded);
        if left == 0 {
            return Ok(false);
        }
        let len = self.framed.get_mut().take(left).read_buf(&mut self.unread).await?;
        self.discarded = self.discarded.saturating_add(len as u64);
        Ok(len > 0)
    }
}

/// Reads what there is of a push.
async fn end_of(codec: &mut ReceivePackCodec, unread: &mut BytesMut) -> PushEnd {
    let mut work = 0_usize;
    loop {
        match codec.decode(unread) {
            Ok(Some(Frame::PackObject(object))) => work = work.saturating_add(object.data().len()),
            Ok(Some(_)) => {}
            Ok(None) if codec.is_done() => return PushEnd::Behind,
            Ok(None) => return PushEnd::Ahead,
            Err(_) => return PushEnd::Unknown,
        }
        // As a body does: a push that inflates to much is not to keep the thread from others.
        if work > WORK_PER_POLL {
            work = 0;
            yield_now().await;
        }
    }
}
