//! How a process is told to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Ready at SIGTERM, at Ctrl-C, or when the terminal is gone.
///
/// All that is to be done then is to return from `main`: the runtime drops what goes on, and pushes that are dropped roll
/// back. It waits for its threads, so of a push whose refs have begun to move all of them do, and none stays locked.
pub(crate) async fn told_to_stop() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}
