use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::FramedRead;

use crate::codec::ReceivePackCodec;

/// Waits for a [`Pack`](super::Pack) to end or to be dropped, and gives its connection back; `None` if the body took the
/// connection with it.
pub struct Reclaim<R> {
    receiver: oneshot::Receiver<Unread<R>>,
    given: Arc<AtomicU64>,
    idle: Option<Duration>,
}

/// A connection that nobody reads from any more.
pub(crate) struct Unread<R> {
    pub(crate) framed: FramedRead<R, ReceivePackCodec>,
    /// How long the client may take for the rest of its push; `None` if it has sent all, or if its time is over.
    pub(crate) time: Option<TimeLeft>,
}

/// What a client still has of its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLeft {
    /// For each silence.
    pub(crate) idle: Option<Duration>,
    /// For all.
    pub(crate) deadline: Option<Instant>,
}

impl TimeLeft {
    /// The output of something that a silent client holds up; `None` if it does so for too long.
    pub(crate) async fn within_idle<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        match self.idle {
            Some(idle) => timeout(idle, step).await.ok(),
            None => Some(step.await),
        }
    }

    /// The output of all that the client may take its time for; `None` if it takes more.
    pub(crate) async fn within_deadline<T>(&self, all: impl Future<Output = T>) -> Option<T> {
        match self.deadline {
            Some(deadline) => timeout_at(deadline, all).await.ok(),
            None => Some(all.await),
        }
    }
}

impl<R> Reclaim<R> {
    /// Of a body of which `given` counts the frames, and whose client may be silent for so long.
    pub(super) fn new(receiver: oneshot::Receiver<Unread<R>>, given: Arc<AtomicU64>, idle: Option<Duration>) -> Self {
        Self { receiver, given, idle }
    }

    /// A connection that is given back already.
    pub(crate) fn ready(unread: Unread<R>, given: Arc<AtomicU64>) -> Self {
        let (sender, receiver) = oneshot::channel();
        // The other side is here.
        let _ = sender.send(unread);
        Self { receiver, given, idle: None }
    }

    /// Changes as long as the client sends.
    pub(crate) fn given(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.given)
    }

    pub(crate) fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<Option<Unread<R>>> {
        Pin::new(&mut self.receiver).poll(cx).map(Result::ok)
    }

    /// The connection of a body that was not given back with the service's answer: somebody else may still read it. That is
    /// waited for, as long as frames come: each within the time that the client has for it, or `otherwise` if that is not
    /// limited.
    pub(crate) async fn while_it_is_read(mut self, otherwise: Duration) -> Option<Unread<R>> {
        let limit = self.idle.unwrap_or(otherwise);
        loop {
            let given = self.given.load(Ordering::Relaxed);
            match timeout(limit, poll_fn(|cx| self.poll_unread(cx))).await {
                Ok(unread) => return unread,
                Err(_) if given != self.given.load(Ordering::Relaxed) => {}
                Err(_) => return None,
            }
        }
    }
}

impl<R> Future for Reclaim<R> {
    type Output = Option<FramedRead<R, ReceivePackCodec>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_unread(cx).map(|unread| unread.map(|unread| unread.framed))
    }
}

impl<R> fmt::Debug for Reclaim<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reclaim")
    }
}
