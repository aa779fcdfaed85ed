use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::AsyncRead;
use tokio::time::{Instant, sleep_until};
use tokio_util::codec::FramedRead;

use crate::codec::ReceivePackCodec;
use crate::push::{Pack, TimeLeft, Unread, UpdateRequest, take_head_item};
use crate::{Error, ErrorKind};

/// How long the client of one push is waited for, from the moment at which this was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    head: Option<Duration>,
    idle: Option<Duration>,
    deadline: Option<Limit>,
}

/// A time-out that runs.
type Limit = (Instant, Duration);

/// A time that no clock will show is no limit.
fn from_now(limit: Duration) -> Option<Limit> {
    Instant::now().checked_add(limit).map(|end| (end, limit))
}

impl Patience {
    pub(super) fn new(head: Option<Duration>, idle: Option<Duration>, deadline: Option<Duration>) -> Self {
        Self { head, idle, deadline: deadline.and_then(from_now) }
    }

    /// Reads the head, as [`read_head`](crate::push::read_head) does, in time.
    ///
    /// # Cancel safety
    ///
    /// Full, but the time begins anew.
    pub(crate) async fn head<R: AsyncRead + Unpin>(
        &self,
        framed: &mut FramedRead<R, ReceivePackCodec>,
        request: &mut UpdateRequest,
    ) -> Result<bool, Error> {
        let until = |limit: Option<Duration>| limit.and_then(from_now).into_iter().chain(self.deadline).min();
        let mut limit = until(self.idle);
        let mut sleep = pin!(sleep_until(limit.map_or_else(Instant::now, |(end, _)| end)));
        let mut has_begun = false;
        let result = poll_fn(|cx| {
            let mut moved = false;
            while let Poll::Ready(item) = framed.poll_next_unpin(cx) {
                if let ControlFlow::Break(result) = take_head_item(request, item) {
                    return Poll::Ready(result);
                }
                moved = true;
            }
            moved |= !framed.read_buffer().is_empty();
            if moved && !std::mem::replace(&mut has_begun, true) {
                limit = until(self.head);
                sleep.as_mut().reset(limit.map_or_else(Instant::now, |(end, _)| end));
            }
            let Some((_, limit)) = limit else { return Poll::Pending };
            ready!(sleep.as_mut().poll(cx));
            let text = format!("the client sent no whole request within {} seconds", limit.as_secs());
            Poll::Ready(Err(Error::new(ErrorKind::TimedOut, text)))
        })
        .await;
        request.set_negotiated(framed.decoder().negotiated().clone());
        result
    }

    /// The connection of a head that failed.
    pub(crate) fn unread<R>(&self, framed: FramedRead<R, ReceivePackCodec>, error: &Error) -> Unread<R> {
        Unread { framed, time: (error.kind() != ErrorKind::TimedOut).then(|| self.time_left()) }
    }

    /// What a client has left that has not sent all of its push.
    pub(crate) fn time_left(&self) -> TimeLeft {
        TimeLeft { idle: self.idle, deadline: self.deadline.map(|(end, _)| end) }
    }

    /// Sets what is left of the time on the body.
    pub(crate) fn apply<R>(&self, pack: &mut Pack<R>) {
        pack.set_idle_timeout(self.idle);
        pack.set_deadline(self.deadline.map(|(end, _)| end));
    }
}
