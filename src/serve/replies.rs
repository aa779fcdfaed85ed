use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

use crate::proto::{Command, Reply, Report};
use crate::push::{Pack, Progress, ProgressText, Push};
use crate::{BoxError, Error};

type ServiceFuture = dyn Future<Output = Result<Report, BoxError>> + Send;

/// What the server says from the head of a push to its end: text and keep-alives while the service works, then the
/// report, then the flush-pkt.
///
/// Whoever writes them to a client that may not read writes [`beside`](Self::beside) it.
///
/// Its end is the end of the reply: for a byte stream the moment to shut down the writing side, for HTTP the end of the
/// body. Dropped before, it drops the service's future.
pub struct Replies {
    /// Until it is done: it may hold what is left of the body.
    future: Option<Pin<Box<ServiceFuture>>>,
    stage: Stage,
    text: ProgressText,
    commands: Vec<Command>,
    keep_alive: Option<KeepAlive>,
    outcome: Option<Result<Report, BoxError>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Working,
    Report,
    Flush,
    Done,
}

impl Replies {
    /// Hands the push, with a [`Progress`] in its extensions, to the service once that is ready.
    ///
    /// `keep_alive` is the silence after which an empty packet is sent, once the pack is in; none is sent if it is zero. It
    /// needs a runtime with time enabled.
    pub fn new<S, R>(mut push: Push<Pack<R>>, mut service: S, keep_alive: Option<Duration>) -> Self
    where
        S: Service<Push<Pack<R>>, Response = Report> + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        R: Send + 'static,
    {
        let (progress, text) = Progress::channel(push.request().negotiated().quiet);
        let commands = push.request().commands().to_vec();
        let keep_alive = keep_alive.filter(|interval| !interval.is_zero());
        let keep_alive = keep_alive.map(|interval| KeepAlive::new(interval, push.body().completion()));
        push.extensions_mut().insert(progress);
        let future = async move {
            let begun = Instant::now();
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            push.body_mut().wait_longer(begun.elapsed());
            service.call(push).await.map_err(Into::into)
        };
        Self { future: Some(Box::pin(future)), stage: Stage::Working, text, commands, keep_alive, outcome: None }
    }

    /// What the service answered; `None` if it has not. The report may not have been given yet, or not all that was said
    /// before it.
    pub fn into_outcome(self) -> Option<Result<Report, BoxError>> {
        self.outcome
    }

    /// Does something else, such as to write a reply, and has the service work meanwhile: a client that reads only when it has
    /// sent all must not be kept from sending by what it is told.
    ///
    /// # Cancel safety
    ///
    /// That of `other`; nothing of the push is lost.
    pub async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        poll_fn(|cx| {
            let polled = other.as_mut().poll(cx);
            if polled.is_pending() {
                self.poll_service(cx);
            }
            polled
        })
        .await
    }

    fn poll_service(&mut self, cx: &mut Context<'_>) {
        if let Some(future) = &mut self.future
            && let Poll::Ready(outcome) = future.as_mut().poll(cx)
        {
            self.future = None;
            self.outcome = Some(outcome);
        }
    }

    fn report(&self) -> Option<Report> {
        match self.outcome.as_ref()? {
            Ok(report) => Some(report.clone()),
            // Our own errors know what the pusher may read; of any other it is told only that there was one.
            Err(error) => Some(match error.downcast_ref::<Error>() {
                Some(error) => Report::from_error(error, &self.commands),
                None => Report::unpack_failed("internal error", &self.commands),
            }),
        }
    }
}

impl Stream for Replies {
    type Item = Reply;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        let this = &mut *self;
        loop {
            // Before the text, which somebody on another thread may add to as fast as it is taken.
            this.poll_service(cx);
            // Text comes before the report, also what was said just before the service was done.
            let text = match this.stage {
                Stage::Working if this.outcome.is_none() => this.text.poll_text(cx),
                Stage::Working => this.text.rest().map_or(Poll::Pending, Poll::Ready),
                Stage::Report | Stage::Flush | Stage::Done => Poll::Pending,
            };
            if let Poll::Ready(text) = text {
                if let Some(keep_alive) = &mut this.keep_alive {
                    keep_alive.reset();
                }
                return Poll::Ready(Some(Reply::Progress(text)));
            }
            match this.stage {
                Stage::Working if this.outcome.is_some() => this.stage = Stage::Report,
                Stage::Working => {
                    let Some(keep_alive) = &mut this.keep_alive else { return Poll::Pending };
                    return keep_alive.poll_elapsed(cx).map(|()| Some(Reply::KeepAlive));
                }
                Stage::Report => {
                    this.stage = Stage::Flush;
                    this.text.close();
                    return Poll::Ready(this.report().map(Reply::Report));
                }
                Stage::Flush => {
                    this.stage = Stage::Done;
                    return Poll::Ready(Some(Reply::Flush));
                }
                Stage::Done => return Poll::Ready(None),
            }
        }
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("stage", &self.stage).finish_non_exhaustive()
    }
}

/// Speaks up when nothing was said for a while and the pack is in.
struct KeepAlive {
    sleep: Pin<Box<Sleep>>,
    interval: Duration,
    pack_is_in: Arc<AtomicBool>,
}

impl KeepAlive {
    fn new(interval: Duration, pack_is_in: Arc<AtomicBool>) -> Self {
        Self { sleep: Box::pin(sleep(interval)), interval, pack_is_in }
    }

    fn reset(&mut self) {
        self.sleep.set(sleep(self.interval));
    }

    fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.reset();
            if self.pack_is_in.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
        }
    }
}
