use std::io;

use super::seam::ReadAt;

/// How much is read at least.
const READ_AHEAD: u64 = 512;
/// Up to this it doubles as long as what is read stands just behind what was read before: the deltas of one file often
/// stand in a row.
const MAX_READ_AHEAD: u64 = 8 * 1024;

/// A piece of a file, for one who reads here and there and often goes on where he was.
pub(super) struct Window {
    bytes: Vec<u8>,
    /// Where in the file it begins.
    start: u64,
    len: usize,
    read_ahead: u64,
}

impl Window {
    /// One that holds up to `size` bytes.
    pub(super) fn new(size: usize) -> Self {
        Self { bytes: vec![0; size], start: 0, len: 0, read_ahead: READ_AHEAD }
    }

    /// What it holds from `place` on.
    pub(super) fn at(&self, place: u64) -> &[u8] {
        let start = place.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        start.and_then(|start| self.bytes.get(start..self.len)).unwrap_or_default()
    }

    /// Moves to `place`, with at least `wanted` bytes from there, or as many as there are before `end` and find room here.
    pub(super) fn load(&mut self, file: &impl ReadAt, place: u64, wanted: u64, end: u64) -> io::Result<()> {
        let window_end = self.start.saturating_add(self.len as u64);
        let is_near = (self.start..window_end.saturating_add(self.read_ahead)).contains(&place);
        self.read_ahead = match is_near {
            true => self.read_ahead.saturating_mul(2).min(MAX_READ_AHEAD),
            false => READ_AHEAD,
        };
        let len = wanted.max(self.read_ahead).min(end.saturating_sub(place));
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(self.bytes.len());
        self.len = 0;
        if let Some(bytes) = self.bytes.get_mut(..len) {
            file.read_exact_at(bytes, place)?;
            (self.start, self.len) = (place, len);
        }
        Ok(())
    }
}
