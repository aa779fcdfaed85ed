use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::fs::{File, Fs};
use crate::store::index::{Aside, AsideFile};
use crate::store::unique::unique_suffix;

/// `objects/tmp_objdir-incoming-*`: the name that git gives its quarantines, and that `git prune` clears away should the
/// process die. It is made when the first file is: a small push needs none. Dropped, it is removed with all that is in it.
#[derive(Debug)]
pub(super) struct QuarantineDirectory {
    fs: Fs,
    objects: PathBuf,
    made: OnceLock<Made>,
}

#[derive(Debug)]
struct Made {
    path: PathBuf,
    fs: Fs,
    /// Locked as long as we live; see [`sweep`](super::sweep).
    owner: Option<File>,
}

/// The file in a quarantine whose lock says that the owner lives.
pub(super) const OWNER: &str = "owner";

/// How often a name that nobody has is looked for.
const ATTEMPTS: u32 = 10;

impl QuarantineDirectory {
    /// One that will be in the directory of objects, if it is needed.
    pub(super) fn new(fs: &Fs, objects: PathBuf) -> Self {
        Self { fs: fs.clone(), objects, made: OnceLock::new() }
    }

    /// Where it is, made if it was not there.
    pub(super) fn path(&self) -> io::Result<&Path> {
        if self.made.get().is_none() {
            // If somebody was quicker, theirs it is, and ours is removed.
            let _ = self.made.set(Made::create(&self.fs, &self.objects)?);
        }
        let made = self.made.get().map(|made| made.path.as_path());
        made.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Creates a file in it that must not exist yet.
    pub(super) fn create_new(&self, name: &str) -> io::Result<File> {
        self.fs.create_new(&self.path()?.join(name))
    }
}

impl Made {
    fn create(fs: &Fs, objects: &Path) -> io::Result<Self> {
        let mut attempts = 0..ATTEMPTS;
        let path = loop {
            let path = objects.join(format!("tmp_objdir-incoming-{}", unique_suffix()));
            match fs.create_private_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempts.next().is_some() => {}
                Err(error) => return Err(error),
            }
        };
        let mut made = Self { path, fs: fs.clone(), owner: None };
        // It gets its name when it is locked: whoever finds it without a lock knows that its owner is dead.
        let unlocked = made.path.join("owner.new");
        let owner = fs.create_new(&unlocked)?;
        if owner.try_lock() {
            fs.rename(&unlocked, &made.path.join(OWNER))?;
            made.owner = Some(owner);
        }
        Ok(made)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Nobody is left to hear of an error; `git prune` clears away what stays. An empty directory goes away even if no
        // more files can be opened, which others need to be swept.
        if self.fs.remove_all(&self.path).is_err() {
            let _ = self.fs.remove_dir(&self.path);
        }
    }
}

/// What of a push is too much for the memory is put aside in files that have no name any more.
impl Aside for QuarantineDirectory {
    fn file(&self) -> io::Result<Box<dyn AsideFile>> {
        let mut attempts = 0..ATTEMPTS;
        loop {
            let path = self.path()?.join(format!("tmp_spool_{}", unique_suffix()));
            match self.fs.create_new(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempts.next().is_some() => {}
                opened => {
                    let file = opened?;
                    self.fs.remove(&path)?;
                    return Ok(Box::new(file));
                }
            }
        }
    }
}

impl AsideFile for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        File::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }
}
