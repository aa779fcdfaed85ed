use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::offsets::Offsets;
use super::seam::{Aside, AsideFile, ReadAt};
use super::window::Window;
use crate::proto::PackObject;

/// The longest delta that is kept. Most are shorter, and with a short one an inflater is busier with its tables than with
/// the bytes.
const MAX_LEN: usize = 1024;
/// How many bytes are kept for each byte of the pack at most: what deflates better than that would fill the disk.
const MAX_EXPANSION: usize = 2;
/// How much is written at once, and how much needs no file: more than the deltas of any push that git
/// unpacks, unless it was told to unpack larger ones.
const BUFFER: usize = 128 << 10;
/// A crc stands behind each delta: a disk may give back something else than it was given.
const CRC: usize = 4;
/// How much is held while deltas are read: one, and what stands behind it.
const WINDOW: usize = 8 << 10;

/// The short deltas of a pack as they were inflated when they arrived, one after the other in a temporary file, so that
/// they are not inflated once more when they are resolved.
///
/// Nothing depends on it: what is not here, or is damaged, is read from the pack. So where there is no room for it, it goes
/// away and the push goes on.
#[derive(Debug)]
pub(super) struct KeptDeltas {
    /// `None` if nothing is kept.
    aside: Option<Arc<dyn Aside>>,
    file: Option<Box<dyn AsideFile>>,
    /// What is not in the file yet; as long as there is none, all.
    buffer: Vec<u8>,
    /// Where each entry begins; one that is not kept ends there as well. As long as entries arrive, the last is open.
    places: Offsets,
    end: u64,
}

impl KeptDeltas {
    /// Keeps deltas in a file of `aside`, if there is one.
    pub(super) fn new(aside: Option<Arc<dyn Aside>>) -> Self {
        Self { aside, file: None, buffer: Vec::new(), places: Offsets::default(), end: 0 }
    }

    /// Takes the first chunk of the next entry.
    pub(super) fn take(&mut self, object: &PackObject) {
        if self.aside.is_none() {
            return;
        }
        self.places.push(self.end);
        let (data, most) = (object.data(), object.wire().len().saturating_mul(MAX_EXPANSION));
        let len = data.len().saturating_add(CRC);
        if !object.entry().kind.is_delta() || !object.is_end() || data.len() > MAX_LEN || len > most {
            return;
        }
        if self.buffer.len().saturating_add(len) > BUFFER && self.write_buffer().is_err() {
            return self.give_up();
        }
        self.buffer.extend_from_slice(data);
        self.buffer.extend_from_slice(&crc32fast::hash(data).to_le_bytes());
        self.end = self.end.saturating_add(len as u64);
    }

    /// Takes note that there are no more entries.
    pub(super) fn finish(&mut self) {
        if self.end == 0 {
            return self.give_up();
        }
        self.places.push(self.end);
        if self.file.is_some() {
            match self.write_buffer() {
                Ok(()) => self.buffer = Vec::new(),
                Err(_) => self.give_up(),
            }
        }
    }

    /// Where the bytes of an entry are, if it is one that was kept.
    fn span(&self, entry: u32) -> Option<Range<u64>> {
        let span = self.places.get(entry)?..self.places.get(entry.checked_add(1)?)?;
        (!span.is_empty()).then_some(span)
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        let file = match (&mut self.file, &self.aside) {
            (Some(file), _) => file,
            (none, Some(aside)) => none.insert(aside.file()?),
            (None, None) => return Ok(()),
        };
        file.write_all_at(&self.buffer, self.end.saturating_sub(self.buffer.len() as u64))?;
        self.buffer.clear();
        Ok(())
    }

    /// What cannot be kept is read from the pack; if that cannot be written either, the push hears of it there.
    fn give_up(&mut self) {
        *self = Self::new(None);
    }
}

impl ReadAt for KeptDeltas {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.file {
            Some(file) => file.read_exact_at(buf, offset),
            None => self.buffer.as_slice().read_exact_at(buf, offset),
        }
    }
}

/// Reads deltas that were kept, in any order.
pub(super) struct KeptReader<'k> {
    kept: &'k KeptDeltas,
    window: Window,
}

impl<'k> KeptReader<'k> {
    pub(super) fn new(kept: &'k KeptDeltas) -> Self {
        Self { kept, window: Window::new(WINDOW) }
    }

    /// The delta that is this entry of the pack, `None` if it was not kept, or cannot be read.
    pub(super) fn delta(&mut self, entry: u32) -> Option<&[u8]> {
        let Range { start, end } = self.kept.span(entry)?;
        let len = usize::try_from(end.checked_sub(start)?).ok()?;
        if self.window.at(start).len() < len {
            self.window.load(self.kept, start, len as u64, self.kept.end).ok()?;
        }
        let (delta, crc) = self.window.at(start).get(..len)?.split_last_chunk::<CRC>()?;
        (crc32fast::hash(delta).to_le_bytes() == *crc).then_some(delta)
    }
}
