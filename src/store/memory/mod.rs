//! A repository in memory.

mod links;
mod pack;
mod quarantine;
mod store;

pub use quarantine::MemoryQuarantine;
pub use store::MemoryStore;
