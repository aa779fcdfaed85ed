//! Frames depend on the bytes of a push, never on how reads cut them, and they are the bytes.

mod support;

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use proptest::prelude::*;
use receive_pack::codec::ReceivePackCodec;
use receive_pack::proto::{Capabilities, Config, Frame, ObjectKind, Payload, Receive, Send, default_capabilities};
use receive_pack::{Error, ErrorKind};
use support::format::{format, made_up, zero};
use support::io::{READ_SIZES, Script};
use support::pack::{Delta, PackBuilder};
use support::request::{FLUSH, Request, pkt};
use support::rng::Rng;

const CHUNK: usize = 1024;

/// A pack with entries around the chunk size: shorter, as long, longer, many times as long; compressible and not;
/// stored, and made of deflate blocks of every kind.
fn pack(seed: u64) -> Bytes {
    let mut rng = Rng::new(seed);
    let mut builder = PackBuilder::default().level(rng.below(10) as u32);
    let mut offset = builder.object(ObjectKind::Blob, b"");
    for size in [0, 1, CHUNK - 301, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 300, 50 * CHUNK] {
        let data = match rng.below(3) {
            0 => vec![b'a'; size],
            1 => rng.bytes(size),
            _ => {
                let mut text = Vec::new();
                while text.len() < size {
                    rng.line(&mut text);
                }
                text.truncate(size);
                text
            }
        };
        offset = match rng.below(3) {
            0 => builder.ofs_delta(offset, &Delta::between(b"", &data)),
            _ => builder.object(ObjectKind::Blob, &data),
        };
    }
    builder.finish()
}

fn push(seed: u64) -> Bytes {
    let id = made_up('1');
    let request = Request::new().create("refs/heads/main", &id).delete("refs/heads/old", &id).shallow(&id);
    request.options(&["ci.skip", "", "a=b"]).pack(pack(seed)).bytes()
}

/// The same, signed.
fn signed_push(seed: u64) -> Bytes {
    let id = made_up('1');
    let request = Request::new().create("refs/heads/main", &id).delete("refs/heads/old", &id).shallow(&id);
    let headers = format!("certificate version 0.1\npusher A <a@b> 1 +0000\nlong {}\n", "x".repeat(65_000));
    let request = request.signed(&headers, "-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----\n");
    request.options(&["ci.skip"]).pack(pack(seed)).bytes()
}

/// What the server of these tests advertises: all that there is.
fn advertised() -> Capabilities {
    default_capabilities(format()).with("push-options").with("push-cert=1-a")
}

fn config(payload: Payload) -> Config {
    let mut config = Config::new(format());
    config.advertised = advertised();
    config.payload = payload;
    config.chunk_size = CHUNK;
    config
}

/// All frames of `bytes`, given to the machine in pieces that end at `cuts`.
fn frames(bytes: &[u8], cuts: impl IntoIterator<Item = usize>, payload: Payload) -> Result<Vec<Frame>, Error> {
    let (mut receive, mut src, mut frames, mut at) = (Receive::new(config(payload)), BytesMut::new(), Vec::new(), 0);
    for cut in cuts.into_iter().chain([bytes.len()]) {
        let cut = cut.clamp(at, bytes.len());
        src.extend_from_slice(&bytes[at..cut]);
        at = cut;
        while let Some(frame) = receive.decode(&mut src)? {
            frames.push(frame);
        }
    }
    while let Some(frame) = receive.decode_eof(&mut src)? {
        frames.push(frame);
    }
    Ok(frames)
}

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

#[tokio::test]
async fn frames_are_the_same_for_reads_of_every_size() {
    for (seed, bytes) in (0..8).map(|seed| (seed, push(seed))).chain([(8, signed_push(8))]) {
        let whole = frames(&bytes, [], Payload::Objects).unwrap();
        for size in READ_SIZES {
            for pauses in [false, true] {
                let script = Script::of(bytes.clone()).pieces(size);
                let script = if pauses { script.pauses(seed) } else { script };
                let codec = ReceivePackCodec::builder()
                    .object_format(format())
                    .advertised(advertised())
                    .chunk_size(CHUNK)
                    .build();
                let read: Vec<Frame> = codec.framed_read(script).try_collect().await.unwrap();
                assert!(read == whole, "seed {seed}: reads of {size} bytes gave other frames");
            }
        }
        assert!(whole.iter().any(|frame| matches!(frame, Frame::PackObject(object) if !object.is_end())));
    }
}

#[test]
fn the_wire_bytes_of_all_frames_are_the_pack() {
    for seed in 0..8 {
        let (bytes, pack) = (push(seed), pack(seed));
        let objects = wire(&frames(&bytes, [], Payload::Objects).unwrap());
        assert!(
            objects == pack[..pack.len() - format().len()],
            "the objects of seed {seed} are not the pack without its trailer"
        );
        let opaque = wire(&frames(&bytes, [7, 4000, 4001], Payload::Opaque).unwrap());
        assert!(opaque == pack, "the data of seed {seed} is not the pack");
    }
}

#[test]
fn chunks_are_full_or_the_last_of_their_entry() {
    let mut last_offset = 0;
    for frame in frames(&push(3), [], Payload::Objects).unwrap() {
        let Frame::PackObject(object) = frame else { continue };
        assert!(object.is_end() || object.data().len() == CHUNK || object.wire().len() == 2 * CHUNK);
        assert_eq!(object.is_start(), object.entry().offset != last_offset);
        assert_eq!(object.is_start(), object.data_offset() == 0);
        assert!(!object.is_end() || object.data_offset() + object.data().len() as u64 == object.entry().size);
        last_offset = object.entry().offset;
    }
    assert!(last_offset > 0);
}

#[test]
fn a_stream_that_inflates_to_nothing_comes_in_bounded_chunks() {
    // Stored blocks of no bytes: two thousand of them, then the empty last one and the checksum of nothing.
    let mut stream = vec![0x78, 0x9c];
    for _ in 0..2000 {
        stream.extend_from_slice(&[0, 0, 0, 0xff, 0xff]);
    }
    stream.extend_from_slice(&[1, 0, 0, 0xff, 0xff, 0, 0, 0, 1]);
    let mut builder = PackBuilder::default();
    let mut entry = support::pack::entry_header(support::pack::BLOB, 0);
    entry.extend_from_slice(&stream);
    builder.raw(&entry, 1);
    let bytes = Request::new().create("refs/heads/main", made_up('1')).pack(builder.finish()).bytes();
    let whole = frames(&bytes, [], Payload::Objects).unwrap();
    for frame in &whole {
        assert!(!matches!(frame, Frame::PackObject(object) if object.wire().len() > 2 * CHUNK));
    }
    assert!(whole == frames(&bytes, 0..bytes.len(), Payload::Objects).unwrap(), "one byte at a time gave other frames");
}

#[test]
fn decoding_what_was_encoded_gives_the_same_frames() {
    let mut awkward = pkt(format!("push-cert\0 report-status object-format={}", format().name()));
    // A certificate that was cut into pkt-lines in a way of its own, with what would end it in the middle.
    for piece in ["certificate ver", "sion 0.1\n\n", "", &format!("{} {} refs/a/b", zero(), made_up('1')), "\n"] {
        awkward.extend_from_slice(&pkt(piece));
    }
    for piece in ["-----BEGIN SSH SIGNATURE-----\npush-cert", "-end\n", "the end"] {
        awkward.extend_from_slice(&pkt(piece));
    }
    awkward.extend_from_slice(FLUSH);
    awkward.extend_from_slice(&pack(1));
    for bytes in [push(5), signed_push(5), awkward.into()] {
        for payload in [Payload::Objects, Payload::Opaque] {
            let once = frames(&bytes, [], payload).unwrap();
            let (mut send, mut wire) = (Send::new(&config(payload)), BytesMut::new());
            for frame in once.clone() {
                send.encode(frame, &mut wire).unwrap();
            }
            assert!(frames(&wire, [], payload).unwrap() == once, "{payload:?}: not the same frames");
        }
    }
}

#[test]
fn a_body_out_of_order_is_not_encoded() {
    // H: the header, O: an object, D: data, C: the end of a pack, c: that of a push without one.
    let letter = |frame: &Frame| match frame {
        Frame::PackHeader(_) => 'H',
        Frame::PackObject(_) => 'O',
        Frame::PackData(_) => 'D',
        Frame::Complete(complete) if complete.checksum().is_some() => 'C',
        Frame::Complete(_) => 'c',
        head => panic!("a frame of the head: {head:?}"),
    };
    let is_sound = |body: &str, has_pack: bool| {
        let Some(rest) = body.strip_prefix('H').filter(|_| has_pack) else { return !has_pack && body == "c" };
        let rest = rest.strip_suffix('C').unwrap_or(rest);
        rest.chars().all(|letter| letter == 'O') || rest.chars().all(|letter| letter == 'D')
    };
    let deletion = Request::new().delete("refs/heads/old", made_up('1')).bytes();
    let pushes = [(push(0), Payload::Objects), (push(0), Payload::Opaque), (deletion, Payload::Objects)];
    let pushes = pushes.map(|(bytes, payload)| frames(&bytes, (0..bytes.len()).step_by(5000), payload).unwrap());
    let mut others: Vec<(char, &Frame)> = Vec::new();
    for push in &pushes {
        let body = push.iter().skip_while(|frame| **frame != Frame::Flush).skip(1);
        others.extend(body.map(|frame| (letter(frame), frame)));
    }
    others.sort_by_key(|(letter, _)| *letter);
    others.dedup_by_key(|(letter, _)| *letter);
    assert_eq!(others.iter().map(|(letter, _)| letter).collect::<String>(), "CDHOc");
    for push in &pushes {
        let head = push.iter().position(|frame| *frame == Frame::Flush).unwrap() + 1;
        for end in head..=push.len() {
            for (letter_of_other, other) in &others {
                let mut send = Send::new(&config(Payload::Objects));
                let mut wire = BytesMut::new();
                push[..end].iter().for_each(|frame| send.encode(frame.clone(), &mut wire).unwrap());
                let body: String = push[head..end].iter().map(letter).chain([*letter_of_other]).collect();
                let sent = send.encode((*other).clone(), &mut wire).map_err(|error| error.kind());
                let expected = if is_sound(&body, push.len() > head + 1) { Ok(()) } else { Err(ErrorKind::Protocol) };
                assert_eq!(sent, expected, "{body}");
            }
        }
    }
}

#[test]
fn the_commands_of_a_signed_push_are_those_of_its_certificate() {
    let once = frames(&signed_push(2), [], Payload::Objects).unwrap();
    assert!(matches!(
        once[..7],
        [
            Frame::Shallow(_),
            Frame::Capabilities(_),
            Frame::Certificate(_),
            Frame::Command(_),
            Frame::Command(_),
            Frame::PushOption(_),
            Frame::Flush
        ]
    ));
    let Frame::Certificate(certificate) = &once[2] else { unreachable!() };
    assert_eq!(certificate.raw().len(), certificate.payload().len() + certificate.signature().len());
    assert_eq!(once[3..5], [0, 1].map(|index| Frame::Command(certificate.commands()[index].clone())));

    // A frame that the certificate does not have cannot be smuggled in behind it.
    let mut send = Send::new(&config(Payload::Objects));
    let mut wire = BytesMut::new();
    for frame in &once[..3] {
        send.encode(frame.clone(), &mut wire).unwrap();
    }
    assert!(send.encode(once[4].clone(), &mut wire).is_err(), "a command was left out");
    assert!(send.encode(Frame::Flush, &mut wire).is_err(), "commands are still to come");
}

#[test]
fn a_certificate_beside_commands_is_refused() {
    let command = |name: &str| pkt(format!("{} {} refs/heads/{name}", zero(), made_up('1')));
    let line = format!("{} {} refs/heads/a\n", zero(), made_up('1'));
    let certificate = [pkt("push-cert"), pkt("nonce a\n"), pkt("\n"), pkt(line), pkt("push-cert-end\n")].concat();
    for head in [
        [command("b"), certificate.clone()].concat(),
        [certificate.clone(), command("b")].concat(),
        [certificate.clone(), certificate.clone()].concat(),
    ] {
        let error = frames(&head, [], Payload::Objects).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert_eq!(
            error.to_string().split(" (").next(),
            Some("protocol error: got both push certificate and unsigned commands")
        );
    }
    let mut small = config(Payload::Objects);
    small.limits.certificate_bytes = 8;
    let mut receive = Receive::new(small);
    let mut src = BytesMut::from(&certificate[..]);
    let error = receive.decode(&mut src).unwrap_err();
    assert!(error.to_string().starts_with("more than 8 bytes of a push certificate"), "{error}");
    // Nor does what the certificate held come out behind an error.
    let mut few = config(Payload::Objects);
    few.limits.ref_name_bytes = 3;
    let mut receive = Receive::new(few);
    let mut src = BytesMut::from(&certificate[..]);
    let error = receive.decode(&mut src).unwrap_err().to_string();
    assert_eq!(receive.decode(&mut src).unwrap_err().to_string(), error);
    assert!(receive.is_done());
    let delim = [&pkt("push-cert")[..], b"0001"].concat();
    let error = frames(&delim, [], Payload::Objects).unwrap_err();
    assert!(error.to_string().starts_with("protocol error: got an unexpected packet"), "{error}");
}

#[test]
fn the_stream_may_end_anywhere_and_the_error_says_where() {
    let signed = signed_push(6);
    for end in (1..signed.len() - pack(6).len()).filter(|end| *end < 300 || end % 997 == 0 || *end > 65_000) {
        let error = frames(&signed[..end], [], Payload::Objects).expect_err("a push that is cut short is an error");
        assert_eq!((error.kind(), error.offset()), (ErrorKind::UnexpectedEof, Some(end as u64)), "cut at {end}");
    }
    let bytes = push(6);
    let head = bytes.len() - pack(6).len();
    // Every byte of the head and of the pack's beginning and end, and some of the rest.
    let all: Range<usize> = 1..bytes.len();
    for end in all.filter(|end| *end < head + 3000 || *end > bytes.len() - 50 || end % 997 == 0) {
        let error = frames(&bytes[..end], [], Payload::Objects).expect_err("a push that is cut short is an error");
        let (kind, offset) = match end {
            _ if end < head => (ErrorKind::UnexpectedEof, end),
            _ => (ErrorKind::IncompletePack, end - head),
        };
        assert_eq!((error.kind(), error.offset()), (kind, Some(offset as u64)), "cut at {end}");
    }
    assert!(frames(&[], [], Payload::Objects).unwrap().is_empty());
}

#[tokio::test]
async fn the_first_error_is_given_again() {
    let mut bytes = push(7).to_vec();
    let at = bytes.len() / 2;
    bytes.splice(at..at, [0xff; 20]);
    let mut read = ReceivePackCodec::builder().object_format(format()).build().framed_read(Script::of(bytes));
    let error = loop {
        match read.next().await {
            Some(Ok(frame)) => assert!(!matches!(frame, Frame::Complete(_))),
            Some(Err(error)) => break error,
            None => panic!("the damaged pack was taken"),
        }
    };
    // FramedRead gives None once after an error, and then decodes on.
    assert!(read.next().await.is_none());
    assert_eq!(read.next().await.unwrap().unwrap_err().to_string(), error.to_string());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn frames_are_the_same_wherever_the_bytes_are_cut(seed in 0..20_u64, mut cuts in prop::collection::vec(0..70_000_usize, 0..40)) {
        cuts.sort_unstable();
        let bytes = push(seed);
        let whole = frames(&bytes, [], Payload::Objects).unwrap();
        prop_assert!(frames(&bytes, cuts, Payload::Objects).unwrap() == whole);
    }

    #[test]
    fn any_bytes_are_an_error_or_a_push_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..3000_usize) {
        let _ = frames(&bytes, [], Payload::Objects);
        let mut damaged = push(1).to_vec();
        for (slot, byte) in damaged.iter_mut().skip(at).zip(&bytes) {
            *slot = *byte;
        }
        let _ = frames(&damaged, [], Payload::Objects);
    }
}
