//! A bare repository on disk, as stock git reads and writes it.

mod alternates;
mod configuration;
pub(crate) mod connectivity;
mod current_branch;
mod find;
mod fs;
mod includes;
mod incoming;
mod incoming_pack;
mod inventory;
mod known;
mod landing;
mod loose_objects;
mod migrate;
mod odb;
#[cfg(test)]
mod operation;
mod quarantine;
mod quarantine_directory;
mod reading;
mod refs;
mod repository;
mod rules;
mod sealed;
mod shallow;
mod shared;
mod store;
mod sweep;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod unpack;
mod writer;

pub(crate) use odb::Odb;
pub use quarantine::BareQuarantine;
pub(crate) use refs::name;
pub(crate) use repository::Repository;
pub use store::BareRepository;
