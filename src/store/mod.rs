//! Where a push lands: the contract of a store, and the stores of this crate.
//!
//! A [`Store`] says what it has ([`advertise`](Store::advertise)) and opens a [`Quarantine`] for each push. What is
//! written to a quarantine is seen by nobody until [`commit`](Quarantine::commit), and a quarantine that is dropped
//! leaves nothing behind: a push lands wholly or not at all. Between [`seal`](Quarantine::seal) and `commit` a policy can
//! read what the push brought.
//!
//! | feature | store |
//! |---|---|
//! | `memory` | [`MemoryStore`]: for tests, and for gateways that look and forget |
//! | `bare-repository` | [`BareRepository`]: a directory that stock git reads |
//! | `object-store` | [`ObjectStoreRepository`]: a repository in S3 or its kin, for those who outgrow one machine |

pub(crate) mod ancestry;
#[cfg(feature = "bare-repository")]
pub(crate) mod bare_repository;
#[cfg(any(feature = "bare-repository", feature = "object-store"))]
mod batches;
#[cfg(any(feature = "bare-repository", feature = "object-store"))]
mod blocking;
#[cfg(any(feature = "memory", feature = "bare-repository", feature = "object-store"))]
mod complete;
mod contract;
#[cfg(feature = "_index")]
mod examine;
#[cfg(feature = "_index")]
pub(crate) mod index;
pub(crate) mod links;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "object-store")]
mod object_store;
#[cfg(any(feature = "memory", feature = "object-store"))]
mod ref_map;
#[cfg(feature = "_index")]
mod scan;
#[cfg(any(feature = "bare-repository", feature = "object-store"))]
mod unique;

#[cfg(feature = "bare-repository")]
pub use bare_repository::{BareQuarantine, BareRepository};
pub use contract::{Quarantine, Store};
#[cfg(feature = "_index")]
pub use index::PackLimits;
#[cfg(feature = "_fuzzing")]
pub(crate) use memory::PackBytes;
#[cfg(feature = "memory")]
pub use memory::{MemoryQuarantine, MemoryStore};
#[cfg(feature = "object-store")]
pub use object_store::{Bucket, Manifest, ManifestPack, ObjectStoreQuarantine, ObjectStoreRepository};
#[cfg(feature = "_index")]
pub use scan::Scan;
