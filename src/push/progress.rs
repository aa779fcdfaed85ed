use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;

/// A way to the pusher's screen while a push runs: what is said here comes out as `remote: <text>`.
///
/// A server puts one into the [extensions](crate::push::Push::extensions) of each push; whoever handles the push takes a
/// clone. Saying something to a client that has no side-band, or is gone, does nothing.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use receive_pack::push::Progress;
///
/// // Outside a server nobody listens.
/// let progress = Progress::default();
/// progress.say("deploying to production\n").await;
/// # });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Progress {
    sender: Option<mpsc::Sender<Bytes>>,
    quiet: bool,
}

/// Pieces of text that may wait for the connection; then whoever speaks waits.
const QUEUE: usize = 16;

impl Progress {
    /// A handle and its listener.
    pub(crate) fn channel(quiet: bool) -> (Self, ProgressText) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { sender: Some(sender), quiet }, ProgressText { receiver })
    }

    /// Says something, and waits for room if the client reads slowly. Text for people: lines that end in LF, or in CR to
    /// be written over by the next.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done, it said nothing.
    pub async fn say(&self, text: impl Into<Bytes>) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(text.into()).await;
        }
    }

    /// Says something if there is room for it: for meters, whose next value makes up for a lost one. May be called from
    /// any thread; never waits.
    pub fn try_say(&self, text: impl Into<Bytes>) -> bool {
        self.sender.as_ref().is_some_and(|sender| sender.try_send(text.into()).is_ok())
    }

    /// Whether the client asked not to be told about progress (`quiet`). What a policy or a deployment has to say is
    /// not progress.
    pub fn is_quiet(&self) -> bool {
        self.quiet || self.sender.is_none()
    }
}

/// The end of a [`Progress`] at which the text comes out.
#[derive(Debug)]
pub(crate) struct ProgressText {
    receiver: mpsc::Receiver<Bytes>,
}

impl ProgressText {
    /// The next piece; never ready once all handles are gone and all text is read.
    pub(crate) fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        match self.receiver.poll_recv(cx) {
            Poll::Ready(Some(text)) => Poll::Ready(text),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn text_comes_out_in_order_and_meters_do_not_wait() {
        let (progress, mut text) = Progress::channel(false);
        progress.say("one\n").await;
        while progress.try_say("again\r") {}
        assert_eq!(poll_fn(|cx| text.poll_text(cx)).await, "one\n");
        assert_eq!(poll_fn(|cx| text.poll_text(cx)).await, "again\r");
    }
}
