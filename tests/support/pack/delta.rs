//! The instructions of a delta.

/// A delta in the making: copies from the base, and new bytes.
#[derive(Clone, Debug)]
pub struct Delta(Vec<u8>);

impl Delta {
    /// A delta without instructions that claims to make `result` bytes out of `base` bytes.
    pub fn new(base: u64, result: u64) -> Self {
        let mut wire = Vec::new();
        for mut size in [base, result] {
            while size >= 0x80 {
                wire.push(0x80 | (size & 0x7f) as u8);
                size >>= 7;
            }
            wire.push(size as u8);
        }
        Self(wire)
    }

    /// A sound delta: what both have at their beginning and at their end is copied, the rest is inserted.
    pub fn between(base: &[u8], result: &[u8]) -> Self {
        let most = base.len().min(result.len());
        let head = base.iter().zip(result).take_while(|(old, new)| old == new).count();
        let tail = base.iter().rev().zip(result.iter().rev()).take(most - head).take_while(|(old, new)| old == new);
        let tail = tail.count();
        Self::new(base.len() as u64, result.len() as u64)
            .copy(0, head as u64)
            .insert(&result[head..result.len() - tail])
            .copy((base.len() - tail) as u64, tail as u64)
    }

    /// Copies `len` bytes from `offset` of the base, in as many instructions as that takes.
    pub fn copy(mut self, mut offset: u64, mut len: u64) -> Self {
        while len > 0 {
            // The most that every version of git takes in one instruction.
            let piece = len.min(0x10000);
            self = self.copy_once(offset as u32, if piece == 0x10000 { 0 } else { piece as u32 });
            offset += piece;
            len -= piece;
        }
        self
    }

    /// One copy instruction; a length of 0 means 65536.
    pub fn copy_once(mut self, offset: u32, len: u32) -> Self {
        let at = self.0.len();
        self.0.push(0x80);
        for (bit, byte) in offset.to_le_bytes().into_iter().chain(len.to_le_bytes().into_iter().take(3)).enumerate() {
            if byte != 0 {
                self.0[at] |= 1 << bit;
                self.0.push(byte);
            }
        }
        self
    }

    /// Inserts bytes, in as many instructions as that takes.
    pub fn insert(mut self, bytes: &[u8]) -> Self {
        for piece in bytes.chunks(127) {
            self.0.push(piece.len() as u8);
            self.0.extend_from_slice(piece);
        }
        self
    }

    /// Appends bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The delta as it stands in an inflated entry.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }
}
