use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::io::AsyncRead;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::codec::FramedRead;

use crate::codec::ReceivePackCodec;
use crate::proto::{Frame, PackFrame};
use crate::push::{Reclaim, TimeLeft, Unread};
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
    given: Arc<AtomicU64>,
    reclaim: Option<oneshot::Sender<Unread<R>>>,
    idle: Option<Idle>,
    deadline: Option<Pin<Box<Sleep>>>,
}

const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

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
        Self {
            framed: Some(framed),
            ended: false,
            complete: Arc::default(),
            given: Arc::default(),
            reclaim: None,
            idle: None,
            deadline: None,
        }
    }

    /// A future that gives the connection back once this body has ended or is dropped.
    pub fn reclaim(&mut self) -> Reclaim<R> {
        let (sender, receiver) = oneshot::channel();
        self.reclaim = Some(sender);
        Reclaim::new(receiver, self.given(), self.idle.as_ref().map(|idle| idle.limit))
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

    /// Puts the [deadline](Self::set_deadline) off, if there is one: somebody else than the client took his time.
    pub(crate) fn wait_longer(&mut self, by: Duration) {
        if let Some(deadline) = &mut self.deadline
            && let Some(end) = deadline.deadline().checked_add(by)
        {
            deadline.as_mut().reset(end);
        }
    }

    /// Changes with each frame: as long as it does, the client sends.
    pub(crate) fn given(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.given)
    }

    /// Becomes true when the pack is in.
    pub(crate) fn completion(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.complete)
    }
}

impl<R: AsyncRead + Unpin> Stream for Pack<R> {
    type Item = Result<PackFrame, Error>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Self { framed: Some(framed), idle, deadline, given, .. } = &mut *self else { return Poll::Ready(None) };
        // Frames are large for values that pass through several hands: what looks at the clock does not see them.
        let item = match Pin::new(framed).poll_next(cx) {
            Poll::Ready(polled) => {
                // Nobody else writes to it, so it need not be one step.
                given.store(given.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
                if let Some(idle) = idle {
                    idle.running = false;
                }
                match polled {
                    Some(Ok(frame)) => PackFrame::try_from(frame).map_err(of_the_head),
                    Some(Err(error)) => Err(error),
                    None => Err(Error::new(ErrorKind::IncompletePack, "the pack is incomplete: early EOF")),
                }
            }
            Poll::Pending => Err(ready!(too_late(idle, deadline, cx))),
        };
        match &item {
            Ok(PackFrame::Complete(_)) => self.end(false),
            Err(error) if error.kind() == ErrorKind::TimedOut => self.end(false),
            Err(_) => self.end(true),
            Ok(_) => {}
        }
        Poll::Ready(Some(item))
    }
}

impl<R> Pack<R> {
    fn time_left(&self) -> TimeLeft {
        TimeLeft {
            idle: self.idle.as_ref().map(|idle| idle.limit),
            deadline: self.deadline.as_ref().map(|deadline| deadline.deadline()),
        }
    }

    /// Gives the connection back. If there may be a rest of the push, its client has time for it.
    fn end(&mut self, has_time: bool) {
        self.ended = true;
        self.complete.store(true, Ordering::Relaxed);
        if let Some(reclaim) = self.reclaim.take()
            && let Some(framed) = self.framed.take()
        {
            // If nobody waits for the connection any more, it closes here.
            let time = has_time.then(|| self.time_left());
            let _ = reclaim.send(Unread { framed, time });
        }
    }
}

#[cold]
fn of_the_head(frame: Frame) -> Error {
    Error::new(ErrorKind::Protocol, format!("frame of a head inside a body: {frame:?}"))
}

/// Ready if the client, which has nothing to give now, has been silent for too long, or has no time left.
fn too_late(idle: &mut Option<Idle>, deadline: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<Error> {
    if let Some(idle) = idle {
        if !idle.running {
            idle.running = true;
            // A limit too far away for a clock is none for the next years.
            let now = Instant::now();
            let end = now.checked_add(idle.limit).or_else(|| now.checked_add(YEARS));
            idle.sleep.as_mut().reset(end.unwrap_or(now));
        }
        if idle.sleep.as_mut().poll(cx).is_ready() {
            let text = format!("the client sent nothing for {} seconds", idle.limit.as_secs());
            return Poll::Ready(Error::new(ErrorKind::TimedOut, text));
        }
    }
    let Some(deadline) = deadline else { return Poll::Pending };
    ready!(deadline.as_mut().poll(cx));
    let text = "the client did not send its push in the time that the server allows";
    Poll::Ready(Error::new(ErrorKind::TimedOut, text))
}

impl<R> Drop for Pack<R> {
    fn drop(&mut self) {
        self.end(true);
    }
}

impl<R> fmt::Debug for Pack<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pack").field("ended", &self.ended).finish_non_exhaustive()
    }
}
