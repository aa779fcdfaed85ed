use bytes::BytesMut;

use super::header::pack_header;
use crate::proto::{Complete, Limits, ObjectFormat, ObjectId, PackFrame, PackHeader};
use crate::{Error, ErrorKind};

/// A pack whose bytes are passed on as they come. Only its header is read, and the last bytes are remembered: at the
/// end of the stream they are the trailer.
#[derive(Debug)]
pub(crate) struct OpaqueDecoder {
    max_objects: u32,
    header_given: bool,
    offset: u64,
    tail: Tail,
}

impl OpaqueDecoder {
    pub(crate) fn new(format: ObjectFormat, limits: &Limits) -> Self {
        Self { max_objects: limits.objects, header_given: false, offset: 0, tail: Tail::new(format) }
    }

    /// How many bytes of the pack have gone out as frames.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whatever is there, without a copy.
    pub(crate) fn decode(&mut self, src: &mut BytesMut) -> Result<Option<PackFrame>, Error> {
        if !self.header_given {
            let Some(header) = pack_header(src)? else { return Ok(None) };
            if header.objects > self.max_objects {
                let text = format!("pack of {} objects exceeds the limit of {}", header.objects, self.max_objects);
                return Err(Error::new(ErrorKind::LimitExceeded, text).with_offset(8));
            }
            self.header_given = true;
            self.count(PackHeader::LEN);
            let _ = src.split_to(PackHeader::LEN);
            return Ok(Some(PackFrame::Header(header)));
        }
        if src.is_empty() {
            return Ok(None);
        }
        let data = src.split().freeze();
        self.count(data.len());
        self.tail.push(&data);
        Ok(Some(PackFrame::Data(data)))
    }

    fn count(&mut self, len: usize) {
        self.offset = self.offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }

    /// The end of the stream: the end of the pack, as far as one can tell without its checksum.
    pub(crate) fn decode_eof(&self) -> Option<Complete> {
        Some(Complete { checksum: Some(self.tail.id()?), pack_len: self.offset, verified: false })
    }
}

/// The last bytes of a stream: as many as an id has.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    format: ObjectFormat,
    bytes: [u8; 64],
    len: usize,
}

impl Tail {
    pub(crate) fn new(format: ObjectFormat) -> Self {
        Self { format, bytes: [0; 64], len: 0 }
    }

    /// Takes in more bytes; gives back those that are no longer part of the tail: first some that were kept, then the
    /// beginning of `data`.
    pub(crate) fn push<'a>(&mut self, data: &'a [u8]) -> (ArrayBytes, &'a [u8]) {
        let want = self.format.len();
        if data.len() >= want {
            let out = ArrayBytes { bytes: self.bytes, len: self.len };
            let (body, tail) = data.split_at_checked(data.len().saturating_sub(want)).unwrap_or((data, &[]));
            self.set(tail);
            return (out, body);
        }
        // Together they are shorter than twice an id, which is what the array has room for.
        let mut joined = self.bytes;
        let total = self.len.saturating_add(data.len());
        if let Some(slot) = joined.get_mut(self.len..total) {
            slot.copy_from_slice(data);
        }
        let out_len = total.saturating_sub(want);
        let out = ArrayBytes { bytes: joined, len: out_len };
        self.set(joined.get(out_len..total).unwrap_or_default());
        (out, &[])
    }

    fn set(&mut self, tail: &[u8]) {
        self.len = tail.len();
        if let Some(slot) = self.bytes.get_mut(..tail.len()) {
            slot.copy_from_slice(tail);
        }
    }

    /// The tail as an id, once enough bytes have passed.
    pub(crate) fn id(&self) -> Option<ObjectId> {
        ObjectId::from_bytes(self.bytes.get(..self.len)?).filter(|id| id.format() == self.format)
    }
}

/// A few bytes on the stack.
pub(crate) struct ArrayBytes {
    bytes: [u8; 64],
    len: usize,
}

impl AsRef<[u8]> for ArrayBytes {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_same_however_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..200).collect();
        for step in [1, 7, 19, 20, 21, 64, 200] {
            let mut tail = Tail::new(ObjectFormat::Sha1);
            let mut body = Vec::new();
            for chunk in bytes.chunks(step) {
                let (kept, fresh) = tail.push(chunk);
                body.extend_from_slice(kept.as_ref());
                body.extend_from_slice(fresh);
            }
            assert_eq!(body, bytes[..180], "in steps of {step}");
            assert_eq!(tail.id().unwrap().as_bytes(), &bytes[180..]);
        }
    }

    #[test]
    fn fewer_bytes_than_an_id_are_no_tail() {
        let mut tail = Tail::new(ObjectFormat::Sha1);
        tail.push(&[7; 19]);
        assert_eq!(tail.id(), None);
    }
}
