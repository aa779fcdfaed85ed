//! What the fuzz targets run, and the tests that replay what they found: each function takes any bytes, panics if
//! something is not as it must be, and says whether the bytes were sound.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a fuzz target is a test"
)]

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::checksum::Hasher;
use crate::proto::pkt_line::{self, PktLine};
use crate::proto::{
    Config, Frame, ObjectFormat, ObjectId, ObjectKind, PackHeader, Payload, Receive, Send, entry_header,
    put_entry_header,
};
use crate::store::PackBytes;
pub use crate::store::index::fuzzed_delta as delta;
use crate::store::index::{Aside, AsideFile, Bases, Budget, IndexOptions, Indexer, ReadAt, complete_thin};
use crate::{Error, ErrorKind};

const FORMATS: [ObjectFormat; 2] = [ObjectFormat::Sha1, ObjectFormat::Sha256];

/// A target: its name, and what it does with some bytes.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// All of them.
pub const TARGETS: [Target; 6] = [
    ("pkt_line", pkt_line),
    ("head", head),
    ("entry_header", entry),
    ("receive", receive),
    ("delta", delta),
    ("index", index),
];

/// A pkt-line is all there or not there, whatever follows it; what is read can be written.
pub fn pkt_line(bytes: &[u8]) -> bool {
    let Ok(Some((line, len))) = pkt_line::peek(bytes) else { return false };
    assert!(len >= 4 && len <= bytes.len());
    for cut in [0, 3, 4, len / 2, len - 1] {
        if cut < len {
            assert_eq!(pkt_line::peek(&bytes[..cut]).unwrap(), None, "cut at {cut}");
        }
    }
    assert_eq!(pkt_line::peek(&bytes[..len]).unwrap(), Some((line, len)));
    if let PktLine::Data(data) = line
        && data.len() <= pkt_line::MAX_DATA
    {
        let mut again = BytesMut::new();
        pkt_line::encode(data, &mut again).unwrap();
        assert!(again.eq_ignore_ascii_case(&bytes[..len]));
    }
    true
}

/// The header of an entry does not depend on what follows it, and says no more than it has.
pub fn entry(bytes: &[u8]) -> bool {
    FORMATS.map(|format| entry_in(format, bytes)).contains(&true)
}

fn entry_in(format: ObjectFormat, bytes: &[u8]) -> bool {
    let offset = 12 + bytes.first().map_or(0, |byte| u64::from(*byte) << (byte & 31));
    let Ok(Some(entry)) = entry_header(bytes, offset, format) else { return false };
    let len = usize::from(entry.header_len);
    assert_eq!(entry_header(&bytes[..len], offset, format).unwrap(), Some(entry));
    for cut in 0..len {
        assert!(matches!(entry_header(&bytes[..cut], offset, format), Ok(None)), "cut at {cut}");
    }
    if entry.kind.object_kind().is_some() {
        let mut again = Vec::new();
        put_entry_header((bytes[0] >> 4) & 7, entry.size, &mut again);
        assert_eq!(entry_header(&again, offset, format).unwrap().map(|entry| entry.size), Some(entry.size));
    }
    true
}

/// A server that offers all that there is.
fn config(format: ObjectFormat) -> Config {
    let mut config = Config::new(format);
    config.advertised = config.advertised.with("push-options").with("push-cert=nonce").with("session-id=server");
    config
}

/// The frames and the error, if any, of a stream that is read in pieces of these lengths.
fn decode(
    config: &Config,
    bytes: &[u8],
    mut piece: impl FnMut() -> usize,
) -> (Vec<Frame>, Option<(ErrorKind, Option<u64>)>) {
    let (mut receive, mut frames) = (Receive::new(config.clone()), Vec::new());
    let (mut src, mut rest) = (BytesMut::new(), bytes);
    loop {
        let result = if rest.is_empty() { receive.decode_eof(&mut src) } else { receive.decode(&mut src) };
        match result {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) if rest.is_empty() || receive.is_done() => break,
            Ok(None) => {
                let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
                src.extend_from_slice(now);
                rest = later;
            }
            Err(error) => {
                assert!(receive.is_done() && error.is_remote(), "{error}");
                let again = receive.decode_eof(&mut src).unwrap_err();
                assert_eq!((again.kind(), again.offset()), (error.kind(), error.offset()));
                return (joined(frames), Some((error.kind(), error.offset())));
            }
        }
    }
    let ends = frames.iter().filter(|frame| matches!(frame, Frame::Complete(_))).count();
    assert!(ends == 1 && matches!(frames.last(), Some(Frame::Complete(_))) || frames.is_empty());
    (joined(frames), None)
}

/// The data of an opaque pack is what was read at a time; only all of it together is the same each time.
fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut joined: Vec<Frame> = Vec::new();
    for frame in frames {
        match (joined.last_mut(), frame) {
            (Some(Frame::PackData(data)), Frame::PackData(more)) => *data = Bytes::from([&data[..], &more].concat()),
            (_, frame) => joined.push(frame),
        }
    }
    joined
}

/// A head comes out of the encoder as it went in.
pub fn head(bytes: &[u8]) -> bool {
    FORMATS.map(|format| head_in(format, bytes)).contains(&true)
}

fn head_in(format: ObjectFormat, bytes: &[u8]) -> bool {
    let config = config(format);
    // Whoever commands more than deletions sends a pack: here, one with nothing in it.
    let empty = [&PackHeader { version: 2, objects: 0 }.wire()[..], ObjectId::zero(format).as_bytes()].concat();
    let (frames, error) = decode(&config, &[bytes, &empty].concat(), || usize::MAX);
    if error.is_some() || frames.is_empty() {
        return false;
    }
    let (mut send, mut again) = (Send::new(&config), BytesMut::new());
    for frame in &frames {
        if send.encode(frame.clone(), &mut again).is_err() {
            // What is read may be a little longer than what is written.
            return false;
        }
    }
    let (frames_again, error) = decode(&config, &again, || usize::MAX);
    assert_eq!((frames_again, error), (frames, None));
    true
}

/// The whole machine: frames and errors are the same however the bytes are read. The first bytes say how.
pub fn receive(bytes: &[u8]) -> bool {
    let Some((&[how, seed], request)) = bytes.split_first_chunk() else { return false };
    let format = if how & 8 == 8 { ObjectFormat::Sha256 } else { ObjectFormat::Sha1 };
    let mut config = Config { chunk_size: 1024, ..config(format) };
    config.limits.object_size = 1 << 20;
    if how & 1 == 1 {
        config.payload = Payload::Opaque;
    }
    let whole = decode(&config, request, || usize::MAX);
    let mut state = u64::from(seed) + 1;
    let split = decode(&config, request, || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        match how >> 1 & 3 {
            0 => 1,
            1 => (state >> 33) as usize % 7,
            _ => (state >> 33) as usize % 700,
        }
    });
    assert_eq!(split, whole);
    let (frames, error) = whole;
    error.is_none() && !frames.is_empty()
}

/// A pack that is made of what the bytes say, entry by entry; and the repository's objects that it may build upon.
struct Program<'a>(&'a [u8]);

impl<'a> Program<'a> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    /// The bytes of the delta that they describe: half of them are sound as far as lengths go.
    fn delta(&mut self, base_len: usize) -> Vec<u8> {
        let (how, bytes) = (self.byte(), self.bytes());
        if how & 1 == 0 {
            return bytes.to_vec();
        }
        let copied = base_len.min(usize::from(how >> 1));
        let inserted = &bytes[..bytes.len().min(100)];
        let result = copied + inserted.len();
        let varint = |mut value: usize| {
            let mut varint = Vec::new();
            while value > 127 {
                varint.push(0x80 | (value & 127) as u8);
                value >>= 7;
            }
            varint.push(value as u8);
            varint
        };
        let mut delta = [varint(base_len), varint(result)].concat();
        if copied > 0 {
            delta.extend_from_slice(&[0x90, copied as u8]);
        }
        if !inserted.is_empty() {
            delta.push(inserted.len() as u8);
            delta.extend_from_slice(inserted);
        }
        delta
    }
}

/// Hostile packs: what is resolved is what its id says, and can be read again; nothing else happens. The first byte says
/// on how many threads, and of which format the pack is.
pub fn index(bytes: &[u8]) -> bool {
    let mut program = Program(bytes);
    let how = program.byte();
    let threads = NonZeroUsize::new(1 + usize::from(how & 1)).unwrap();
    let format = if how & 2 == 2 { ObjectFormat::Sha256 } else { ObjectFormat::Sha1 };
    let id_of = |kind, data: &[u8]| id_of(format, kind, data);
    let known: HashMap<ObjectId, Vec<u8>> = [&b""[..], b"known", b"known, too", &[7; 300]]
        .map(|data| (id_of(ObjectKind::Blob, data), data.to_vec()))
        .into();
    let mut options = IndexOptions::new(format);
    let tight = program.byte();
    if tight & 1 == 1 {
        (options.limits.in_memory, options.limits.waiting) = (u64::from(tight >> 4), u64::from(tight >> 2 & 3) * 100);
    }
    options.limits.chain_depth = 50;
    options.spool = (tight & 2 == 2).then(|| Arc::new(Apart) as Arc<dyn Aside>);

    let mut pack = PackHeader { version: 2, objects: 0 }.wire().to_vec();
    // Where each entry begins, and what it may hold.
    let mut made: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut ids: Vec<ObjectId> = known.keys().copied().collect();
    ids.sort();
    let mut lens: Vec<usize> = ids.iter().map(|id| known[id].len()).collect();
    while !program.0.is_empty() && made.len() < 40 {
        let at = pack.len() as u64;
        let what = program.byte();
        let pick = usize::from(program.byte());
        match what & 7 {
            6 if !made.is_empty() => {
                let (base, data) = &made[pick % made.len()];
                let delta = program.delta(data.len());
                let mut distance = at - base + u64::from(what >> 7);
                let mut between = vec![(distance & 127) as u8];
                while distance > 127 {
                    distance = (distance >> 7) - 1;
                    between.insert(0, 0x80 | (distance & 127) as u8);
                }
                put(&mut pack, 6, &between, &delta);
                made.push((at, delta));
            }
            7 => {
                let place = pick % ids.len();
                let delta = program.delta(lens[place]);
                put(&mut pack, 7, ids[place].as_bytes(), &delta);
                made.push((at, delta));
            }
            kind => {
                let data = program.bytes().to_vec();
                let (bits, kind) = match kind {
                    0 => (1, ObjectKind::Commit),
                    1 => (2, ObjectKind::Tree),
                    2 => (4, ObjectKind::Tag),
                    _ => (3, ObjectKind::Blob),
                };
                ids.push(id_of(kind, &data));
                lens.push(data.len());
                put(&mut pack, bits, b"", &data);
                made.push((at, data));
            }
        }
    }
    let count = u32::try_from(made.len()).unwrap();
    pack[8..12].copy_from_slice(&count.to_be_bytes());
    pack.extend(std::iter::repeat_n(0, format.len()));
    resolve(pack, options, &Known(known), threads, count)
}

fn resolve(pack: Vec<u8>, options: IndexOptions, known: &Known, threads: NonZeroUsize, count: u32) -> bool {
    let format = options.format;
    // Whose fault it is, and where, is known of each.
    let refused = |error: Error| {
        assert!(error.is_remote() && error.offset().is_some(), "{error}");
        false
    };
    let mut request = BytesMut::new();
    let [zero, new] = [ObjectId::zero(format), id_of(format, ObjectKind::Blob, b"")];
    let command = format!("{zero} {new} refs/heads/x\0object-format={}", format.name());
    pkt_line::encode(command.as_bytes(), &mut request).unwrap();
    pkt_line::encode_flush(&mut request);
    request.extend_from_slice(&pack);
    let mut receive = Receive::new(Config::new(format));
    let mut indexer = Indexer::new(options);
    loop {
        match receive.decode_eof(&mut request) {
            // A base that cannot be is refused before there is anything to index.
            Err(error) => return refused(error),
            Ok(Some(Frame::PackObject(object))) => {
                if let Err(error) = indexer.write(&object, &mut ()) {
                    return refused(error);
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => break,
        }
    }
    let mut memory = PackBytes::default();
    memory.append(&pack);
    let mut index = match indexer.resolve(&memory, known, &(), threads, |_, _| Ok(())) {
        Ok(index) => index,
        Err(error) => return refused(error),
    };
    assert_eq!(index.len(), count);
    complete_thin(&mut index, &mut memory, known, || Ok(())).unwrap();
    let circles = index.duplicate().is_some();
    let mut reader = index.reader(&memory, 1 << 20);
    for (id, kind) in index.objects() {
        assert!(index.kind_of(&id).is_some());
        match reader.read(&id) {
            Ok(found) => {
                let (found, data) = found.unwrap();
                assert!(circles || found == kind);
                assert_eq!(id_of(format, found, &data), id);
            }
            Err(error) => assert!(circles && error.kind() == ErrorKind::LimitExceeded, "{error}"),
        }
    }
    true
}

fn put(pack: &mut Vec<u8>, bits: u8, between: &[u8], data: &[u8]) {
    put_entry_header(bits, data.len() as u64, pack);
    pack.extend_from_slice(between);
    let mut zlib = ZlibEncoder::new(pack, Compression::none());
    zlib.write_all(data).unwrap();
    // By value it would be freed while it is lent, says Miri: zlib-rs has its state behind a reference.
    zlib.try_finish().unwrap();
}

fn id_of(format: ObjectFormat, kind: ObjectKind, data: &[u8]) -> ObjectId {
    let mut hasher = Hasher::new(format);
    hasher.update(format!("{} {}\0", kind.name(), data.len()).as_bytes());
    hasher.update(data);
    hasher.finish().unwrap()
}

struct Known(HashMap<ObjectId, Vec<u8>>);

impl Bases for Known {
    fn base(&self, id: &ObjectId, _: u64, _: &Budget) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        Ok(self.0.get(id).map(|data| (ObjectKind::Blob, data.clone())))
    }
}

/// Large objects are put aside in memory again: what reads and writes them is the same, and a fuzzer makes no files.
#[derive(Debug)]
struct Apart;

impl Aside for Apart {
    fn file(&self) -> io::Result<Box<dyn AsideFile>> {
        Ok(Box::new(Mutex::new(Vec::new())))
    }
}

impl ReadAt for Mutex<Vec<u8>> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        buf.copy_from_slice(&self.lock().unwrap()[offset as usize..][..buf.len()]);
        Ok(())
    }
}

impl AsideFile for Mutex<Vec<u8>> {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut file = self.lock().unwrap();
        let end = offset as usize + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.lock().unwrap().truncate(len as usize);
        Ok(())
    }
}
