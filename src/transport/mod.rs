//! What stands before the conversation of receive-pack on each transport: which repository does the client want?
//!
//! - `git://`: [`DaemonRequest`], the first pkt-line of a connection.
//! - SSH: [`SshCommand`], the command line of an exec request.
//! - HTTP: the module `http` (feature `http`), which is the whole conversation: HTTP cuts it into requests.
//!
//! None of them decides anything: whether the path may be served is the server's to say.
//!
//! ```
//! use receive_pack::transport::SshCommand;
//!
//! let command = SshCommand::parse(b"git-receive-pack '/srv/it'\\''s.git'").unwrap();
//! assert_eq!((command.service(), command.path()), ("git-receive-pack", &b"/srv/it's.git"[..]));
//! ```

mod daemon;
#[cfg(feature = "http")]
pub mod http;
mod ssh;

pub use daemon::DaemonRequest;
pub use ssh::SshCommand;

/// The highest version of the protocol that a client asked for, of those that there are (git, "GIT_PROTOCOL"). Words that
/// are no version, or one that nobody knows yet, do not count.
fn highest_version<'a>(words: impl Iterator<Item = &'a [u8]>) -> u8 {
    let version = |word: &[u8]| match word {
        b"version=1" => 1,
        b"version=2" => 2,
        _ => 0,
    };
    words.map(version).max().unwrap_or_default()
}
