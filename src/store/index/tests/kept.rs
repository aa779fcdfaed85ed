//! Short deltas that are kept as they were inflated when they arrived.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::{Aside, AsideFile, IndexOptions, Indexer, ReadAt};
use super::decode::decode;
use super::git::{Repository, check_with};
use super::pack::{Builder, Memory, NoBases, copy, delta, id_of, index, insert, options};
use crate::Error;
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};

/// A disk with room for so many bytes in each file; without a number there is none for a file.
#[derive(Clone, Debug)]
struct Disk {
    room: Option<u64>,
    /// Gives nothing back as it was given.
    damages: bool,
    /// How many files are open.
    open: Arc<AtomicU64>,
    /// How long a file was at most.
    longest: Arc<AtomicU64>,
}

impl Disk {
    fn of(room: Option<u64>) -> Self {
        Self { room, damages: false, open: Arc::default(), longest: Arc::default() }
    }

    fn options(&self) -> IndexOptions {
        IndexOptions { spool: Some(Arc::new(self.clone())), ..options() }
    }
}

#[derive(Debug)]
struct Limited(File, Disk);

impl Aside for Disk {
    fn file(&self) -> io::Result<Box<dyn AsideFile>> {
        self.room.ok_or(io::ErrorKind::StorageFull)?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Limited(tempfile::tempfile()?, self.clone())))
    }
}

impl ReadAt for Limited {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        ReadAt::read_exact_at(&self.0, buf, offset)?;
        if self.1.damages {
            // One byte of each delta.
            buf.iter_mut().step_by(100).for_each(|byte| *byte ^= 1);
        }
        Ok(())
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        self.1.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsideFile for Limited {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        if self.1.room < Some(end) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.1.longest.fetch_max(end, Ordering::Relaxed);
        AsideFile::write_all_at(&self.0, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

/// Bytes that do not deflate.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

const BASE: usize = 3000;
/// How long a delta is that puts 100 bytes into one: the lengths, two copies, one instruction that inserts; and its crc.
const DELTA: u64 = 4 + 2 * 8 + 101 + 4;

/// Three objects, and in turn for each of them a delta that puts `middle(i)` into it; and where the deltas lie.
fn pack(deltas: u64, middle: impl Fn(u64) -> Vec<u8>) -> (Memory, Range<usize>) {
    let mut pack = Builder::new();
    let bases: Vec<u64> = (1..4).map(|seed| pack.whole(ObjectKind::Blob, &noise(seed, BASE))).collect();
    let mut begin = None;
    for i in 0..deltas {
        let middle = middle(i);
        let inserts = middle.chunks(127).flat_map(insert);
        let instructions: Vec<u8> = copy(0, 1000).into_iter().chain(inserts).chain(copy(1000, 2000)).collect();
        let delta = delta(BASE as u64, (BASE + middle.len()) as u64, &instructions);
        let offset = pack.ofs_delta(bases[i as usize % bases.len()], &delta);
        begin = begin.or(Some(offset as usize));
    }
    let pack = pack.finish();
    let deltas = begin.unwrap()..pack.0.len();
    (pack, deltas)
}

fn ids(pack: &Memory, options: IndexOptions) -> Vec<(ObjectId, ObjectKind)> {
    index(pack, options, &NoBases, &(), 2).unwrap().0.objects().collect()
}

/// Resolves a pack of whose deltas nothing is left since they arrived.
fn without_deltas(pack: &Memory, deltas: Range<usize>, disk: &Disk) -> Result<Vec<(ObjectId, ObjectKind)>, Error> {
    let mut indexer = Indexer::new(disk.options());
    decode(pack.0.as_slice(), ObjectFormat::Sha1, |object| indexer.write(&object, &mut ()).unwrap());
    let mut gone = pack.0.clone();
    gone[deltas].fill(0);
    let threads = NonZeroUsize::new(3).unwrap();
    let index = indexer.resolve(&Memory(gone), &NoBases, &(), threads, |_, _| Ok(()))?;
    Ok(index.objects().collect())
}

#[test]
fn short_deltas_are_not_read_from_the_pack_again() {
    for (count, fits_memory) in [(1, true), (300, true), (3000, false)] {
        let (pack, deltas) = pack(count, |i| noise(i + 7, 100));
        let disk = Disk::of(Some(u64::MAX));
        let kept = without_deltas(&pack, deltas.clone(), &disk).unwrap();
        assert_eq!(kept, ids(&pack, IndexOptions { spool: None, ..options() }));
        let longest = disk.longest.load(Ordering::Relaxed);
        assert_eq!(longest, if fits_memory { 0 } else { count * DELTA }, "{count}");
        check_with(&Repository::new(ObjectFormat::Sha1), &pack, disk.options(), 2);
        assert_eq!(disk.open.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn what_the_disk_has_damaged_is_read_from_the_pack() {
    let (pack, deltas) = pack(3000, |i| noise(i + 7, 100));
    let disk = Disk { damages: true, ..Disk::of(Some(u64::MAX)) };
    assert_eq!(ids(&pack, disk.options()), ids(&pack, IndexOptions { spool: None, ..options() }));
    assert_eq!(disk.longest.load(Ordering::Relaxed), 3000 * DELTA);
    assert!(without_deltas(&pack, deltas, &disk).is_err());
}

#[test]
fn whatever_stands_between_them_each_delta_is_found() {
    let mut builder = Builder::new();
    let (mut bases, mut kept) = (Vec::new(), Vec::new());
    for i in 0..1500 {
        let whole = builder.whole(ObjectKind::Blob, &noise(i, BASE));
        bases.push((whole, noise(i, BASE)));
        let (base, data) = &bases[(i as usize * 7) % bases.len()];
        // Around the longest that is kept: with the lengths, a copy, and what makes eight or nine inserts of it.
        let len = [30, 500, 1004, 1005, 2000][i as usize % 5];
        let inserts = noise(i + 99, len).chunks(127).flat_map(insert).collect::<Vec<u8>>();
        let delta = delta(data.len() as u64, (1000 + len) as u64, &[copy(0, 1000), inserts].concat());
        let start = builder.ofs_delta(*base, &delta);
        if delta.len() <= 1024 {
            kept.push((start as usize, delta.len()));
        }
    }
    assert_eq!(kept.len(), 900);
    let pack = builder.finish();
    let disk = Disk::of(Some(u64::MAX));
    let expected = ids(&pack, IndexOptions { spool: None, ..options() });
    assert_eq!(ids(&pack, disk.options()), expected);
    let bytes: usize = kept.iter().map(|(_, len)| len + 4).sum();
    assert_eq!(disk.longest.load(Ordering::Relaxed), bytes as u64);
    let mut indexer = Indexer::new(disk.options());
    decode(pack.0.as_slice(), ObjectFormat::Sha1, |object| indexer.write(&object, &mut ()).unwrap());
    let mut gone = pack.0.clone();
    for (start, _) in kept {
        gone[start..start + 20].fill(0);
    }
    let threads = NonZeroUsize::new(3).unwrap();
    let index = indexer.resolve(&Memory(gone), &NoBases, &(), threads, |_, _| Ok(())).unwrap();
    assert_eq!(index.objects().collect::<Vec<_>>(), expected);
}

#[test]
fn the_front_of_a_delta_is_not_kept_for_the_whole() {
    let base = noise(1, BASE);
    let id = id_of(ObjectKind::Blob, &base);
    let delta = delta(BASE as u64, 1004, &[copy(0, 1000), insert(b"four")].concat());
    let mut pack = Builder::new();
    pack.whole(ObjectKind::Blob, &base);
    // So much of nothing in it that it comes in chunks of a few bytes.
    pack.ref_delta_with_nothing(&id, &delta, 50 << 10);
    let pack = pack.finish();
    let mut chunks = Vec::new();
    decode(pack.0.as_slice(), ObjectFormat::Sha1, |object| chunks.push(object.data().len()));
    assert!(chunks.len() > 3 && (1..delta.len()).contains(&chunks[1]), "{chunks:?}");
    let made = id_of(ObjectKind::Blob, &[&base[..1000], b"four"].concat());
    let found = ids(&pack, Disk::of(Some(u64::MAX)).options());
    assert!(found.contains(&(made, ObjectKind::Blob)));
}

#[test]
fn where_there_is_no_room_the_pack_is_read() {
    let (pack, deltas) = pack(3000, |i| noise(i + 7, 100));
    let expected = ids(&pack, IndexOptions { spool: None, ..options() });
    // No file; none of it; one, two, and nearly all of its pieces.
    for room in [None, Some(0), Some(131_100), Some(262_200), Some(3000 * DELTA - 1)] {
        let disk = Disk::of(room);
        assert_eq!(ids(&pack, disk.options()), expected, "{room:?}");
        assert_eq!(disk.open.load(Ordering::Relaxed), 0);
        // That the pack is read is seen where it is no longer there.
        let error = without_deltas(&pack, deltas.clone(), &disk).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("differs from what arrived"), "{room:?}: {error}");
    }
}

#[test]
fn what_would_take_much_more_than_the_pack_is_not_kept() {
    // Each is short, and of one byte again and again.
    let (pack, deltas) = pack(3000, |i| vec![i as u8; 700]);
    let disk = Disk::of(Some(u64::MAX));
    assert_eq!(ids(&pack, disk.options()).len(), 3003);
    assert_eq!(disk.longest.load(Ordering::Relaxed), 0);
    assert!(without_deltas(&pack, deltas, &disk).is_err());
}

#[test]
fn long_deltas_are_not_kept() {
    let (pack, deltas) = pack(300, |i| noise(i, 1100));
    let disk = Disk::of(Some(u64::MAX));
    assert_eq!(ids(&pack, disk.options()).len(), 303);
    assert_eq!(disk.longest.load(Ordering::Relaxed), 0);
    assert!(without_deltas(&pack, deltas, &disk).is_err());
}
