//! Packs of any size, made as they are read and never held in memory.

use bytes::Bytes;
use receive_pack::proto::{ObjectId, ObjectKind};

use super::{BLOB, COMMIT, Hash, TREE, commit, entry_header, header, object_id, tree, zlib};
use crate::support::format::format;
use crate::support::rng::Rng;

/// What a [`BigPack`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Other bytes for each seed.
    pub seed: u64,
    /// How many large blobs there are.
    pub large: u64,
    /// The size of each large blob: incompressible, so that it takes about as much of the pack.
    pub large_size: usize,
    /// How many small blobs follow each large one: lines of text of up to 2 KiB.
    pub small_per_large: u64,
}

impl Shape {
    /// About `mib` MiB of pack: blobs of 1 MiB, and eight small ones beside each.
    pub fn mib(mib: u64) -> Self {
        Self { seed: mib, large: mib, large_size: 1 << 20, small_per_large: 8 }
    }
}

/// A sound pack: a commit, its tree, and the blobs of the tree. Iterating it gives its bytes, one entry at a time, made
/// anew on each pass.
#[derive(Clone, Debug)]
pub struct BigPack {
    shape: Shape,
    commit: Vec<u8>,
    tree: Vec<u8>,
    tip: ObjectId,
    blobs: Vec<ObjectId>,
}

impl BigPack {
    /// Makes the pack once to learn the ids in it, which is all that is kept.
    pub fn new(shape: Shape) -> Self {
        let count = shape.large * (1 + shape.small_per_large);
        let blobs: Vec<_> = (0..count).map(|index| object_id(format(), ObjectKind::Blob, &shape.blob(index))).collect();
        let names: Vec<_> = (0..count).map(|index| format!("{index:08}")).collect();
        let tree = tree(names.iter().map(String::as_str).zip(&blobs));
        let commit = commit(&object_id(format(), ObjectKind::Tree, &tree), &[]);
        let tip = object_id(format(), ObjectKind::Commit, &commit);
        Self { shape, commit, tree, tip, blobs }
    }

    /// The commit that reaches everything in the pack.
    pub fn tip(&self) -> ObjectId {
        self.tip
    }

    /// The ids of the blobs, in the order of the pack; the file of the nth is named by n in eight digits.
    pub fn blob_ids(&self) -> &[ObjectId] {
        &self.blobs
    }

    /// The bytes of the nth blob.
    pub fn blob(&self, index: usize) -> Vec<u8> {
        self.shape.blob(index as u64)
    }

    /// How many entries the pack has.
    pub fn entries(&self) -> u32 {
        self.blobs.len() as u32 + 2
    }

    /// The whole pack in one piece; for small shapes.
    pub fn to_bytes(&self) -> Bytes {
        self.chunks().flatten().collect::<Vec<u8>>().into()
    }

    /// The bytes of the pack: its header, its entries one by one, its trailer.
    pub fn chunks(&self) -> impl Iterator<Item = Bytes> + Send + use<> {
        let Self { shape, commit, tree, .. } = self.clone();
        let entries = self.entries();
        let mut hash = Hash::new(format());
        let blob_count = self.blobs.len() as u64;
        let mut next = 0;
        std::iter::from_fn(move || {
            let chunk = match next {
                0 => header(2, entries).to_vec(),
                1 => entry(COMMIT, &commit, 6),
                2 => entry(TREE, &tree, 6),
                n if n - 3 < blob_count => shape.entry(n - 3),
                n if n - 3 == blob_count => hash.clone().finish().as_bytes().to_vec(),
                _ => return None,
            };
            next += 1;
            hash.update(&chunk);
            Some(Bytes::from(chunk))
        })
    }
}

impl Shape {
    /// The bytes of the nth blob.
    fn blob(&self, index: u64) -> Vec<u8> {
        let mut rng = Rng::nth(self.seed, index);
        if self.is_large(index) {
            return rng.bytes(self.large_size);
        }
        // The index makes it unlike every other blob, even where it has no line.
        let mut text = format!("{index}\n").into_bytes();
        for _ in 0..rng.below(32) {
            rng.line(&mut text);
        }
        text
    }

    /// The entry of the nth blob. Large blobs are stored: that is what zlib makes of incompressible bytes at any
    /// level, and it is quicker.
    fn entry(&self, index: u64) -> Vec<u8> {
        entry(BLOB, &self.blob(index), if self.is_large(index) { 0 } else { 6 })
    }

    fn is_large(&self, index: u64) -> bool {
        index.is_multiple_of(1 + self.small_per_large)
    }
}

fn entry(kind: u8, data: &[u8], level: u32) -> Vec<u8> {
    let mut entry = entry_header(kind, data.len() as u64);
    entry.extend_from_slice(&zlib(data, level));
    entry
}
