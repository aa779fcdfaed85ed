//! The receive-pack protocol without I/O.

mod oid;
mod pack;

pub use oid::{ObjectFormat, ObjectId};
pub use pack::{Complete, Entry, EntryKind, ObjectKind, PackHeader, PackObject};
