//! Clears away what dead processes left.

use std::ffi::OsStr;
use std::fs::DirEntry;
use std::io::Read as _;
use std::path::Path;

use super::Repository;
use super::fs::{File, Fs};
use super::loose_objects::TEMPORARY;
use super::migrate::{KEEP_TEXT, remove_hidden};
use super::quarantine_directory::OWNER;

/// Removes quarantines whose owner is gone, and what is left of packs and objects on their way into place.
///
/// Quarantines and packs have a file that its owner keeps locked, and that got its name only when it was: where there is
/// such a file and it can be locked, nobody owns it any more. Whoever puts objects in place has a lock on their directory,
/// unless a sweep kept it too long: if nobody has, the temporary files in there are nobody's. What git leaves has other
/// names, or no such file, and is not touched; `git prune` sees to that. Nothing here is worth an error: what cannot be
/// removed now is so when the repository is opened again.
///
/// All this is about processes that see each other's locks. Where hosts share a file system that keeps locks to each of
/// them (NFS mounted with `local_lock`, SSHFS), one host takes the unfinished pushes of another for dead. Whose quarantine,
/// pack or objects are gone before they are in place fails, and moves no ref; but between a look and what follows from it
/// there is time.
pub(super) fn sweep(repository: &Repository) {
    let fs = repository.fs();
    let objects = repository.objects_dir();
    let mut temporary = Vec::new();
    for entry in entries(fs, &objects) {
        if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
            temporary.push(entry.path());
        }
        let is_quarantine = entry.file_name().as_encoded_bytes().starts_with(b"tmp_objdir-incoming-");
        // Held until all is gone, so that nobody else sweeps here meanwhile.
        let owner = is_quarantine.then(|| abandoned(fs, &entry.path().join(OWNER))).flatten();
        if owner.is_some() {
            let _ = fs.remove_all(&entry.path());
        }
    }
    // Asked after they were seen, and held until they are gone.
    let nobody = if temporary.is_empty() { None } else { abandoned(fs, &objects) };
    if nobody.is_some() {
        for path in temporary {
            let _ = fs.remove(&path);
        }
    }
    drop(nobody);
    let packs = objects.join("pack");
    for entry in entries(fs, &packs) {
        let path = entry.path();
        let Some(name) = path.file_stem().and_then(OsStr::to_str) else { continue };
        if path.extension() != Some(OsStr::new("keep")) {
            continue;
        }
        let Some(mut keep) = abandoned(fs, &path) else { continue };
        let mut text = Vec::new();
        if (&mut keep).take((KEEP_TEXT.len() as u64).saturating_add(1)).read_to_end(&mut text).is_err()
            || text != KEEP_TEXT
        {
            continue;
        }
        let swept = match fs.exists(&path.with_extension("idx")) {
            Ok(true) => true,
            Ok(false) => remove_hidden(fs, &packs, name),
            // It may well be there, and refs that need the pack.
            Err(_) => false,
        };
        if swept {
            let _ = fs.remove(&path);
        }
    }
}

fn entries(fs: &Fs, dir: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    fs.read_dir(dir).into_iter().flatten().flatten()
}

/// A file or directory that somebody owned who is gone: it is there, and could be locked.
fn abandoned(fs: &Fs, path: &Path) -> Option<File> {
    let file = fs.open(path).ok()?;
    file.try_lock().then_some(file)
}
