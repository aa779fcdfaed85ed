//! Whether everything that the new refs need is there: before any ref moves, and without inflating the push again.
//!
//! While the pack's objects are resolved, [`Links`] sees each commit, tree and tag once and writes down what they
//! point at. When all are known, [`Check`] asks for each target:
//!
//! 1. Is it in the pack? Then what it needs in turn has been written down as well.
//! 2. If not, it is *external*: the repository must have it, with everything below it. Existing refs, and what they
//!    reach, are trusted:
//!    - a commit is trusted if an existing ref reaches it;
//!    - a blob needs nothing, so it is enough that it is there;
//!    - a tree is trusted if a trusted commit has it. The commits that the push builds upon are looked through,
//!      going down only into directories that are not external themselves: those that the push changed;
//!    - what is left is walked to its end.
//!
//! If that finds everything, all refs may move. If it does not, a pack may still be good enough: git accepts objects
//! that no ref needs, however broken. Then [`exact`] walks from each new value, so that only the refs that really need
//! something that is not there are refused.
//!
//! Nothing here recurses, whatever the shape of the objects.

mod check;
mod collect;
mod exact;
mod reach;
mod spill;
#[cfg(test)]
mod tests;

pub(crate) use check::Check;
pub(crate) use collect::Links;

use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::store::bare_repository::Objects;
use crate::store::links;

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

/// A push without a pack.
impl Objects for () {
    fn kind(&self, _: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        Ok(None)
    }

    fn object(&self, _: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        Ok(None)
    }
}

/// Why a ref may not move: `missing necessary objects` in the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The object that is missing or cannot be walked through.
    pub(crate) object: ObjectId,
    /// What is wrong with it, in one line that names it.
    pub(crate) text: String,
}

impl Missing {
    /// It is nowhere.
    fn absent(kind: Option<ObjectKind>, object: ObjectId) -> Self {
        let text = match kind {
            Some(kind) => format!("missing {} object '{object}'", kind.name()),
            None => format!("missing object '{object}'"),
        };
        Self { object, text }
    }

    /// It is something else than what points at it says.
    fn kind(expected: ObjectKind, is: ObjectKind, object: ObjectId) -> Self {
        Self { object, text: format!("object '{object}' is a {}, not a {}", is.name(), expected.name()) }
    }

    /// It cannot be read.
    fn malformed(kind: ObjectKind, object: ObjectId, links::Malformed(what): links::Malformed) -> Self {
        Self { object, text: format!("{} '{object}': {what}", kind.name()) }
    }
}
