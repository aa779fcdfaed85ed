use std::collections::BTreeSet;
use std::io;

use super::Repository;
use crate::Error;
use crate::proto::ObjectId;

/// The commits at which the repository's own history is cut off: its file `shallow` (gitrepository-layout).
pub(super) fn boundary(repository: &Repository) -> Result<BTreeSet<ObjectId>, Error> {
    let text = match repository.fs().read(&repository.git_dir().join("shallow")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(Error::store("the file 'shallow' cannot be read", error)),
    };
    let format = repository.object_format();
    let ids = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    ids.map(|line| ObjectId::from_hex(format, line))
        .collect::<Option<_>>()
        .ok_or_else(|| Error::new(crate::ErrorKind::Store, "the file 'shallow' has a bad line"))
}
