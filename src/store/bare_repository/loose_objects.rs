use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::fs::{File, Fs};
use crate::proto::{ObjectId, ObjectKind};

/// The objects of a small push, each of which becomes a file of its own (gitformat-loose).
///
/// | step | after a crash here |
/// |---|---|
/// | each file is written in quarantine and synced | nothing that anybody sees |
/// | the files are renamed into the fan-out directories | some of the objects, whole, that no ref needs |
/// | those directories and `objects` are synced | all of them |
///
/// Between them the objects are in no order: git does not mind an object that needs others that are not there, as long as
/// nobody needs it.
#[derive(Debug, Default)]
pub(super) struct LooseObjects(pub(super) HashMap<ObjectId, (ObjectKind, Vec<u8>)>);

/// How often a directory is made that somebody removes again at once.
const ATTEMPTS: u32 = 10;

impl LooseObjects {
    /// Writes each of them to a file in the quarantine directory, durably.
    pub(super) fn write(&self, fs: &Fs, quarantine: &Path) -> io::Result<()> {
        let mut files = Vec::with_capacity(self.0.len());
        for (id, (kind, data)) in &self.0 {
            let path = quarantine.join(id.to_string());
            let mut file = fs.create_new(&path)?;
            file.write_all(&deflated(*kind, data)?)?;
            // Objects are never written again; git takes the right to away from their files.
            fs.read_only(&path)?;
            files.push(file);
        }
        // When all are written, the file system may make several durable at once.
        files.iter().try_for_each(File::sync)
    }

    /// Renames the files from the quarantine directory to where objects are looked for, durably.
    ///
    /// Objects that are there already are replaced, and by that are as young as the push: `git gc` leaves them alone.
    /// If this fails, what was put in place stays: others may have seen it, and rely on it.
    pub(super) fn migrate(&self, fs: &Fs, quarantine: &Path, objects: &Path) -> io::Result<()> {
        let mut dirs = BTreeSet::new();
        for id in self.0.keys() {
            let (dir, file) = place(objects, id);
            put(fs, &quarantine.join(id.to_string()), &dir, &file)?;
            dirs.insert(dir);
        }
        for dir in &dirs {
            fs.sync_dir(dir)?;
        }
        // Also if all of them were there: somebody may have made them a moment ago.
        fs.sync_dir(objects)
    }
}

/// Renames a file into a directory, which may have to be made: `git gc` removes those that it finds empty.
fn put(fs: &Fs, from: &Path, dir: &Path, to: &Path) -> io::Result<()> {
    let mut attempts = 0..ATTEMPTS;
    loop {
        match fs.rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts.next().is_some() => {
                match fs.create_dir(dir) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    result => result?,
                }
            }
            result => return result,
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

/// What stands in the file of an object. Fast rather than small, as with git: a gc will pack it.
fn deflated(kind: ObjectKind, data: &[u8]) -> io::Result<Vec<u8>> {
    let mut deflated = Vec::new();
    let mut encoder = ZlibEncoder::new(&mut deflated, Compression::fast());
    write!(encoder, "{} {}\0", kind.name(), data.len())?;
    encoder.write_all(data)?;
    encoder.try_finish()?;
    drop(encoder);
    Ok(deflated)
}
