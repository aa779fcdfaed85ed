//! What no client of good will sends: each is refused with the byte or the object in the report, and leaves no trace.

#![cfg(feature = "bare-repository")]

mod support;

use bytes::Bytes;
use receive_pack::proto::{ObjectId, ObjectKind};
use receive_pack::store::BareRepository;
use support::format::{format, oid};
use support::git::Repo;
use support::io::Script;
use support::pack::{self, BLOB, Delta, OFS_DELTA, PackBuilder, REF_DELTA, blob_id, zlib};
use support::request::{Reply, Request};
use support::server::{heard, serve};

const KNOWN: &[u8] = b"a text that the server has\n";

/// A repository with one commit, and what must not change about it.
struct World {
    repo: Repo,
    refs: Vec<(String, String)>,
    stored: std::collections::BTreeSet<String>,
}

impl World {
    fn new() -> Self {
        let repo = Repo::bare();
        repo.commit("main", &[("known.txt", KNOWN)]);
        let (refs, stored) = (repo.refs(), repo.stored());
        Self { repo, refs, stored }
    }

    fn main(&self) -> ObjectId {
        oid(&self.refs[0].1)
    }

    async fn push(&self, bytes: impl Into<Bytes>) -> Reply {
        let store = BareRepository::open(self.repo.path()).expect("the repository opens");
        let (served, said) = serve(store, Script::of(bytes)).await;
        served.expect("the push is served");
        heard(&said).1
    }

    /// Refs, objects and files are as they were.
    #[track_caller]
    fn assert_untouched(&self, what: &str) {
        assert_eq!(self.repo.refs(), self.refs, "{what}: refs");
        assert_eq!(self.repo.stored(), self.stored, "{what}: objects");
        self.repo.assert_no_leftovers();
        self.repo.fsck();
    }

    /// A pack that is refused as a whole: the text of `unpack` has all of `words`.
    async fn refuses(&self, what: &str, pack: impl Into<Bytes>, words: &[&str]) {
        let request = Request::new().create("refs/heads/new", self.main()).create("refs/heads/too", self.main());
        let reply = self.push(request.pack(pack).bytes()).await;
        assert!(words.iter().all(|word| reply.unpack.contains(word)), "{what}: {words:?} in {:?}", reply.unpack);
        let refused = |name: &str| (name.to_owned(), Err("unpacker error".to_owned()));
        assert_eq!(reply.refs, [refused("refs/heads/new"), refused("refs/heads/too")], "{what}");
        self.assert_untouched(what);
    }
}

/// A pack with a sound blob, and then what `add` adds; gives where that begins.
fn after_a_blob(add: impl FnOnce(&mut PackBuilder, u64)) -> (Bytes, u64) {
    let mut builder = PackBuilder::default();
    let first = builder.object(ObjectKind::Blob, b"a sound blob");
    let offset = builder.offset();
    add(&mut builder, first);
    (builder.finish(), offset)
}

/// An entry whose zlib stream was changed.
fn damaged(change: impl FnOnce(&mut Vec<u8>)) -> (Bytes, u64) {
    after_a_blob(|builder, _| {
        let mut stream = zlib(b"some text, some more text, and some more", 6);
        change(&mut stream);
        builder.raw(&[&pack::entry_header(BLOB, 40)[..], &stream].concat(), 1);
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_packs() {
    let world = World::new();
    for magic in [&b"KCAP"[..], b"pack", b"\0\0\0\0", b"0000"] {
        let mut bytes = after_a_blob(|_, _| {}).0.to_vec();
        bytes[..4].copy_from_slice(magic);
        world.refuses("magic", bytes, &["at byte 0"]).await;
    }
    for version in [0, 1, 4, u32::MAX] {
        let mut builder = PackBuilder::default().version(version);
        builder.blob(b"x");
        world.refuses("version", builder.finish(), &["version", "at byte 4"]).await;
    }
    for count in [50_000_001, u32::MAX] {
        let text = format!("{count} objects exceeds the limit of 50000000 (at byte 8)");
        world.refuses("count", PackBuilder::default().declare(count).finish(), &[&text]).await;
    }
    let mut builder = PackBuilder::default();
    builder.blob(b"x");
    builder.blob(b"y");
    world.refuses("count too low", builder.clone().declare(1).finish(), &["trailer", "at byte"]).await;
    // The trailer is read as an entry, or for the lack of one the stream ends.
    world.refuses("count too high", builder.clone().declare(3).finish(), &["at byte"]).await;
    world.refuses("much too high", builder.declare(50_000_000).finish(), &["at byte"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_entries() {
    let world = World::new();
    for kind in [0, 5] {
        let (pack, at) = after_a_blob(|builder, _| {
            builder.lie(kind, 1, b"", b"x");
        });
        world.refuses("type", pack, &["unknown object type", &format!("at byte {at}")]).await;
    }
    let (pack, at) = after_a_blob(|builder, _| builder.raw(&[&[0xbf][..], &[0xff; 9], &zlib(b"x", 6)].concat(), 1));
    world.refuses("size overflow", pack, &["64 bits", &format!("at byte {at}")]).await;
    for (size, words) in [(1 << 60, "exceeds the limit of 8589934592"), (41, "fewer bytes"), (39, "more bytes")] {
        let (pack, at) = after_a_blob(|builder, _| {
            builder.lie(BLOB, size, b"", &[b'x'; 40]);
        });
        world.refuses("size", pack, &[words, &format!("at byte {at}")]).await;
    }
    // Around the chunk size, where an object comes in pieces.
    for (len, size) in [(65_536, 65_535), (65_536, 65_537), (200_000, 199_999), (200_000, 200_001), (200_000, 65_536)] {
        let (pack, at) = after_a_blob(|builder, _| {
            builder.lie(BLOB, size, b"", &vec![b'x'; len]);
        });
        let words = if len as u64 > size { "more bytes" } else { "fewer bytes" };
        world.refuses("size of chunks", pack, &[words, &format!("at byte {at}")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zlib_streams() {
    let world = World::new();
    let cases: [(&str, (Bytes, u64)); 7] = [
        ("method", damaged(|stream| stream[0] = 0x77)),
        ("header check", damaged(|stream| stream[1] ^= 1)),
        ("window", damaged(|stream| stream[..2].copy_from_slice(&[0x88, 0x1c]))),
        ("first adler byte", damaged(|stream| *stream.iter_mut().rev().nth(3).expect("an adler") ^= 1)),
        ("last adler byte", damaged(|stream| *stream.last_mut().expect("an adler") ^= 0x80)),
        ("block type", damaged(|stream| stream[2] |= 0b110)),
        // FDICT, its check bits, and the id of a dictionary: git aborts here.
        ("preset dictionary", damaged(|stream| drop(stream.splice(1..2, [0xbb, 1, 2, 3, 4])))),
    ];
    for (what, (pack, at)) in cases {
        world.refuses(what, pack, &["does not inflate", &format!("at byte {at}")]).await;
    }
    let (pack, _) = damaged(|stream| stream.truncate(stream.len() - 1));
    world.refuses("a stream without its end", pack, &["at byte"]).await;
    // Every bit of the stream: each must be refused, by zlib, by its checksum, or by the pack's.
    let len = zlib(b"some text, some more text, and some more", 6).len();
    for bit in (0..len * 8).step_by(7) {
        let (pack, _) = damaged(|stream| stream[bit / 8] ^= 1 << (bit % 8));
        let request = Request::new().create("refs/heads/new", world.main()).pack(pack);
        let reply = world.push(request.bytes()).await;
        assert!(reply.unpack != "ok" && reply.refs[0].1.is_err(), "bit {bit}: {reply:?}");
    }
    world.assert_untouched("bits");
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_and_their_bases() {
    let world = World::new();
    let base = b"a sound blob";
    let grown = Delta::between(base, b"a sound blob, grown");
    let by_distance = |distance: u64| {
        after_a_blob(|builder, _| {
            builder.lie(OFS_DELTA, grown.wire().len() as u64, &pack::ofs_distance(distance), grown.wire());
        })
    };
    let (_, at) = by_distance(1);
    // Itself; the pack's header; its first byte; before it; further than any pack is long.
    for distance in [0, at - 11, at - 1, at, at + 1, 1 << 40] {
        let words = ["out of bound", &format!("at byte {at}")];
        world.refuses("ofs-delta", by_distance(distance).0, &words).await;
    }
    world
        .refuses("into the middle", by_distance(at - 13).0, &["no entry begins at 13", &format!("at byte {at}")])
        .await;
    let (pack, _) = after_a_blob(|builder, _| {
        builder.raw(&[&pack::entry_header(OFS_DELTA, 4)[..], &[0xff; 12], &zlib(b"abcd", 6)].concat(), 1);
    });
    world.refuses("a distance that overflows", pack, &[&format!("at byte {at}")]).await;

    let (missing, small) = (blob_id(b"nobody has it"), Delta::between(b"nobody has it", b"nor this"));
    let (pack, _) = after_a_blob(|builder, _| {
        builder.ref_delta(&missing, &small);
    });
    world.refuses("no base", pack, &["unresolved delta", &missing.to_string(), &format!("at byte {at}")]).await;
    let (pack, _) = after_a_blob(|builder, _| {
        builder.ref_delta(&blob_id(b"12345"), &Delta::new(5, 5).copy(0, 5));
    });
    world.refuses("a delta on itself", pack, &["unresolved delta", &blob_id(b"12345").to_string()]).await;
    let (pack, _) = after_a_blob(|builder, _| {
        builder.ref_delta(&blob_id(b"ab"), &Delta::new(2, 1).copy(0, 1).raw(b"\x90\x01"));
        builder.ref_delta(&blob_id(b"a"), &Delta::between(b"a", b"ab"));
    });
    world.refuses("a circle of deltas", pack, &["2 unresolved deltas"]).await;

    for (delta, why) in [
        (Delta::new(12, 4).copy_once(9, 4), "copies from beyond its base"),
        (Delta::new(12, 13).copy_once(0, 13), "copies from beyond its base"),
        (Delta::new(12, 4).copy_once(u32::MAX, 4), "copies from beyond its base"),
        (Delta::new(12, 0x10000).copy_once(0, 0), "copies from beyond its base"),
        (Delta::new(12, 9).raw(b"\x09abcd"), "ends within an instruction"),
        (Delta::new(12, 3).insert(b"abcd"), "makes more than it says"),
        (Delta::new(12, 5).insert(b"abcd"), "makes less than it says"),
        (Delta::new(12, 4).insert(b"abcd").raw(b"\0"), "has an unknown instruction"),
        (Delta::new(11, 4).insert(b"abcd"), "is for a base of another size"),
        (Delta::new(12, 1), "is too short"),
        (Delta::new(12, 4).insert(b"abcd").raw(b"\x91"), "ends within an instruction"),
    ] {
        let (pack, _) = after_a_blob(|builder, first| {
            builder.ofs_delta(first, &delta);
        });
        world.refuses(why, pack, &[why, &format!("at byte {at}")]).await;
        // The same against what the repository has.
        if why != "is for a base of another size" {
            let (pack, _) = after_a_blob(|builder, _| {
                builder.ref_delta(&blob_id(base), &delta);
            });
            world.refuses(why, pack, &[why]).await;
        }
    }
    for bytes in [&b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"[..], &[0xff; 40], &[0x80; 4]] {
        let (pack, _) = after_a_blob(|builder, first| {
            let distance = pack::ofs_distance(at - first);
            builder.lie(OFS_DELTA, bytes.len() as u64, &distance, bytes);
        });
        world.refuses("a length of a delta", pack, &["failed to apply delta", &format!("at byte {at}")]).await;
    }
    let (pack, _) = after_a_blob(|builder, _| {
        builder.lie(REF_DELTA, 4, &vec![0; format().len()], b"\x01\x01\x01a");
    });
    world.refuses("the zero id as a base", pack, &["unresolved delta", &format!("at byte {at}")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates() {
    let world = World::new();
    let twice = blob_id(b"twice").to_string();
    let words = ["the same object", &twice, "appears twice in the pack"];
    let mut builder = PackBuilder::default();
    builder.blob(b"twice");
    builder.blob(b"twice");
    world.refuses("a blob twice", builder.finish(), &words).await;

    let mut builder = PackBuilder::default();
    let base = builder.object(ObjectKind::Blob, b"tw");
    builder.blob(b"twice");
    builder.ofs_delta(base, &Delta::between(b"tw", b"twice"));
    world.refuses("whole and as a delta", builder.finish(), &words).await;

    // Each is made of the other, and one of them is there whole as well: it resolves, but who reads it later may go
    // in circles.
    let mut circle = PackBuilder::default();
    let shrink = Delta::new(27, 26).copy(0, 26);
    let grow = Delta::new(26, 27).copy(0, 26).insert(b"\n");
    circle.ref_delta(&blob_id(KNOWN), &shrink);
    circle.ref_delta(&blob_id(&KNOWN[..26]), &grow);
    circle.blob(KNOWN);
    world.refuses("a circle", circle.finish(), &["appears twice in the pack"]).await;
    // The same, but the whole one is in the repository, and would be added to the pack to complete it.
    let mut circle = PackBuilder::default();
    circle.ref_delta(&blob_id(KNOWN), &shrink);
    circle.ref_delta(&blob_id(&KNOWN[..26]), &grow);
    world.refuses("a circle by way of the repository", circle.finish(), &["appears twice in the pack"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_under_an_id_that_the_repository_has() {
    let same_length = &b"a text that the server HAD\n"[..];
    // Among many objects they are looked for in another way than among few.
    for (what, other, beside) in [
        ("same length", same_length, 0),
        ("another length", b"other", 0),
        ("same length, a pack", same_length, 20),
        ("same length, a large pack", same_length, 5000),
    ] {
        let mut world = World::new();
        let known = blob_id(KNOWN).to_string();
        // Nobody can make a collision; but the repository can hold what does not belong under an id.
        let file = world.repo.path().join("objects").join(&known[..2]).join(&known[2..]);
        std::fs::remove_file(&file).expect("it is a loose object");
        let object = [format!("blob {}\0", other.len()).as_bytes(), other].concat();
        std::fs::write(&file, zlib(&object, 6)).expect("a loose object");
        world.stored = world.repo.stored();

        let tree = pack::tree([("known.txt", &blob_id(KNOWN))]);
        let tree_id = pack::object_id(format(), ObjectKind::Tree, &tree);
        let commit = pack::commit(&tree_id, &[]);
        let tip = pack::object_id(format(), ObjectKind::Commit, &commit);
        let mut builder = PackBuilder::default();
        builder.object(ObjectKind::Commit, &commit);
        builder.object(ObjectKind::Tree, &tree);
        builder.blob(KNOWN);
        for number in 0_u32..beside {
            builder.blob(&number.to_be_bytes());
        }
        let request = Request::new().create("refs/heads/new", tip).pack(builder.finish());
        let reply = world.push(request.bytes()).await;
        assert_eq!(reply.unpack, format!("SHA1 COLLISION FOUND WITH {known}"), "{what}: {reply:?}");
        assert!(reply.refs[0].1.is_err());
        assert!(world.repo.stored() == world.stored, "{what}");
        world.repo.assert_no_leftovers();
    }
}

/// The objects of a small sound push, and what is known to be there is taken again without a word.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_objects_again_are_no_collision() {
    let world = World::new();
    let pack = world.repo.git_with_input(["pack-objects", "--all", "--stdout", "-q"], b"").stdout;
    for name in ["refs/heads/one", "refs/heads/two"] {
        let request = Request::new().create(name, world.main()).pack(pack.clone());
        world.push(request.bytes()).await.assert_ok();
    }
    world.repo.fsck();
    world.repo.assert_no_leftovers();
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_at_every_byte() {
    let world = World::new();
    let (pack, _) = after_a_blob(|builder, first| {
        builder.ofs_delta(first, &Delta::between(b"a sound blob", b"a sound blob!"));
    });
    let request = Request::new().create("refs/heads/new", world.main()).pack(pack.clone());
    let (bytes, head) = (request.bytes(), request.head().len());
    for end in head..bytes.len() {
        let reply = world.push(bytes.slice(..end)).await;
        assert_eq!(reply.unpack, format!("the pack is incomplete: early EOF (at byte {})", end - head));
        assert_eq!(reply.refs[0].1, Err("unpacker error".to_owned()));
    }
    world.assert_untouched("cut in the pack");
    for end in 1..head {
        let store = BareRepository::open(world.repo.path()).expect("the repository opens");
        let (served, _) = serve(store, Script::of(bytes.slice(..end))).await;
        assert!(served.is_err_and(|error| error.is_remote() && error.offset() == Some(end as u64)), "cut at {end}");
    }
    world.assert_untouched("cut in the head");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_and_what_follows() {
    let world = World::new();
    let mut builder = PackBuilder::default();
    builder.blob(b"x");
    let len = builder.finish().len() - format().len();
    world.refuses("trailer", builder.finish_with_wrong_trailer(), &["trailer", &format!("at byte {len}")]).await;
    let mut zeros = builder.without_trailer();
    zeros.resize(len + format().len(), 0);
    world.refuses("a trailer of zeros", zeros, &["trailer"]).await;
    // What follows the trailer is nobody's business.
    let bytes = [&builder.finish()[..], b"0000 and anything else"].concat();
    let request = Request::new().create("refs/heads/new", world.main()).pack(bytes);
    world.push(request.bytes()).await.assert_ok();
    world.repo.assert_no_leftovers();
    world.repo.fsck();
}
