use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::index::{Aside, AsideFile, PackFile, ReadAt};

/// The directory where pushes have their temporary files. They have no names, so that nothing stays of a process that dies.
#[derive(Clone, Debug)]
pub(super) struct Scratch(Arc<Path>);

impl Scratch {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(directory.into())
    }

    fn open(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.0)
    }
}

impl Aside for Scratch {
    fn file(&self) -> io::Result<Box<dyn AsideFile>> {
        Ok(Box::new(self.open()?))
    }
}

/// An object before it is uploaded: in memory as long as it is short, and then in a temporary file.
#[derive(Debug)]
pub(super) struct Draft {
    scratch: Scratch,
    /// All of a short one; of a longer one the end, which waits to be written.
    buffer: Vec<u8>,
    file: Option<File>,
    /// How much is in the file.
    written: u64,
}

/// How many bytes are written at once, and how long an object is that needs no file.
const BUFFER: usize = 256 << 10;

impl Draft {
    /// Nothing yet.
    pub(super) fn new(scratch: &Scratch) -> Self {
        Self { scratch: scratch.clone(), buffer: Vec::new(), file: None, written: 0 }
    }

    pub(super) fn len(&self) -> u64 {
        self.written.saturating_add(self.buffer.len() as u64)
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.scratch.open()?),
        };
        AsideFile::write_all_at(file, &self.buffer, self.written)?;
        self.written = self.written.saturating_add(self.buffer.len() as u64);
        self.buffer.clear();
        Ok(())
    }
}

/// Puts bytes at the end.
impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len().saturating_add(bytes.len()) > BUFFER {
            self.write_buffer()?;
        }
        let now = bytes.get(..BUFFER).unwrap_or(bytes);
        self.buffer.extend_from_slice(now);
        Ok(now.len())
    }

    /// What is in the buffer is read from there.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadAt for Draft {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let in_file = usize::try_from(self.written.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let (from_file, from_buffer) = buf.split_at_mut(in_file);
        if let Some(file) = self.file.as_ref().filter(|_| !from_file.is_empty()) {
            ReadAt::read_exact_at(file, from_file, offset)?;
        }
        let start = offset.saturating_add(in_file as u64).saturating_sub(self.written);
        self.buffer.as_slice().read_exact_at(from_buffer, start)
    }
}

impl PackFile for Draft {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if offset == self.len() {
            return self.write_all(bytes);
        }
        let in_file = usize::try_from(self.written.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        let (to_file, mut beyond) = bytes.split_at(in_file);
        if let Some(file) = self.file.as_ref().filter(|_| !to_file.is_empty()) {
            AsideFile::write_all_at(file, to_file, offset)?;
        }
        let start = usize::try_from(offset.saturating_add(in_file as u64).saturating_sub(self.written));
        let over = start.ok().and_then(|start| self.buffer.get_mut(start..)).ok_or(io::ErrorKind::InvalidInput)?;
        let (now, later) = beyond.split_at(beyond.len().min(over.len()));
        if let Some(over) = over.get_mut(..now.len()) {
            over.copy_from_slice(now);
        }
        beyond = later;
        self.write_all(beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_the_same_from_memory_and_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(dir.path().to_path_buf());
        let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
        for (len, piece) in [(0, 1), (1, 1), (BUFFER, 1000), (BUFFER + 1, 1000), (2_000_000, 300_000)] {
            let mut draft = Draft::new(&scratch);
            let mut expected = bytes[..len].to_vec();
            expected.chunks(piece).for_each(|piece| draft.write_all(piece).unwrap());
            assert_eq!((draft.len(), draft.file.is_some()), (len as u64, len > BUFFER), "{len}");
            // Over what is there, over the end, and at it.
            for (offset, text) in [(len / 3, "somewhere"), (len.saturating_sub(4), "the end"), (len / 2, "x")] {
                let text = &text.as_bytes()[..text.len().min(len + 3 - offset)];
                draft.write_all_at(text, offset as u64).unwrap();
                let end = offset + text.len();
                expected.resize(expected.len().max(end), 0);
                expected[offset..end].copy_from_slice(text);
            }
            for (offset, count) in [(0, expected.len()), (len / 2, len / 3)] {
                let mut read = vec![0; count];
                draft.read_exact_at(&mut read, offset as u64).unwrap();
                assert!(read == expected[offset..offset + count], "{len}");
            }
            assert!(draft.read_exact_at(&mut [0; 2], draft.len() - 1).is_err());
            assert!(draft.read_exact_at(&mut [0; 2], u64::MAX).is_err());
            assert!(draft.write_all_at(b"a gap", draft.len() + 1).is_err());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
