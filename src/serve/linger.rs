use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// How long a connection is read from after everything was said, so that the last words arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Linger {
    /// Bytes that are read and discarded. Default 1 GiB: a client that was refused early sends its whole pack before it
    /// reads the report.
    pub bytes: u64,
    /// How long the client may send nothing. Default 15 seconds.
    pub idle: Duration,
    /// How long all of it may take. Default 10 minutes.
    pub total: Duration,
    /// Whether a client whose push was read to its end is read from as well. Default true, for what it may send behind it
    /// would reset a TCP connection. A channel of SSH loses nothing when it closes: there, false spares a client that
    /// keeps its side open the wait.
    pub after_complete: bool,
}

impl Default for Linger {
    fn default() -> Self {
        Self { bytes: 1 << 30, idle: Duration::from_secs(15), total: Duration::from_secs(600), after_complete: true }
    }
}

impl Linger {
    /// Not at all: for transports that end by themselves, as an HTTP body does.
    pub const fn none() -> Self {
        Self { bytes: 0, idle: Duration::ZERO, total: Duration::ZERO, after_complete: false }
    }

    /// Reads and discards until the client closes or a bound is reached; says how many bytes that were.
    pub(crate) async fn discard(&self, mut read: impl AsyncRead + Unpin) -> u64 {
        let mut buffer = vec![0; usize::try_from(self.bytes.min(64 << 10)).unwrap_or(0)];
        let mut discarded = 0;
        let all = async {
            while discarded < self.bytes {
                match timeout(self.idle, read.read(&mut buffer)).await {
                    Ok(Ok(n)) if n > 0 => discarded = discarded.saturating_add(n as u64),
                    _ => break,
                }
            }
        };
        // Too late or not: what counts is what was read.
        let _ = timeout(self.total, all).await;
        discarded
    }
}
