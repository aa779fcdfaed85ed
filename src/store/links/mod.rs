//! What objects point at.

#[cfg(any(feature = "bare-repository", feature = "object-store"))]
mod collect;
mod parse;
#[cfg(any(feature = "bare-repository", feature = "object-store"))]
mod spill;

#[cfg(any(feature = "bare-repository", feature = "object-store"))]
pub(crate) use collect::Links;
pub(crate) use parse::Commit;
#[cfg(feature = "bare-repository")]
pub(crate) use parse::tag;
#[cfg(feature = "_index")]
pub(crate) use parse::{Malformed, for_each};
