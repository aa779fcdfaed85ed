//! The checksum of a push.

mod hasher;

pub use hasher::{Collision, Hasher};
