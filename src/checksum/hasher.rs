use std::fmt;

use sha1::Digest as _;

use crate::proto::{ObjectFormat, ObjectId};

/// A running hash: of a pack (its trailer), or of an object (its id).
///
/// Cloning it costs the copy of its state, about a hundred bytes; that is what makes a completeness check cheap.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha1(sha1::Sha1),
    #[cfg(feature = "collision-detection")]
    Sha1Detecting(sha1dc::Hasher),
    #[cfg(feature = "sha256")]
    Sha256(sha2::Sha256),
}

/// The bytes bear the marks of one of the known attacks on SHA-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collision;

impl fmt::Display for Collision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a known SHA-1 collision attack was detected")
    }
}

impl std::error::Error for Collision {}

impl Hasher {
    /// The plain hash of a format. Right for trailers, where nobody gains by a collision.
    pub fn new(format: ObjectFormat) -> Self {
        Self(match format {
            ObjectFormat::Sha1 => State::Sha1(sha1::Sha1::new()),
            #[cfg(feature = "sha256")]
            ObjectFormat::Sha256 => State::Sha256(sha2::Sha256::new()),
        })
    }

    /// The hash of a format, with detection of collision attacks where the format needs it: right for object ids.
    #[cfg(feature = "collision-detection")]
    pub fn detecting(format: ObjectFormat) -> Self {
        match format {
            ObjectFormat::Sha1 => Self(State::Sha1Detecting(sha1dc::Hasher::new())),
            #[cfg(feature = "sha256")]
            ObjectFormat::Sha256 => Self::new(format),
        }
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha1(state) => state.update(bytes),
            #[cfg(feature = "collision-detection")]
            State::Sha1Detecting(state) => state.update(bytes),
            #[cfg(feature = "sha256")]
            State::Sha256(state) => state.update(bytes),
        }
    }

    /// The hash of all bytes so far, or the news that they are part of an attack.
    ///
    /// # Errors
    ///
    /// [`Collision`], and only from a [detecting](Self::detecting) hasher.
    pub fn finish(self) -> Result<ObjectId, Collision> {
        let id = match self.0 {
            State::Sha1(state) => ObjectId::from_bytes(&state.finalize()),
            #[cfg(feature = "collision-detection")]
            State::Sha1Detecting(state) => ObjectId::from_bytes(state.finalize().map_err(|_| Collision)?.as_ref()),
            #[cfg(feature = "sha256")]
            State::Sha256(state) => ObjectId::from_bytes(&state.finalize()),
        };
        // Every digest above has one of the two lengths that `from_bytes` takes.
        Ok(id.unwrap_or(ObjectId::zero(ObjectFormat::Sha1)))
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Sha1(_) => "Hasher(SHA-1)",
            #[cfg(feature = "collision-detection")]
            State::Sha1Detecting(_) => "Hasher(SHA-1 with collision detection)",
            #[cfg(feature = "sha256")]
            State::Sha256(_) => "Hasher(SHA-256)",
        })
    }
}
