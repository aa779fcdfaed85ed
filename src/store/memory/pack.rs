use std::io;

use crate::store::index::{PackFile, ReadAt};

/// The bytes of a pack, in pieces: as they grow, nothing is copied.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    pieces: Vec<Vec<u8>>,
    len: u64,
}

/// The length of each piece but the last.
const PIECE: usize = 1 << 20;

impl Bytes {
    pub(crate) fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = match self.pieces.last_mut() {
                Some(piece) if piece.len() < PIECE => piece,
                _ => {
                    self.pieces.push(Vec::new());
                    continue;
                }
            };
            let (now, later) = bytes.split_at(bytes.len().min(PIECE.saturating_sub(room.len())));
            room.extend_from_slice(now);
            self.len = self.len.saturating_add(now.len() as u64);
            bytes = later;
        }
    }

    /// The piece that has the byte at `offset`, from there on.
    fn at(&self, offset: u64) -> io::Result<&[u8]> {
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let piece = self.pieces.get(offset / PIECE).and_then(|piece| piece.get(offset % PIECE..));
        piece.filter(|rest| !rest.is_empty()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl ReadAt for Bytes {
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            let from = self.at(offset)?;
            let len = from.len().min(buf.len());
            let (now, later) = buf.split_at_mut(len);
            now.copy_from_slice(from.get(..len).unwrap_or_default());
            buf = later;
            offset = offset.saturating_add(len as u64);
        }
        Ok(())
    }
}

impl PackFile for Bytes {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let inside = self.len.saturating_sub(offset).min(bytes.len() as u64) as usize;
        let (over, beyond) = bytes.split_at(inside);
        for (at, byte) in (offset..).zip(over) {
            let at = usize::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
            let there = self.pieces.get_mut(at / PIECE).and_then(|piece| piece.get_mut(at % PIECE));
            *there.ok_or(io::ErrorKind::InvalidInput)? = *byte;
        }
        if !beyond.is_empty() && offset.saturating_add(inside as u64) != self.len {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.append(beyond);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_across_pieces() {
        let mut pack = Bytes::default();
        let data: Vec<u8> = (0..3 * PIECE + 17).map(|n| (n % 251) as u8).collect();
        for chunk in data.chunks(300_001) {
            pack.append(chunk);
        }
        pack.write_all_at(b"over", PIECE as u64 - 2).unwrap();
        pack.write_all_at(b"beyond", data.len() as u64 - 2).unwrap();
        let mut expected = data;
        expected[PIECE - 2..PIECE + 2].copy_from_slice(b"over");
        let end = expected.len() - 2;
        expected.truncate(end);
        expected.extend_from_slice(b"beyond");
        let mut read = vec![0; expected.len()];
        pack.read_exact_at(&mut read, 0).unwrap();
        assert!(read == expected);
        assert!(pack.read_exact_at(&mut [0; 2], expected.len() as u64 - 1).is_err());
    }
}
