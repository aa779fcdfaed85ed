use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::io::AsyncRead;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::codec::FramedRead;

use crate::codec::ReceivePackCodec;
use crate::proto::{Frame, PackFrame};
use crate::{Error, ErrorKind};

/// The body of a push that comes over a connection: a stream of [`PackFrame`]s that ends after
/// [`Complete`](PackFrame::Complete) or the first error.
///
/// It owns the reading half of the connection, and whoever drops it stops reading: the client's window fills, and it
/// waits. A server that wants to answer such a client keeps the [`Reclaim`] of the body.
pub struct Pack<R> {
    framed: Option<FramedRead<R, ReceivePackCodec>>,
    ended: bool,
    complete: Arc<AtomicBool>,
    reclaim: Option<oneshot::Sender<FramedRead<R, ReceivePackCodec>>>,
    idle: Option<Idle>,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// How long the client may send nothing.
struct Idle {
    limit: Duration,
    sleep: Pin<Box<Sleep>>,
    /// Whether the sleep measures the present silence; the time that the server itself takes does not count.
    running: bool,
}

impl<R> Pack<R> {
    /// The rest of a connection whose head was read.
    pub fn new(framed: FramedRead<R, ReceivePackCodec>) -> Self {
        Self { framed: Some(framed), ended: false, complete: Arc::default(), reclaim: None, idle: None, deadline: None }
    }

    /// A future that gives the connection back once this body is dropped.
    pub fn reclaim(&mut self) -> Reclaim<R> {
        let (sender, receiver) = oneshot::channel();
        self.reclaim = Some(sender);
        Reclaim { receiver }
    }

    /// How long the client may send nothing that makes a frame, before the body ends in
    /// [`ErrorKind::TimedOut`]. Only the time in which somebody waits for a frame counts, not that in which the server
    /// is busy. Not limited unless set; needs a runtime with time enabled.
    pub fn set_idle_timeout(&mut self, limit: impl Into<Option<Duration>>) {
        self.idle = limit.into().map(|limit| Idle { limit, sleep: Box::pin(sleep(limit)), running: false });
    }

    /// When the client must have sent all, or the body ends in [`ErrorKind::TimedOut`]. What has come by then is still
    /// given. Not limited unless set; needs a runtime with time enabled.
    pub fn set_deadline(&mut self, deadline: impl Into<Option<Instant>>) {
        self.deadline = deadline.into().map(|deadline| Box::pin(sleep_until(deadline)));
    }

    /// Becomes true when the pack is in.
    pub(crate) fn completion(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.complete)
    }
}

impl<R: AsyncRead + Unpin> Stream for Pack<R> {
    type Item = Result<PackFrame, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Some(framed) = self.framed.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(framed).poll_next(cx);
        let polled = or_idle(&mut self.idle, polled, cx);
        let item = match ready!(or_too_late(&mut self.deadline, polled, cx)) {
            Some(Ok(frame)) => PackFrame::try_from(frame)
                .map_err(|frame| Error::new(ErrorKind::Protocol, format!("frame of a head inside a body: {frame:?}"))),
            Some(Err(error)) => Err(error),
            None => Err(Error::new(ErrorKind::IncompletePack, "the pack is incomplete: early EOF")),
        };
        if let Ok(PackFrame::Complete(_)) | Err(_) = item {
            self.ended = true;
            self.complete.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Some(item))
    }
}

/// What the connection gives when it is polled.
type Polled = Poll<Option<Result<Frame, Error>>>;

/// The frame that was polled for, or an error if the client has been silent for too long.
fn or_idle(idle: &mut Option<Idle>, polled: Polled, cx: &mut Context<'_>) -> Polled {
    let Some(idle) = idle else { return polled };
    if polled.is_ready() {
        idle.running = false;
        return polled;
    }
    if !idle.running {
        idle.running = true;
        idle.sleep.as_mut().reset(Instant::now() + idle.limit);
    }
    ready!(idle.sleep.as_mut().poll(cx));
    let text = format!("the client sent nothing for {} seconds", idle.limit.as_secs());
    Poll::Ready(Some(Err(Error::new(ErrorKind::TimedOut, text))))
}

/// The frame that was polled for, or an error if it is too late for any.
fn or_too_late(deadline: &mut Option<Pin<Box<Sleep>>>, polled: Polled, cx: &mut Context<'_>) -> Polled {
    match (polled, deadline) {
        (Poll::Pending, Some(deadline)) => {
            ready!(deadline.as_mut().poll(cx));
            let text = "the client did not send its push in the time that the server allows";
            Poll::Ready(Some(Err(Error::new(ErrorKind::TimedOut, text))))
        }
        (polled, _) => polled,
    }
}

impl<R> Drop for Pack<R> {
    fn drop(&mut self) {
        self.complete.store(true, Ordering::Relaxed);
        if let (Some(framed), Some(reclaim)) = (self.framed.take(), self.reclaim.take()) {
            // If nobody waits for the connection any more, it closes here.
            let _ = reclaim.send(framed);
        }
    }
}

impl<R> fmt::Debug for Pack<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pack").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// Waits for a [`Pack`] to be dropped, and gives its connection back; `None` if the body took the connection with it.
pub struct Reclaim<R> {
    receiver: oneshot::Receiver<FramedRead<R, ReceivePackCodec>>,
}

impl<R> Future for Reclaim<R> {
    type Output = Option<FramedRead<R, ReceivePackCodec>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(cx).map(Result::ok)
    }
}

impl<R> fmt::Debug for Reclaim<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reclaim")
    }
}
