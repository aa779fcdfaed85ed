//! From the entries of a pack to its index: what every store that keeps packs shares.
//!
//! It is done in two phases, as `git index-pack` does it:
//!
//! 1. **While the pack arrives** [`Indexer::write`] notes each entry: where it begins, the crc of its bytes, the id of a
//!    whole object, the base of a delta. About fifty bytes are kept per entry in memory; short deltas go into a
//!    temporary file as they were inflated, at most twice as long as the pack.
//! 2. **When it has arrived** [`Indexer::resolve`] walks the trees that the deltas form, each from its root, the whole
//!    object, on any number of threads. What was not kept it reads again from where the pack was put, and nothing twice.
//!
//! What comes out is an [`Index`]: it answers what the pack holds, reads objects, [completes](complete_thin) a thin pack,
//! and writes the `.idx` and `.rev` files byte for byte as git does.
//!
//! # Memory
//!
//! A walk keeps the objects that still have deltas to be applied to them. It leaves the heaviest child of each object
//! for the end and lets go of the object before it goes down there, so what is alive at one moment grows with the
//! logarithm of the tree and not with its depth: no cache, and no base is ever inflated twice. Objects over
//! [`PackLimits::in_memory`] go through temporary files: one for each thread, however many objects wait in it. Without
//! an [`Aside`] there are no such files, and what a thread holds is bounded by the length of one object only:
//! [`PackLimits::delta_result`].
//!
//! A base that a thin pack does not hold is in memory whole, up to [`PackLimits::thin_base`]; who reads it has its own
//! bounds for what it is made of.

mod content;
mod delta;
#[cfg(any(feature = "bare-repository", feature = "object-store", test))]
mod files;
mod groups;
mod kept;
mod lookup;
mod offsets;
mod options;
mod read;
mod reader;
mod resolve;
mod seam;
mod spool;
mod spool_file;
#[cfg(any(feature = "object-store", test))]
#[cfg_attr(not(feature = "object-store"), allow(dead_code, reason = "tests use some of it"))]
mod stored;
mod table;
mod thin;
mod walk;
#[cfg(feature = "_bench")]
mod whole;
mod window;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use content::Budget;
#[cfg(feature = "_fuzzing")]
pub use delta::fuzzed as fuzzed_delta;
pub(crate) use lookup::Index;
pub(crate) use options::IndexOptions;
pub use options::PackLimits;
#[cfg(feature = "bare-repository")]
pub(crate) use read::LINK;
pub(crate) use read::ObjectReader;
#[cfg(any(feature = "bare-repository", feature = "object-store", feature = "_fuzzing", test))]
pub(crate) use seam::{Aside, AsideFile};
pub(crate) use seam::{Bases, ReadAt, Visit, Worker};
#[cfg(feature = "object-store")]
pub(crate) use stored::StoredIndex;
pub(crate) use thin::{PackFile, complete_thin};
#[cfg(feature = "_bench")]
pub use whole::index_pack;
pub(crate) use write::Indexer;
