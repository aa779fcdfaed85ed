//! Packs that nobody makes by chance, and shapes that hurt.

use std::collections::{BTreeSet, HashMap};

use super::super::{Indexer, PackLimits};
use super::decode::decode;
use super::pack::{Builder, Memory, NoBases, Seen, blob, copy, delta, grow, index, insert, options, refused};
use crate::ErrorKind;
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};

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
    super::super::complete_thin(&mut index, &mut pack, &bases, || Ok(())).unwrap().unwrap();
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

/// However few and however large the objects are: whoever waits for the end is heard after some 16 MiB.
#[test]
fn large_objects_do_not_keep_the_work_from_ending() {
    let tree = |number: u8| [&[number][..], &vec![0; (1 << 20) - 1]].concat();
    let mut of_deltas = Builder::new();
    let base = of_deltas.whole(ObjectKind::Tree, &tree(0));
    for number in 1..50 {
        of_deltas.ofs_delta(base, &delta(1 << 20, 1 << 20, &[insert(&[number]), copy(1, (1 << 20) - 1)].concat()));
    }
    // Trees that did not come in one chunk are read once more.
    let mut of_whole = Builder::new();
    for number in 0..50 {
        of_whole.whole(ObjectKind::Tree, &tree(number));
    }
    // Blobs of which nothing is made are not kept.
    let mut of_blobs = Builder::new();
    let data = vec![0; 9 << 20];
    let base = of_blobs.whole(ObjectKind::Blob, &data);
    for number in 1..20 {
        of_blobs.ofs_delta(base, &delta(9 << 20, 9 << 20, &[insert(&[number]), copy(1, (9 << 20) - 1)].concat()));
    }
    for (pack, range) in [(of_deltas, 10..=17), (of_whole, 10..=17), (of_blobs, 0..=0)] {
        let (pack, asked) = (pack.finish(), std::sync::atomic::AtomicU64::new(0));
        let seen = Seen::default();
        let mut indexer = Indexer::new(options());
        decode(pack.0.as_slice(), ObjectFormat::Sha1, |object| indexer.write(&object, &mut &seen).unwrap());
        let stop = |done, _| {
            asked.fetch_max(done, std::sync::atomic::Ordering::Relaxed);
            Err(crate::Error::refused("enough"))
        };
        let error = indexer.resolve(&pack, &NoBases, &seen, std::num::NonZeroUsize::MIN, stop).unwrap_err();
        assert_eq!(error.to_string(), "enough");
        assert!(asked.into_inner() <= 17);
        let seen = seen.objects.into_inner().unwrap().len();
        assert!(range.contains(&seen), "{seen}");
    }
}

#[test]
fn without_files_for_large_objects_there_are_no_larger_ones() {
    let mut pack = Builder::new();
    let base = pack.whole(ObjectKind::Blob, &vec![0; 3 << 20]);
    pack.ofs_delta(base, &delta(3 << 20, 1, &copy(0, 1)));
    let pack = pack.finish();
    for (files, fits) in [(true, true), (false, false)] {
        let mut options = options();
        options.spool = options.spool.filter(|_| files);
        (options.limits.delta_result, options.limits.structured_object) = (1 << 20, 1 << 20);
        let result = index(&pack, options, &NoBases, &(), 1).map(|_| ()).map_err(|error| error.to_string());
        let error = format!("the length of an object exceeds the limit of {} (at byte {base})", 1 << 20);
        assert_eq!(result, if fits { Ok(()) } else { Err(error) });
    }
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
