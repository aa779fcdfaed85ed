//! A repository in an object store, S3 or its kin.
//!
//! ```text
//! quarantine ─▶ writer ─▶ seal ─▶ landing ─▶ upload
//!                           │        └─────▶ head ─▶ manifest
//!                           └─▶ packs ─▶ blocks ─▶ the object store
//! ```

mod blocks;
mod bucket;
mod draft;
mod head;
mod kinds;
mod landing;
mod layout;
mod manifest;
mod merge;
mod packs;
mod probe;
mod prune;
mod quarantine;
mod repack;
mod repository;
mod seal;
mod upload;
mod writer;

pub use bucket::Bucket;
pub use manifest::{Manifest, ManifestPack};
pub use quarantine::ObjectStoreQuarantine;
pub use repository::ObjectStoreRepository;
