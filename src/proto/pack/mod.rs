mod decode;
mod entry;
mod header;
mod inflate;
mod opaque;

pub(crate) use decode::PackDecoder;
pub use entry::{Complete, Entry, EntryKind, ObjectKind, PackHeader, PackObject};
#[cfg(feature = "_index")]
pub(crate) use header::{MAX_ENTRY_HEADER, entry_header, put_entry_header};
#[cfg(feature = "_index")]
pub(crate) use inflate::WholeInflater;
pub(crate) use opaque::{OpaqueDecoder, Tail};
