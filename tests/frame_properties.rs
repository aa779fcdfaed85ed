//! For any push: frames depend on its bytes, never on how reads cut them, and are the bytes. Random pushes, random faults.

mod support;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use proptest::prelude::*;
use receive_pack::codec::{Builder, ReceivePackCodec};
use receive_pack::proto::{Frame, ObjectId, PackHeader, Payload, default_capabilities};
use receive_pack::{Error, ErrorKind};
use support::format::format;
use support::io::{READ_SIZES, Script};
use support::pack::{self, Delta, PackBuilder};
use support::request::Request;
use support::rng::Rng;
use tokio_util::codec::Encoder;

/// A codec for a server that takes push options.
fn codec() -> Builder {
    ReceivePackCodec::builder().object_format(format()).advertised(default_capabilities(format()).with("push-options"))
}

/// All frames that a reader gives, and the error that they end in.
async fn frames(reader: Script, codec: Builder) -> (Vec<Frame>, Option<Error>) {
    let mut framed = codec.build().framed_read(reader);
    let mut frames = Vec::new();
    loop {
        match framed.next().await {
            Some(Ok(frame)) => frames.push(frame),
            Some(Err(error)) => return (frames, Some(error)),
            None => return (frames, None),
        }
    }
}

/// What an error is, as far as it may not depend on reads; in its words an inflater may be more or less precise.
type Fault = (ErrorKind, Option<u64>);

/// The frames of some bytes read in pieces of `size`, and the error that they end in.
fn decode(bytes: &Bytes, size: usize, seed: u64, codec: Builder) -> (Vec<Frame>, Option<Fault>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut reader = Script::of(bytes.clone()).pieces(size);
    if seed != 0 {
        reader = reader.pauses(seed);
    }
    let (frames, error) = runtime.block_on(frames(reader, codec));
    (frames, error.map(|error| (error.kind(), error.offset())))
}

/// What the chunks of the entries hold, one entry after the other.
fn data(frames: &[Frame]) -> Vec<Vec<u8>> {
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let mut is_open = false;
    for frame in frames {
        let Frame::PackObject(object) = frame else { continue };
        assert_ne!(object.is_start(), is_open, "an entry starts where the one before has ended");
        if object.is_start() {
            entries.push(Vec::new());
        }
        let entry = entries.last_mut().expect("the first chunk is a start");
        assert_eq!(object.data_offset(), entry.len() as u64);
        entry.extend_from_slice(object.data());
        is_open = !object.is_end();
    }
    assert!(!is_open, "the last entry has an end");
    entries
}

/// The pack as the frames have it.
fn wire(frames: &[Frame]) -> Vec<u8> {
    let mut wire = Vec::new();
    for frame in frames {
        match frame {
            Frame::PackHeader(header) => wire.extend_from_slice(&header.wire()),
            Frame::PackObject(object) => wire.extend_from_slice(object.wire()),
            Frame::PackData(data) => wire.extend_from_slice(data),
            _ => {}
        }
    }
    wire
}

fn encode(frames: &[Frame]) -> Bytes {
    let (mut codec, mut wire) = (codec().build(), BytesMut::new());
    for frame in frames {
        codec.encode(frame.clone(), &mut wire).expect("a frame that was decoded can be encoded");
    }
    wire.freeze()
}

/// A request, its pack, and what the entries of the pack inflate to.
#[derive(Clone, Debug)]
struct Sample {
    request: Request,
    pack: Bytes,
    entries: Vec<Vec<u8>>,
}

impl Sample {
    fn bytes(&self) -> Bytes {
        self.request.bytes()
    }
}

#[derive(Clone, Debug)]
struct EntrySpec {
    kind: u8,
    level: u32,
    is_text: bool,
    len: usize,
    seed: u64,
}

/// Sizes around the edges of chunks and of reads are more likely than chance would have it.
fn entry() -> impl Strategy<Value = EntrySpec> {
    let kind = prop_oneof![Just(1u8), Just(2), Just(3), Just(4), Just(6), Just(7)];
    let len = prop_oneof![
        4 => 0usize..200,
        2 => 1000usize..1060,
        2 => 4000usize..4200,
        1 => 65_500usize..65_600,
        1 => 130_000usize..200_000,
    ];
    (kind, 0u32..10, any::<bool>(), len, any::<u64>()).prop_map(|(kind, level, is_text, len, seed)| EntrySpec {
        kind,
        level,
        is_text,
        len,
        seed,
    })
}

fn sample() -> impl Strategy<Value = Sample> {
    let commands = prop::collection::vec((0u8..3, "[a-z]{1,12}", id()), 1..5);
    let options = prop::option::of(prop::collection::vec("[ -~]{0,30}", 0..3));
    let shallow = prop::collection::vec(id(), 0..3);
    (shallow, commands, options, prop::collection::vec(entry(), 0..6)).prop_map(
        |(shallow, commands, options, entries)| {
            let (pack, entries) = build(&entries);
            let mut request = Request::new().pack(pack.clone());
            for id in shallow {
                request = request.shallow(id);
            }
            // At least one command that is no deletion: otherwise no pack follows.
            request = request.create("refs/heads/first", id_of(1));
            for (kind, name, id) in commands {
                let name = format!("refs/heads/{name}");
                request = match kind {
                    0 => request.create(&name, id),
                    1 => request.delete(&name, id),
                    _ => request.update(&name, id, id_of(2)),
                };
            }
            if let Some(options) = options {
                let options: Vec<_> = options.iter().map(String::as_str).collect();
                request = request.options(&options);
            }
            Sample { request, pack, entries }
        },
    )
}

/// Any id.
fn id() -> impl Strategy<Value = ObjectId> {
    let bytes = prop::collection::vec(any::<u8>(), format().len());
    bytes.prop_map(|bytes| ObjectId::from_bytes(&bytes).expect("as many bytes as an id has"))
}

/// An id that is this byte, again and again.
fn id_of(byte: u8) -> ObjectId {
    ObjectId::from_bytes(&vec![byte; format().len()]).expect("as many bytes as an id has")
}

fn build(specs: &[EntrySpec]) -> (Bytes, Vec<Vec<u8>>) {
    let mut builder = PackBuilder::default();
    let mut entries = Vec::new();
    let mut last = None;
    for spec in specs {
        let mut rng = Rng::new(spec.seed);
        let mut content = Vec::new();
        if spec.is_text {
            while content.len() < spec.len {
                rng.line(&mut content);
            }
            content.truncate(spec.len);
        } else {
            rng.fill(&mut content, spec.len);
        }
        builder = builder.level(spec.level);
        let delta = Delta::new(10, content.len() as u64).insert(&content);
        let (offset, entry) = match (spec.kind, last) {
            (pack::OFS_DELTA, Some(base)) => (builder.ofs_delta(base, &delta), delta.wire().to_vec()),
            (pack::OFS_DELTA | pack::REF_DELTA, _) => (builder.ref_delta(&id_of(7), &delta), delta.wire().to_vec()),
            (kind, _) => (builder.lie(kind, content.len() as u64, b"", &content), content),
        };
        last = Some(offset);
        entries.push(entry);
    }
    (builder.finish(), entries)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn frames_are_the_same_however_the_bytes_are_read(sample in sample(), seed in 1u64..) {
        let bytes = sample.bytes();
        let (whole, error) = decode(&bytes, usize::MAX, 0, codec());
        prop_assert_eq!(error, None);
        prop_assert!(matches!(whole.last(), Some(Frame::Complete(_))));
        prop_assert_eq!(whole.iter().filter(|frame| matches!(frame, Frame::Complete(_))).count(), 1);
        for size in READ_SIZES {
            for seed in [0, seed] {
                let (pieces, error) = decode(&bytes, size, seed, codec());
                prop_assert_eq!(error, None);
                prop_assert!(pieces == whole, "reads of {} bytes give other frames", size);
            }
        }
    }

    #[test]
    fn frames_hold_what_the_client_packed(sample in sample(), chunk_size in 1024usize..100_000) {
        let (whole, _) = decode(&sample.bytes(), usize::MAX, 0, codec().chunk_size(chunk_size));
        prop_assert!(data(&whole) == sample.entries);
        for frame in &whole {
            let Frame::PackObject(object) = frame else { continue };
            prop_assert!(object.data().len() <= chunk_size);
            prop_assert!(object.is_end() || object.data().len() == chunk_size, "a chunk is full or the last");
        }
    }

    #[test]
    fn the_wire_bytes_of_all_frames_are_the_pack(sample in sample()) {
        let (frames, _) = decode(&sample.bytes(), 4096, 0, codec());
        let (body, trailer) = sample.pack.split_at(sample.pack.len() - format().len());
        prop_assert!(wire(&frames) == body);
        let Some(Frame::Complete(complete)) = frames.last() else { panic!("no Complete") };
        prop_assert_eq!(complete.checksum().map(ObjectId::as_bytes), Some(trailer));
        prop_assert_eq!(complete.pack_len(), sample.pack.len() as u64);
        prop_assert!(!complete.is_verified(), "nobody has compared the trailer yet");
    }

    #[test]
    fn an_opaque_pack_comes_out_as_it_went_in(sample in sample(), seed in 1u64..) {
        for size in READ_SIZES {
            let (frames, error) = decode(&sample.bytes(), size, seed, codec().payload(Payload::Opaque));
            prop_assert_eq!(error, None);
            prop_assert!(wire(&frames) == sample.pack, "in reads of {} bytes", size);
            let Some(Frame::Complete(complete)) = frames.last() else { panic!("no Complete") };
            prop_assert_eq!(complete.pack_len(), sample.pack.len() as u64);
        }
    }

    #[test]
    fn encoding_is_the_inverse_of_decoding(sample in sample()) {
        let (frames, _) = decode(&sample.bytes(), usize::MAX, 0, codec());
        let encoded = encode(&frames);
        let (again, error) = decode(&encoded, usize::MAX, 0, codec());
        prop_assert_eq!(error, None);
        prop_assert!(again == frames, "decode(encode(frames)) == frames");
        prop_assert!(encode(&again) == encoded);
        prop_assert!(encoded.ends_with(&sample.pack), "the pack goes out as it came in");
    }

    /// Bytes that are wrong somewhere: the same frames, and an error of the same kind at the same byte, for each way to read them.
    #[test]
    fn errors_do_not_depend_on_reads(sample in sample(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = sample.bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let bytes = Bytes::from(bytes);
        let whole = decode(&bytes, usize::MAX, 0, codec());
        for size in READ_SIZES {
            let pieces = decode(&bytes, size, 0, codec());
            prop_assert_eq!(&pieces.1, &whole.1, "reads of {} bytes", size);
            prop_assert!(pieces.0 == whole.0, "reads of {} bytes give other frames before the error", size);
        }
    }
}

/// A push with something of everything, small enough to be cut at every byte.
fn small() -> Sample {
    let spec = |kind, len, level| EntrySpec { kind, level, is_text: true, len, seed: 3 };
    let specs = [spec(3, 300, 6), spec(6, 40, 6), spec(7, 10, 0), spec(2, 0, 9), spec(3, 2500, 1)];
    let (pack, entries) = build(&specs);
    let request = Request::new().shallow(id_of(9)).create("refs/heads/main", id_of(1));
    let request = request.delete("refs/heads/old", id_of(2)).options(&["a", ""]).pack(pack.clone());
    Sample { request, pack, entries }
}

#[tokio::test]
async fn a_push_that_is_cut_at_any_byte_is_never_complete() {
    let sample = small();
    let (bytes, head) = (sample.bytes(), sample.request.head().len() as u64);
    let codec = || codec().chunk_size(1024);
    let (whole, _) = frames(Script::of(bytes.clone()), codec()).await;
    assert_eq!(data(&whole), sample.entries);
    for payload in [Payload::Objects, Payload::Opaque] {
        for end in 0..bytes.len() as u64 {
            let reader = Script::of(bytes.clone()).ends_at(end);
            let (cut, error) = frames(reader, codec().payload(payload)).await;
            if end == 0 {
                assert!(cut.is_empty() && error.is_none(), "a client that says nothing has nothing to push");
                continue;
            }
            if payload == Payload::Objects {
                assert!(whole.starts_with(&cut), "cut at {end}: other frames than before");
            }
            let complete = cut.iter().any(|frame| matches!(frame, Frame::Complete(_)));
            // Without inflating anything, the codec can only take the last bytes for the trailer, and says that nobody
            // compared it; the checksum layer does.
            let may_be_whole = payload == Payload::Opaque && end >= head + (PackHeader::LEN + format().len()) as u64;
            assert_eq!(complete, may_be_whole, "cut at {end}, {payload:?}");
            let expected = match end {
                _ if complete => None,
                end if end < head => Some((ErrorKind::UnexpectedEof, end)),
                end => Some((ErrorKind::IncompletePack, end - head)),
            };
            let error = error.map(|error| (error.kind(), error.offset().expect("an offset")));
            assert_eq!(error, expected, "cut at {end}, {payload:?}");
        }
    }
}

#[tokio::test]
async fn what_follows_a_push_is_left_alone() {
    // libgit2 sends a flush-pkt after the report.
    let mut bytes = small().bytes().to_vec();
    let (whole, _) = frames(Script::of(bytes.clone()), codec()).await;
    bytes.extend_from_slice(b"0000");
    for size in READ_SIZES {
        let (frames, error) = frames(Script::of(bytes.clone()).pieces(size), codec()).await;
        assert!(error.is_none() && frames == whole, "in reads of {size} bytes");
    }
}

#[tokio::test]
async fn a_push_of_an_empty_pack_is_complete() {
    // What `git push` sends for a new branch at a commit that the server has.
    let pack = PackBuilder::new(format()).finish();
    let request = Request::new().create("refs/heads/new", id_of(1)).pack(pack.clone());
    let (frames, error) = frames(Script::of(request.bytes()), codec()).await;
    assert!(error.is_none());
    let Some(Frame::Complete(complete)) = frames.last() else { panic!("no Complete: {frames:?}") };
    assert_eq!(complete.pack_len(), (PackHeader::LEN + format().len()) as u64);
    assert_eq!(wire(&frames), &pack[..12]);
}
