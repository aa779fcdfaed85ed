use std::collections::HashSet;

use super::fs::File;
use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::store::complete::{Objects, PackIds};
use crate::store::index::Index;

/// The objects of a pack in quarantine: those that the push brought.
///
/// The bases that a thin pack was completed with are not among them. They are copies of what the repository has, and
/// nobody has looked at what they link to.
pub(super) struct Brought<'a> {
    pub(super) index: &'a Index,
    pub(super) pack: &'a File,
    pub(super) completed_with: &'a HashSet<ObjectId>,
}

impl Brought<'_> {
    /// The object with this id, if it, and each object that it is made from, is not longer than `max_len` bytes.
    pub(super) fn read(&self, id: &ObjectId, max_len: u64) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        if self.completed_with.contains(id) {
            return Ok(None);
        }
        self.index.reader(self.pack, max_len).read(id)
    }
}

/// The largest object that is read whole. Only commits, trees and tags are, and those are bounded already.
const MAX_OBJECT: u64 = 64 << 20;

impl PackIds for Brought<'_> {
    fn kind_of(&self, id: &ObjectId) -> Option<ObjectKind> {
        self.index.kind_of(id).filter(|_| !self.completed_with.contains(id))
    }
}

impl Objects for Brought<'_> {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        Ok(self.kind_of(id))
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.read(id, MAX_OBJECT)
    }
}
