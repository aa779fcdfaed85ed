use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::FramedRead;

use crate::codec::ReceivePackCodec;
use crate::push::{Pack, UpdateRequest, read_head};
use crate::{Error, ErrorKind};

/// How long the client of one push is waited for, from the moment at which this was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    head: Option<(Instant, Duration)>,
    idle: Option<Duration>,
    deadline: Option<(Instant, Duration)>,
}

impl Patience {
    pub(super) fn new(head: Option<Duration>, idle: Option<Duration>, deadline: Option<Duration>) -> Self {
        let now = Instant::now();
        // A time that no clock will show is no limit.
        let from_now = |limit: Duration| now.checked_add(limit).map(|end| (end, limit));
        Self { head: head.and_then(from_now), idle, deadline: deadline.and_then(from_now) }
    }

    /// Reads the head, as [`read_head`] does, in time.
    pub(crate) async fn head<R: AsyncRead + Unpin>(
        &self,
        framed: &mut FramedRead<R, ReceivePackCodec>,
        request: &mut UpdateRequest,
    ) -> Result<bool, Error> {
        let head = read_head(framed, request);
        match self.head.into_iter().chain(self.deadline).min() {
            None => head.await,
            Some((end, limit)) => timeout_at(end, head).await.unwrap_or_else(|_| {
                let text = format!("the client sent no whole request within {} seconds", limit.as_secs());
                Err(Error::new(ErrorKind::TimedOut, text))
            }),
        }
    }

    /// Sets what is left of the time on the body.
    pub(crate) fn apply<R>(&self, pack: &mut Pack<R>) {
        pack.set_idle_timeout(self.idle);
        pack.set_deadline(self.deadline.map(|(end, _)| end));
    }
}
