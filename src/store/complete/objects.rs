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

/// What this is, if every repository has it whether it is written down or not. To git the tree without entries is such an
/// object, so clients need not send it.
pub(crate) fn built_in(id: &ObjectId) -> Option<ObjectKind> {
    const EMPTY_TREE: [&[u8]; 2] = [
        b"\x4b\x82\x5d\xc6\x42\xcb\x6e\xb9\xa0\x60\xe5\x4b\xf8\xd6\x92\x88\xfb\xee\x49\x04",
        b"\x6e\xf1\x9b\x41\x22\x5c\x53\x69\xf1\xc1\x04\xd4\x5d\x8d\x85\xef\xa9\xb0\x57\xb5\x3b\x14\xb4\xb9\xb9\x39\xdd\x74\xde\xcc\x53\x21",
    ];
    EMPTY_TREE.contains(&id.as_bytes()).then_some(ObjectKind::Tree)
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
