//! What goes on on a connection. One on which nothing does must not keep its place for ever.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How long a connection may stand still.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Before the first request or command.
    pub(crate) first: Duration,
    /// After one, before the next.
    pub(crate) next: Duration,
    /// While the client does not take what it is told.
    pub(crate) unread: Duration,
}

/// A connection that the process still has when it is told to stop, with nothing going on, gets this long to say so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Counts what goes on on one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity {
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    has_begun: bool,
    running: usize,
    unread: usize,
}

impl Activity {
    /// Something begins; it ends when the value is dropped.
    pub(crate) fn begin(&self) -> Running {
        self.state.send_modify(|state| {
            state.has_begun = true;
            state.running += 1;
        });
        Running { state: self.state.clone(), is_unread: false }
    }

    /// Ready when the connection has stood still for too long.
    pub(crate) async fn stands_still(self, patience: Patience, stopping: impl Future<Output = ()>) {
        let (mut states, mut stopping, mut is_stopping) = (self.state.subscribe(), pin!(stopping), false);
        loop {
            let limit = match *states.borrow_and_update() {
                State { running: 0, .. } if is_stopping => LAST_WORDS,
                State { running: 0, has_begun: false, .. } => patience.first,
                State { running: 0, .. } => patience.next,
                State { unread: 0, .. } => Duration::MAX,
                State { .. } => patience.unread,
            };
            tokio::select! {
                () = &mut stopping, if !is_stopping => is_stopping = true,
                changed = timeout(limit, states.changed()) => if changed.is_err() {
                    return;
                },
            }
        }
    }
}

/// Something that goes on.
#[derive(Debug)]
pub(crate) struct Running {
    state: watch::Sender<State>,
    is_unread: bool,
}

impl Running {
    /// Whether it is now for the client to take what it is told.
    pub(crate) fn set_unread(&mut self, is_unread: bool) {
        if std::mem::replace(&mut self.is_unread, is_unread) != is_unread {
            self.state.send_modify(|state| if is_unread { state.unread += 1 } else { state.unread -= 1 });
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.set_unread(false);
        self.state.send_modify(|state| state.running -= 1);
    }
}
