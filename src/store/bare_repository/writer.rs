use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::aside::Quarantined;
use super::connectivity::Links;
use super::fs::{File, Fs, unique_suffix};
use super::incoming_pack::IncomingPack;
use super::store::BareRepository;
use super::unpack::Unpack;
use crate::Error;
use crate::proto::PackFrame;
use crate::push::Progress;
use crate::store::examine::Examination;
use crate::store::index::{IndexOptions, Indexer, Visit as _, Worker as _};

/// The blocking half of a quarantine: the directory, the pack that grows in it, and what is known of its entries.
pub(super) struct PackWriter {
    pub(super) pack: IncomingPack,
    pub(super) indexer: Indexer,
    pub(super) links: Links,
    pub(super) examination: Examination,
    pub(super) unpack: Unpack,
    /// The last field, so that the files in it are closed when it is removed.
    pub(super) directory: QuarantineDirectory,
}

impl PackWriter {
    /// Makes the quarantine directory.
    pub(super) fn create(store: &BareRepository, progress: &Progress) -> Result<Self, Error> {
        let repository = &store.repository;
        let fs = repository.fs();
        let directory = QuarantineDirectory::create(fs, &repository.objects_dir()).map_err(cannot_write)?;
        let pack = IncomingPack::new(fs, directory.path.join("incoming.pack"));
        let mut options = IndexOptions::new(repository.object_format());
        options.detect_collisions = store.settings.detect_collisions;
        options.limits = store.settings.limits;
        options.spool = Some(Arc::new(Quarantined { fs: fs.clone(), directory: directory.path.clone() }));
        let links = Links::new(repository.object_format(), fs, directory.path.join("links"));
        let examination = Examination::new(store.examine.clone(), progress.clone());
        let unpack = Unpack::new(store.settings.unpack_limit);
        let indexer = Indexer::new(options);
        Ok(Self { pack, indexer, links, examination, unpack, directory })
    }

    /// Hashes and writes some frames.
    pub(super) fn write(&mut self, frames: Vec<PackFrame>) -> Result<(), Error> {
        let others = (&self.examination, &self.unpack);
        let visit = (&self.links, &others);
        let mut worker = visit.worker();
        for frame in frames {
            match frame {
                PackFrame::Header(header) => {
                    self.unpack.expect(header.objects);
                    self.pack.append(&header.wire()).map_err(cannot_write)?;
                }
                PackFrame::Object(object) => {
                    self.indexer.write(&object, &mut worker)?;
                    self.pack.append(object.wire()).map_err(cannot_write)?;
                }
                PackFrame::Data(_) => {
                    let text = "this store takes packs as objects, not opaque";
                    return Err(Error::new(crate::ErrorKind::Store, text));
                }
                PackFrame::Complete(_) => {}
            }
        }
        worker.finish()
    }
}

pub(super) fn cannot_write(error: io::Error) -> Error {
    Error::store("the quarantine cannot be written", error)
}

/// `objects/tmp_objdir-incoming-*`: the name that git gives its quarantines, and that `git prune` clears away should the
/// process die. Dropping it removes it and all that is in it.
pub(super) struct QuarantineDirectory {
    pub(super) path: PathBuf,
    fs: Fs,
    /// Locked as long as we live; see [`sweep`](super::sweep).
    _owner: Option<File>,
}

/// The file in a quarantine whose lock says that the owner lives.
pub(super) const OWNER: &str = "owner";

impl QuarantineDirectory {
    fn create(fs: &Fs, objects: &Path) -> io::Result<Self> {
        let mut attempts = 0..10;
        let path = loop {
            let path = objects.join(format!("tmp_objdir-incoming-{}", unique_suffix()));
            match fs.create_private_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempts.next().is_some() => {}
                Err(error) => return Err(error),
            }
        };
        let mut directory = Self { path, fs: fs.clone(), _owner: None };
        // It gets its name when it is locked: whoever finds it without a lock knows that its owner is dead.
        let unlocked = directory.path.join("owner.new");
        let owner = fs.create_new(&unlocked)?;
        if owner.try_lock() {
            fs.rename(&unlocked, &directory.path.join(OWNER))?;
            directory._owner = Some(owner);
        }
        Ok(directory)
    }
}

impl Drop for QuarantineDirectory {
    fn drop(&mut self) {
        // Nobody is left to hear of an error; `git prune` clears away what stays. An empty directory goes away even if no
        // more files can be opened, which others need to be swept.
        if self.fs.remove_all(&self.path).is_err() {
            let _ = self.fs.remove_dir(&self.path);
        }
    }
}
