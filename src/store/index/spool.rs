use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::content::Budget;

use super::delta::{Sink, Source};
use super::seam::ReadAt as _;
use crate::Error;
use crate::checksum::Hasher;

/// How much of a spooled object is in memory at most while it is copied.
const PIECE: usize = 64 * 1024;
/// How much is read at least, for copies that are shorter.
const READ_AHEAD: u64 = 4 * 1024;

/// An object in a temporary file that has no name any more: it is gone when this is dropped, or the process is.
#[derive(Debug)]
pub(super) struct Spool {
    file: Arc<File>,
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
        Ok(Spool { file: Arc::new(file), start: 0, len: self.len })
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

/// Where objects go that have to wait while deltas are resolved that come of them: one file, used as a stack.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    directory: PathBuf,
    file: Option<Arc<File>>,
    end: u64,
}

impl WaitingRoom {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, file: None, end: 0 }
    }

    /// Puts one more object into the file.
    pub(super) fn put(&mut self, data: &[u8]) -> Result<Spool, Error> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::new(unnamed_file(&self.directory).map_err(trouble)?),
        };
        self.file = Some(Arc::clone(&file));
        let (start, len) = (self.end, data.len() as u64);
        let mut out = &*file;
        out.seek(io::SeekFrom::Start(start)).and_then(|_| out.write_all(data)).map_err(trouble)?;
        self.end = start.saturating_add(len);
        Ok(Spool { file, start, len })
    }

    /// No object waits any more.
    pub(super) fn clear(&mut self) {
        (self.file, self.end) = (None, 0);
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
