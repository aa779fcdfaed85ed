use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use flate2::{Compress, Compression, FlushCompress, Status};

use super::fs::{File, Fs, is_absent};
use crate::proto::{ObjectId, ObjectKind};
use crate::store::unique::unique_suffix;

/// The objects of a small push, each of which becomes a file of its own (gitformat-loose).
///
/// They are in memory until the push is known to be good, so that it needs no quarantine on the disk.
///
/// | step | after a crash here |
/// |---|---|
/// | each is written to a [temporary file](TEMPORARY) and synced | files that no object has the name of; swept |
/// | the files are renamed into the fan-out directories | some of the objects, whole, that no ref needs |
/// | those directories and `objects` are synced | all of them |
///
/// Between them the objects are in no order: git does not mind an object that needs others that are not there, as long as
/// nobody needs it.
#[derive(Debug, Default)]
pub(super) struct LooseObjects(pub(super) HashMap<ObjectId, (ObjectKind, Vec<u8>)>);

/// How the names of files in `objects` begin that will be objects: `git prune` clears away what is old and begins with
/// `tmp_`. Whoever has such files holds a shared lock on the directory, if it can be had soon, so that
/// [`sweep`](super::sweep) knows when all of them are dead.
pub(super) const TEMPORARY: &str = "tmp_incoming_obj-";

/// How often something is tried again that somebody else was quicker at.
const ATTEMPTS: u32 = 10;

impl LooseObjects {
    /// Puts each of them where objects are looked for, durably.
    ///
    /// Objects that are there already are replaced, and by that are as young as the push: `git gc` leaves them alone.
    /// If this fails, what was put in place stays: others may have seen it, and rely on it.
    pub(super) fn store(&self, fs: &Fs, objects: &Path) -> io::Result<()> {
        let lock = fs.open(objects)?;
        // In a file system without locks nobody can tell whether we live, and nobody sweeps; nor does anybody as long as
        // a stranger's lock keeps out all of us. If it is a sweep that keeps us out, and another one comes when it is done,
        // that one may take what has no name yet: then the push fails, before any ref moves.
        let _ = lock.lock_shared();
        let mut deflater = Deflater::new();
        let mut files = Vec::with_capacity(self.0.len());
        for (id, (kind, data)) in &self.0 {
            let mut file = TemporaryFile::create(fs, objects)?;
            file.file.write_all(&deflater.deflate(*kind, data)?)?;
            files.push((id, file));
        }
        // When all are written, the file system may make several durable at once.
        files.iter().try_for_each(|(_, file)| file.file.sync())?;
        let mut dirs = BTreeSet::new();
        for (id, file) in files {
            let (dir, name) = place(objects, id);
            file.put(&dir, &name)?;
            dirs.insert(dir);
        }
        for dir in dirs {
            match fs.sync_dir(&dir) {
                // `git prune-packed` has found all that was in it in a pack.
                Err(error) if is_absent(&error) => {}
                result => result?,
            }
        }
        // Also if all of them were there: somebody may have made them a moment ago.
        fs.sync_dir(objects)
    }
}

/// A file that has no name yet by which an object is found. Dropped, it is removed.
struct TemporaryFile<'a> {
    fs: &'a Fs,
    path: PathBuf,
    file: File,
    is_placed: bool,
}

impl<'a> TemporaryFile<'a> {
    fn create(fs: &'a Fs, objects: &Path) -> io::Result<Self> {
        let mut attempts = 0..ATTEMPTS;
        loop {
            let path = objects.join(format!("{TEMPORARY}{}", unique_suffix()));
            // Objects are never written again; git takes the right to away from their files.
            match fs.create_read_only(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempts.next().is_some() => {}
                created => return Ok(Self { fs, path, file: created?, is_placed: false }),
            }
        }
    }

    /// Renames it into a directory, which may have to be made: `git gc` removes those that it finds empty.
    fn put(mut self, dir: &Path, name: &Path) -> io::Result<()> {
        let mut attempts = 0..ATTEMPTS;
        loop {
            match self.fs.rename(&self.path, name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts.next().is_some() => {
                    match self.fs.create_dir(dir) {
                        // In a shared repository it is made, and then given its permissions: it may be gone again.
                        Err(error)
                            if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {}
                        made => made?,
                    }
                }
                renamed => {
                    self.is_placed = renamed.is_ok();
                    return renamed;
                }
            }
        }
    }
}

impl Drop for TemporaryFile<'_> {
    fn drop(&mut self) {
        if !self.is_placed {
            // What stays is swept.
            let _ = self.fs.remove(&self.path);
        }
    }
}

/// The fan-out directory of an object, and its file in there.
fn place(objects: &Path, id: &ObjectId) -> (PathBuf, PathBuf) {
    let hex = id.to_string();
    let (first, rest) = hex.split_at_checked(2).unwrap_or((&hex, ""));
    let dir = objects.join(first);
    let file = dir.join(rest);
    (dir, file)
}

/// Makes what stands in the files of objects. Fast rather than small, as with git: a gc will pack them.
struct Deflater(Compress);

impl Deflater {
    fn new() -> Self {
        Self(Compress::new(Compression::fast(), true))
    }

    fn deflate(&mut self, kind: ObjectKind, data: &[u8]) -> io::Result<Vec<u8>> {
        // What it needs is large, so it is not made anew for each object.
        self.0.reset();
        let content = [format!("{} {}\0", kind.name(), data.len()).as_bytes(), data].concat();
        let mut deflated = Vec::new();
        loop {
            // Enough at once, unless there is nothing to be deflated.
            deflated.reserve(content.len().saturating_add(64));
            let done = usize::try_from(self.0.total_in()).unwrap_or(usize::MAX);
            let rest = content.get(done..).unwrap_or_default();
            if self.0.compress_vec(rest, &mut deflated, FlushCompress::Finish)? == Status::StreamEnd {
                return Ok(deflated);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_deflated_is_whole_however_it_deflates() {
        let mut deflater = Deflater::new();
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(1 << 20)
        .collect();
        for data in [&b""[..], b"a", &[0; 1 << 20], &noise] {
            let deflated = deflater.deflate(ObjectKind::Blob, data).unwrap();
            let mut inflated = Vec::new();
            flate2::read::ZlibDecoder::new(&deflated[..]).read_to_end(&mut inflated).unwrap();
            assert!(inflated == [format!("blob {}\0", data.len()).as_bytes(), data].concat());
        }
    }
}
