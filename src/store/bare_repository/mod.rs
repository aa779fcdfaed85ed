//! A bare repository on disk, as stock git reads and writes it.

mod config;
pub(crate) mod connectivity;
mod fs;
mod objects;
mod odb;
mod refs;
mod repository;
mod shared;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use objects::Objects;
pub(crate) use odb::Odb;
pub(crate) use refs::name;
pub(crate) use repository::Repository;
