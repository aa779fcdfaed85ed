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
