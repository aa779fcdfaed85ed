//! A repository in memory.

mod pack;
mod quarantine;
mod store;

pub use quarantine::MemoryQuarantine;
pub use store::MemoryStore;
