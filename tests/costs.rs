//! No input costs more than it should: each of these is answered by a server whose memory, measured by the kernel, stays
//! below 64 MiB.

#![cfg(feature = "bare-repository")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use receive_pack::proto::{Limits, ObjectKind};
use support::format::{format, made_up};
use support::pack::{self, BLOB, Delta, PackBuilder};
use support::request::{Advertised, Reply, Request, pkt};
use support::server::Daemon;

const MIB: u64 = 1 << 20;
const BOUND: u64 = 64 * MIB;

/// Pushes to a daemon of its own; gives the answer, and the daemon, whose memory stayed below the bound.
fn answer(what: &str, request: &[u8], bound: u64) -> (Reply, Daemon) {
    let daemon = Daemon::start();
    let reply = answer_of(&daemon, what, request, bound);
    (reply, daemon)
}

/// The answer of this daemon, whose memory stays below the bound.
fn answer_of(daemon: &Daemon, what: &str, request: &[u8], bound: u64) -> Reply {
    let mut stream = TcpStream::connect(daemon.address()).expect("the daemon listens");
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a timeout");
    stream.write_all(&pkt(b"git-receive-pack /x.git\0host=localhost\0")).expect("a request line");
    let mut reader = stream.try_clone().expect("a socket");
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        reader.read_to_end(&mut said).expect("the server answers and closes its side");
        said
    });
    stream.write_all(request).expect("the server takes the request");
    let said = said.join().expect("a reader");
    let mut said = &said[..];
    Advertised::take(&mut said);
    let reply = Reply::side_band(said);
    let peak = daemon.peak_memory();
    println!("{what}: {} KiB of request, peak {} KiB", request.len() / 1024, peak / 1024);
    assert!(peak < bound, "{what}: a peak of {peak} bytes");
    reply
}

/// Something that is taken: the objects of the pack, and a commit beside them for the ref.
#[track_caller]
fn accepted(what: &str, mut builder: PackBuilder) {
    let tree = pack::object_id(format(), ObjectKind::Tree, b"");
    builder.object(ObjectKind::Tree, b"");
    let commit = pack::commit(&tree, &[]);
    builder.object(ObjectKind::Commit, &commit);
    let tip = pack::object_id(format(), ObjectKind::Commit, &commit);
    let (reply, daemon) =
        answer(what, &Request::new().create("refs/heads/main", tip).pack(builder.finish()).bytes(), BOUND);
    reply.assert_ok();
    let target = daemon.repository("x.git");
    assert_eq!(target.rev("refs/heads/main"), tip.to_string());
    target.fsck();
    target.assert_no_leftovers();
}

/// Something that is refused, with these words.
#[track_caller]
fn refused(what: &str, pack: impl Into<bytes::Bytes>, words: &[&str]) {
    let (reply, daemon) =
        answer(what, &Request::new().create("refs/heads/main", made_up('1')).pack(pack).bytes(), BOUND);
    assert!(words.iter().all(|word| reply.unpack.contains(word)), "{what}: {reply:?}");
    assert!(reply.refs[0].1.is_err(), "{reply:?}");
    let target = daemon.repository("x.git");
    assert!(target.refs().is_empty() && target.stored().is_empty());
    target.assert_no_leftovers();
}

/// An entry of zeros, as many MiB: the deflate blocks of one of them, again and again.
fn zeros(builder: &mut PackBuilder, kind: u8, mib: u64) -> u64 {
    let mut block = Vec::with_capacity(4096);
    let mut compress = Compress::new(Compression::new(6), false);
    compress.compress_vec(&vec![0; MIB as usize], &mut block, FlushCompress::Full).expect("room for a block");
    let mut entry = pack::entry_header(kind, mib * MIB);
    entry.extend_from_slice(&[0x78, 0x9c]);
    entry.extend_from_slice(&block.repeat(mib as usize));
    // An empty last block, and the Adler-32 of nothing but zeros.
    entry.extend_from_slice(&[0x03, 0x00]);
    entry.extend_from_slice(&((mib * MIB % 65521) as u16).to_be_bytes());
    entry.extend_from_slice(&[0, 1]);
    let offset = builder.offset();
    builder.raw(&entry, 1);
    offset
}

#[test]
fn a_gibibyte_of_zeros_in_a_megabyte() {
    let mut builder = PackBuilder::default();
    zeros(&mut builder, BLOB, 1024);
    assert!(builder.offset() < 2 * MIB);
    accepted("1 GiB of zeros", builder);
}

#[test]
fn more_zeros_than_a_pack_of_that_length_may_bring() {
    let mut builder = PackBuilder::default();
    zeros(&mut builder, BLOB, 3 * 1024);
    let words = ["pack inflates to more than 2147483648 bytes and the limit of 200 times its length (at byte 12)"];
    refused("3 GiB of zeros", builder.finish(), &words);
}

#[test]
fn a_tree_without_end() {
    let mut builder = PackBuilder::default();
    zeros(&mut builder, pack::TREE, 1024);
    let words = ["the length of a commit, tree or tag exceeds the limit of 16777216 (at byte 12)"];
    refused("a tree of 1 GiB", builder.finish(), &words);
}

/// The delta of half a kilobyte that copies a base of 1 MiB so many times.
fn blow_up(times: u64) -> Delta {
    let mut delta = Delta::new(MIB, times * MIB);
    for _ in 0..times {
        delta = delta.copy_once(0, MIB as u32);
    }
    delta
}

#[test]
fn a_delta_of_a_kilobyte_that_makes_256_mebibytes() {
    let mut builder = PackBuilder::default();
    let base = zeros(&mut builder, BLOB, 1);
    let delta = blow_up(256);
    assert!(delta.wire().len() < 1024);
    let large = builder.ofs_delta(base, &delta);
    // And others are made of that.
    for byte in [b"a", b"b"] {
        builder.ofs_delta(large, &Delta::new(256 * MIB, 101).copy(255 * MIB, 100).insert(byte));
    }
    accepted("a delta to 256 MiB", builder);
}

#[test]
fn many_deltas_that_each_make_much() {
    let mut builder = PackBuilder::default();
    let base = zeros(&mut builder, BLOB, 1);
    for _ in 0..20 {
        builder.ofs_delta(base, &blow_up(256));
    }
    refused(
        "20 deltas to 256 MiB",
        builder.finish(),
        &["the length of all objects that deltas make exceeds the limit"],
    );
}

#[test]
fn a_declared_size_of_2_to_the_60() {
    for size in [1 << 60, u64::MAX] {
        let mut builder = PackBuilder::default();
        builder.lie(BLOB, size, b"", b"x");
        let words = format!("object of {size} bytes exceeds the limit of 8589934592 (at byte 12)");
        refused("2^60", builder.finish(), &[&words]);
    }
}

#[test]
fn four_billion_declared_objects() {
    let mut builder = PackBuilder::default().declare(u32::MAX);
    builder.blob(b"x");
    refused("4 billion", builder.finish(), &["4294967295 objects exceeds the limit of 50000000 (at byte 8)"]);
}

#[test]
fn a_chain_of_5000_deltas() {
    let mut builder = PackBuilder::default();
    let mut last = builder.object(ObjectKind::Blob, &[b'x'; 1000]);
    for len in 1000..6000 {
        last = builder.ofs_delta(last, &Delta::new(len, len + 1).copy(0, len).insert(b"x"));
    }
    accepted("a chain of 5,000", builder);
}

#[test]
fn a_chain_of_10001_deltas() {
    let mut builder = PackBuilder::default();
    let mut last = builder.object(ObjectKind::Blob, b"x");
    for len in 1..10_002 {
        last = builder.ofs_delta(last, &Delta::new(len, len + 1).copy(0, len).insert(b"x"));
    }
    refused(
        "a chain of 10,001",
        builder.finish(),
        &["the length of a chain of deltas exceeds the limit of 10000 (at byte"],
    );
}

/// Objects just short enough to be held in memory, on a comb: at each tooth the base has to wait.
#[test]
fn bases_that_wait() {
    let mut builder = PackBuilder::default();
    for tree in 0..2 {
        let mut last = zeros(&mut builder, BLOB, 7);
        for len in (7 * MIB..).take(15) {
            builder.ofs_delta(last, &Delta::new(len, len + 2).copy(0, len).insert(&[tree, 1]));
            builder.ofs_delta(last, &Delta::new(len, len + 3).copy(0, len).insert(&[tree, 2, 1]));
            last = builder.ofs_delta(last, &Delta::new(len, len + 1).copy(0, len).insert(&[tree]));
        }
    }
    // Both trees begin with the same blob: it is there twice, and refused when all the work is done.
    refused("bases that wait", builder.finish(), &["appears twice in the pack"]);
}

/// Where objects are checked a `.gitmodules` is read: it costs no more than its length, whatever it says and how often.
#[test]
fn a_gitmodules_of_many_variables() {
    let many = format!("[submodule \"a\"]\n{}", "a\n".repeat(8_000_000));
    let long = format!("[submodule \"{}\"]\n{}", "a".repeat(8 << 20), "a\n".repeat(100));
    let bad = format!("[submodule \"..\"]\n{}", "a\n".repeat(2_000_000));
    for (what, content) in [("8 million variables", many), ("a name of 8 MiB", long), ("a bad name", bad)] {
        let mut builder = PackBuilder::default();
        let blob = builder.blob(content.as_bytes());
        let tree = pack::tree([(".gitmodules", &blob)]);
        builder.object(ObjectKind::Tree, &tree);
        let commit = pack::commit(&pack::object_id(format(), ObjectKind::Tree, &tree), &[]);
        builder.object(ObjectKind::Commit, &commit);
        let tip = pack::object_id(format(), ObjectKind::Commit, &commit);
        let request = Request::new().create("refs/heads/main", tip).pack(builder.finish()).bytes();

        let daemon = Daemon::start();
        let target = daemon.repository("x.git");
        std::fs::create_dir(target.path()).expect("a new directory");
        target.git(["init", "-q", "--bare"]);
        target.git(["config", "receive.fsckObjects", "true"]);
        let reply = answer_of(&daemon, what, &request, BOUND);
        if what == "a bad name" {
            let text = format!("object {blob}: gitmodulesName: disallowed submodule name: ..");
            assert!(reply.unpack.starts_with(&text), "{reply:?}");
            assert_eq!(reply.progress.matches("error: ").count(), 1, "{reply:?}");
        } else {
            reply.assert_ok();
        }
    }
}

#[test]
fn the_smallest_objects() {
    let mut builder = PackBuilder::default();
    let entry = [pack::entry_header(BLOB, 0), pack::zlib(b"", 6)].concat();
    builder.raw(&entry.repeat(400_000), 400_000);
    refused("400,000 empty blobs", builder.finish(), &["appears twice in the pack"]);
}

/// What a command costs is in proportion: its line, the report's line, and what is known of the ref in between.
#[test]
fn as_many_commands_as_may_be() {
    let commands = Limits::default().commands;
    let mut request = Request::new();
    for number in 0..commands {
        request = request.create(&format!("refs/heads/branch-{number:06}"), made_up('1'));
    }
    let request = request.pack(PackBuilder::default().finish()).bytes();
    let (reply, _daemon) = answer("100,000 commands", &request, BOUND / 4 + 1000 * commands as u64);
    assert_eq!(reply.refs.len(), commands);
    assert!(reply.refs.iter().all(|(_, result)| result == &Err("missing necessary objects".to_owned())));
}
