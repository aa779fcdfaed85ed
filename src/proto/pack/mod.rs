mod entry;

pub use entry::{Complete, Entry, EntryKind, ObjectKind, PackHeader, PackObject};
