use std::fs::Metadata;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Logging;
use super::loose::{self, Loose};
use super::name;
use super::packed::Packed;
use crate::Error;
use crate::proto::{ObjectFormat, ObjectId};
use crate::store::bare_repository::fs::{File, Fs};

/// The refs of one repository. Cloning is cheap, and clones share what they know of `packed-refs`.
#[derive(Clone, Debug)]
pub(crate) struct Refs {
    pub(super) git_dir: PathBuf,
    pub(super) format: ObjectFormat,
    pub(super) fs: Fs,
    pub(super) options: RefsOptions,
    cache: Arc<Mutex<Option<Cached>>>,
}

/// How refs are changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefsOptions {
    /// Which refs get a log.
    pub(crate) logging: Logging,
    /// How long to wait for the lock of a ref (`core.filesRefLockTimeout`).
    pub(crate) lock_timeout: Duration,
    /// How long to wait for the lock of `packed-refs` (`core.packedRefsTimeout`).
    pub(crate) packed_timeout: Duration,
}

/// A parsed `packed-refs`, good for as long as the same file is in its place and nobody wrote to it.
#[derive(Debug)]
struct Cached {
    // Held open: as long as it is, no other file can have its inode number, so "same number" means "same file".
    _file: File,
    stamp: Stamp,
    packed: Arc<Packed>,
}

/// What a ref leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The ref that holds, or would hold, the id: the name asked for, or where symbolic refs lead from it.
    pub(crate) name: Vec<u8>,
    /// The symbolic refs on the way, the one asked for first.
    pub(crate) through: Vec<Vec<u8>>,
    /// What it holds.
    pub(crate) value: Value,
}

/// What a ref holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// The id of an object.
    Id(ObjectId),
    /// There is no such ref.
    Absent,
    /// A file that is no ref; git shows it with the zero id.
    Broken,
    /// Symbolic refs that lead in a circle, or through more than git follows.
    Loop,
}

/// One ref as an advertisement shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The full name.
    pub(crate) name: Vec<u8>,
    /// What it leads to, symbolic refs followed; the zero id for a ref that is broken.
    pub(crate) id: ObjectId,
}

/// How many symbolic refs git follows: it reads five refs at most.
const MAX_DEPTH: usize = 4;

/// How many symbolic links git follows from `packed-refs` before it writes.
const MAX_LINKS: usize = 5;

impl Refs {
    pub(crate) fn new(git_dir: PathBuf, format: ObjectFormat, fs: Fs, options: RefsOptions) -> Self {
        Self { git_dir, format, fs, options, cache: Arc::default() }
    }

    /// Follows a ref, `HEAD` or below `refs/`, to its value.
    pub(crate) fn resolve(&self, name: &[u8]) -> Result<Resolved, Error> {
        let mut name = name.to_vec();
        let mut through = Vec::new();
        loop {
            let value = match self.read(&name)? {
                None => Value::Absent,
                Some(Loose::Id(id)) => Value::Id(id),
                Some(Loose::Broken) => Value::Broken,
                Some(Loose::Symbolic(_)) if through.len() == MAX_DEPTH => Value::Loop,
                Some(Loose::Symbolic(target)) => {
                    through.push(std::mem::replace(&mut name, target));
                    continue;
                }
            };
            return Ok(Resolved { name, through, value });
        }
    }

    /// The branch that `HEAD` names, born or not; `None` for a detached `HEAD`.
    pub(crate) fn head(&self) -> Result<Option<Vec<u8>>, Error> {
        match loose::read(&self.fs, &self.git_dir, b"HEAD", self.format).map_err(unreadable)? {
            Some(Loose::Symbolic(target)) => Ok(Some(target)),
            _ => Ok(None),
        }
    }

    /// The branch that `HEAD` leads to, born or not, be it through another symbolic ref; `None` for a detached `HEAD`.
    pub(crate) fn current_branch(&self) -> Result<Option<Vec<u8>>, Error> {
        let Resolved { name, through, .. } = self.resolve(b"HEAD")?;
        Ok((!through.is_empty()).then_some(name))
    }

    /// All refs below a prefix such as `refs/` or `refs/tags/`, sorted by name, as git advertises them: symbolic refs
    /// with the id they lead to, dangling and circular ones left out, broken ones with the zero id.
    pub(crate) fn list(&self, prefix: &[u8]) -> Result<Vec<Listed>, Error> {
        // Loose ones first: a ref that is packed meanwhile is then found in the file that is read after it.
        let mut found: Vec<(Vec<u8>, Option<Loose>)> = Vec::new();
        for name in loose::names(&self.fs, &self.git_dir, prefix).map_err(unreadable)? {
            if name::is_valid(&name) {
                let value = loose::read(&self.fs, &self.git_dir, &name, self.format).map_err(unreadable)?;
                found.push((name, value));
            }
        }
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let packed = self.packed()?;
        let mut records = packed.with_prefix(prefix).filter(|record| name::is_valid(packed.name(record))).peekable();
        let mut listed = Vec::with_capacity(found.len());
        let zero = ObjectId::zero(self.format);
        for (name, value) in found {
            while let Some(record) = records.next_if(|record| packed.name(record) < name.as_slice()) {
                listed.push(Listed { name: packed.name(record).to_vec(), id: record.id });
            }
            let hidden = records.next_if(|record| packed.name(record) == name.as_slice());
            let id = match value {
                Some(Loose::Id(id)) => Some(id),
                Some(Loose::Broken) => Some(zero),
                None => hidden.map(|record| record.id),
                Some(Loose::Symbolic(_)) => match self.resolve(&name)?.value {
                    Value::Id(id) => Some(id),
                    Value::Absent | Value::Loop => None,
                    Value::Broken => Some(zero),
                },
            };
            if let Some(id) = id {
                listed.push(Listed { name, id });
            }
        }
        listed.extend(records.map(|record| Listed { name: packed.name(record).to_vec(), id: record.id }));
        Ok(listed)
    }

    /// What one ref holds, symbolic refs not followed.
    pub(super) fn read(&self, name: &[u8]) -> Result<Option<Loose>, Error> {
        match loose::read(&self.fs, &self.git_dir, name, self.format).map_err(unreadable)? {
            Some(loose) => Ok(Some(loose)),
            // Packed after we looked for the file: `packed-refs` is read after that.
            None => Ok(self.packed()?.get(name).map(|record| Loose::Id(record.id))),
        }
    }

    /// The refs in `packed-refs`, as the file is now.
    pub(super) fn packed(&self) -> Result<Arc<Packed>, Error> {
        let path = self.packed_path();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = cache.as_ref() {
            match self.fs.metadata(&path) {
                Ok(there) if cached.stamp == Stamp::of(&there) => return Ok(Arc::clone(&cached.packed)),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unreadable(error)),
                _ => {}
            }
        }
        *cache = None;
        let mut file = match self.fs.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::default()),
            Err(error) => return Err(unreadable(error)),
        };
        // Before it is read: who writes to it meanwhile changes the stamp.
        let stamp = Stamp::of(&file.metadata().map_err(unreadable)?);
        let mut text = Vec::new();
        io::Read::read_to_end(&mut file, &mut text).map_err(unreadable)?;
        let packed = Arc::new(Packed::parse(self.format, text)?);
        *cache = Some(Cached { _file: file, stamp, packed: Arc::clone(&packed) });
        Ok(packed)
    }

    pub(super) fn packed_path(&self) -> PathBuf {
        self.git_dir.join("packed-refs")
    }

    /// Where `packed-refs` is written: where it leads if it is a symbolic link, which stays.
    pub(super) fn packed_place(&self) -> io::Result<PathBuf> {
        let mut path = self.packed_path();
        for _ in 0..=MAX_LINKS {
            match self.fs.symlink_metadata(&path) {
                Ok(metadata) if metadata.is_symlink() => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => return Ok(path),
            }
            let link = self.fs.read_link(&path)?;
            path = path.parent().unwrap_or(&self.git_dir).join(link);
        }
        Err(io::Error::other("packed-refs leads through too many symbolic links"))
    }

    pub(super) fn path(&self, name: &[u8]) -> PathBuf {
        name::path_below(&self.git_dir, name)
    }
}

pub(super) fn unreadable(error: io::Error) -> Error {
    Error::store("the refs cannot be read", error)
}

/// What tells one content of a file from another without reading it: git looks at the same.
#[derive(Debug)]
#[cfg_attr(unix, derive(PartialEq, Eq))]
struct Stamp {
    #[cfg(unix)]
    file: (u64, u64, u64),
    /// When it was written to, and when anything about it changed, in seconds and nanoseconds.
    #[cfg(unix)]
    times: [(i64, i64); 2],
}

#[cfg(unix)]
impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self {
            file: (metadata.dev(), metadata.ino(), metadata.len()),
            times: [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())],
        }
    }
}

/// Elsewhere files have no number to know them by: each looks like another.
#[cfg(not(unix))]
impl Stamp {
    fn of(_: &Metadata) -> Self {
        Self {}
    }
}

#[cfg(not(unix))]
impl PartialEq for Stamp {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}
