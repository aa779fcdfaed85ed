use std::io::{self, Write as _};
use std::sync::Arc;

use super::fs::File;
use super::quarantine_directory::QuarantineDirectory;
use crate::store::index::ReadAt;

/// The pack of a push as it arrives: in memory as long as it is short, and then in a file. Once all of it is there it can
/// be read.
pub(super) struct IncomingPack {
    directory: Arc<QuarantineDirectory>,
    /// All of a short pack; of a longer one what waits to be written.
    buffer: Vec<u8>,
    file: Option<File>,
}

/// The name of the file in the quarantine.
const NAME: &str = "incoming.pack";

/// How many bytes are written at once, and how long a pack is that needs no file.
const BUFFER: usize = 256 << 10;

impl IncomingPack {
    /// Nothing yet. A pack that is not short goes to a file in this directory.
    pub(super) fn new(directory: Arc<QuarantineDirectory>) -> Self {
        Self { directory, buffer: Vec::new(), file: None }
    }

    /// Takes the next bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len().saturating_add(bytes.len()) > BUFFER {
            self.write_buffer()?;
        }
        if bytes.len() >= BUFFER {
            return self.file()?.write_all(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes the last bytes; from now on the pack can be read.
    pub(super) fn finish(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append(bytes)?;
        if self.file.is_some() {
            self.write_buffer()?;
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// The file with all of the pack in it.
    pub(super) fn into_file(mut self) -> io::Result<File> {
        self.write_buffer()?;
        self.file()?;
        self.file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.file()?.write_all(&buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    fn file(&mut self) -> io::Result<&mut File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(self.directory.create_new(NAME)?)),
        }
    }
}

impl ReadAt for IncomingPack {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.file {
            Some(file) => file.read_exact_at(buf, offset),
            None => self.buffer.as_slice().read_exact_at(buf, offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::bare_repository::fs::Fs;

    #[test]
    fn a_pack_reads_the_same_from_memory_and_from_a_file() {
        let bytes: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
        for (len, piece, in_memory) in
            [(0, 1, true), (1, 1, true), (BUFFER, 1000, true), (BUFFER + 1, 1000, false), (2_000_000, 300_000, false)]
        {
            let dir = tempfile::tempdir().unwrap();
            let quarantine = Arc::new(QuarantineDirectory::new(&Fs::default(), dir.path().to_path_buf()));
            let mut pack = IncomingPack::new(Arc::clone(&quarantine));
            let (body, end) = bytes[..len].split_at(len.saturating_sub(20));
            body.chunks(piece).for_each(|piece| pack.append(piece).unwrap());
            pack.finish(end).unwrap();
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), usize::from(!in_memory), "{len}");
            for (offset, count) in [(0, len), (len / 2, len / 3)] {
                let mut read = vec![0; count];
                pack.read_exact_at(&mut read, offset as u64).unwrap();
                assert!(read == bytes[offset..offset + count], "{len}");
            }
            assert!(pack.read_exact_at(&mut [0; 2], len as u64).is_err());
            assert!(pack.read_exact_at(&mut [0; 2], u64::MAX).is_err());
            let file = pack.into_file().unwrap();
            drop(file);
            assert!(std::fs::read(quarantine.path().unwrap().join(NAME)).unwrap() == bytes[..len], "{len}");
        }
    }
}
