//! Whether an object is complete: it is there, and so is all that it needs in turn.

mod exact;
mod missing;
mod objects;

pub(crate) use exact::{Exact, Trust};
pub(crate) use missing::{Missing, refuse};
#[cfg(feature = "bare-repository")]
pub(crate) use objects::Targets;
pub(crate) use objects::{Objects, PackIds, built_in};
