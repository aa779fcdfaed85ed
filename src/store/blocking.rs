//! Work that may block, or must come to its end, away from whoever waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::task::{JoinHandle, spawn_blocking};

use crate::{Error, ErrorKind};

/// Runs `work` where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(ErrorKind::Store, "a blocking task did not end").with_source(error)),
    }
}

/// Says whether anybody still waits for a landing. Clones say the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    /// An error once nobody waits any more.
    pub(crate) fn go_on(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Store, "the push was cancelled"));
        }
        Ok(())
    }
}

/// A part of a landing, on a thread or in a task of its own. If nobody waits for it any more it is told so; it ends then,
/// unless refs are about to move.
pub(crate) struct Landed<T> {
    cancelled: Cancelled,
    task: JoinHandle<Result<T, Error>>,
}

impl<T: Send + 'static> Landed<T> {
    /// Waits for `task`, which asks `cancelled` whether to go on.
    pub(crate) fn new(cancelled: Cancelled, task: JoinHandle<Result<T, Error>>) -> Self {
        Self { cancelled, task }
    }
}

impl<T> Future for Landed<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.task).poll(cx)).unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Store, "the thread that lands the push did not end").with_source(error))
        }))
    }
}

impl<T> Drop for Landed<T> {
    fn drop(&mut self) {
        self.cancelled.0.store(true, Ordering::Relaxed);
    }
}
