use std::io;
use std::mem;
use std::sync::Arc;

use super::content::{Budget, spend};
use super::delta::{Sink, Source};
use super::seam::ReadAt;
use super::spool_file::{BLOCK, SpoolFile};
use crate::Error;
use crate::checksum::Hasher;

/// How much of a spooled object is in memory at most while it is copied.
const PIECE: usize = BLOCK as usize;
/// How much is read at least, for copies that are shorter.
const READ_AHEAD: u64 = 4 * 1024;

/// An object that was put aside: it is gone when this is dropped, or the process is.
#[derive(Debug)]
pub(super) struct Spool {
    file: Arc<SpoolFile>,
    /// Where in the file its blocks begin, one after the other.
    blocks: Vec<u64>,
    len: u64,
}

impl Spool {
    /// Puts aside an object that is in memory.
    pub(super) fn of(data: &[u8], file: &Arc<SpoolFile>) -> Result<Self, Error> {
        let mut writer = SpoolWriter::new(file);
        writer.put(data)?;
        writer.finish()
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Adds a block; only the last one may be shorter than the others.
    fn push(&mut self, block: &[u8]) -> io::Result<()> {
        let place = self.file.take();
        self.blocks.push(place);
        self.len = self.len.saturating_add(block.len() as u64);
        self.file.write_all_at(block, place)
    }
}

impl ReadAt for Spool {
    fn read_exact_at(&self, mut buf: &mut [u8], offset: u64) -> io::Result<()> {
        let (first, mut skipped) = (usize::try_from(offset / BLOCK).unwrap_or(usize::MAX), offset % BLOCK);
        for block in self.blocks.iter().skip(first) {
            let len = usize::try_from(BLOCK.saturating_sub(skipped)).unwrap_or(PIECE).min(buf.len());
            let (now, later) = mem::take(&mut buf).split_at_mut(len);
            self.file.read_exact_at(now, block.saturating_add(skipped))?;
            (buf, skipped) = (later, 0);
            if buf.is_empty() {
                return Ok(());
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.file.give_back(&self.blocks);
    }
}

/// Where the copies of a delta come from when their base is spooled.
pub(super) struct SpoolSource<'s> {
    spool: &'s Spool,
    /// What is copied is paid for where it goes; but a few bytes of a delta may ask for a read of many.
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
            spend(self.budget, len.saturating_sub(wanted))?;
            self.piece.clear();
            self.piece.resize(usize::try_from(len).unwrap_or(PIECE), 0);
            self.start = offset;
            self.spool.read_exact_at(&mut self.piece, offset).map_err(trouble)?;
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
    /// What is written.
    spool: Spool,
    /// What is not yet.
    piece: Vec<u8>,
}

impl SpoolWriter {
    pub(super) fn new(file: &Arc<SpoolFile>) -> Self {
        let spool = Spool { file: Arc::clone(file), blocks: Vec::new(), len: 0 };
        Self { spool, piece: Vec::with_capacity(PIECE) }
    }

    pub(super) fn finish(mut self) -> Result<Spool, Error> {
        if !self.piece.is_empty() {
            self.write_out()?;
        }
        Ok(self.spool)
    }

    fn write_out(&mut self) -> Result<(), Error> {
        self.spool.push(&self.piece).map_err(trouble)?;
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

fn trouble(error: io::Error) -> Error {
    Error::store("a large object cannot be put aside in a temporary file", error)
}
