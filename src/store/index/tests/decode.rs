//! A small decoder, so that the index can be tested without the parser.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};

use super::super::head;
use crate::checksum::Hasher;
use crate::proto::{ObjectFormat, ObjectId, PackObject};

const CHUNK: usize = 64 * 1024;
const READ: usize = 256 * 1024;

/// Gives each chunk of a sound pack to `each`, and the pack's checksum.
pub(super) fn decode(mut pack: impl Read, format: ObjectFormat, mut each: impl FnMut(PackObject)) -> ObjectId {
    let mut hasher = Hasher::new(format);
    let mut buf = BytesMut::new();
    let more = |buf: &mut BytesMut, pack: &mut dyn Read| {
        let len = buf.len();
        buf.resize(len + READ, 0);
        let read = pack.read(&mut buf[len..]).unwrap();
        buf.truncate(len + read);
        read
    };
    while buf.len() < 12 {
        assert!(more(&mut buf, &mut pack) > 0, "early EOF");
    }
    let header = buf.split_to(12);
    hasher.update(&header);
    let count = u32::from_be_bytes(header[8..12].try_into().unwrap());
    let mut inflater = Decompress::new(true);
    let mut slab = BytesMut::zeroed(READ);
    let mut offset = 12_u64;
    for _ in 0..count {
        while buf.len() < head::MAX_LEN && more(&mut buf, &mut pack) > 0 {}
        let entry = head::parse(&buf, offset, format).expect("a sound header");
        inflater.reset(true);
        let mut at = usize::from(entry.header_len);
        let (mut start, mut data_offset, mut end) = (true, 0_u64, false);
        while !end {
            if slab.len() < CHUNK + 512 {
                slab = BytesMut::zeroed(READ);
            }
            let left = (entry.size - data_offset) as usize;
            let want = left.min(CHUNK);
            let space = if left <= CHUNK { want + 512 } else { want };
            let mut got = 0;
            while got < want || (left <= CHUNK && !end) {
                if at == buf.len() {
                    assert!(more(&mut buf, &mut pack) > 0, "early EOF");
                }
                let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
                let status =
                    inflater.decompress(&buf[at..], &mut slab[got..space], FlushDecompress::None).expect("zlib");
                at += (inflater.total_in() - before_in) as usize;
                got += (inflater.total_out() - before_out) as usize;
                end = status == Status::StreamEnd;
            }
            assert!(got <= want, "too long");
            let wire = buf.split_to(at).freeze();
            at = 0;
            hasher.update(&wire);
            offset += wire.len() as u64;
            let data: Bytes = slab.split_to(got).freeze();
            each(PackObject { entry, wire, data, data_offset, start, end });
            data_offset += got as u64;
            start = false;
        }
    }
    while more(&mut buf, &mut pack) > 0 {}
    let checksum = hasher.finish().unwrap();
    assert_eq!(&buf[..], checksum.as_bytes(), "the trailer of the pack");
    checksum
}
