use flate2::{Decompress, FlushDecompress, Status};

use super::seam::ReadAt;
use crate::proto::{Entry, MAX_ENTRY_HEADER, ObjectFormat, WholeInflater, entry_header};
use crate::{Error, ErrorKind};

/// How much of the pack is held at once.
const WINDOW: usize = 64 * 1024;
/// How much is read at least.
const READ_AHEAD: u64 = 512;
/// Up to this it doubles as long as entries are read that stand just behind those that were read before: the deltas of
/// one file often stand in a row.
const MAX_READ_AHEAD: u64 = 8 * 1024;
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
    // Boxed for the reason that `proto::pack::inflate` gives.
    inflater: Box<Decompress>,
    whole_inflater: WholeInflater,
    window: Vec<u8>,
    /// Where in the pack the window begins.
    window_start: u64,
    window_len: usize,
    read_ahead: u64,
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
    pub(super) fn new(pack: &'p P, format: ObjectFormat, pack_end: u64) -> Self {
        Self {
            pack,
            format,
            pack_end,
            inflater: Box::new(Decompress::new(true)),
            whole_inflater: WholeInflater::new(),
            window: vec![0; WINDOW],
            window_start: 0,
            window_len: 0,
            read_ahead: READ_AHEAD,
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
            let input = following(&self.window, self.window_start, self.window_len, self.taken_to);
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
        let input = following(&self.window, self.window_start, self.window_len, self.taken_to);
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
        following(&self.window, self.window_start, self.window_len, self.taken_to)
    }

    /// Moves the window to the first byte that was not taken.
    fn load(&mut self) -> Result<(), Error> {
        let wanted = self.entry_end.saturating_sub(self.taken_to);
        let window_end = self.window_start.saturating_add(self.window_len as u64);
        let is_near = (self.window_start..window_end.saturating_add(self.read_ahead)).contains(&self.taken_to);
        self.read_ahead = match is_near {
            true => self.read_ahead.saturating_mul(2).min(MAX_READ_AHEAD),
            false => READ_AHEAD,
        };
        let len = wanted
            .saturating_add(READ_BEYOND)
            .max(self.read_ahead)
            .min(self.pack_end.saturating_sub(self.taken_to))
            .min(WINDOW as u64);
        if wanted == 0 || len == 0 {
            return Err(self.damaged("end"));
        }
        self.window_len = 0;
        let len = usize::try_from(len).unwrap_or(WINDOW);
        if let Some(window) = self.window.get_mut(..len) {
            self.pack
                .read_exact_at(window, self.taken_to)
                .map_err(|error| Error::store("the pack cannot be read again", error))?;
            (self.window_start, self.window_len) = (self.taken_to, len);
        }
        Ok(())
    }

    /// The entry was sound when it arrived, so this is the store's trouble and not the client's.
    fn damaged(&self, what: &str) -> Error {
        let text = format!("the {what} of an entry differs from what arrived");
        Error::new(ErrorKind::Store, text).with_offset(self.entry_start)
    }
}

/// The part of the window from `taken_to` on: the rest of the entry, and perhaps some of what follows it.
fn following(window: &[u8], window_start: u64, window_len: usize, taken_to: u64) -> &[u8] {
    let start = taken_to.checked_sub(window_start).and_then(|at| usize::try_from(at).ok());
    start.and_then(|start| window.get(start..window_len)).unwrap_or_default()
}
