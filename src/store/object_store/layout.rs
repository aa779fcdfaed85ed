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
        let none =
            || Error::new(ErrorKind::NotFound, format!("there can be no repository at '{}'", path.escape_debug()));
        let root = Path::parse(path).map_err(|error| none().with_source(error))?;
        if root.as_ref().is_empty() { Err(none()) } else { Ok(Self { root }) }
    }

    /// The id of a manifest at this path; `None` for anything else, such as what is in a repository below ours.
    pub(super) fn manifest_at<'a>(&self, path: &'a Path) -> Option<&'a str> {
        let id = self.name_below(&self.manifests(), path)?;
        id.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(id)
    }

    /// The name of the pack that an object at this path belongs to; `None` for anything else.
    pub(super) fn pack_at<'a>(&self, path: &'a Path) -> Option<&'a str> {
        let (name, ending) = self.name_below(&self.packs(), path)?.rsplit_once('.')?;
        (name.starts_with("pack-") && PACK_FILES.contains(&ending)).then_some(name)
    }

    fn name_below<'a>(&self, prefix: &Path, path: &'a Path) -> Option<&'a str> {
        let name = path.as_ref().strip_prefix(prefix.as_ref())?.strip_prefix('/')?;
        (!name.contains('/')).then_some(name)
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
