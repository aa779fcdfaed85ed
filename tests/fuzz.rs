//! The fuzz targets without a fuzzer: what was found before, a corpus that is made here, and some mutations of both.

#![cfg(feature = "_fuzzing")]

mod support;

use std::path::Path;

use receive_pack::fuzzing::{TARGETS, Target};
use receive_pack::proto::{ObjectFormat, ObjectKind};
use support::format::is_sha1;
use support::pack::{Delta, PackBuilder, Shape};
use support::request::{Request, pkt};
use support::rng::Rng;

/// A request with everything in it, for ids of so many digits.
fn request(object_format: &str, digits: usize) -> Request {
    let id = |digit: &str| digit.repeat(digits);
    Request::new_in(object_format)
        .capability("session-id=client")
        .shallow(id("2"))
        .update("refs/heads/a", id("1"), id("2"))
        .create("refs/heads/b", id("3"))
        .delete("refs/heads/c", id("3"))
        .options(&["one", ""])
}

const CERTIFICATE: &str = "certificate version 0.1\npusher A Tester <tester@example.org> 1700000000 +0000\n\
    pushee git://localhost/demo.git\nnonce nonce\npush-option one\npush-option \n";
const SIGNATURE: &str = "-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----\n";

/// Inputs from which each target can be reached, and how many of them are sound.
fn corpus(target: &str) -> (Vec<Vec<u8>>, usize) {
    match target {
        "pkt_line" => {
            let lines = [b"0000".to_vec(), b"0001".to_vec(), b"0004".to_vec(), b"fff3x".to_vec()];
            ([pkt("unpack ok\n")].into_iter().chain(lines).collect(), 4)
        }
        "head" => {
            let of = |format, digits| {
                let request = request(format, digits);
                let deletion = Request::new_in(format).delete("refs/heads/a", "1".repeat(digits));
                let signed = request.clone().signed(CERTIFICATE, SIGNATURE);
                [request.head(), signed.head(), deletion.clone().head(), deletion.options(&[]).head()]
            };
            ([&of("sha1", 40)[..], &of("sha256", 64), &[b"0000".to_vec()]].concat(), 9)
        }
        "entry_header" => (
            (0..8_u8)
                .map(|kind| [&[kind << 4 | 0x8f, 0x81, 0x01][..], &[0x81; 24]].concat())
                .chain([vec![0x60, 8], vec![0xff; 12]])
                .collect(),
            6,
        ),
        "receive" => {
            let mut inputs = Vec::new();
            for (format, digits, how) in [("sha1", 40, 0..8_u8), ("sha256", 64, 8..16)] {
                let request = request(format, digits);
                let object_format = if digits == 40 { ObjectFormat::Sha1 } else { ObjectFormat::Sha256 };
                let pack = pack(object_format);
                let signed = request.clone().signed(CERTIFICATE, SIGNATURE).pack(pack.clone()).bytes();
                let whole = request.pack(pack).bytes();
                inputs
                    .extend(how.flat_map(|how| [[&[how, 3], &whole[..]].concat(), [&[how, 9], &signed[..]].concat()]));
            }
            let big = support::pack::BigPack::new(Shape { seed: 1, large: 1, large_size: 1500, small_per_large: 2 });
            let big = Request::new().create("refs/heads/x", big.tip()).pack(big.to_bytes()).bytes();
            inputs.extend((0..8_u8).map(|how| [&[how, 9], &big[..]].concat()));
            let count = inputs.len();
            (inputs, count)
        }
        "delta" => (
            [
                Delta::new(30, 60).copy(0, 30).insert(b"thirty bytes, neither more nor").raw(b""),
                Delta::new(300, 4).copy_once(296, 4),
                Delta::new(765, 5).insert(b"abcd").copy_once(764, 1),
            ]
            .iter()
            .zip([10, 100, 255])
            .map(|(delta, base)| [&[base, 3], delta.wire()].concat())
            .collect(),
            3,
        ),
        // Threads and format, limits; then each entry: what, upon which, how, and how many bytes follow.
        "index" => {
            let sha1 = [
                b"\x00\x00\x03\x00\x03abc\x06\x00\xff\x02xy\x07\x04\xff\x01z\x06\x01\x09\x03def".to_vec(),
                b"\x01\x13\x07\x00\xff\x01a\x07\x01\xff\x01b\x07\x02\xff\x01c\x07\x03\xff\x01d".to_vec(),
                b"\x01\x03\x03\x00\x01a\x03\x00\x01a\x07\x04\xff\x01b\x07\x04\xff\x01b\x00\x00\x01t\x06\x04\xff\x00"
                    .to_vec(),
            ];
            let sha256 = sha1.clone().map(|mut input| {
                input[0] |= 2;
                input
            });
            ([sha1, sha256].concat(), 4)
        }
        other => panic!("no corpus for {other}"),
    }
}

/// Whole objects and deltas of both kinds, large and small, deflated and stored.
fn pack(format: ObjectFormat) -> bytes::Bytes {
    let base = b"a sound blob";
    let mut builder = PackBuilder::new(format);
    let first = builder.object(ObjectKind::Blob, base);
    builder.ofs_delta(first, &Delta::between(base, b"a sound blob!"));
    builder = builder.level(0);
    let id = support::pack::object_id(format, ObjectKind::Blob, base);
    builder.ref_delta(&id, &Delta::between(base, b"a sound"));
    let mut text = Vec::new();
    let mut rng = Rng::new(1);
    (0..60).for_each(|_| rng.line(&mut text));
    builder.object(ObjectKind::Blob, &text);
    builder = builder.level(6);
    builder.object(ObjectKind::Tree, b"");
    builder.object(ObjectKind::Blob, &vec![0; 3000]);
    builder.finish()
}

/// What fuzzers have found, and was mended.
fn found(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(target);
    let files = std::fs::read_dir(dir).into_iter().flatten();
    files.map(|file| std::fs::read(file.expect("a file").path()).expect("its bytes")).collect()
}

fn mutated(input: &[u8], others: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(bytes.len() as u64 + 1) as usize;
        match rng.below(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5) as usize],
            2 => bytes.insert(at, rng.next_u64() as u8),
            3 => drop(bytes.splice(at..bytes.len().min(at + rng.below(9) as usize), [])),
            _ => {
                let other = &others[rng.below(others.len() as u64) as usize];
                let from = rng.below(other.len() as u64 + 1) as usize;
                let end = other.len().min(from + rng.below(40) as usize);
                drop(bytes.splice(at..at, other[from..end].iter().copied()));
            }
        }
    }
    bytes
}

/// `RECEIVE_PACK_CORPUS=fuzz/corpus` writes the corpus there, for a fuzzer to begin with.
#[test]
fn every_target_takes_whatever_comes() {
    // The inputs are of both formats, whichever the tests are run in: once is enough.
    if !is_sha1() {
        return;
    }
    let to = std::env::var_os("RECEIVE_PACK_CORPUS");
    for (name, run) in TARGETS as [Target; 6] {
        let (made, sound) = corpus(name);
        // A seed that stops at the door leads no fuzzer in.
        let reached = made.iter().filter(|input| run(input)).count();
        assert_eq!(reached, sound, "of {} inputs for {name}", made.len());
        let inputs = [made, found(name)].concat();
        if let Some(to) = &to {
            let dir = Path::new(to).join(name);
            std::fs::create_dir_all(&dir).expect("a directory");
            for (number, input) in inputs.iter().enumerate() {
                std::fs::write(dir.join(format!("seed-{number}")), input).expect("a file");
            }
        }
        for input in &inputs {
            run(input);
        }
        for (number, input) in inputs.iter().enumerate() {
            let mut rng = Rng::nth(7, number as u64);
            for _ in 0..4000 / inputs.len() {
                run(&mutated(input, &inputs, &mut rng));
            }
        }
    }
}
