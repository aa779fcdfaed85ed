use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Repository;
use super::fs::{File, Fs};
use crate::checksum::Hasher;
use crate::proto::ObjectId;
use crate::store::unique::unique_suffix;

/// A pack that was renamed into `objects/pack`, and that `git repack` leaves alone as long as this lives.
///
/// Between the pack's arrival and the move of the refs nothing in the repository needs its objects, so `git repack -ad`
/// would drop them. A `.keep` file prevents that, as it does for git's own pushes. It is removed when this is dropped;
/// should the process die before, [`sweep`](super::sweep) finds it without the lock on it.
///
/// | step | after a crash here |
/// |---|---|
/// | `.keep`, `.pack` and `.rev` are renamed into place, the directory is synced | no index, so nobody sees a pack; swept |
/// | `.idx` is renamed into place, the directory is synced | nothing of it, or a whole pack that no ref needs |
///
/// Without the first sync the index might survive a crash that takes the pack.
pub(super) struct Migrated {
    fs: Fs,
    keep: PathBuf,
    /// Its lock says that we live.
    _owner: File,
}

/// What stands in a `.keep` file of ours that is locked; others never have this text.
pub(super) const KEEP_TEXT: &[u8] = b"receive-pack.rs: a push is under way\n";

/// `pack-<id>`, without an ending: a name that no other pack has, has had, or will have.
///
/// git names a pack by its checksum. Two pushes of the same pack would then share its files and its `.keep`; and a
/// `git repack -ad` that has seen an older pack of the name is about to remove the files by that name, whoever put them
/// there.
pub(super) fn pack_name(checksum: &ObjectId) -> io::Result<String> {
    let mut hasher = Hasher::new(checksum.format());
    hasher.update(checksum.as_bytes());
    hasher.update(unique_suffix().as_bytes());
    Ok(format!("pack-{}", hasher.finish().map_err(io::Error::other)?))
}

impl Migrated {
    /// Renames the pack and its indexes from the quarantine directory into place, durably.
    pub(super) fn new(repository: &Repository, quarantine: &Path, name: &str) -> io::Result<Self> {
        let fs = repository.fs();
        let packs = repository.objects_dir().join("pack");
        let source = |ending: &str| quarantine.join(format!("incoming.{ending}"));
        let target = |ending: &str| packs.join(format!("{name}.{ending}"));
        let mut keep = fs.create_new(&source("keep"))?;
        if keep.try_lock() {
            // It is not worth a sync: a pack that is kept though nobody knows why is only not repacked.
            keep.write_all(KEEP_TEXT)?;
        }
        match fs.rename(&source("keep"), &target("keep")) {
            // A copy of the repository without its empty directories.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(fs, &packs)?;
                fs.sync_dir(&repository.objects_dir())?;
                fs.rename(&source("keep"), &target("keep"))?;
            }
            renamed => renamed?,
        }
        let migrated = Self { fs: fs.clone(), keep: target("keep"), _owner: keep };
        let put = |ending: &str| -> io::Result<()> {
            // Packs are never written again; git takes the right to away from their files.
            fs.read_only(&source(ending))?;
            fs.rename(&source(ending), &target(ending))
        };
        let hidden = || {
            put("pack")?;
            put("rev")?;
            fs.sync_dir(&packs)?;
            put("idx")
        };
        if let Err(error) = hidden() {
            remove_hidden(fs, &packs, name);
            return Err(error);
        }
        // Where another host does not see our lock, its sweep may have taken the pack while there was no index.
        if !fs.exists(&target("pack"))? {
            let _ = fs.remove(&target("idx"));
            remove_hidden(fs, &packs, name);
            return Err(io::Error::new(io::ErrorKind::NotFound, "somebody has removed the pack on its way into place"));
        }
        // If this fails, the pack stays: others may have seen it, and rely on it.
        fs.sync_dir(&packs)?;
        Ok(migrated)
    }
}

/// Makes a directory, unless somebody else is quicker.
fn make(fs: &Fs, dir: &Path) -> io::Result<()> {
    match fs.create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Removes what is there of a pack that has no index yet; says whether nothing is left. What is, is garbage that
/// `git count-objects -v` shows.
pub(super) fn remove_hidden(fs: &Fs, packs: &Path, name: &str) -> bool {
    let is_gone = |ending: &str| match fs.remove(&packs.join(format!("{name}.{ending}"))) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    ["pack", "rev"].map(is_gone) == [true; 2]
}

impl Drop for Migrated {
    fn drop(&mut self) {
        // If it stays, the pack is only not repacked.
        let _ = self.fs.remove(&self.keep);
    }
}
