//! Packs that nobody makes by chance, and shapes that hurt.

use std::collections::{BTreeSet, HashMap};

use super::super::{Bases, Indexer, PackLimits};
use super::decode::decode;
use super::pack::{Builder, Memory, NoBases, Seen, copy, delta, id_of, index, insert, options};
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};
use crate::{Error, ErrorKind};

/// The error of a pack: its kind, text and offset.
fn refused(pack: Builder) -> (ErrorKind, String) {
    let error = index(&pack.finish(), options(), &NoBases, &(), 2).expect_err("it is refused");
    (error.kind(), error.to_string())
}

fn blob(data: &[u8]) -> ObjectId {
    id_of(ObjectKind::Blob, data)
}

/// The delta that puts one more `x` after a base of this length.
fn grow(len: u64) -> Vec<u8> {
    let mut instructions = copy(0, u32::try_from(len).unwrap());
    instructions.extend(insert(b"x"));
    delta(len, len + 1, &instructions)
}

#[test]
fn a_base_that_is_nowhere() {
    let mut pack = Builder::new();
    pack.whole(ObjectKind::Blob, b"something");
    let missing = blob(b"nothing");
    let at = pack.ref_delta(&missing, &grow(7));
    let (kind, text) = refused(pack);
    assert_eq!(kind, ErrorKind::MissingObjects);
    assert_eq!(text, format!("pack has 1 unresolved delta: base {missing} is missing (at byte {at})"));
}

#[test]
fn deltas_that_are_made_of_themselves() {
    let mut alone = Builder::new();
    alone.ref_delta(&blob(b"1234567"), &grow(6));
    assert_eq!(refused(alone).0, ErrorKind::MissingObjects);

    let mut circle = Builder::new();
    circle.ref_delta(&blob(b"ab"), &delta(3, 1, &copy(0, 1)));
    circle.ref_delta(&blob(b"a"), &grow(1));
    let (kind, text) = refused(circle);
    assert_eq!(kind, ErrorKind::MissingObjects);
    assert!(text.starts_with("pack has 2 unresolved deltas"), "{text}");
}

#[test]
fn a_base_in_the_middle_of_an_object() {
    let mut pack = Builder::new();
    let base = pack.whole(ObjectKind::Blob, b"a base");
    let at = pack.ofs_delta(base + 1, &grow(6));
    let text = format!("delta base offset is out of bound: no entry begins at 13 (at byte {at})");
    assert_eq!(refused(pack), (ErrorKind::InvalidPack, text));
}

#[test]
fn deltas_that_do_not_apply_are_named_by_their_place() {
    for (bad, why) in [
        (delta(6, 1, b"\x00\x00"), "has an unknown instruction"),
        (delta(7, 1, b"\x90\x01"), "is for a base of another size"),
        (delta(6, 9, b"\x90\x09"), "copies from beyond its base"),
        (delta(6, 3, b"\x90\x04"), "makes more than it says"),
        (delta(6, 5, b"\x90\x04"), "makes less than it says"),
        (delta(6, 5, b"\x05ab"), "ends within an instruction"),
        (b"\x06".to_vec(), "is too short"),
    ] {
        let mut pack = Builder::new();
        let base = pack.whole(ObjectKind::Blob, b"a base");
        pack.ofs_delta(base, &grow(6));
        let at = pack.ofs_delta(base, &bad);
        let text = format!("failed to apply delta: it {why} (at byte {at})");
        assert_eq!(refused(pack), (ErrorKind::InvalidPack, text));
    }
}

/// Bases that a push before has made dear to read: each is the last of a long chain of deltas.
struct Dear(HashMap<ObjectId, (ObjectKind, Vec<u8>)>);

impl Bases for Dear {
    fn base(&self, id: &ObjectId, max_len: u64) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.0.base(id, max_len)
    }

    fn cost(&self, _: &ObjectId) -> Result<u64, Error> {
        Ok(40 << 30)
    }
}

#[test]
fn what_is_read_of_the_repository_counts_with_all_that_it_is_made_of() {
    let bases: HashMap<_, _> =
        [&b"a base"[..], b"b base"].map(|data| (blob(data), (ObjectKind::Blob, data.to_vec()))).into();
    let pack = |bases: &[&[u8]]| {
        let mut pack = Builder::new();
        for base in bases {
            pack.ref_delta(&blob(base), &grow(6));
        }
        pack.finish()
    };
    let dear = Dear(bases.clone());
    assert!(index(&pack(&[b"a base"]), options(), &dear, &(), 1).is_ok());
    let error = index(&pack(&[b"a base", b"b base"]), options(), &dear, &(), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    let mut pack = pack(&[b"a base", b"b base"]);
    let (mut index, _) = index(&pack, options(), &bases, &(), 1).unwrap();
    let error = super::super::complete_thin(&mut index, &mut pack, &dear).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
}

#[test]
fn a_delta_may_arrive_after_any_number_of_empty_chunks() {
    let mut pack = Builder::new();
    pack.whole(ObjectKind::Blob, b"a base");
    // A chunk is full with twice 64 KiB on the wire: each byte of the delta comes in another one, if it is not alone.
    let at = pack.ref_delta_with_nothing(&blob(b"a base"), &grow(6), 300 << 10);
    pack.ref_delta(&blob(b"a basex"), &grow(7));
    let pack = pack.finish();
    let mut chunks = Vec::new();
    decode(pack.0.as_slice(), ObjectFormat::Sha1, |object| {
        if object.entry().offset == at {
            chunks.push(object.data().len());
        }
    });
    assert!(chunks.len() > 20 && chunks[0] == 0 && chunks.iter().all(|len| *len <= 1), "{chunks:?}");
    assert!(git_takes(&pack));
    let (index, _) = index(&pack, options(), &NoBases, &(), 1).unwrap();
    assert_eq!(index.reader(&pack, 100).read(&blob(b"a basexx")).unwrap().unwrap().1, b"a basexx");

    // What is wrong with one is said of it all the same.
    for (bad, why) in [(&b"\x80\x80\x80\x80\x80"[..], "ends within its header"), (b"\x06\x01\x90", "is too short")] {
        let mut pack = Builder::new();
        let base = pack.whole(ObjectKind::Blob, b"a base");
        pack.ofs_delta(base, &grow(6));
        let at = pack.ref_delta_with_nothing(&blob(b"a base"), bad, 300 << 10);
        let text = format!("failed to apply delta: it {why} (at byte {at})");
        assert_eq!(refused(pack), (ErrorKind::InvalidPack, text));
    }
}

fn git_takes(pack: &Memory) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pack");
    std::fs::write(&path, &pack.0).unwrap();
    let args = ["index-pack", "--object-format=sha1"];
    std::process::Command::new("git").args(args).arg(path).output().unwrap().status.success()
}

#[test]
fn bases_may_come_later_and_be_deltas_themselves() {
    let mut pack = Builder::new();
    pack.ref_delta(&blob(b"axx"), &grow(3));
    pack.ref_delta(&blob(b"ax"), &grow(2));
    pack.ref_delta(&blob(b"a"), &grow(1));
    pack.whole(ObjectKind::Blob, b"a");
    let (index, _) = index(&pack.finish(), options(), &NoBases, &(), 1).unwrap();
    for object in [&b"a"[..], b"ax", b"axx", b"axxx"] {
        assert_eq!(index.kind_of(&blob(object)), Some(ObjectKind::Blob));
    }
}

#[test]
fn a_base_of_the_repository_leads_to_deltas_among_themselves() {
    let bases = HashMap::from([(blob(b"a"), (ObjectKind::Blob, b"a".to_vec()))]);
    let mut pack = Builder::new();
    let later = pack.ref_delta(&blob(b"ax"), &grow(2));
    pack.ofs_delta(later, &grow(3));
    pack.ref_delta(&blob(b"a"), &grow(1));
    let mut pack = pack.finish();
    let (mut index, _) = index(&pack, options(), &bases, &(), 2).unwrap();
    assert_eq!(index.external_bases(), [blob(b"a")]);
    super::super::complete_thin(&mut index, &mut pack, &bases).unwrap().unwrap();
    assert_eq!(index.reader(&pack, 100).read(&blob(b"axxx")).unwrap().unwrap().1, b"axxx");
}

#[test]
fn the_same_object_twice_is_the_base_only_once() {
    let mut pack = Builder::new();
    for _ in 0..3 {
        let base = pack.whole(ObjectKind::Blob, b"a");
        let second = pack.ofs_delta(base, &grow(1));
        pack.ofs_delta(second, &grow(2));
        pack.ref_delta(&blob(b"axx"), &grow(3));
    }
    let (index, _) = index(&pack.finish(), options(), &NoBases, &(), 3).unwrap();
    assert_eq!(index.len(), 12);
    assert_eq!(index.objects().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), 4);
    assert!(index.duplicate().is_some());
}

#[test]
fn a_circle_among_duplicates_resolves_but_cannot_hold_a_reader() {
    let mut pack = Builder::new();
    pack.ref_delta(&blob(b"ab"), &delta(2, 1, &copy(0, 1)));
    pack.ref_delta(&blob(b"a"), &delta(1, 2, &[copy(0, 1), insert(b"b")].concat()));
    pack.whole(ObjectKind::Blob, b"a");
    let pack = pack.finish();
    let (index, _) = index(&pack, options(), &NoBases, &(), 1).unwrap();
    assert!(index.duplicate().is_some());
    assert_eq!(index.reader(&pack, 100).read(&blob(b"ab")).unwrap_err().kind(), ErrorKind::LimitExceeded);
}

fn chain(depth: u64, by_id: bool) -> Memory {
    let mut pack = Builder::new();
    let mut data = vec![b'x'; 100];
    let mut last = pack.whole(ObjectKind::Blob, &data);
    for _ in 0..depth {
        let delta = grow(data.len() as u64);
        last = if by_id { pack.ref_delta(&blob(&data), &delta) } else { pack.ofs_delta(last, &delta) };
        data.push(b'x');
    }
    pack.finish()
}

#[test]
fn a_chain_of_5000() {
    for by_id in [false, true] {
        let pack = chain(5000, by_id);
        let (index, _) = index(&pack, options(), &NoBases, &(), 2).unwrap();
        let last = blob(&vec![b'x'; 5100]);
        assert_eq!(index.reader(&pack, 10_000).read(&last).unwrap().unwrap().1.len(), 5100);
    }
}

#[test]
fn a_chain_without_end_does_not_overflow_the_stack() {
    let mut pack = Builder::new();
    let mut last = pack.whole(ObjectKind::Blob, b"abcd");
    for _ in 0..200_000 {
        last = pack.ofs_delta(last, &delta(4, 4, b"\x90\x04"));
    }
    let pack = pack.finish();
    let error = index(&pack, options(), &NoBases, &(), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(error.to_string().starts_with("the length of a chain of deltas exceeds the limit of 10000"), "{error}");
    let mut options = options();
    options.limits.chain_depth = u32::MAX;
    assert_eq!(index(&pack, options, &NoBases, &(), 1).unwrap().0.len(), 200_001);
}

#[test]
fn stars_and_combs() {
    for by_id in [false, true] {
        let mut pack = Builder::new();
        let mut data = vec![b'a'; 20_000];
        let mut last = pack.whole(ObjectKind::Blob, &data);
        for tooth in 0..300_u32 {
            let base = (last, blob(&data));
            let mut push = |byte: &[u8]| {
                let delta = delta(
                    20_000 + u64::from(tooth),
                    20_001 + u64::from(tooth),
                    &[copy(0, 20_000 + tooth), insert(byte)].concat(),
                );
                if by_id { pack.ref_delta(&base.1, &delta) } else { pack.ofs_delta(base.0, &delta) }
            };
            push(b"b");
            last = push(b"c");
            push(b"d");
            data.push(b'c');
        }
        let pack = pack.finish();
        for waiting in [0, 100_000, u64::MAX] {
            let mut options = options();
            options.limits.waiting = waiting;
            let (index, _) = index(&pack, options, &NoBases, &(), 2).unwrap();
            assert_eq!((index.len(), index.duplicate()), (901, None));
        }
    }
}

#[test]
fn the_budget_bounds_what_a_pack_may_ask_for() {
    let mut pack = Builder::new();
    let base = pack.whole(ObjectKind::Blob, &vec![0; 1 << 20]);
    for _ in 0..20 {
        pack.ofs_delta(base, &delta(1 << 20, 256 << 20, &copy(0, 1 << 20).repeat(256)));
    }
    let pack = pack.finish();
    let limit = (1 << 30) + (pack.0.len() as u64 - 20) * 200;
    let error = index(&pack, options(), &NoBases, &(), 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    let text = format!("the length of all objects that deltas make exceeds the limit of {limit}");
    assert!(error.to_string().starts_with(&text), "{error}");
}

#[test]
fn each_limit_has_its_name() {
    let limited = |change: fn(&mut PackLimits), kind: ObjectKind| {
        let mut pack = Builder::new();
        let base = pack.whole(kind, b"a");
        pack.ofs_delta(base, &grow(1));
        let mut options = options();
        change(&mut options.limits);
        let error = index(&pack.finish(), options, &NoBases, &(), 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        error.to_string()
    };
    for (text, change, kind) in [
        (
            "the length of the object that a delta makes",
            (|limits| limits.delta_result = 1) as fn(&mut PackLimits),
            ObjectKind::Blob,
        ),
        ("the length of a commit, tree or tag", |limits| limits.structured_object = 1, ObjectKind::Tree),
        ("the length of a chain of deltas", |limits| limits.chain_depth = 0, ObjectKind::Blob),
    ] {
        let found = limited(change, kind);
        assert!(found.starts_with(text), "{found}");
    }
}

#[test]
fn large_blobs_go_through_files() {
    let mut data: Vec<u8> = (0..400_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let mut pack = Builder::new();
    let mut last = pack.whole(ObjectKind::Blob, &data);
    let mut ids = vec![blob(&data)];
    for round in 0..4_u32 {
        let len = data.len() as u32;
        // The back before the front, so that the copies jump; a small one between the large ones.
        let (first, second) = if round == 2 { (500, 0) } else { (200_000, 200_000) };
        let instructions = [copy(len - first, first), insert(b"between"), copy(0, second)].concat();
        let mut made = data[(len - first) as usize..].to_vec();
        made.extend_from_slice(b"between");
        made.extend_from_slice(&data[..second as usize]);
        let instructions =
            if second == 0 { [copy(len - first, first), insert(b"between")].concat() } else { instructions };
        last = pack.ofs_delta(last, &delta(u64::from(len), made.len() as u64, &instructions));
        data = made;
        ids.push(blob(&data));
        if round == 2 {
            data.splice(0..0, vec![b'z'; 400_000]);
            let inserts: Vec<u8> = (0..4000).flat_map(|_| insert(&[b'z'; 100])).collect();
            let instructions = [inserts, copy(0, 507)].concat();
            last = pack.ofs_delta(last, &delta(507, 400_507, &instructions));
            ids.push(blob(&data));
        }
    }
    let pack = pack.finish();
    for in_memory in [0, 1000, 100_000, u64::MAX] {
        let mut options = options();
        options.limits.in_memory = in_memory;
        let (index, _) = index(&pack, options, &NoBases, &(), 2).unwrap();
        assert!(ids.iter().all(|id| index.kind_of(id) == Some(ObjectKind::Blob)), "{in_memory}");
    }
}

#[test]
fn large_trees_are_shown_when_the_pack_is_there() {
    let tree: Vec<u8> =
        (0..5000).flat_map(|i| format!("100644 file-{i:05}\0aaaaaaaaaaaaaaaaaaaa").into_bytes()).collect();
    let mut pack = Builder::new();
    let base = pack.whole(ObjectKind::Tree, &tree);
    pack.whole(ObjectKind::Commit, b"tree ");
    pack.ofs_delta(base, &grow(tree.len() as u64));
    let seen = Seen::default();
    index(&pack.finish(), options(), &NoBases, &seen, 1).unwrap();
    let lens: Vec<usize> = seen.objects.into_inner().unwrap().into_iter().map(|(_, _, len)| len).collect();
    assert_eq!(lens, [5, tree.len(), tree.len() + 1]);
}

#[test]
fn a_pack_that_changed_on_disk_is_the_servers_trouble() {
    let pack = chain(3, false);
    for damage in [0_u8, 0xff] {
        let mut indexer = Indexer::new(options());
        decode(pack.0.as_slice(), ObjectFormat::Sha1, |object| indexer.write(&object, &mut ()).unwrap());
        let damaged = Memory(vec![damage; pack.0.len()]);
        let error = indexer.resolve(&damaged, &NoBases, &(), std::num::NonZeroUsize::MIN, |_, _| Ok(())).unwrap_err();
        assert!(error.is_local(), "{error}");
    }
}

#[test]
fn progress_may_end_the_work() {
    let pack = chain(3000, false);
    let mut indexer = Indexer::new(options());
    decode(pack.0.as_slice(), ObjectFormat::Sha1, |object| indexer.write(&object, &mut ()).unwrap());
    let stop = |_, total| if total == 3000 { Err(crate::Error::refused("enough")) } else { Ok(()) };
    let error = indexer.resolve(&pack, &NoBases, &(), std::num::NonZeroUsize::MIN, stop).unwrap_err();
    assert_eq!(error.to_string(), "enough");
}

#[test]
fn bases_that_begin_alike_are_not_searched_one_by_one() {
    let like = |tail: u8| {
        let mut id = blob(b"a").as_bytes().to_vec();
        id[19] = id[19].wrapping_add(tail);
        ObjectId::from_bytes(&id).unwrap()
    };
    for (bases, fits) in [(16, true), (17, false)] {
        let mut pack = Builder::new();
        // The base that is there; its deltas are one group, however many they are.
        for _ in 0..40 {
            pack.ref_delta(&like(0), &grow(1));
        }
        let first = (1..bases).map(|tail| pack.ref_delta(&like(tail), &grow(1))).min().unwrap();
        pack.whole(ObjectKind::Blob, b"a");
        let (kind, text) = refused(pack);
        if fits {
            assert_eq!(kind, ErrorKind::MissingObjects, "{text}");
            assert!(text.starts_with("pack has 15 unresolved deltas"), "{text}");
        } else {
            assert_eq!(kind, ErrorKind::LimitExceeded, "{text}");
            assert!(text.starts_with("the number of bases whose ids begin with the same 8 bytes"), "{text}");
            assert!(first > 0);
        }
    }
}

#[test]
fn bases_of_the_repository_cost_what_they_are_long() {
    let base = vec![7; 1 << 20];
    let bases = HashMap::from([(blob(&base), (ObjectKind::Blob, base.clone()))]);
    let mut pack = Builder::new();
    pack.ref_delta(&blob(&base), &delta(1 << 20, 1, &copy(0, 1)));
    let pack = pack.finish();
    for (floor, fits) in [((1 << 20) + 1, false), ((1 << 20) + 100, true)] {
        let mut options = options();
        (options.limits.resolved_floor, options.limits.resolved_per_byte) = (floor, 0);
        let result = index(&pack, options, &bases, &(), 1).map(|_| ()).map_err(|error| error.kind());
        assert_eq!(result, if fits { Ok(()) } else { Err(ErrorKind::LimitExceeded) }, "{floor}");
    }
}

#[test]
fn bases_that_are_nowhere_cost_a_look_each() {
    let missing = |number: u32| blob(&number.to_be_bytes());
    for (count, fits) in [(16, true), (17, false)] {
        let mut pack = Builder::new();
        for number in 0..count {
            pack.ref_delta(&missing(number), &grow(4));
        }
        let mut options = options();
        (options.limits.resolved_floor, options.limits.resolved_per_byte) = (1 << 20, 0);
        let error = index(&pack.finish(), options, &NoBases, &(), 2).unwrap_err();
        let expected = if fits { ErrorKind::MissingObjects } else { ErrorKind::LimitExceeded };
        assert_eq!(error.kind(), expected, "{error}");
    }
}
