use super::fs::File;
use super::{Objects, Odb};
use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::store::index::Index;

/// The objects of a push together with those of the repository: what the new refs may point at.
pub(super) struct Incoming<'a> {
    odb: &'a Odb,
    pack: Option<(&'a Index, &'a File)>,
}

/// The largest object of the push that is read whole: only commits, trees and tags are, and those are bounded already.
const MAX_OBJECT: u64 = 64 << 20;

impl<'a> Incoming<'a> {
    pub(super) fn new(odb: &'a Odb, pack: Option<(&'a Index, &'a File)>) -> Self {
        Self { odb, pack }
    }
}

impl Objects for Incoming<'_> {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        match self.pack.and_then(|(index, _)| index.kind_of(id)) {
            Some(kind) => Ok(Some(kind)),
            None => self.odb.kind(id),
        }
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        if let Some((index, file)) = self.pack
            && let Some(object) = index.reader(file, MAX_OBJECT).read(id)?
        {
            return Ok(Some(object));
        }
        self.odb.object(id)
    }
}
