//! Large objects, and the files that they are put aside in.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use super::super::{Aside, AsideFile, IndexOptions, ReadAt};
use super::git::{Repository, check_with};
use super::pack::{Builder, NoBases, Seen, copy, delta, id_of, index, insert, options};
use crate::ErrorKind;
use crate::proto::{ObjectFormat, ObjectKind};

/// How long the objects are: two blocks of a file and a half.
const LEN: u32 = 160 * 1024;
const BLOCKS: u64 = 3 * 64 * 1024;

/// Gives out files, and keeps count of them.
#[derive(Debug, Default)]
struct Counted {
    counts: Arc<Mutex<Counts>>,
    cannot_be_cut: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    open: usize,
    most_open: usize,
    /// How long a file was at most, and what was left of all when they were closed.
    longest: u64,
    left: u64,
}

#[derive(Debug)]
struct CountedFile {
    file: File,
    counts: Arc<Mutex<Counts>>,
    cannot_be_cut: bool,
}

impl Aside for Counted {
    fn file(&self) -> io::Result<Box<dyn AsideFile>> {
        let mut counts = self.counts.lock().unwrap();
        counts.open += 1;
        counts.most_open = counts.most_open.max(counts.open);
        let (counts, cannot_be_cut) = (Arc::clone(&self.counts), self.cannot_be_cut);
        Ok(Box::new(CountedFile { file: tempfile::tempfile()?, counts, cannot_be_cut }))
    }
}

impl ReadAt for CountedFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        ReadAt::read_exact_at(&self.file, buf, offset)
    }
}

impl AsideFile for CountedFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut counts = self.counts.lock().unwrap();
        counts.longest = counts.longest.max(offset + bytes.len() as u64);
        AsideFile::write_all_at(&self.file, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.cannot_be_cut { Err(io::ErrorKind::Unsupported.into()) } else { self.file.set_len(len) }
    }
}

impl Drop for CountedFile {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap();
        counts.open -= 1;
        counts.left += self.file.metadata().unwrap().len();
    }
}

/// Indexes a pack of large objects, has git look at what comes of it, and says what became of the files.
fn counts(pack: Builder, threads: usize, cannot_be_cut: bool) -> Counts {
    let aside = Counted { cannot_be_cut, ..Counted::default() };
    let counts = Arc::clone(&aside.counts);
    let mut options = IndexOptions { spool: Some(Arc::new(aside)), ..options() };
    options.limits.in_memory = 1000;
    check_with(&Repository::new(ObjectFormat::Sha1), &pack.finish(), options, threads);
    let counts = *counts.lock().unwrap();
    assert_eq!(counts.open, 0);
    counts
}

/// A blob in which no two blocks are the same.
fn large(seed: u32) -> Vec<u8> {
    (0..LEN).map(|i| (i.wrapping_mul(i).wrapping_add(i * seed) >> 7) as u8).collect()
}

/// The delta that puts the back before the front and something between them, and what it makes of a blob.
fn turn(data: &[u8], between: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (front, back) = data.split_at(data.len() / 3);
    let len = |part: &[u8]| u32::try_from(part.len()).unwrap();
    let inserts: Vec<u8> = between.chunks(100).flat_map(insert).collect();
    let instructions = [copy(len(front), len(back)), inserts, copy(0, len(front))].concat();
    let made = [back, between, front].concat();
    (delta(data.len() as u64, made.len() as u64, &instructions), made)
}

/// A chain in which each object waits for all that follow: of each are made the next, and then a leaf that is as heavy,
/// as far as one can tell before it is known what is made of the next.
fn comb(pack: &mut Builder, seed: u32, levels: usize) {
    let mut data = large(seed);
    pack.whole(ObjectKind::Blob, &data);
    for _ in 0..levels {
        let id = id_of(ObjectKind::Blob, &data);
        let (next, made) = turn(&data, b"next");
        pack.ref_delta(&id, &next);
        pack.ref_delta(&id, &turn(&data, b"leaf").0);
        data = made;
    }
}

#[test]
fn however_many_objects_wait_each_thread_has_one_file() {
    const LEVELS: usize = 40;
    for (threads, cannot_be_cut) in [(1, false), (1, true), (3, false)] {
        let mut pack = Builder::new();
        for seed in 0..threads {
            comb(&mut pack, seed, LEVELS);
        }
        let counts = counts(pack, threads as usize, cannot_be_cut);
        assert!((1..=threads as usize).contains(&counts.most_open), "{counts:?}");
        // So long that they must have waited, and no longer than they are.
        let range = LEVELS as u64 * u64::from(LEN)..=(LEVELS as u64 + 2) * BLOCKS;
        assert!(range.contains(&counts.longest), "{counts:?}");
        assert_eq!(counts.left > 0, cannot_be_cut, "{counts:?}");
    }
}

#[test]
fn where_an_object_was_another_is_put() {
    let mut pack = Builder::new();
    let mut data = large(7);
    let mut last = pack.whole(ObjectKind::Blob, &data);
    // Each is longer than the one before it, so that it finds no place that is large enough.
    for byte in 0..20 {
        let (delta, made) = turn(&data, &[byte; 50_000]);
        last = pack.ofs_delta(last, &delta);
        data = made;
    }
    let counts = counts(pack, 1, false);
    assert_eq!((counts.most_open, counts.left), (1, 0));
    assert!(counts.longest < data.len() as u64 * 2 + BLOCKS, "{counts:?}");
}

/// Of a pack whose deltas may make so many bytes, which it takes them all to make.
fn resolved(pack: Builder, bytes: u64) -> Result<(), ErrorKind> {
    let mut options = options();
    options.limits.in_memory = 1000;
    (options.limits.resolved_per_byte, options.limits.resolved_floor) = (0, bytes);
    index(&pack.finish(), options, &NoBases, &(), 1).map(|_| ()).map_err(|error| error.kind())
}

#[test]
fn what_is_copied_out_of_a_file_is_paid_for_once() {
    let pack = |instructions: &[u8], len: u64| {
        let mut pack = Builder::new();
        let base = pack.whole(ObjectKind::Blob, &vec![7; 1 << 20]);
        for _ in 0..10 {
            pack.ofs_delta(base, &delta(1 << 20, len, instructions));
        }
        pack
    };
    let all = copy(0, 1 << 20);
    assert_eq!(resolved(pack(&all, 1 << 20), (10 << 20) + 1000), Ok(()));
    assert_eq!(resolved(pack(&all, 1 << 20), 10 << 20), Err(ErrorKind::LimitExceeded));
    // But who copies a byte here and a byte there has much more read.
    let here_and_there: Vec<u8> = (0..100).flat_map(|place| copy(place % 2 * 500_000, 1)).collect();
    assert_eq!(resolved(pack(&here_and_there, 100), 10 * 100 * 4096 + 20_000), Ok(()));
    assert_eq!(resolved(pack(&here_and_there, 100), 10 * 100 * 4095), Err(ErrorKind::LimitExceeded));
}

#[test]
fn what_goes_through_a_file_is_not_shown() {
    // The one comes in one chunk, the other in many.
    for len in [2000, 300_000] {
        for files in [true, false] {
            let mut pack = Builder::new();
            pack.whole(ObjectKind::Blob, &vec![3; len]);
            let seen = Seen { max_blob: Some(u64::MAX), ..Seen::default() };
            let mut options = options();
            options.limits.in_memory = 1000;
            options.spool = options.spool.filter(|_| files);
            index(&pack.finish(), options, &NoBases, &seen, 1).unwrap();
            assert_eq!(seen.objects.into_inner().unwrap().is_empty(), files, "{len}");
        }
    }
}
