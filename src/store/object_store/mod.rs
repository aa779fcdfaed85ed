//! A repository in an object store: S3 and its kin.
//!
//! # What lies there
//!
//! | object | what it is | written |
//! |---|---|---|
//! | `<path>/head` | the id of a manifest, and how long it is | at each push that lands, by compare-and-swap |
//! | `<path>/manifests/<id>` | all refs, all packs, and the manifest before | once |
//! | `<path>/packs/<name>.pack`, `.idx`, `.rev` | a pack and its indexes, as in any repository | once |
//! | `<path>/packs/<name>.kinds` | a letter for each object, in the order of the index: what it is | once |
//!
//! `head` alone is ever written again, and nothing is renamed, or listed to take a push. So whoever reads sees one moment: all of a push,
//! or nothing of it.
//!
//! # How a push lands
//!
//! 1. The pack goes to a temporary file without a name as it arrives, is indexed there, completed if it came thin, and
//!    checked for what it links to: the kinds of objects that other packs have are in their `.kinds`, so of these packs
//!    only what deltas are made from is read.
//! 2. The pack and its indexes are uploaded, under a name that nothing else has.
//! 3. A manifest is uploaded that has the refs as they shall be.
//! 4. `head` is moved to it, on the condition that it is as it was. If somebody was quicker, the old ids of the refs are
//!    judged anew and 3 and 4 are done again: only refs that the other has moved are refused.
//!
//! A server that dies before 4 leaves objects that no manifest names, which [`prune`](ObjectStoreRepository::prune) removes.
//! A store that answers 4 with an error may have done it
//! all the same: then `head` is read, and whether our manifest is there, or among those before.

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
