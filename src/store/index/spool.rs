use std::io;
use std::sync::Arc;

use super::content::Budget;
use super::delta::{Sink, Source};
use super::seam::{Aside, AsideFile};
use crate::Error;
use crate::checksum::Hasher;

/// How much of a spooled object is in memory at most while it is copied.
const PIECE: usize = 64 * 1024;
/// How much is read at least, for copies that are shorter.
const READ_AHEAD: u64 = 4 * 1024;

/// An object that was put aside: it is gone when this is dropped, or the process is.
#[derive(Debug)]
pub(super) struct Spool {
    file: Arc<dyn AsideFile>,
    /// Where in the file the object begins.
    start: u64,
    len: u64,
}

impl Spool {
    pub(super) fn len(&self) -> u64 {
        self.len
    }
}

/// Where the copies of a delta come from when their base is spooled.
pub(super) struct SpoolSource<'s> {
    spool: &'s Spool,
    /// A few bytes of a delta may ask for a read, so what is read is paid for.
    budget: Option<&'s Budget>,
    /// The piece read last, and where it begins: instructions tend to go through their base from front to back.
    piece: Vec<u8>,
    start: u64,
}

impl<'s> SpoolSource<'s> {
    pub(super) fn new(spool: &'s Spool, budget: Option<&'s Budget>) -> Self {
        Self { spool, budget, piece: Vec::new(), start: 0 }
    }

    /// The bytes from `offset` on that are in memory; up to `wanted` of them, and more, are read if none are.
    fn at(&mut self, offset: u64, wanted: u64) -> Result<&[u8], Error> {
        let within = |start: u64, len: usize| {
            offset.checked_sub(start).and_then(|at| usize::try_from(at).ok()).filter(|at| *at < len)
        };
        if within(self.start, self.piece.len()).is_none() {
            let len = wanted.clamp(READ_AHEAD, PIECE as u64).min(self.spool.len.saturating_sub(offset));
            self.budget.map_or(Ok(()), |budget| budget.spend(len))?;
            self.piece.clear();
            self.piece.resize(usize::try_from(len).unwrap_or(PIECE), 0);
            self.start = offset;
            let place = self.spool.start.saturating_add(offset);
            self.spool.file.read_exact_at(&mut self.piece, place).map_err(trouble)?;
        }
        let at = within(self.start, self.piece.len()).unwrap_or_default();
        Ok(self.piece.get(at..).unwrap_or_default())
    }
}

impl Source for SpoolSource<'_> {
    fn copy(&mut self, offset: u64, len: u64, sink: &mut impl Sink) -> Result<(), Error> {
        let (mut offset, mut left) = (offset, len);
        while left > 0 {
            let there = self.at(offset, left)?;
            let part = there.get(..usize::try_from(left).unwrap_or(usize::MAX).min(there.len())).unwrap_or_default();
            if part.is_empty() {
                return Err(trouble(io::ErrorKind::UnexpectedEof.into()));
            }
            sink.put(part)?;
            offset = offset.saturating_add(part.len() as u64);
            left = left.saturating_sub(part.len() as u64);
        }
        Ok(())
    }
}

/// Puts an object aside.
#[derive(Debug)]
pub(super) struct SpoolWriter {
    file: Box<dyn AsideFile>,
    /// What is not written yet.
    piece: Vec<u8>,
    written: u64,
}

impl SpoolWriter {
    pub(super) fn new(aside: &dyn Aside) -> Result<Self, Error> {
        Ok(Self { file: aside.file().map_err(trouble)?, piece: Vec::with_capacity(PIECE), written: 0 })
    }

    pub(super) fn finish(mut self) -> Result<Spool, Error> {
        self.write_out()?;
        Ok(Spool { file: self.file.into(), start: 0, len: self.written })
    }

    fn write_out(&mut self) -> Result<(), Error> {
        self.file.write_all_at(&self.piece, self.written).map_err(trouble)?;
        self.written = self.written.saturating_add(self.piece.len() as u64);
        self.piece.clear();
        Ok(())
    }
}

impl Sink for SpoolWriter {
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while let Some((now, later)) = bytes.split_at_checked(PIECE.saturating_sub(self.piece.len())) {
            self.piece.extend_from_slice(now);
            self.write_out()?;
            bytes = later;
        }
        self.piece.extend_from_slice(bytes);
        Ok(())
    }
}

/// Hashes an object on its way to where it goes; `None` if nobody needs it any more.
pub(super) struct Hashed {
    pub(super) hasher: Hasher,
    pub(super) to: Option<SpoolWriter>,
}

impl Sink for Hashed {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.to.as_mut().map_or(Ok(()), |spool| spool.put(bytes))
    }
}

/// Where objects go that have to wait while deltas are resolved that come of them: one file, used as a stack.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    aside: Arc<dyn Aside>,
    file: Option<Arc<dyn AsideFile>>,
    end: u64,
}

impl WaitingRoom {
    pub(super) fn new(aside: Arc<dyn Aside>) -> Self {
        Self { aside, file: None, end: 0 }
    }

    /// Puts one more object into the file.
    pub(super) fn put(&mut self, data: &[u8]) -> Result<Spool, Error> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => self.aside.file().map_err(trouble)?.into(),
        };
        self.file = Some(Arc::clone(&file));
        let (start, len) = (self.end, data.len() as u64);
        file.write_all_at(data, start).map_err(trouble)?;
        self.end = start.saturating_add(len);
        Ok(Spool { file, start, len })
    }

    /// No object waits any more.
    pub(super) fn clear(&mut self) {
        (self.file, self.end) = (None, 0);
    }
}

fn trouble(error: io::Error) -> Error {
    Error::store("a large object cannot be put aside in a temporary file", error)
}
