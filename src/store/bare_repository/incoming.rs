use std::sync::{Mutex, PoisonError};

use super::fs::File;
use super::loose_objects::LooseObjects;
use super::sealed::Stored;
use crate::proto::{ObjectId, ObjectKind};
use crate::store::complete::{Objects, PackIds};
use crate::store::index::{Budget, Index, ObjectReader};
use crate::{Error, ErrorKind};

/// The objects in quarantine: those that the push brought.
///
/// The bases that a thin pack was completed with are not among them. They are copies of what the repository has, and
/// nobody has looked at what they link to.
pub(super) struct Brought<'a> {
    index: &'a Index,
    stored: &'a Stored,
    budget: &'a Budget,
    /// Whoever follows links reads many objects, of which one is made of the other.
    reader: Mutex<Option<BroughtReader<'a>>>,
}

impl<'a> Brought<'a> {
    pub(super) fn new(index: &'a Index, stored: &'a Stored, budget: &'a Budget) -> Self {
        Self { index, stored, budget, reader: Mutex::default() }
    }

    /// How many objects there are, and perhaps some that a thin pack was completed with.
    pub(super) fn len(&self) -> u32 {
        self.index.len()
    }

    /// All of them.
    pub(super) fn objects(&self) -> impl Iterator<Item = (ObjectId, ObjectKind)> + use<'a> {
        let stored = self.stored;
        self.index.objects().filter(|(id, _)| stored.brought(id))
    }

    /// The object with this id, if it, and each object that it is made from, is not longer than `max_len` bytes. For a
    /// policy, which knows what it reads.
    pub(super) fn read(&self, id: &ObjectId, max_len: u64) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        match self.stored {
            _ if !self.stored.brought(id) => Ok(None),
            Stored::Pack(pack) => self.index.reader(&pack.file, max_len).read(id),
            Stored::Loose(loose) => BroughtReader::Loose(loose, max_len).read(id),
        }
    }

    /// Reads one after the other, because the push has them there; what that may cost is limited.
    pub(super) fn reader(&self, max_len: u64) -> BroughtReader<'a> {
        match self.stored {
            Stored::Pack(pack) => {
                BroughtReader::Pack(Box::new(self.index.reader_within(&pack.file, max_len, self.budget)))
            }
            Stored::Loose(loose) => BroughtReader::Loose(loose, max_len),
        }
    }

    /// What the push may still have us do.
    pub(super) fn budget(&self) -> &'a Budget {
        self.budget
    }
}

/// Reads objects of at most some length.
pub(super) enum BroughtReader<'a> {
    Pack(Box<ObjectReader<'a, File>>),
    Loose(&'a LooseObjects, u64),
}

impl BroughtReader<'_> {
    /// The object with this id.
    pub(super) fn read(&mut self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        match self {
            Self::Pack(reader) => reader.read(id),
            Self::Loose(loose, max_len) => match loose.0.get(id) {
                Some((_, data)) if data.len() as u64 > *max_len => {
                    let text = format!("object {id} is larger than {max_len} bytes");
                    Err(Error::new(ErrorKind::LimitExceeded, text))
                }
                found => Ok(found.cloned()),
            },
        }
    }
}

/// The largest object that is read whole. Only commits, trees and tags are, and those are bounded already.
const MAX_OBJECT: u64 = 64 << 20;

impl PackIds for Brought<'_> {
    fn kind_of(&self, id: &ObjectId) -> Option<ObjectKind> {
        self.index.kind_of(id).filter(|_| self.stored.brought(id))
    }
}

impl Objects for Brought<'_> {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        Ok(self.kind_of(id))
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        if !self.stored.brought(id) {
            return Ok(None);
        }
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.get_or_insert_with(|| self.reader(MAX_OBJECT)).read(id)
    }
}
