//! What it costs to read objects of an indexed pack.

use super::super::stored::StoredIndex;
use super::super::{Budget, Index};
use super::pack::{Builder, Memory, NoBases, blob, copy, delta, index, insert, options};
use crate::ErrorKind;
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};

#[test]
fn objects_of_one_chain_are_not_made_from_its_root_each_time() {
    // Each version of a file is a delta on the one before.
    let versions: Vec<Vec<u8>> = (0..200_u32).map(|n| [&[b'x'; 10_000][..], &n.to_be_bytes()].concat()).collect();
    let mut builder = Builder::new();
    let mut at = builder.whole(ObjectKind::Blob, &versions[0]);
    for version in &versions[1..] {
        let instructions = [copy(0, 10_000), insert(&version[10_000..])].concat();
        at = builder.ofs_delta(at, &delta(10_004, 10_004, &instructions));
    }
    let (pack, len) = (builder.finish(), versions.iter().map(Vec::len).sum::<usize>() as u64);
    let (index, _) = index(&pack, options(), &NoBases, &(), 1).unwrap();
    let ids: Vec<_> = versions.iter().map(|version| blob(version)).collect();
    let read_all = |budget: u64, mut order: &mut dyn Iterator<Item = &ObjectId>| {
        let budget = Budget::of(budget);
        let mut reader = index.reader_within(&pack, 1 << 20, &budget);
        (&mut order).map(|id| reader.read(id)).try_for_each(|read| read.map(|read| assert!(read.is_some())))
    };
    // All are made once and given away once, and there are the ways between: from the root each time it would be a
    // hundredfold.
    read_all(3 * len, &mut ids.iter()).unwrap();
    read_all(3 * len, &mut ids.iter().rev()).unwrap();
    assert_eq!(read_all(len / 2, &mut ids.iter()).unwrap_err().kind(), ErrorKind::LimitExceeded);
}

/// How many of these objects, of a few bytes each, can be read for so much.
fn read(index: &Index, checksum: &ObjectId, pack: &Memory, ids: &[ObjectId], budget: u64) -> usize {
    let budgets = [(); 2].map(|()| Budget::of(budget));
    let mut reader = index.reader_within(pack, 64 << 20, &budgets[0]);
    let (mut idx, mut rev) = (Vec::new(), Vec::new());
    index.write_idx(checksum, &mut idx).unwrap();
    index.write_rev(checksum, &mut rev).unwrap();
    let stored = StoredIndex::open(Memory(idx), Memory(rev), ObjectFormat::Sha1, pack.0.len() as u64).unwrap();
    let mut of_stored = stored.reader(pack, 64 << 20);
    let mut count = 0;
    for id in ids {
        let found = [reader.read(id), of_stored.read_within(id, Some(&budgets[1]))];
        match found {
            [Ok(Some((_, one))), Ok(Some((_, other)))] => assert_eq!(one, other),
            [Err(one), Err(other)] => {
                assert_eq!([one.kind(), other.kind()], [ErrorKind::LimitExceeded; 2], "{one}");
                return count;
            }
            other => panic!("{other:?}"),
        }
        count += 1;
    }
    count
}

/// However short the objects are, and the deltas that make them.
#[test]
fn whatever_an_object_is_made_of_is_paid_for() {
    // Too long to be held from one to the next.
    const LEN: u32 = 4 << 20;
    for is_root in [true, false] {
        let mut pack = Builder::new();
        let long = match is_root {
            true => pack.whole(ObjectKind::Blob, &vec![7; LEN as usize]),
            false => {
                let base = pack.whole(ObjectKind::Blob, &[7; 1024]);
                pack.ofs_delta(base, &delta(1024, LEN.into(), &copy(0, 1024).repeat(4096)))
            }
        };
        let of = |number: u32| number.to_be_bytes();
        for number in 0..10 {
            pack.ofs_delta(long, &delta(LEN.into(), 4, &insert(&of(number))));
        }
        let pack = pack.finish();
        let (index, checksum) = index(&pack, options(), &NoBases, &(), 1).unwrap();
        let ids: Vec<_> = (0..10).map(|number| blob(&of(number))).collect();
        for (mebibytes, count) in [(3, 0), (5, 1), (13, 3), (50, 10)] {
            assert_eq!(read(&index, &checksum, &pack, &ids, mebibytes << 20), count, "{mebibytes} MiB, {is_root}");
        }
    }
}
