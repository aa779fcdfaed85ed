mod decode;
mod entry;
mod header;
mod inflate;
mod opaque;

pub(crate) use decode::PackDecoder;
pub use entry::{Complete, Entry, EntryKind, ObjectKind, PackHeader, PackObject};
pub(crate) use opaque::{OpaqueDecoder, Tail};
