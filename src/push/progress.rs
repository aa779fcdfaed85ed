use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
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
    notes: Arc<Mutex<Notes>>,
    quiet: bool,
}

/// Pieces of text that may wait for the connection; then whoever speaks waits.
const QUEUE: usize = 16;

/// Bytes of notes that may wait for the connection; then their lines are only counted.
const NOTES: usize = 64 << 10;

/// Lines that wait for the connection.
#[derive(Debug, Default)]
struct Notes {
    text: String,
    left_out: usize,
}

impl Notes {
    fn add(&mut self, line: impl fmt::Display) {
        if self.text.len() >= NOTES {
            self.left_out = self.left_out.saturating_add(1);
        } else {
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "{line}");
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        match std::mem::take(&mut self.left_out) {
            0 => {}
            1 => self.text.push_str("... and one line more\n"),
            more => drop(writeln!(self.text, "... and {more} lines more")),
        }
        let text = std::mem::take(&mut self.text);
        (!text.is_empty()).then(|| text.into())
    }
}

impl Progress {
    /// A handle and its listener.
    pub(crate) fn channel(quiet: bool) -> (Self, ProgressText) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let notes = Arc::default();
        (Self { sender: Some(sender), notes: Arc::clone(&notes), quiet }, ProgressText { receiver, notes })
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

    /// Says a line, which is given without its LF, that is not to be lost: for warnings and refusals. May be called from
    /// any thread; never waits. Up to 64 KiB of such lines wait for a client that reads slowly; of those beyond it is
    /// told how many there were.
    pub fn note(&self, line: impl fmt::Display) {
        let Some(sender) = &self.sender else { return };
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).add(line);
        // Wakes the listener. If there is no room, it has been woken already.
        let _ = sender.try_send(Bytes::new());
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
    notes: Arc<Mutex<Notes>>,
}

impl ProgressText {
    /// The next piece; never ready once all handles are gone and all text is read.
    pub(crate) fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let text = self.next(|receiver| match receiver.poll_recv(cx) {
            Poll::Ready(text) => text,
            Poll::Pending => None,
        });
        text.map_or(Poll::Pending, Poll::Ready)
    }

    /// The next piece of what was said before now. Unlike a poll it never says that the task has had its turn, for there may
    /// be no other.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        self.next(|receiver| receiver.try_recv().ok())
    }

    fn next(&mut self, mut receive: impl FnMut(&mut mpsc::Receiver<Bytes>) -> Option<Bytes>) -> Option<Bytes> {
        loop {
            if let Some(text) = self.notes.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Some(text);
            }
            // One that is empty says that a note is there, or was a moment ago.
            match receive(&mut self.receiver)? {
                text if text.is_empty() => {}
                text => return Some(text),
            }
        }
    }

    /// From now on nobody listens, and nobody who speaks waits.
    pub(crate) fn close(&mut self) {
        self.receiver.close();
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
    #[tokio::test]
    async fn notes_are_never_lost_but_counted_when_they_are_too_many() {
        let (progress, mut text) = Progress::channel(false);
        while progress.try_say("again\r") {}
        for number in 0..20 {
            progress.note(format_args!("error: {number}"));
        }
        let said = poll_fn(|cx| text.poll_text(cx)).await;
        let lines: Vec<_> = (0..20).map(|number| format!("error: {number}\n")).collect();
        assert_eq!(said, lines.concat());

        for _ in 0..NOTES {
            progress.note("12345");
        }
        let said = poll_fn(|cx| text.poll_text(cx)).await;
        let held = NOTES.div_ceil(6);
        assert!(said.len() < NOTES + 100, "{}", said.len());
        assert!(said.ends_with(format!("12345\n... and {} lines more\n", NOTES - held).as_bytes()));
    }

    #[tokio::test]
    async fn a_note_wakes_who_listens() {
        let (progress, mut text) = Progress::channel(false);
        let listener = tokio::spawn(async move { poll_fn(|cx| text.poll_text(cx)).await });
        tokio::task::yield_now().await;
        progress.note("warning: late");
        assert_eq!(listener.await.unwrap(), "warning: late\n");
    }
}
