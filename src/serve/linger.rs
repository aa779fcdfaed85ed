use std::future::Future;
use std::mem;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;
use tokio_util::codec::{Decoder, FramedRead};

use crate::Error;
use crate::checksum::WORK_PER_POLL;
use crate::codec::ReceivePackCodec;
use crate::proto::Frame;
use crate::yield_now::yield_now;

/// How long a connection is read from after everything was said, so that the last words arrive. What nobody reads any more
/// is discarded before that, too, while we write; only `bytes` bounds that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Linger {
    /// Bytes that are read and discarded. Default 1 GiB: a client that was refused early sends its whole pack before it
    /// reads the report.
    pub bytes: u64,
    /// How long the client may send nothing. Default 15 seconds.
    pub idle: Duration,
    /// How long all of it may take. Default 10 minutes.
    pub total: Duration,
    /// Whether a client is read from behind the end of its push as well. Default true, for what it may send there would
    /// reset a TCP connection. A channel of SSH loses nothing when it closes: there, false spares a client that keeps its
    /// side open the wait.
    ///
    /// What is left of a push that was refused early is read in any case: git copes with a channel that closes while it
    /// still sends, but a client that reads nothing until it has sent all would never read why. To find the end of it,
    /// it is inflated. That of an [opaque](crate::proto::Payload) pack is not looked for, and that of a malformed one is
    /// not there to be found: their clients are read from until they close.
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

    /// Reads and discards until the client closes or a bound is reached; says how many bytes that were.
    #[cfg(feature = "http")]
    pub(crate) async fn discard(&self, mut read: impl AsyncRead + Unpin) -> u64 {
        let mut buffer = vec![0; usize::try_from(self.bytes.min(64 << 10)).unwrap_or(0)];
        let mut discarded = 0;
        let all = async {
            while discarded < self.bytes {
                match timeout(self.idle, read.read(&mut buffer)).await {
                    Ok(Ok(n)) if n > 0 => discarded = discarded.saturating_add(n as u64),
                    _ => break,
                }
            }
        };
        // Too late or not: what counts is what was read.
        let _ = timeout(self.total, all).await;
        discarded
    }

    /// Writes, and discards meanwhile what the client still sends and nobody reads any more: a client that reads nothing
    /// until it has sent all would wait for us as we for it. Then lingers: to the end of the push, or, if what stands behind
    /// that [matters](Self::after_complete), until the client closes. Says how many bytes that were;
    /// `heard` changes as long as some come.
    pub(crate) async fn discard_beside<R>(
        &self,
        framed: impl Future<Output = Option<FramedRead<R, ReceivePackCodec>>>,
        writing: impl Future<Output = Result<(), Error>>,
        heard: &AtomicU64,
    ) -> Result<u64, Error>
    where
        R: AsyncRead + Unpin,
    {
        let mut writing = pin!(writing);
        let (framed, mut is_written) = match select(writing.as_mut(), pin!(framed)).await {
            Either::Left((written, framed)) => {
                written?;
                // A service that keeps the body somewhere else keeps the connection, too; it is not waited for without end.
                (timeout(self.idle, framed).await.ok().flatten(), true)
            }
            Either::Right((framed, _)) => (framed, false),
        };
        let Some(framed) = framed else {
            return if is_written { Ok(0) } else { writing.await.map(|()| 0) };
        };
        let mut rest = Rest::new(self, framed);
        while !is_written {
            let has_more = match select(writing.as_mut(), pin!(rest.skip())).await {
                Either::Left((written, _)) => {
                    written?;
                    is_written = true;
                    true
                }
                Either::Right((has_more, _)) => {
                    heard.fetch_add(1, Ordering::Relaxed);
                    has_more
                }
            };
            if !has_more {
                return writing.await.map(|()| rest.discarded);
            }
        }
        let all = async { while let Ok(true) = timeout(self.idle, rest.skip()).await {} };
        let _ = timeout(self.total, all).await;
        Ok(rest.discarded)
    }
}

/// What a client still sends that nobody wants any more.
struct Rest<R> {
    framed: FramedRead<R, ReceivePackCodec>,
    unread: BytesMut,
    bytes: u64,
    after_complete: bool,
    discarded: u64,
}

impl<R: AsyncRead + Unpin> Rest<R> {
    fn new(linger: &Linger, mut framed: FramedRead<R, ReceivePackCodec>) -> Self {
        let Linger { bytes, after_complete, .. } = *linger;
        let unread = mem::take(framed.read_buffer_mut());
        Self { framed, unread, bytes, after_complete, discarded: 0 }
    }

    /// Reads and discards some of it; false at its end. Cancel safe: what was read is discarded.
    async fn skip(&mut self) -> bool {
        let left = self.bytes.saturating_sub(self.discarded);
        if left == 0 {
            return false;
        }
        if self.after_complete {
            self.unread.clear();
            self.unread.reserve(64 << 10);
        } else if has_ended(self.framed.decoder_mut(), &mut self.unread).await {
            return false;
        }
        match self.framed.get_mut().take(left).read_buf(&mut self.unread).await {
            Ok(n) if n > 0 => {
                self.discarded = self.discarded.saturating_add(n as u64);
                true
            }
            _ => false,
        }
    }
}

/// Reads what there is of a push; says whether that is its end. Of one that is malformed nobody knows.
async fn has_ended(codec: &mut ReceivePackCodec, unread: &mut BytesMut) -> bool {
    let mut work = 0_usize;
    loop {
        match codec.decode(unread) {
            Ok(Some(Frame::PackObject(object))) => work = work.saturating_add(object.data().len()),
            Ok(Some(_)) => {}
            Ok(None) => return codec.is_done(),
            Err(_) => {
                unread.clear();
                unread.reserve(64 << 10);
                return false;
            }
        }
        // As a body does: a push that inflates to much is not to keep the thread from others.
        if work > WORK_PER_POLL {
            work = 0;
            yield_now().await;
        }
    }
}
