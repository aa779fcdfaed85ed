//! A repository in memory.

mod links;
mod pack;
mod quarantine;
mod store;

#[cfg(feature = "_fuzzing")]
pub(crate) use pack::Bytes as PackBytes;
pub use quarantine::MemoryQuarantine;
pub use store::MemoryStore;
