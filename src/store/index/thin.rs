use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::content::Budget;
use super::lookup::Index;
use super::seam::{Bases, ReadAt};
use super::table::Kind;
use crate::checksum::Hasher;
use crate::proto::{ObjectId, ObjectKind, put_entry_header};
use crate::{Error, ErrorKind};

/// How much of the pack is read, or of an object compressed, at once.
const PIECE: usize = 256 * 1024;
/// Where the header of a pack has the number of entries.
const COUNT_AT: u64 = 8;

/// A pack that can be written, too.
pub(crate) trait PackFile: ReadAt {
    /// Writes all of `bytes` from `offset` on, over what is there.
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
}

#[cfg(unix)]
impl PackFile for std::fs::File {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, offset)
    }
}

/// Takes the bases that the pack holds itself off the list of those that it lacks.
///
/// The object that deltas name by its id may be in the repository, too, and be looked for there before the delta of the
/// pack is resolved that makes it. What is made of itself then is left on the list: such a pack holds it twice.
pub(super) fn leave_out_own(index: &mut Index, pack: &impl ReadAt) -> Result<(), Error> {
    let mut external = std::mem::take(&mut index.external);
    if external.iter().any(|id| index.entry_of(id).is_some()) {
        let budget = Budget::for_reading(index.pack_len());
        let mut reader = index.reader_within(pack, 0, &budget);
        let mut lacking = Vec::new();
        let mut is_twice = false;
        for id in external {
            let is_lacking = match index.entry_of(&id) {
                // One is enough for the pack to be refused, and to look at each may be a long way.
                Some(entry) => {
                    is_twice = is_twice || reader.is_circular(entry)?;
                    is_twice
                }
                None => true,
            };
            if is_lacking {
                lacking.push(id);
            }
        }
        external = lacking;
    }
    index.external = external;
    Ok(())
}

/// Makes a thin pack one that stands on its own, as packs in a repository must: appends each base that it lacks,
/// counts them in the header, and writes the new trailer, which is given back. `None` if nothing is lacking.
///
/// The pack is read once more, from front to back, for the hash in its trailer; git does the same. `go_on` is asked again
/// and again; an error from it ends the work.
///
/// # Errors
///
/// [`Store`](ErrorKind::Store), and those of `bases` and `go_on`.
pub(crate) fn complete_thin(
    index: &mut Index,
    pack: &mut impl PackFile,
    bases: &impl Bases,
    go_on: impl Fn() -> Result<(), Error>,
) -> Result<Option<ObjectId>, Error> {
    if index.external.is_empty() {
        return Ok(None);
    }
    let reading = Budget::for_reading(index.pack_len());
    let mut appender = Appender { compress: Compress::new(Compression::default(), true), piece: vec![0; PIECE] };
    for id in std::mem::take(&mut index.external) {
        go_on()?;
        let (kind, data) = bases.base(&id, u64::MAX, &reading)?.ok_or_else(|| {
            Error::new(ErrorKind::MissingObjects, format!("the base {id} is not in the repository any more"))
        })?;
        appender.append(index, pack, &id, kind, &data)?;
    }
    index.sort();
    pack.write_all_at(&index.len().to_be_bytes(), COUNT_AT).map_err(trouble)?;
    let checksum = hash(index, pack, go_on)?;
    pack.write_all_at(checksum.as_bytes(), index.table.end).map_err(trouble)?;
    Ok(Some(checksum))
}

struct Appender {
    compress: Compress,
    piece: Vec<u8>,
}

impl Appender {
    /// Puts one whole object at the end of the pack.
    fn append(
        &mut self,
        index: &mut Index,
        pack: &mut impl PackFile,
        id: &ObjectId,
        kind: ObjectKind,
        data: &[u8],
    ) -> Result<(), Error> {
        let table = &mut index.table;
        table.push(Kind::Object(kind), id);
        let mut crc = crc32fast::Hasher::new();
        let mut put = |bytes: &[u8]| {
            pack.write_all_at(bytes, table.end).map_err(trouble)?;
            crc.update(bytes);
            table.end = table.end.saturating_add(bytes.len() as u64);
            Ok(())
        };
        let mut header = Vec::new();
        put_entry_header(type_bits(kind), data.len() as u64, &mut header);
        put(&header)?;
        self.compress(data, put)?;
        if let Some(slot) = table.crcs.last_mut() {
            *slot = crc.finalize();
        }
        Ok(())
    }

    fn compress(&mut self, data: &[u8], mut put: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.compress.reset();
        loop {
            let taken = usize::try_from(self.compress.total_in()).unwrap_or(usize::MAX);
            let before = self.compress.total_out();
            let input = data.get(taken..).unwrap_or_default();
            let status = self.compress.compress(input, &mut self.piece, FlushCompress::Finish).map_err(trouble)?;
            let made = self.compress.total_out().saturating_sub(before);
            put(self.piece.get(..usize::try_from(made).unwrap_or(0)).unwrap_or_default())?;
            if status == Status::StreamEnd {
                return Ok(());
            }
        }
    }
}

/// The hash of the pack up to its trailer.
fn hash(index: &Index, pack: &impl ReadAt, go_on: impl Fn() -> Result<(), Error>) -> Result<ObjectId, Error> {
    let mut hasher = Hasher::new(index.format());
    let mut piece = vec![0; PIECE];
    let mut at = 0_u64;
    while at < index.table.end {
        go_on()?;
        let len = index.table.end.saturating_sub(at).min(PIECE as u64);
        piece.truncate(usize::try_from(len).unwrap_or(PIECE));
        pack.read_exact_at(&mut piece, at).map_err(trouble)?;
        hasher.update(&piece);
        at = at.saturating_add(len);
    }
    hasher.finish().map_err(trouble)
}

fn type_bits(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Commit => 1,
        ObjectKind::Tree => 2,
        ObjectKind::Blob => 3,
        ObjectKind::Tag => 4,
    }
}

fn trouble(error: impl Into<crate::BoxError>) -> Error {
    Error::store("the pack cannot be completed", error)
}
