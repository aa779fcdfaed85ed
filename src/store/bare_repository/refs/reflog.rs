use std::io::{self, Write};
use std::path::Path;

use super::loose::{Touched, remove_empty_dirs, remove_empty_parents, with_parents};
use super::name;
use crate::proto::ObjectId;
use crate::store::bare_repository::fs::{Fs, is_absent};

/// Which refs get a log (`core.logAllRefUpdates` in git-config).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logging {
    /// Those that have one already.
    Existing,
    /// Those, and `HEAD`, branches, remote-tracking branches and notes.
    Normal,
    /// All.
    Always,
}

/// Who moved a ref and why, for its log.
#[derive(Clone, Debug)]
pub(crate) struct Reflog {
    /// `Name <email> <seconds> <zone>`, as in a commit.
    pub(crate) committer: String,
    /// One line; git's receive-pack says `push`.
    pub(crate) message: String,
}

impl Reflog {
    /// Adds a line to a ref's log, if the ref has or should have one.
    ///
    /// The log is written before the ref moves, as git does it: after a crash it may tell of a move that did not
    /// happen. It is not made durable.
    pub(crate) fn append(
        &self,
        fs: &Fs,
        git_dir: &Path,
        logging: Logging,
        name: &[u8],
        old: &ObjectId,
        new: &ObjectId,
    ) -> io::Result<()> {
        let root = git_dir.join("logs");
        let path = name::path_below(&root, name);
        let create = match logging {
            Logging::Existing => false,
            Logging::Always => true,
            Logging::Normal => {
                let kinds: [&[u8]; 3] = [b"refs/heads/", b"refs/remotes/", b"refs/notes/"];
                name == b"HEAD" || kinds.iter().any(|kind| name.starts_with(kind))
            }
        };
        // The directories of a log are not worth a sync.
        let mut touched = Touched::default();
        let opened = if create {
            with_parents(fs, git_dir, &path, &mut touched, || match fs.open_append(&path, true) {
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                    remove_empty_dirs(fs, &path)?;
                    fs.open_append(&path, true)
                }
                other => other,
            })
        } else {
            match fs.metadata(&path) {
                Ok(metadata) if metadata.is_file() => fs.open_append(&path, false),
                Err(error) if !is_absent(&error) => return Err(error),
                _ => return Ok(()),
            }
        };
        let one_line = |text: &str| text.replace(['\n', '\r', '\0'], " ");
        let line = format!("{old} {new} {}\t{}\n", one_line(&self.committer), one_line(&self.message));
        opened?.write_all(line.as_bytes())
    }
}

/// Removes the log of a ref that was deleted.
pub(crate) fn remove(fs: &Fs, git_dir: &Path, name: &[u8]) {
    let root = git_dir.join("logs");
    // The ref is gone; a log that cannot be removed is only untidy.
    if fs.symlink_metadata(&name::path_below(&root, name)).is_ok_and(|metadata| metadata.is_file())
        && fs.remove(&name::path_below(&root, name)).is_ok()
    {
        remove_empty_parents(fs, &root, name);
    }
}
