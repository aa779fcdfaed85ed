use std::fs::{DirEntry, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

#[cfg(test)]
pub(crate) use super::operation::{Hook, Operation};
use super::shared::Shared;
use crate::store::index::{PackFile, ReadAt};

/// Every change to the files of a repository goes through here, and every look at them but those at objects that are there
/// already: these are read by `gix-odb`, and listed by an [`Inventory`](super::inventory::Inventory).
///
/// In normal builds this is the operating system and nothing else. Tests put a [`Hook`] in between: it sees each
/// operation before it happens, can record it, and can make it fail. What the reads of `gix-odb` do when they fail is
/// tested with a process that has no file descriptors left.
#[derive(Clone, Default)]
pub(crate) struct Fs {
    shared: Shared,
    #[cfg(test)]
    hook: Option<std::sync::Arc<dyn Hook>>,
}

/// Tells the hook of an operation; in normal builds this is nothing.
macro_rules! announce {
    ($fs:expr, $operation:ident $($fields:tt)*) => {
        #[cfg(test)]
        if let Some(hook) = &$fs.hook {
            hook.before(&Operation::$operation $($fields)*)?;
        }
    };
}

impl Fs {
    /// The same with other permissions.
    pub(crate) fn with_shared(&self, shared: Shared) -> Self {
        let mut fs = self.clone();
        fs.shared = shared;
        fs
    }

    /// The file system with a hook in between.
    #[cfg(test)]
    pub(crate) fn hooked(hook: std::sync::Arc<dyn Hook>) -> Self {
        Self { hook: Some(hook), ..Self::default() }
    }

    /// The bytes of a file.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        announce!(self, Open(path));
        announce!(self, Read(path));
        std::fs::read(path)
    }

    /// Opens a file to read it.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        announce!(self, Open(path));
        Ok(self.file(std::fs::File::open(path)?, path, 0))
    }

    /// What is in a directory.
    pub(crate) fn read_dir(&self, path: &Path) -> io::Result<impl Iterator<Item = io::Result<DirEntry>> + use<>> {
        announce!(self, Open(path));
        let entries = std::fs::read_dir(path)?;
        // It is the entries that are read, each by itself.
        #[cfg(test)]
        let entries = {
            let failed = self.hook.as_ref().and_then(|hook| hook.before(&Operation::Read(path)).err());
            failed.map(Err).into_iter().chain(entries)
        };
        Ok(entries)
    }

    /// What is at a path, symbolic links followed.
    pub(crate) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        announce!(self, Look(path));
        std::fs::metadata(path)
    }

    /// What is at a path; a symbolic link is one.
    pub(crate) fn symlink_metadata(&self, path: &Path) -> io::Result<Metadata> {
        announce!(self, Look(path));
        std::fs::symlink_metadata(path)
    }

    /// Where a symbolic link leads.
    pub(crate) fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        announce!(self, Look(path));
        std::fs::read_link(path)
    }

    /// Reads a whole file; `None` if there is none.
    pub(crate) fn read_if_there(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match self.read(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is anything at a path.
    pub(crate) fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether there is a directory at a path.
    pub(crate) fn is_dir(&self, path: &Path) -> io::Result<bool> {
        match self.metadata(path) {
            Ok(metadata) => Ok(metadata.is_dir()),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether there is a file at a path.
    pub(crate) fn is_file(&self, path: &Path) -> io::Result<bool> {
        match self.metadata(path) {
            Ok(metadata) => Ok(metadata.is_file()),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a directory; its parent must exist.
    pub(crate) fn create_dir(&self, path: &Path) -> io::Result<()> {
        announce!(self, CreateDir(path));
        std::fs::create_dir(path)?;
        self.share(path, true).inspect_err(|_| drop(self.remove_dir(path)))
    }

    /// Creates a directory and those above it that are missing.
    pub(crate) fn create_dirs(&self, path: &Path) -> io::Result<()> {
        announce!(self, CreateDir(path));
        std::fs::create_dir_all(path)
    }

    /// Creates a directory that only its owner may enter, as quarantines are.
    pub(crate) fn create_private_dir(&self, path: &Path) -> io::Result<()> {
        announce!(self, CreateDir(path));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    /// Creates a file that must not exist yet (`O_CREAT | O_EXCL`). After an error it does not exist: a lock that nobody
    /// holds would stay for ever.
    pub(crate) fn create_new(&self, path: &Path) -> io::Result<File> {
        announce!(self, CreateNew(path));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        self.share(path, false).inspect_err(|_| drop(self.remove(path)))?;
        Ok(self.file(file, path, 0))
    }

    /// The same, for a file that nobody may write to once it is closed.
    pub(crate) fn create_read_only(&self, path: &Path) -> io::Result<File> {
        announce!(self, CreateNew(path));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o444);
        let file = options.open(path)?;
        self.share(path, false).inspect_err(|_| drop(self.remove(path)))?;
        Ok(self.file(file, path, 0))
    }

    /// Opens a file to write at its end; `create` says whether it may be a new one. One that is empty gets the permissions of
    /// a new one, unless it belongs to somebody else, who has chosen them.
    pub(crate) fn open_append(&self, path: &Path, create: bool) -> io::Result<File> {
        announce!(self, OpenAppend(path));
        let file = OpenOptions::new().append(true).create(create).open(path)?;
        announce!(self, Look(path));
        let position = file.metadata()?.len();
        if position == 0 {
            match self.share(path, false) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                shared => shared?,
            }
        }
        Ok(self.file(file, path, position))
    }

    /// Gives what was just created the permissions that the repository's files have.
    fn share(&self, path: &Path, is_dir: bool) -> io::Result<()> {
        if self.shared == Shared::Umask {
            return Ok(());
        }
        announce!(self, Share(path));
        self.shared.adjust(path, is_dir)
    }

    #[cfg(test)]
    fn file(&self, file: std::fs::File, path: &Path, position: u64) -> File {
        File { file, origin: Origin { path: path.to_path_buf(), position, fs: self.clone() } }
    }

    #[cfg(not(test))]
    fn file(&self, file: std::fs::File, _: &Path, _: u64) -> File {
        File { file }
    }

    /// Makes the entries of a directory durable: what was created in it, renamed into it, or removed from it; where the
    /// file system syncs no directories, as durable as it makes them by itself. Waits up to a second for a file to be closed
    /// where too many are open.
    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // What is synced has happened already: refs that have moved would be called refused for want of one file.
        for _ in 0..20 {
            match self.try_sync_dir(path) {
                Err(error) if syncs_no_directories(&error) => return Ok(()),
                Err(error) if too_many_are_open(&error) => thread::sleep(Duration::from_millis(50)),
                other => return other,
            }
        }
        self.try_sync_dir(path)
    }

    fn try_sync_dir(&self, path: &Path) -> io::Result<()> {
        announce!(self, SyncDir(path));
        // Elsewhere a directory cannot be opened as a file, and a rename is durable without it.
        #[cfg(unix)]
        std::fs::File::open(path)?.sync_all()?;
        Ok(())
    }

    /// Renames a file, taking the place of what may be there.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        announce!(self, Rename { from, to });
        std::fs::rename(from, to)
    }

    /// Takes the right to write to a file away from everybody.
    pub(crate) fn read_only(&self, path: &Path) -> io::Result<()> {
        announce!(self, ReadOnly(path));
        let mut permissions = std::fs::metadata(path)?.permissions();
        permissions.set_readonly(true);
        std::fs::set_permissions(path, permissions)
    }

    /// Removes a file.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        announce!(self, Remove(path));
        std::fs::remove_file(path)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_dir(&self, path: &Path) -> io::Result<()> {
        announce!(self, RemoveDir(path));
        std::fs::remove_dir(path)
    }

    /// Removes a directory and all that is in it.
    pub(crate) fn remove_all(&self, path: &Path) -> io::Result<()> {
        announce!(self, RemoveAll(path));
        std::fs::remove_dir_all(path)
    }
}

impl std::fmt::Debug for Fs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fs").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// There is no such file, or a directory in its place, or a file in the place of a directory above it.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory)
}

/// What some file systems say to a sync of a directory, network file systems above all. A disk that fails says EIO.
fn syncs_no_directories(error: &io::Error) -> bool {
    const EBADF: i32 = 9;
    const EINVAL: i32 = 22;
    cfg!(unix) && matches!(error.raw_os_error(), Some(EBADF | EINVAL))
}

fn too_many_are_open(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    cfg!(unix) && matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// An open file.
#[derive(Debug)]
pub(crate) struct File {
    file: std::fs::File,
    #[cfg(test)]
    origin: Origin,
}

/// What a [`Hook`] is told of a file besides the operation itself.
#[cfg(test)]
#[derive(Debug)]
struct Origin {
    path: PathBuf,
    position: u64,
    fs: Fs,
}

impl File {
    /// Replaces bytes that were written before, or writes beyond the end; the place of `write` stays where it is.
    #[cfg(unix)]
    pub(crate) fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        announce!(self.origin.fs, Write { path: &self.origin.path, offset, data });
        std::os::unix::fs::FileExt::write_all_at(&self.file, data, offset)
    }

    /// Cuts the file off after so many bytes.
    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        announce!(self.origin.fs, SetLen(&self.origin.path));
        self.file.set_len(len)
    }

    /// Tells other processes that the owner of this file lives: the lock (`flock`) goes with the file's last handle,
    /// however the process ends. False if another has it, or if the file system has no locks.
    pub(crate) fn try_lock(&self) -> bool {
        self.lock().is_ok()
    }

    fn lock(&self) -> io::Result<()> {
        announce!(self.origin.fs, Lock(&self.origin.path));
        Ok(self.file.try_lock()?)
    }

    /// The same for a lock that several may have, but nobody beside [`try_lock`](Self::try_lock). Whoever has that is
    /// waited for, though not for ever: anybody who may read a file may lock it.
    pub(crate) fn lock_shared(&self) -> io::Result<()> {
        announce!(self.origin.fs, Lock(&self.origin.path));
        for _ in 0..10 {
            match self.file.try_lock_shared() {
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
                result => return Ok(result?),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// What is known of it, whatever is at its path now.
    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        announce!(self.origin.fs, Look(&self.origin.path));
        self.file.metadata()
    }

    /// Says when the file was modified last; a later write says it again.
    pub(crate) fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        announce!(self.origin.fs, SetModified(&self.origin.path));
        self.file.set_modified(time)
    }

    /// Makes the file's bytes durable; the entry in its directory needs a [`Fs::sync_dir`].
    pub(crate) fn sync(&self) -> io::Result<()> {
        announce!(self.origin.fs, Sync(&self.origin.path));
        self.file.sync_all()
    }
}

/// Writes go to the operating system at once; there is no buffer to flush.
impl Write for File {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        announce!(self.origin.fs, Write { path: &self.origin.path, offset: self.origin.position, data });
        let count = self.file.write(data)?;
        #[cfg(test)]
        {
            self.origin.position = self.origin.position.saturating_add(count as u64);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        announce!(self.origin.fs, Read(&self.origin.path));
        self.file.read(buf)
    }
}

impl ReadAt for File {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        announce!(self.origin.fs, Read(&self.origin.path));
        self.file.read_exact_at(buf, offset)
    }
}

impl PackFile for File {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        File::write_all_at(self, bytes, offset)
    }
}
