use object_store::path::Path;

use crate::proto::ObjectId;
use crate::{Error, ErrorKind};

/// The names of the objects of a repository.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: Path,
}

/// The objects that a pack consists of.
pub(super) const PACK_FILES: [&str; 4] = ["pack", "idx", "rev", "kinds"];

impl Layout {
    /// Those of the repository at this path: names between slashes, as in `team/project.git`.
    pub(super) fn new(path: &str) -> Result<Self, Error> {
        let root = Path::parse(path).map_err(|error| Error::store("the path of a repository", error))?;
        if root.as_ref().is_empty() {
            return Err(Error::new(ErrorKind::Store, "the path of a repository is empty"));
        }
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn head(&self) -> Path {
        self.root.clone().join("head")
    }

    pub(super) fn manifests(&self) -> Path {
        self.root.clone().join("manifests")
    }

    pub(super) fn packs(&self) -> Path {
        self.root.clone().join("packs")
    }

    pub(super) fn manifest(&self, id: &ObjectId) -> Path {
        self.manifests().join(id.to_string())
    }

    pub(super) fn pack(&self, name: &str, ending: &str) -> Path {
        self.packs().join(format!("{name}.{ending}"))
    }
}
