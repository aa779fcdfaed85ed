//! A bare repository on disk, as stock git reads and writes it.

mod alternates;
pub(crate) mod connectivity;
mod fs;
mod incoming;
mod landing;
mod objects;
mod odb;
mod quarantine;
mod refs;
mod repository;
mod shallow;
mod shared;
mod store;
#[cfg(test)]
pub(crate) mod testing;
mod writer;

pub(crate) use objects::Objects;
pub(crate) use odb::Odb;
pub use quarantine::BareQuarantine;
pub(crate) use refs::name;
pub(crate) use repository::Repository;
pub use store::BareRepository;
