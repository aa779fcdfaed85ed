use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use super::fs::File;
use super::incoming::Brought;
use super::loose_objects::LooseObjects;
use super::migrate::Migrated;
use super::quarantine_directory::QuarantineDirectory;
use super::repository::Repository;
use crate::proto::{ObjectId, ObjectKind};
use crate::store::index::{Budget, Index};
use crate::store::links::Links;

/// The objects of a push, resolved, in memory or in quarantine, where nobody but us sees them.
pub(super) struct Sealed {
    pub(super) index: Index,
    pub(super) links: Links,
    pub(super) stored: Stored,
    /// For what the push itself has us read once more.
    pub(super) budget: Budget,
    pub(super) directory: Arc<QuarantineDirectory>,
}

/// How the objects will be kept.
pub(super) enum Stored {
    /// As a pack, with its indexes.
    Pack(SealedPack),
    /// Each in a file of its own, for there are few.
    Loose(LooseObjects),
}

/// A pack in quarantine.
pub(super) struct SealedPack {
    pub(super) file: File,
    /// The bases that a thin pack was completed with.
    pub(super) completed_with: HashSet<ObjectId>,
    pub(super) checksum: ObjectId,
    /// The name that the pack will have, without an ending.
    pub(super) name: String,
}

impl Sealed {
    /// The objects that the push brought, to be read.
    pub(super) fn brought(&self) -> Brought<'_> {
        Brought::new(&self.index, &self.stored, &self.budget)
    }

    /// The ids of the objects that the push brought.
    pub(super) fn new_objects(&self) -> impl Iterator<Item = (ObjectId, ObjectKind)> + '_ {
        self.index.distinct_objects().filter(|(id, _)| self.stored.brought(id))
    }

    /// Writes what is missing of the pack's files, and makes all of them durable. Loose objects stay in memory.
    pub(super) fn make_durable(&self) -> io::Result<()> {
        let Stored::Pack(SealedPack { file, checksum, .. }) = &self.stored else { return Ok(()) };
        let mut idx = self.directory.create_new("incoming.idx")?;
        self.index.write_idx(checksum, &mut idx)?;
        idx.sync()?;
        let mut rev = self.directory.create_new("incoming.rev")?;
        self.index.write_rev(checksum, &mut rev)?;
        rev.sync()?;
        file.sync()
    }

    /// Puts the objects where everybody sees them, durably. What is given back keeps a pack until it is dropped.
    pub(super) fn migrate(&self, repository: &Repository) -> io::Result<Option<Migrated>> {
        match &self.stored {
            Stored::Pack(pack) => Migrated::new(repository, self.directory.path()?, &pack.name).map(Some),
            Stored::Loose(loose) => {
                loose.store(repository.fs(), &repository.objects_dir())?;
                Ok(None)
            }
        }
    }
}

impl Stored {
    /// Whether an object of the index came with the push: others a thin pack was completed with.
    pub(super) fn brought(&self, id: &ObjectId) -> bool {
        match self {
            Self::Pack(pack) => !pack.completed_with.contains(id),
            Self::Loose(_) => true,
        }
    }
}
