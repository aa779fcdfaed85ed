use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::delta::{Sink, Source};
use super::seam::ReadAt as _;
use crate::Error;
use crate::checksum::Hasher;

/// How much of a spooled object is in memory while it is copied.
const PIECE: usize = 64 * 1024;

/// An object in a temporary file that has no name any more: it is gone when this is dropped, or the process is.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
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
    /// The piece read last, and where it begins: instructions tend to go through their base from front to back.
    piece: Vec<u8>,
    start: u64,
}

impl<'s> SpoolSource<'s> {
    pub(super) fn new(spool: &'s Spool) -> Self {
        Self { spool, piece: Vec::new(), start: 0 }
    }

    /// The bytes from `offset` on that are in memory, read if need be.
    fn at(&mut self, offset: u64) -> Result<&[u8], Error> {
        let within = |start: u64, len: usize| {
            offset.checked_sub(start).and_then(|at| usize::try_from(at).ok()).filter(|at| *at < len)
        };
        if within(self.start, self.piece.len()).is_none() {
            let len = self.spool.len.saturating_sub(offset).min(PIECE as u64);
            self.piece.clear();
            self.piece.resize(usize::try_from(len).unwrap_or(PIECE), 0);
            self.start = offset;
            self.spool.file.read_exact_at(&mut self.piece, offset).map_err(trouble)?;
        }
        let at = within(self.start, self.piece.len()).unwrap_or_default();
        Ok(self.piece.get(at..).unwrap_or_default())
    }
}

impl Source for SpoolSource<'_> {
    fn copy(&mut self, offset: u64, len: u64, sink: &mut impl Sink) -> Result<(), Error> {
        let (mut offset, mut left) = (offset, len);
        while left > 0 {
            let there = self.at(offset)?;
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

/// Writes an object to a temporary file.
#[derive(Debug)]
pub(super) struct SpoolWriter {
    file: io::BufWriter<File>,
    len: u64,
}

impl SpoolWriter {
    /// Makes the file in `directory` and takes its name away.
    pub(super) fn new(directory: &Path) -> Result<Self, Error> {
        let file = unnamed_file(directory).map_err(trouble)?;
        Ok(Self { file: io::BufWriter::with_capacity(PIECE, file), len: 0 })
    }

    pub(super) fn finish(self) -> Result<Spool, Error> {
        let file = self.file.into_inner().map_err(|error| trouble(error.into_error()))?;
        Ok(Spool { file, len: self.len })
    }
}

impl Sink for SpoolWriter {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.len = self.len.saturating_add(bytes.len() as u64);
        self.file.write_all(bytes).map_err(trouble)
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

fn unnamed_file(directory: &Path) -> io::Result<File> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        // Git clears away what begins with `tmp_`, should the process end between the next two lines.
        let name = format!("tmp_spool_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = directory.join(name);
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => {
                let file = opened?;
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
        }
    }
}

fn trouble(error: io::Error) -> Error {
    Error::store("a large object cannot be put aside in a temporary file", error)
}
