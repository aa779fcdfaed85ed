use std::io::{self, BufWriter, Write};

use super::lookup::Index;
use crate::checksum::Hasher;
use crate::proto::{ObjectFormat, ObjectId};

/// The first offset that the four bytes of the short table cannot hold: the highest bit says "see the long table".
const LONG_OFFSET: u64 = 0x8000_0000;

impl Index {
    /// Writes the `.idx` file (version 2, gitformat-pack) of the pack with this checksum, and gives its own checksum.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub(crate) fn write_idx(&self, checksum: &ObjectId, out: impl Write) -> io::Result<ObjectId> {
        let mut out = Hashing::new(out, self.table.format);
        out.write_all(b"\xfftOc\0\0\0\x02")?;
        for count in &self.fanout {
            out.write_all(&count.to_be_bytes())?;
        }
        for &entry in &self.order {
            out.write_all(self.table.id_bytes(entry))?;
        }
        for &entry in &self.order {
            let crc = self.table.crcs.get(entry as usize).copied().unwrap_or_default();
            out.write_all(&crc.to_be_bytes())?;
        }
        let mut long_offsets = 0_u32;
        for &entry in &self.order {
            let offset = self.table.offset(entry);
            let short = u32::try_from(offset).ok().filter(|_| offset < LONG_OFFSET).unwrap_or_else(|| {
                let place = long_offsets;
                long_offsets = long_offsets.saturating_add(1);
                place | 0x8000_0000
            });
            out.write_all(&short.to_be_bytes())?;
        }
        for &entry in &self.order {
            let offset = self.table.offset(entry);
            if offset >= LONG_OFFSET {
                out.write_all(&offset.to_be_bytes())?;
            }
        }
        out.write_all(checksum.as_bytes())?;
        out.finish()
    }

    /// Writes the `.rev` file (version 1, gitformat-pack) of the pack with this checksum: for each entry in the order
    /// of the pack, its place in the order of the ids.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub(crate) fn write_rev(&self, checksum: &ObjectId, out: impl Write) -> io::Result<ObjectId> {
        let mut places = vec![0_u32; self.order.len()];
        for (place, &entry) in (0_u32..).zip(&self.order) {
            if let Some(slot) = places.get_mut(entry as usize) {
                *slot = place;
            }
        }
        let mut out = Hashing::new(out, self.table.format);
        out.write_all(b"RIDX\0\0\0\x01")?;
        out.write_all(&hash_id(self.table.format).to_be_bytes())?;
        for place in places {
            out.write_all(&place.to_be_bytes())?;
        }
        out.write_all(checksum.as_bytes())?;
        out.finish()
    }
}

/// The number that files of git have for a hash.
fn hash_id(format: ObjectFormat) -> u32 {
    match format {
        ObjectFormat::Sha1 => 1,
        #[cfg(feature = "sha256")]
        ObjectFormat::Sha256 => 2,
    }
}

/// Writes a file that ends in the hash of everything before.
struct Hashing<W: Write>(BufWriter<Tee<W>>);

struct Tee<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Hashing<W> {
    fn new(out: W, format: ObjectFormat) -> Self {
        Self(BufWriter::with_capacity(64 * 1024, Tee { out, hasher: Hasher::new(format) }))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn finish(self) -> io::Result<ObjectId> {
        let Tee { mut out, hasher } = self.0.into_inner().map_err(io::IntoInnerError::into_error)?;
        let checksum = hasher.finish().map_err(io::Error::other)?;
        out.write_all(checksum.as_bytes())?;
        out.flush()?;
        Ok(checksum)
    }
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
