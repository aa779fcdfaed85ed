//! Bases that are not in the pack, are in it and elsewhere, or are nowhere.

use std::collections::HashMap;
use std::time::Duration;

use super::super::{Bases, Budget, complete_thin};
use super::git::{Repository, check_with};
use super::pack::{Builder, NoBases, blob, copy, delta, grow, index, insert, options, refused};
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};
use crate::{Error, ErrorKind};

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

/// Bases that a push before has made dear to read: each is the last of a long chain of deltas.
struct Dear(HashMap<ObjectId, (ObjectKind, Vec<u8>)>);

impl Bases for Dear {
    fn base(&self, id: &ObjectId, max_len: u64, reading: &Budget) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        reading.spend(40 << 30)?;
        self.0.base(id, max_len, reading)
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
    let error = complete_thin(&mut index, &mut pack, &dear, || Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
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

/// A repository of two objects, the first of which is found late.
struct Slow<'a>([&'a [u8]; 2]);

impl Bases for Slow<'_> {
    fn base(&self, id: &ObjectId, _: u64, _: &Budget) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        let place = self.0.iter().position(|data| blob(data) == *id);
        if place == Some(0) {
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(place.map(|place| (ObjectKind::Blob, self.0[place].to_vec())))
    }
}

/// Some clients send an object that the repository has already; and another thread may look for it there before the
/// delta is resolved that makes it.
#[test]
fn a_base_that_the_pack_makes_is_not_lacking() {
    let (first, second, third) = (b"first!", b"second", b"third!");
    for threads in [1, 2] {
        for made_first in [true, false] {
            let mut pack = Builder::new();
            let makes = |from: &[u8], made: &[u8]| (blob(from), delta(6, 6, &insert(made)));
            let mut deltas = [makes(first, second), makes(second, third)];
            if !made_first {
                deltas.reverse();
            }
            for (base, delta) in &deltas {
                pack.ref_delta(base, delta);
            }
            let mut pack = pack.finish();
            let bases = Slow([first, second]);
            let (mut index, _) = index(&pack, options(), &bases, &(), threads).unwrap();
            assert_eq!(index.external_bases(), [blob(first)], "{threads} {made_first}");
            index.refuse_duplicates().unwrap();
            complete_thin(&mut index, &mut pack, &bases, || Ok(())).unwrap().unwrap();
            for data in [first, second, third] {
                assert_eq!(index.reader(&pack, 100).read(&blob(data)).unwrap().unwrap().1, data);
            }
            // With the same index as git's, and each object there once.
            check_with(&Repository::new(ObjectFormat::Sha1), &pack, options(), 1);
            assert_eq!(index.len(), 3);
        }
    }
}

#[test]
fn a_base_that_is_made_of_itself_is_there_twice() {
    let (first, second) = (b"first!", b"second");
    let mut pack = Builder::new();
    pack.ref_delta(&blob(first), &delta(6, 6, &insert(second)));
    pack.ref_delta(&blob(second), &delta(6, 6, &insert(first)));
    let (index, _) = index(&pack.finish(), options(), &Slow([b"others", first]), &(), 1).unwrap();
    let error = index.refuse_duplicates().unwrap_err();
    let text = format!("the same object {} appears twice in the pack", blob(first));
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::InvalidPack, text));
}

#[test]
fn completing_a_pack_may_be_ended() {
    let bases = HashMap::from([(blob(b"a base"), (ObjectKind::Blob, b"a base".to_vec()))]);
    let mut pack = Builder::new();
    pack.ref_delta(&blob(b"a base"), &grow(6));
    let mut pack = pack.finish();
    let (mut index, _) = index(&pack, options(), &bases, &(), 1).unwrap();
    let error = complete_thin(&mut index, &mut pack, &bases, || Err(Error::refused("enough"))).unwrap_err();
    assert_eq!(error.to_string(), "enough");
}
