use crate::proto::{Entry, EntryKind, ObjectFormat, ObjectId, PackHeader};
use crate::{Error, ErrorKind};

/// Reads the header of a pack (gitformat-pack); `None` if more bytes are needed. A wrong signature is told from the
/// first wrong byte on.
pub(crate) fn pack_header(src: &[u8]) -> Result<Option<PackHeader>, Error> {
    let signature = b"PACK";
    if src.iter().zip(signature).any(|(is, should)| is != should) {
        let text = "protocol error (pack signature mismatch detected)";
        return Err(Error::new(ErrorKind::InvalidPack, text).with_offset(0));
    }
    let (Some(version), Some(objects)) = (be_u32(src, 4), be_u32(src, 8)) else { return Ok(None) };
    if !(2..=3).contains(&version) {
        let text = format!("protocol error (pack version {version} unsupported)");
        return Err(Error::new(ErrorKind::InvalidPack, text).with_offset(4));
    }
    Ok(Some(PackHeader { version, objects }))
}

fn be_u32(src: &[u8], at: usize) -> Option<u32> {
    src.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Reads the header of the entry at `offset`: its type and size, and the base if it is a delta. `None` if more bytes
/// are needed.
pub(crate) fn entry_header(src: &[u8], offset: u64, format: ObjectFormat) -> Result<Option<Entry>, Error> {
    let invalid = |text: &'static str| Error::new(ErrorKind::InvalidPack, text).with_offset(offset);
    let mut cursor = Cursor { src, at: 0 };

    let Some(first) = cursor.next() else { return Ok(None) };
    let Some(size) = cursor.size(first).map_err(invalid)? else { return Ok(None) };
    let kind = match (first >> 4) & 7 {
        1 => EntryKind::Commit,
        2 => EntryKind::Tree,
        3 => EntryKind::Blob,
        4 => EntryKind::Tag,
        6 => {
            let Some(distance) = cursor.distance().map_err(invalid)? else { return Ok(None) };
            // The first entry stands behind the header of the pack, so no base can be before byte 12.
            let base_offset = offset.checked_sub(distance).filter(|base| distance > 0 && *base >= 12);
            let base_offset = base_offset.ok_or_else(|| invalid("offset value out of bound for delta base object"))?;
            EntryKind::OfsDelta { base_offset }
        }
        7 => {
            let Some(base) = cursor.take(format.len()) else { return Ok(None) };
            let Some(base) = ObjectId::from_bytes(base) else { return Ok(None) };
            EntryKind::RefDelta { base }
        }
        unknown => {
            let text = format!("unknown object type {unknown}");
            return Err(Error::new(ErrorKind::InvalidPack, text).with_offset(offset));
        }
    };
    let header_len = u8::try_from(cursor.at).map_err(|_| invalid("entry header is too long"))?;
    Ok(Some(Entry { offset, header_len, kind, size }))
}

/// The longest header of an entry: ten bytes of type and size, 32 of a base.
#[cfg(feature = "_index")]
pub(crate) const MAX_ENTRY_HEADER: usize = 42;

struct Cursor<'a> {
    src: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.src.get(self.at).copied()?;
        self.at = self.at.saturating_add(1);
        Some(byte)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let bytes = self.src.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    /// The size: four bits in the first byte, then groups of seven, the least significant group first. Groups of zero
    /// bits may follow, as git takes them, as long as the header stays within ten bytes.
    fn size(&mut self, first: u8) -> Result<Option<u64>, &'static str> {
        let mut size = u64::from(first & 15);
        let mut shift = 4_u32;
        let mut byte = first;
        while byte & 0x80 != 0 {
            let Some(next) = self.next() else {
                return if shift > 64 { Err("entry size does not fit 64 bits") } else { Ok(None) };
            };
            byte = next;
            let group = u64::from(byte & 0x7f);
            let part = if shift < 64 { group << shift } else { 0 };
            if shift > 64 || part.checked_shr(shift).unwrap_or(0) != group {
                return Err("entry size does not fit 64 bits");
            }
            size |= part;
            shift = shift.saturating_add(7);
        }
        Ok(Some(size))
    }

    /// The distance to the base: groups of seven, the most significant first, one added at each continuation.
    fn distance(&mut self) -> Result<Option<u64>, &'static str> {
        let Some(mut byte) = self.next() else { return Ok(None) };
        let mut distance = u64::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            let Some(next) = self.next() else { return Ok(None) };
            byte = next;
            distance = distance
                .checked_add(1)
                .and_then(|distance| distance.checked_mul(128))
                .and_then(|distance| distance.checked_add(u64::from(byte & 0x7f)))
                .ok_or("offset value out of bound for delta base object")?;
        }
        Ok(Some(distance))
    }
}

/// Appends the header of an entry as git writes it.
#[cfg(any(feature = "_index", test))]
pub(crate) fn put_entry_header(kind: u8, size: u64, dst: &mut Vec<u8>) {
    let low = |value: u64| u8::try_from(value & 0x7f).unwrap_or(0);
    let mut byte = (kind << 4) | (low(size) & 15);
    let mut rest = size >> 4;
    while rest != 0 {
        dst.push(byte | 0x80);
        byte = low(rest);
        rest >>= 7;
    }
    dst.push(byte);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(src: &[u8], offset: u64) -> Result<Option<Entry>, Error> {
        entry_header(src, offset, ObjectFormat::Sha1)
    }

    #[test]
    fn sizes_of_every_width_are_read_back() {
        for size in [0, 1, 15, 16, 2047, 2048, u64::from(u32::MAX), 1 << 60, u64::MAX] {
            let mut wire = Vec::new();
            put_entry_header(3, size, &mut wire);
            for cut in 0..wire.len() {
                assert_eq!(header(&wire[..cut], 12).unwrap(), None, "{size} cut at {cut}");
            }
            let entry = header(&wire, 12).unwrap().unwrap();
            assert_eq!((entry.size, entry.kind, usize::from(entry.header_len)), (size, EntryKind::Blob, wire.len()));
        }
    }

    #[test]
    fn a_size_of_more_than_64_bits_is_refused_and_zero_padding_is_not() {
        let overflow = [0xb0 | 15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f];
        assert!(header(&overflow, 12).unwrap_err().to_string().starts_with("entry size does not fit 64 bits"));
        assert_eq!(header(&[0xb1, 0x80, 0x80, 0x00], 12).unwrap().unwrap().size, 1);
        // An endless run of continuation bytes is refused as soon as it is too long, not waited for.
        assert!(header(&[0xff; 11], 12).is_err());
    }

    #[test]
    fn a_base_stands_before_its_delta_and_behind_the_pack_header() {
        let base = |src: &[u8], offset| header(src, offset).map(|entry| entry.unwrap().kind);
        assert_eq!(base(&[0x60, 0x08], 20).unwrap(), EntryKind::OfsDelta { base_offset: 12 });
        assert_eq!(base(&[0x60, 0x80, 0x00], 140).unwrap(), EntryKind::OfsDelta { base_offset: 12 });
        for (src, offset) in [(&[0x60, 0x00][..], 20), (&[0x60, 0x09], 20), (&[0x60, 0x7f], 20)] {
            let text = base(src, offset).unwrap_err().to_string();
            assert_eq!(text, format!("offset value out of bound for delta base object (at byte {offset})"));
        }
        assert!(header(&[&[0x60][..], &[0xff; 12]].concat(), u64::MAX).is_err());
    }

    #[test]
    fn types_zero_and_five_are_refused() {
        for byte in [0x00, 0x50] {
            assert!(header(&[byte], 12).unwrap_err().to_string().starts_with("unknown object type"));
        }
    }
}
