//! What the objects of a pack are: a letter for each, in the order of its index. To find it in the pack itself means to
//! follow the deltas of an object to the whole object at their end.
//!
//! It is a capital if all that the object needs is known to be there, as far down as it goes: nobody has to look below it
//! again. Objects are never taken out of a repository, so once it is, it stays so.

use std::io::{self, BufWriter, Write};

use crate::proto::{ObjectId, ObjectKind};
use crate::store::index::{Index, ReadAt};
use crate::{Error, ErrorKind};

const LETTERS: [(u8, ObjectKind); 4] =
    [(b'c', ObjectKind::Commit), (b't', ObjectKind::Tree), (b'b', ObjectKind::Blob), (b'g', ObjectKind::Tag)];

/// What is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) kind: ObjectKind,
    /// Whether all that it needs is there.
    pub(super) is_complete: bool,
}

/// Writes it down; a blob needs nothing, and of the others `is_complete` says it.
pub(super) fn write(
    index: &Index,
    out: impl Write,
    mut is_complete: impl FnMut(ObjectKind, &ObjectId) -> Result<bool, Error>,
) -> Result<(), Error> {
    let unwritable = |error: io::Error| Error::store("the kinds of the objects of a pack cannot be written", error);
    let mut out = BufWriter::new(out);
    for (id, is) in index.objects() {
        let letter = LETTERS.into_iter().find(|(_, kind)| *kind == is).map_or(0, |(letter, _)| letter);
        let is_complete = is == ObjectKind::Blob || is_complete(is, &id)?;
        let letter = if is_complete { letter.to_ascii_uppercase() } else { letter };
        out.write_all(&[letter]).map_err(unwritable)?;
    }
    out.flush().map_err(unwritable)
}

/// What is known of the object that has this place in the index.
pub(super) fn read(file: &impl ReadAt, place: u32) -> Result<Known, Error> {
    let mut there = [0];
    let read = file.read_exact_at(&mut there, place.into());
    read.map_err(|error| Error::store("the kinds of the objects of a pack cannot be read", error))?;
    let [letter] = there;
    let kind = LETTERS.into_iter().find(|(small, _)| letter.to_ascii_lowercase() == *small).map(|(_, kind)| kind);
    let kind = kind.ok_or_else(|| Error::new(ErrorKind::Store, "the kinds of the objects of a pack are damaged"))?;
    Ok(Known { kind, is_complete: letter.is_ascii_uppercase() })
}
