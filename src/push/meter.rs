use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::push::Progress;

/// A progress line as git users know it: `Resolving deltas:  42% (21/50)`.
///
/// It says nothing before a second has passed, and then at most ten times a second; to a client that asked for quiet it
/// says nothing at all.
#[derive(Debug)]
pub struct Meter {
    progress: Progress,
    title: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: Instant,
    shown: bool,
    last: (u64, u64),
}

const DELAY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);

fn later(now: Instant, by: Duration) -> Instant {
    now.checked_add(by).unwrap_or(now)
}

impl Meter {
    /// A meter with this title.
    pub fn new(progress: &Progress, title: &'static str) -> Self {
        let state = State { next: later(Instant::now(), DELAY), shown: false, last: (0, 0) };
        Self { progress: progress.clone(), title, state: Mutex::new(state) }
    }

    /// `done` of `total` are done. May be called from any thread, as often as one likes.
    pub fn update(&self, done: u64, total: u64) {
        if self.progress.is_quiet() {
            return;
        }
        // Whoever finds the lock taken need not wait: somebody else is saying the same.
        let Ok(mut state) = self.state.try_lock() else { return };
        state.last = (done, total);
        let now = Instant::now();
        if now < state.next {
            return;
        }
        state.next = later(now, PAUSE);
        state.shown |= self.progress.try_say(self.line(done, total, "\r"));
    }

    fn line(&self, done: u64, total: u64, end: &str) -> String {
        let percent = (u128::from(done) * 100).checked_div(u128::from(total)).unwrap_or(100);
        format!("{}: {percent:>3}% ({done}/{total}){end}", self.title)
    }
}

/// Ends the line, if there is one.
impl Drop for Meter {
    fn drop(&mut self) {
        let Ok(state) = self.state.get_mut() else { return };
        if state.shown {
            let (done, total) = state.last;
            let end = if done == total { ", done.\n" } else { "\n" };
            let line = self.line(done, total, end);
            self.progress.try_say(line);
        }
    }
}
