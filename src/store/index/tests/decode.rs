//! From a pack to the chunks that an index is made of, through the real decoder.

use std::io::Read;

use bytes::BytesMut;

use crate::checksum::Hasher;
use crate::proto::{Limits, ObjectFormat, ObjectId, PackDecoder, PackFrame, PackObject};

const CHUNK: usize = 64 * 1024;
const READ: usize = 256 * 1024;

/// Gives each chunk of a sound pack to `each`, and the pack's checksum.
pub(super) fn decode(mut pack: impl Read, format: ObjectFormat, mut each: impl FnMut(PackObject)) -> ObjectId {
    let mut decoder = PackDecoder::new(format, CHUNK, &Limits::default());
    let mut hasher = Hasher::new(format);
    let mut src = BytesMut::new();
    loop {
        match decoder.decode(&mut src).expect("a sound pack") {
            Some(PackFrame::Header(header)) => hasher.update(&header.wire()),
            Some(PackFrame::Object(object)) => {
                hasher.update(object.wire());
                each(object);
            }
            Some(PackFrame::Complete(complete)) => {
                let checksum = hasher.finish().unwrap();
                assert_eq!(complete.checksum(), Some(&checksum), "the trailer of the pack");
                return checksum;
            }
            Some(PackFrame::Data(_)) => panic!("the decoder of objects gave opaque data"),
            None => {
                let len = src.len();
                src.resize(len + READ, 0);
                let read = pack.read(&mut src[len..]).unwrap();
                assert!(read > 0, "early EOF");
                src.truncate(len + read);
            }
        }
    }
}
