use crate::Error;
use crate::proto::{ObjectId, ObjectKind};

/// Objects to ask for: those of the repository, or those of a pack in quarantine.
pub(crate) trait Objects: Sync {
    /// What kind of object this is; `None` if there is no such object.
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error>;

    /// The object itself; `None` if there is no such object.
    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error>;

    /// The object itself, but of a blob only that it is one: who looks for links need not read it.
    fn object_unless_blob(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        match self.kind(id)? {
            Some(ObjectKind::Blob) => Ok(Some((ObjectKind::Blob, Vec::new()))),
            Some(_) => self.object(id),
            None => Ok(None),
        }
    }
}

/// A push without a pack.
impl Objects for () {
    fn kind(&self, _: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        Ok(None)
    }

    fn object(&self, _: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        Ok(None)
    }
}

/// The ids of the objects that a push brought.
///
/// Only those: not the bases that a thin pack was completed with. They are the repository's, nobody looked into them,
/// and what they need may be missing.
pub(crate) trait PackIds: Sync {
    /// The kind of an object of the pack; `None` if the pack does not have it.
    fn kind_of(&self, id: &ObjectId) -> Option<ObjectKind>;
}

/// A push without a pack.
impl PackIds for () {
    fn kind_of(&self, _: &ObjectId) -> Option<ObjectKind> {
        None
    }
}

/// What the new values of refs may be: an object that the push brought, or one of the repository.
#[cfg(feature = "bare-repository")]
pub(crate) struct Targets<'a> {
    pub(crate) brought: &'a dyn Objects,
    pub(crate) repository: &'a dyn Objects,
}

#[cfg(feature = "bare-repository")]
impl Objects for Targets<'_> {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        match self.brought.kind(id)? {
            Some(kind) => Ok(Some(kind)),
            None => self.repository.kind(id),
        }
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        match self.brought.object(id)? {
            Some(object) => Ok(Some(object)),
            None => self.repository.object(id),
        }
    }
}
