use std::io::Write as _;
use std::sync::Arc;

use super::seam::Aside;
use crate::Error;
use crate::ErrorKind;
use crate::checksum::{Hasher, Message, sha1_of_two};
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};

/// How a pack is indexed.
#[derive(Clone, Debug)]
pub(crate) struct IndexOptions {
    /// The hash of the repository.
    pub(crate) format: ObjectFormat,
    /// Whether ids are computed with detection of collision attacks.
    #[cfg(feature = "collision-detection")]
    pub(crate) detect_collisions: bool,
    /// What a pack may cost.
    pub(crate) limits: PackLimits,
    /// Where large objects are put aside, and short deltas kept; `None` keeps large objects in memory, and no deltas.
    pub(crate) spool: Option<Arc<dyn Aside>>,
}

impl IndexOptions {
    /// The defaults for a repository of this format: collisions are detected if the build can, large objects stay in
    /// memory.
    pub(crate) fn new(format: ObjectFormat) -> Self {
        Self {
            format,
            #[cfg(feature = "collision-detection")]
            detect_collisions: true,
            limits: PackLimits::default(),
            spool: None,
        }
    }

    pub(super) fn hashing(&self) -> Hashing {
        Hashing {
            format: self.format,
            #[cfg(feature = "collision-detection")]
            detecting: self.detect_collisions,
        }
    }
}

/// What resolving the deltas of a pack may cost at most.
///
/// A delta of a few bytes may ask for an object of many megabytes, and thousands of them may ask for it again, so the
/// length of a pack says little about the work in it.
///
/// What the entries inflate to as they arrive is bounded by [`proto::Limits`](crate::proto::Limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackLimits {
    /// The resolved bytes that any pack may ask for: 1 GiB, about one second of hashing. A delta whose base is nowhere
    /// counts for 64 KiB: somebody has to look for it.
    pub resolved_floor: u64,
    /// The resolved bytes that each byte of the pack may ask for on top: 200. Packs of source code ask for about 30.
    pub resolved_per_byte: u64,
    /// The length of an object that a delta makes: 4 GiB.
    pub delta_result: u64,
    /// The length of an object of the repository that deltas of a thin pack are made from: 512 MiB, above which git
    /// makes no deltas (`core.bigFileThreshold`). It is held in memory while they are; and of a bare repository
    /// none is read that takes more than 1.25 GiB, with those that it is itself made from.
    pub thin_base: u64,
    /// How many deltas may stand between an object and the whole object it is made from: 10,000. Git makes at most
    /// 4,095, and whoever reads such an object later pays for each of them.
    pub chain_depth: u32,
    /// The length of a commit, tree or tag: 16 MiB. They are looked into, so they are held in memory.
    pub structured_object: u64,
    /// Blobs longer than this go through a temporary file while deltas are applied to them: 8 MiB. Not a limit, but
    /// the bound of what one object takes of the memory.
    pub in_memory: u64,
    /// When the objects that wait for one thread to come back to them take more than this, the first of them go to a
    /// temporary file: 16 MiB. Not a limit either, but the bound of what all of them take of the memory.
    pub waiting: u64,
}

impl Default for PackLimits {
    fn default() -> Self {
        Self {
            resolved_floor: 1 << 30,
            resolved_per_byte: 200,
            delta_result: 4 << 30,
            thin_base: 512 << 20,
            chain_depth: 10_000,
            structured_object: 16 << 20,
            in_memory: 8 << 20,
            waiting: 16 << 20,
        }
    }
}

/// The error for a limit that was reached; `what` names it.
pub(super) fn limit_exceeded(what: &str, limit: u64) -> Error {
    Error::new(ErrorKind::LimitExceeded, format!("{what} exceeds the limit of {limit}"))
}

/// How the ids of objects are computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashing {
    pub(super) format: ObjectFormat,
    #[cfg(feature = "collision-detection")]
    detecting: bool,
}

impl Hashing {
    /// A hasher that has taken in the header of an object: its kind and its length.
    pub(super) fn object(&self, kind: ObjectKind, size: u64) -> Hasher {
        let mut hasher = self.hasher();
        hasher.update(Header::new(kind, size).as_bytes());
        hasher
    }

    /// The id of a whole object.
    pub(super) fn id(&self, kind: ObjectKind, data: &[u8]) -> Result<ObjectId, Error> {
        let mut hasher = self.object(kind, data.len() as u64);
        hasher.update(data);
        finish(hasher)
    }

    /// Whether two objects at once are hashed sooner than one after the other: detection of collisions leaves the
    /// processor no time for that.
    pub(super) fn is_quicker_in_pairs(&self) -> bool {
        #[cfg(feature = "collision-detection")]
        if self.detecting {
            return false;
        }
        self.format == ObjectFormat::Sha1
    }

    /// The ids of two whole objects, if they [are to be hashed so](Self::is_quicker_in_pairs).
    pub(super) fn ids(&self, objects: [(ObjectKind, &[u8]); 2]) -> [ObjectId; 2] {
        let headers = objects.map(|(kind, data)| Header::new(kind, data.len() as u64));
        let [(_, a), (_, b)] = objects;
        let [of_a, of_b] = &headers;
        sha1_of_two([Message { front: of_a.as_bytes(), rest: a }, Message { front: of_b.as_bytes(), rest: b }])
    }

    fn hasher(&self) -> Hasher {
        #[cfg(feature = "collision-detection")]
        if self.detecting {
            return Hasher::detecting(self.format);
        }
        Hasher::new(self.format)
    }
}

/// What an object is hashed with in front of it (gitformat-loose).
struct Header {
    bytes: [u8; 32],
    len: usize,
}

impl Header {
    fn new(kind: ObjectKind, size: u64) -> Self {
        let mut bytes = [0; 32];
        let mut rest = bytes.as_mut_slice();
        // The longest header is `commit`, a space, twenty digits and NUL; it always fits.
        let _ = write!(rest, "{} {size}\0", kind.name());
        let unused = rest.len();
        Self { bytes, len: bytes.len().saturating_sub(unused) }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The id that a hasher of an object has come to.
pub(super) fn finish(hasher: Hasher) -> Result<ObjectId, Error> {
    hasher.finish().map_err(|collision| Error::new(ErrorKind::Collision, collision.to_string()))
}

#[cfg(all(test, feature = "collision-detection"))]
mod tests {
    use super::*;

    #[test]
    fn ids_are_computed_with_collision_detection_unless_told_otherwise() {
        let mut options = IndexOptions::new(ObjectFormat::Sha1);
        let hasher = |options: &IndexOptions| format!("{:?}", options.hashing().object(ObjectKind::Blob, 1));
        assert_eq!(hasher(&options), "Hasher(SHA-1 with collision detection)");
        options.detect_collisions = false;
        assert_eq!(hasher(&options), "Hasher(SHA-1)");
    }
}
