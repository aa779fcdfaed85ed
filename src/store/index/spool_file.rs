use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::seam::{Aside, AsideFile};

/// How much of a file is given out at once.
pub(super) const BLOCK: u64 = 64 * 1024;

/// A file that any number of objects share: each of its blocks belongs to one of them.
///
/// A pack can be made so that as many large objects wait as its budget allows, and a process has far fewer file
/// descriptors than that. So each thread that resolves deltas has one such file, made when the first object needs it.
///
/// The first block that is free is given out first, so the file is never longer than what was in it at one time. Behind
/// the last block that belongs to an object it is cut off. A free block before that one keeps its space on the disk until
/// somebody takes it, or all behind it are free as well.
#[derive(Debug)]
pub(super) struct SpoolFile {
    aside: Arc<dyn Aside>,
    file: OnceLock<Box<dyn AsideFile>>,
    blocks: Mutex<Blocks>,
}

impl SpoolFile {
    pub(super) fn new(aside: Arc<dyn Aside>) -> Self {
        Self { aside, file: OnceLock::new(), blocks: Mutex::default() }
    }

    /// Takes a block that is nobody's: where it begins.
    pub(super) fn take(&self) -> u64 {
        self.blocks().take()
    }

    /// Takes blocks back that were taken, and gives back to the disk what it can.
    pub(super) fn give_back(&self, blocks: &[u64]) {
        let mut all = self.blocks();
        if let (Some(end), Some(file)) = (all.give_back(blocks), self.file.get()) {
            // Still locked, so that nobody takes a block just before it is cut off. What cannot be given back now is when
            // the file is.
            let _ = file.set_len(end);
        }
    }

    /// Writes into a block that was taken.
    pub(super) fn write_all_at(&self, bytes: &[u8], place: u64) -> io::Result<()> {
        if self.file.get().is_none() {
            // If somebody was quicker, theirs it is.
            let _ = self.file.set(self.aside.file()?);
        }
        self.file()?.write_all_at(bytes, place)
    }

    /// Reads what was written.
    pub(super) fn read_exact_at(&self, buf: &mut [u8], place: u64) -> io::Result<()> {
        self.file()?.read_exact_at(buf, place)
    }

    fn file(&self) -> io::Result<&dyn AsideFile> {
        self.file.get().map(Box::as_ref).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which blocks are free.
#[derive(Debug, Default)]
struct Blocks {
    /// Where they begin; the last one before the end is never among them.
    free: BTreeSet<u64>,
    /// Where the last block ends that belongs to somebody.
    end: u64,
}

impl Blocks {
    fn take(&mut self) -> u64 {
        self.free.pop_first().unwrap_or_else(|| {
            let end = self.end.saturating_add(BLOCK);
            std::mem::replace(&mut self.end, end)
        })
    }

    /// Gives the new end if it has moved.
    fn give_back(&mut self, blocks: &[u64]) -> Option<u64> {
        let before = self.end;
        self.free.extend(blocks);
        while let Some(last) = self.end.checked_sub(BLOCK).filter(|last| self.free.remove(last)) {
            self.end = last;
        }
        (self.end < before).then_some(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_free_block_is_taken_and_the_last_ones_are_cut_off() {
        let mut blocks = Blocks::default();
        assert_eq!([(); 5].map(|()| blocks.take() / BLOCK), [0, 1, 2, 3, 4]);
        assert_eq!(blocks.give_back(&[3 * BLOCK, BLOCK]), None);
        assert_eq!(blocks.take(), BLOCK);
        assert_eq!(blocks.give_back(&[4 * BLOCK]), Some(3 * BLOCK));
        assert_eq!(blocks.take(), 3 * BLOCK);
        assert_eq!(blocks.give_back(&[0, 3 * BLOCK, 2 * BLOCK, BLOCK]), Some(0));
        assert_eq!(blocks.take(), 0);
    }
}
