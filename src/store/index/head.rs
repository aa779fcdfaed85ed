use crate::proto::{Entry, EntryKind, ObjectFormat, ObjectId};

/// The longest header of an entry: ten bytes of type and size, 32 of a base.
pub(super) const MAX_LEN: usize = 42;

/// Parses the header of the entry at `offset` out of a pack that was found sound when it arrived.
pub(super) fn parse(bytes: &[u8], offset: u64, format: ObjectFormat) -> Option<Entry> {
    let (&first, mut rest) = bytes.split_first()?;
    let mut size = u64::from(first & 0x0f);
    let mut shift = 4_u32;
    let mut more = first & 0x80 != 0;
    while more {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        size |= u64::from(byte & 0x7f).checked_shl(shift)?;
        shift = shift.checked_add(7)?;
        more = byte & 0x80 != 0;
    }
    let kind = match first >> 4 & 7 {
        1 => EntryKind::Commit,
        2 => EntryKind::Tree,
        3 => EntryKind::Blob,
        4 => EntryKind::Tag,
        6 => {
            let (distance, after) = distance(rest)?;
            rest = after;
            EntryKind::OfsDelta { base_offset: offset.checked_sub(distance)? }
        }
        7 => {
            let (base, after) = rest.split_at_checked(format.len())?;
            rest = after;
            EntryKind::RefDelta { base: ObjectId::from_bytes(base)? }
        }
        _ => return None,
    };
    let header_len = u8::try_from(bytes.len().checked_sub(rest.len())?).ok()?;
    Some(Entry { offset, header_len, kind, size })
}

/// How far before a delta its base begins: groups of seven bits, the highest first, each but the last one too small.
fn distance(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, mut rest) = bytes.split_first()?;
    let mut distance = u64::from(first & 0x7f);
    let mut more = first & 0x80 != 0;
    while more {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        distance = distance.checked_add(1)?.checked_mul(128)? | u64::from(byte & 0x7f);
        more = byte & 0x80 != 0;
    }
    Some((distance, rest))
}

/// The header of a whole object, as it stands in a pack.
pub(super) fn whole(kind_bits: u8, size: u64) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    let mut len = 0_usize;
    let mut rest = size >> 4;
    let mut byte = kind_bits << 4 | (size & 0x0f) as u8;
    for slot in &mut header {
        len = len.saturating_add(1);
        *slot = if rest == 0 { byte } else { byte | 0x80 };
        if rest == 0 {
            break;
        }
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    (header, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_parsed_again() {
        for size in [0, 1, 15, 16, 2047, 2048, u64::from(u32::MAX), u64::MAX] {
            let (header, len) = whole(3, size);
            let entry = parse(&header[..len], 12, ObjectFormat::Sha1).unwrap();
            assert_eq!((entry.kind, entry.size, usize::from(entry.header_len)), (EntryKind::Blob, size, len));
        }
    }

    #[test]
    fn distances_are_counted_from_one_more_in_each_group() {
        assert_eq!(distance(b"\x7f"), Some((127, &b""[..])));
        assert_eq!(distance(b"\x80\x00"), Some((128, &b""[..])));
        assert_eq!(distance(b"\xff\x7f"), Some((16511, &b""[..])));
        assert_eq!(distance(b"\x80"), None);
    }
}
