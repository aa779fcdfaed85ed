//! Whether an object is complete: it is there, and so is all that it needs in turn.

mod exact;
mod missing;
mod objects;

pub(crate) use exact::{Exact, Trust};
pub(crate) use missing::{Missing, refuse};
pub(crate) use objects::{Objects, PackIds, Targets};
