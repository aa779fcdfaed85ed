//! What the objects of a pack are: a letter for each, in the order of its index. To find it in the pack itself means to
//! follow the deltas of an object to the whole object at their end.

use std::io::{self, BufWriter, Write};

use crate::proto::ObjectKind;
use crate::store::index::{Index, ReadAt};
use crate::{Error, ErrorKind};

const LETTERS: [(u8, ObjectKind); 4] =
    [(b'c', ObjectKind::Commit), (b't', ObjectKind::Tree), (b'b', ObjectKind::Blob), (b'g', ObjectKind::Tag)];

/// Writes them down.
pub(super) fn write(index: &Index, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    for (_, is) in index.objects() {
        let letter = LETTERS.into_iter().find(|(_, kind)| *kind == is).map(|(letter, _)| letter);
        out.write_all(letter.as_slice())?;
    }
    out.flush()
}

/// What the object is that has this place in the index.
pub(super) fn read(file: &impl ReadAt, place: u32) -> Result<ObjectKind, Error> {
    let mut there = [0];
    let read = file.read_exact_at(&mut there, place.into());
    read.map_err(|error| Error::store("the kinds of the objects of a pack cannot be read", error))?;
    let kind = LETTERS.into_iter().find(|(letter, _)| there == [*letter]).map(|(_, kind)| kind);
    kind.ok_or_else(|| Error::new(ErrorKind::Store, "the kinds of the objects of a pack are damaged"))
}
