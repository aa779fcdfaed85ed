use std::ffi::OsStr;
use std::fs::read_dir;
use std::path::{Path, PathBuf};

use gix_odb::{loose, pack};

use super::alternates;
use crate::proto::ObjectId;

/// Which objects a repository and its alternates have, for somebody who asks for more of them than it is worth to look
/// for a file each.
///
/// It is what was there at one moment, as far as it could be read.
pub(super) struct Inventory {
    hash: gix_hash::Kind,
    directories: Vec<PathBuf>,
    packs: Vec<pack::index::File>,
}

impl Inventory {
    /// Opens the indexes of all packs.
    pub(super) fn open(objects: &Path, hash: gix_hash::Kind) -> Self {
        let mut directories = alternates::directories(objects);
        directories.push(objects.to_path_buf());
        let packs = directories.iter().flat_map(|directory| indexes(&directory.join("pack")));
        let packs = packs.filter_map(|path| pack::index::File::at(path, hash).ok()).collect();
        Self { hash, directories, packs }
    }

    /// Whether the object is in one of the packs.
    pub(super) fn is_packed(&self, id: &ObjectId) -> bool {
        let Ok(id) = gix_hash::oid::try_from_bytes(id.as_bytes()) else { return false };
        self.packs.iter().any(|pack| pack.lookup(id).is_some())
    }

    /// The objects that have a file each.
    pub(super) fn loose(&self) -> impl Iterator<Item = ObjectId> {
        let ids = self.directories.iter().flat_map(|directory| loose::Store::at(directory, self.hash).iter());
        ids.filter_map(|id| ObjectId::from_bytes(id.ok()?.as_bytes()))
    }
}

fn indexes(packs: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let paths = read_dir(packs).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension() == Some(OsStr::new("idx")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::Odb;
    use super::super::testing::{Sandbox, format, git, oid};

    #[test]
    fn it_has_what_is_packed_and_what_is_loose_here_and_in_alternates() {
        let sandbox = Sandbox::new(format());
        sandbox.in_bare(&["config", "receive.unpackLimit", "1"]);
        let packed = sandbox.commit("file", "packed");
        git(&sandbox.work(), &["push", "-q", "origin", "main"]);
        sandbox.in_bare(&["config", "receive.unpackLimit", "100"]);
        let loose = sandbox.commit("file", "loose");
        git(&sandbox.work(), &["push", "-q", "origin", "main"]);
        let elsewhere = sandbox.commit("file", "elsewhere");
        let own = |revision: &str| -> BTreeSet<_> {
            let listed =
                git(&sandbox.work(), &["rev-list", "--objects", "--no-object-names", revision, &format!("^{packed}")]);
            listed.lines().map(oid).collect()
        };

        let odb = || Odb::open(sandbox.bare().join("objects"), packed.format(), 1 << 20).unwrap();
        let inventory = odb().inventory();
        assert!(inventory.is_packed(&packed) && !inventory.is_packed(&loose) && !inventory.is_packed(&elsewhere));
        assert_eq!(inventory.loose().collect::<BTreeSet<_>>(), own(&loose.to_string()));

        let alternate = sandbox.work().join(".git/objects");
        std::fs::write(sandbox.bare().join("objects/info/alternates"), format!("{}\n", alternate.display())).unwrap();
        let inventory = odb().inventory();
        assert!(inventory.loose().any(|id| id == elsewhere));
        git(&sandbox.work(), &["repack", "-adq"]);
        let inventory = odb().inventory();
        assert!(inventory.is_packed(&elsewhere) && inventory.is_packed(&loose));
        assert_eq!(inventory.loose().collect::<BTreeSet<_>>(), own(&loose.to_string()));
    }
}
