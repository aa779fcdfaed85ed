use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::loose::{Touched, remove_empty_dirs, remove_empty_parents, with_parents};
use super::name;
use crate::store::bare_repository::fs::{File, Fs};

/// A held lock file, `<path>.lock`; it is removed when this is dropped, with directories that are empty then.
#[derive(Debug)]
pub(crate) struct Lock {
    target: PathBuf,
    path: PathBuf,
    /// The git directory and the name, if it is that of a ref.
    above: Option<(PathBuf, Vec<u8>)>,
    fs: Fs,
    held: bool,
}

impl Lock {
    /// Creates the lock file of a ref, with the directories above it; waits for another holder up to `timeout`.
    ///
    /// The error is of the kind `AlreadyExists` if the other does not let go.
    pub(crate) fn of_ref(
        fs: &Fs,
        git_dir: &Path,
        name: &[u8],
        timeout: Duration,
        touched: &mut Touched,
    ) -> io::Result<(Self, File)> {
        let path = name::path_below(git_dir, &[name, b".lock"].concat());
        let root = git_dir.join("refs");
        let file = wait(timeout, || with_parents(fs, &root, &path, touched, || fs.create_new(&path)))?;
        let (target, above) = (name::path_below(git_dir, name), Some((git_dir.to_path_buf(), name.to_vec())));
        Ok((Self { target, path, above, fs: fs.clone(), held: true }, file))
    }

    /// The same for a file that is no ref, in a directory that is there.
    pub(crate) fn of_file(fs: &Fs, target: PathBuf, timeout: Duration) -> io::Result<(Self, File)> {
        let path = beside(&target, ".lock");
        let file = wait(timeout, || fs.create_new(&path))?;
        Ok((Self { target, path, above: None, fs: fs.clone(), held: true }, file))
    }

    /// What it locks.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Renames the lock file into the place of what it locks; empty directories there are removed.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        let mut result = self.fs.rename(&self.path, &self.target);
        for _ in 0..4 {
            match &result {
                Err(error) if is_dir_in_the_way(error) => {}
                _ => break,
            }
            remove_empty_dirs(&self.fs, &self.target)?;
            result = self.fs.rename(&self.path, &self.target);
        }
        self.held = result.is_err();
        result
    }
}

/// Takes a lock; while another has it, tries again until the time is over.
fn wait(timeout: Duration, mut take: impl FnMut() -> io::Result<File>) -> io::Result<File> {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let error = match take() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => error,
            other => return other,
        };
        let left = timeout.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Err(error);
        }
        std::thread::sleep(pause.min(left));
        pause = pause.saturating_mul(2).min(Duration::from_millis(20));
    }
}

/// The path with an ending more.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// What the pusher reads of a lock that another holds, of a ref or of another file at this path. No push holds one for
/// minutes, so the age of an old one says what is to be done; it is not for us to do it.
pub(super) fn held(fs: &Fs, path: &Path, name: &[u8]) -> String {
    let modified = fs.metadata(&beside(path, ".lock")).and_then(|it| it.modified());
    let age = modified.ok().and_then(|modified| modified.elapsed().ok()).unwrap_or_default();
    let text = format!("Unable to create '{}.lock': File exists.", String::from_utf8_lossy(name));
    let age = match age.as_secs() / 60 {
        0..10 => return text,
        minutes @ 10..120 => format!("{minutes} minutes"),
        minutes => format!("{} hours", minutes / 60),
    };
    format!("{text} It is {age} old: if nobody is at work in the repository, its owner died, and it has to be removed.")
}

fn is_dir_in_the_way(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, IsADirectory};
    matches!(error.kind(), IsADirectory | DirectoryNotEmpty | AlreadyExists)
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.held {
            // Nobody is left to tell; the lock then stays for an operator to remove.
            let _ = self.fs.remove(&self.path);
            // They were made for the lock file, or the ref that was in them is deleted.
            if let Some((git_dir, name)) = &self.above {
                remove_empty_parents(&self.fs, git_dir, name);
            }
        }
    }
}
