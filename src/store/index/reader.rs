use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};

use super::kept::{KeptDeltas, KeptReader};
use super::seam::ReadAt;
use super::window::Window;
use crate::proto::{Entry, MAX_ENTRY_HEADER, ObjectFormat, WholeInflater, entry_header};
use crate::{Error, ErrorKind};

/// How much of the pack is held at once.
const WINDOW: usize = 64 * 1024;
/// How much of what follows an entry is read with it: the inflater is fast only as long as it need not fear the end.
const READ_BEYOND: u64 = 64;
/// What each byte of zlib's makes at most, and some more.
const MAX_EXPANSION: u64 = 1100;
/// How much more space than it needs the inflater is given, so that it may copy in long strides up to the end.
const SLACK: usize = 512;

/// Reads entries of a pack again, one after the other and in any order, with one inflater for all.
pub(super) struct EntryReader<'p, P> {
    pack: &'p P,
    format: ObjectFormat,
    /// Where the last entry of the pack ends.
    pack_end: u64,
    /// What was inflated already.
    kept: Option<KeptReader<'p>>,
    // Boxed for the reason that `proto::pack::inflate` gives.
    inflater: Box<Decompress>,
    whole_inflater: WholeInflater,
    window: Window,
    /// The entry: where it begins and ends in the pack, and how much of it was taken.
    entry_start: u64,
    entry_end: u64,
    taken_to: u64,
    /// How many bytes it inflates to.
    size: u64,
    begun: bool,
    finished: bool,
}

impl<'p, P: ReadAt> EntryReader<'p, P> {
    pub(super) fn new(pack: &'p P, format: ObjectFormat, pack_end: u64, kept: Option<&'p KeptDeltas>) -> Self {
        Self {
            pack,
            format,
            pack_end,
            kept: kept.map(KeptReader::new),
            inflater: Box::new(Decompress::new(true)),
            whole_inflater: WholeInflater::new(),
            window: Window::new(WINDOW),
            entry_start: 0,
            entry_end: 0,
            taken_to: 0,
            size: 0,
            begun: true,
            finished: true,
        }
    }

    /// Goes to the entry that takes the bytes from `start` to `end` of the pack.
    pub(super) fn open(&mut self, start: u64, end: u64) -> Result<Entry, Error> {
        (self.entry_start, self.entry_end, self.taken_to) = (start, end, start);
        (self.begun, self.finished) = (false, false);
        let wanted = end.saturating_sub(start).min(MAX_ENTRY_HEADER as u64);
        if (self.unread().len() as u64) < wanted {
            self.load()?;
        }
        let Ok(Some(entry)) = entry_header(self.unread(), start, self.format) else {
            return Err(self.damaged("header"));
        };
        self.taken_to = start.saturating_add(entry.header_len.into());
        self.size = entry.size;
        Ok(entry)
    }

    /// Goes to a delta: its number in the pack, and the bytes that it takes there. Gives how long it is, and how much of
    /// it is in `out` now.
    pub(super) fn open_delta(&mut self, entry: u32, span: Range<u64>, out: &mut [u8]) -> Result<(u64, usize), Error> {
        if let Some(kept) = &mut self.kept
            && let Some(delta) = kept.delta(entry)
            && let Some(out) = out.get_mut(..delta.len())
        {
            out.copy_from_slice(delta);
            (self.begun, self.finished) = (true, true);
            return Ok((delta.len() as u64, delta.len()));
        }
        let size = self.open(span.start, span.end)?.size;
        Ok((size, self.read(out)?))
    }

    /// Inflates into `out` until that is full or the entry has ended; gives how many bytes it was, 0 at the end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        if !self.begun {
            self.begun = true;
            if let Some(len) = self.read_at_once(out)? {
                return Ok(len);
            }
            self.inflater.reset(true);
        }
        let mut filled = 0_usize;
        while !self.finished {
            let Some(space) = out.get_mut(filled..).filter(|space| !space.is_empty()) else { break };
            if self.unread().is_empty() {
                self.load()?;
            }
            let (before_in, before_out) = (self.inflater.total_in(), self.inflater.total_out());
            let input = self.window.at(self.taken_to);
            let status = self
                .inflater
                .decompress(input, space, FlushDecompress::None)
                .map_err(|error| self.damaged("zlib stream").with_source(error))?;
            let consumed = self.inflater.total_in().saturating_sub(before_in);
            let produced = self.inflater.total_out().saturating_sub(before_out);
            self.taken_to = self.taken_to.saturating_add(consumed);
            filled = filled.saturating_add(usize::try_from(produced).unwrap_or(usize::MAX));
            self.finished = status == Status::StreamEnd;
            if (consumed == 0 && produced == 0 && !self.finished) || self.taken_to > self.entry_end {
                return Err(self.damaged("zlib stream"));
            }
        }
        Ok(filled)
    }

    /// As [`read`](Self::read), for an entry that fits both `out` and the window, as nearly all do.
    fn read_at_once(&mut self, out: &mut [u8]) -> Result<Option<usize>, Error> {
        let left = self.entry_end.saturating_sub(self.taken_to);
        let Some(size) = usize::try_from(self.size).ok().filter(|size| *size <= out.len() && left <= WINDOW as u64)
        else {
            return Ok(None);
        };
        if (self.unread().len() as u64) < left {
            self.load()?;
        }
        let input = self.window.at(self.taken_to);
        let Some(consumed) = self.whole_inflater.inflate(input, out, size) else { return Ok(None) };
        self.taken_to = self.taken_to.saturating_add(consumed as u64);
        if self.taken_to > self.entry_end {
            return Err(self.damaged("zlib stream"));
        }
        self.finished = true;
        Ok(Some(size))
    }

    /// Whether all of the entry has been read.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Inflates the whole entry, which is `len` bytes long, as was found when it arrived.
    pub(super) fn read_whole(&mut self, len: u64, out: &mut Vec<u8>) -> Result<(), Error> {
        // What lies in an object store, or on a disk, may not be what arrived.
        if len > self.entry_end.saturating_sub(self.entry_start).saturating_mul(MAX_EXPANSION) {
            return Err(self.damaged("length"));
        }
        let len = usize::try_from(len).map_err(|_| self.damaged("length"))?;
        out.clear();
        out.resize(len.saturating_add(SLACK), 0);
        if self.read(out)? != len {
            return Err(self.damaged("length"));
        }
        out.truncate(len);
        Ok(())
    }

    fn unread(&self) -> &[u8] {
        self.window.at(self.taken_to)
    }

    /// Moves the window to the first byte that was not taken.
    fn load(&mut self) -> Result<(), Error> {
        let wanted = self.entry_end.saturating_sub(self.taken_to);
        if wanted == 0 || self.taken_to >= self.pack_end {
            return Err(self.damaged("end"));
        }
        let loaded = self.window.load(self.pack, self.taken_to, wanted.saturating_add(READ_BEYOND), self.pack_end);
        loaded.map_err(|error| Error::store("the pack cannot be read again", error))
    }

    /// The entry was sound when it arrived, so this is the store's trouble and not the client's.
    fn damaged(&self, what: &str) -> Error {
        let text = format!("the {what} of an entry differs from what arrived");
        Error::new(ErrorKind::Store, text).with_offset(self.entry_start)
    }
}
