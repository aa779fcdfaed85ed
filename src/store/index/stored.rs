//! The index files of a pack that landed before, read where they lie: nothing of them is held but 1 KiB.

use std::io;
use std::ops::Range;

use super::options::IndexOptions;
use super::read::{Entries, ObjectReader};
use super::seam::ReadAt;
use crate::proto::{ObjectFormat, ObjectId};
use crate::{Error, ErrorKind};

/// An `.idx` (version 2) and a `.rev` (version 1) of gitformat-pack.
#[derive(Debug)]
pub(crate) struct StoredIndex<I, R> {
    format: ObjectFormat,
    idx: I,
    rev: R,
    /// How many ids begin with each byte, or one before it.
    fanout: Vec<u32>,
    /// Where the last entry of the pack ends.
    pack_end: u64,
}

/// The signature and the version of an index.
const IDX_MAGIC: &[u8; 8] = b"\xfftOc\0\0\0\x02";
/// Where its ids begin: behind 256 counts.
const IDS: u64 = 8 + 4 * 256;
/// Where the places of a reverse index begin: behind signature, version and hash.
const PLACES: u64 = 12;
/// The bit of a short offset that says: see the long ones.
const IS_LONG: u32 = 0x8000_0000;

impl<I: ReadAt, R: ReadAt> StoredIndex<I, R> {
    /// Opens the index of a pack that is `pack_len` bytes long, its trailer included.
    ///
    /// # Errors
    ///
    /// [`Store`](ErrorKind::Store) if it cannot be read, or is none of this version.
    pub(crate) fn open(idx: I, rev: R, format: ObjectFormat, pack_len: u64) -> Result<Self, Error> {
        let mut front = [0; IDS as usize];
        idx.read_exact_at(&mut front, 0).map_err(unreadable)?;
        Self::with_front(&front, idx, rev, format, pack_len)
    }

    /// The same, by somebody who has read the front of the index.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub(crate) fn with_front(front: &[u8], idx: I, rev: R, format: ObjectFormat, pack_len: u64) -> Result<Self, Error> {
        let counts = front.get(..IDS as usize).and_then(|front| front.strip_prefix(IDX_MAGIC));
        let counts = counts.ok_or_else(|| damaged("its front"))?;
        let fanout: Vec<u32> =
            counts.chunks_exact(4).filter_map(|count| Some(u32::from_be_bytes(count.try_into().ok()?))).collect();
        if !fanout.is_sorted() {
            return Err(damaged("its counts"));
        }
        Ok(Self { format, idx, rev, fanout, pack_end: pack_len.saturating_sub(format.len() as u64) })
    }

    /// The place of an id among all of them in their order; `None` if the pack does not hold it.
    pub(crate) fn place_of(&self, id: &ObjectId) -> Result<Option<u32>, Error> {
        let first = usize::from(id.as_bytes().first().copied().unwrap_or_default());
        let mut end = self.fanout.get(first).copied().unwrap_or_default();
        let mut start = first.checked_sub(1).and_then(|before| self.fanout.get(before)).copied().unwrap_or_default();
        while start < end {
            let middle = start.midpoint(end);
            match self.id(middle)?.as_bytes().cmp(id.as_bytes()) {
                std::cmp::Ordering::Less => start = middle.saturating_add(1),
                std::cmp::Ordering::Equal => return Ok(Some(middle)),
                std::cmp::Ordering::Greater => end = middle,
            }
        }
        Ok(None)
    }

    /// Reads objects of at most `max_len` bytes out of the pack. Their ids are taken at the word of the index.
    pub(crate) fn reader<'a, P: ReadAt>(&'a self, pack: &'a P, max_len: u64) -> ObjectReader<'a, P, Self> {
        let hashing = IndexOptions::new(self.format).hashing();
        ObjectReader::new(self, pack, self.pack_end, hashing, max_len, None)
    }

    /// The entry before which so many stand in the pack: its id, and the bytes that it takes; `None` behind the last.
    pub(crate) fn entry(&self, rank: u32) -> Result<Option<(ObjectId, Range<u64>)>, Error> {
        let Some(place) = self.place_at(rank)? else { return Ok(None) };
        let next = self.place_at(rank.saturating_add(1))?;
        let end = next.map_or(Ok(self.pack_end), |next| self.offset(next))?;
        Ok(Some((self.id(place)?, self.offset(place)?..end)))
    }

    /// The bytes that the entry with this id takes; `None` if the pack does not hold it.
    pub(crate) fn span_of(&self, id: &ObjectId) -> Result<Option<Range<u64>>, Error> {
        self.place_of(id)?.map(|place| self.span(place)).transpose()
    }

    /// The id of the entry that begins at this byte of the pack.
    pub(crate) fn id_at(&self, offset: u64) -> Result<Option<ObjectId>, Error> {
        self.entry_at(offset)?.map(|place| self.id(place)).transpose()
    }

    fn id(&self, place: u32) -> Result<ObjectId, Error> {
        let mut raw = [0; 32];
        let len = self.format.len();
        let raw = raw.get_mut(..len).unwrap_or_default();
        self.idx.read_exact_at(raw, at(IDS, place, len)).map_err(unreadable)?;
        ObjectId::from_bytes(raw).ok_or_else(|| damaged("an id"))
    }

    /// Where the entry begins whose id has this place.
    fn offset(&self, place: u32) -> Result<u64, Error> {
        // Behind the ids come as many crcs, then the offsets.
        let offsets = at(at(IDS, self.len(), self.format.len()), self.len(), 4);
        let short = number(&self.idx, at(offsets, place, 4))?;
        if short & IS_LONG == 0 {
            return Ok(short.into());
        }
        let mut long = [0; 8];
        let place = at(at(offsets, self.len(), 4), short & !IS_LONG, 8);
        self.idx.read_exact_at(&mut long, place).map_err(unreadable)?;
        Ok(u64::from_be_bytes(long))
    }

    /// The place of the id of an entry, of which so many are before it in the pack; `None` behind the last.
    fn place_at(&self, rank: u32) -> Result<Option<u32>, Error> {
        if rank >= self.len() {
            return Ok(None);
        }
        number(&self.rev, at(PLACES, rank, 4)).map(Some)
    }

    /// How many entries begin before this byte.
    fn rank(&self, offset: u64) -> Result<u32, Error> {
        let (mut start, mut end) = (0, self.len());
        while start < end {
            let middle = start.midpoint(end);
            let place = self.place_at(middle)?.ok_or_else(|| damaged("a place"))?;
            if self.offset(place)? < offset { start = middle.saturating_add(1) } else { end = middle }
        }
        Ok(start)
    }
}

/// Numbered in the order of their ids.
impl<I: ReadAt, R: ReadAt> Entries for StoredIndex<I, R> {
    fn len(&self) -> u32 {
        self.fanout.last().copied().unwrap_or_default()
    }

    fn find(&self, id: &ObjectId) -> Result<Option<u32>, Error> {
        self.place_of(id)
    }

    fn entry_at(&self, offset: u64) -> Result<Option<u32>, Error> {
        let Some(place) = self.place_at(self.rank(offset)?)? else { return Ok(None) };
        Ok((self.offset(place)? == offset).then_some(place))
    }

    fn span(&self, entry: u32) -> Result<Range<u64>, Error> {
        let start = self.offset(entry)?;
        let next = self.place_at(self.rank(start)?.saturating_add(1))?;
        let end = next.map_or(Ok(self.pack_end), |next| self.offset(next))?;
        if start >= end {
            return Err(damaged("an offset"));
        }
        Ok(start..end)
    }
}

/// Where the place-th of things of some length begins.
fn at(start: u64, place: u32, len: usize) -> u64 {
    start.saturating_add(u64::from(place).saturating_mul(len as u64))
}

fn number(file: &impl ReadAt, offset: u64) -> Result<u32, Error> {
    let mut number = [0; 4];
    file.read_exact_at(&mut number, offset).map_err(unreadable)?;
    Ok(u32::from_be_bytes(number))
}

fn unreadable(error: io::Error) -> Error {
    Error::store("the index of a pack cannot be read", error)
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Store, format!("the index of a pack is damaged: {what}"))
}
