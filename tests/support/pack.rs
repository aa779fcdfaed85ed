//! Packs made byte by byte, sound ones and others, independent of the crate's own encoder.

mod big;
mod delta;

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use receive_pack::proto::{ObjectFormat, ObjectId, ObjectKind};
use sha1::Digest as _;

use super::format::format;

pub use big::{BigPack, Shape};
pub use delta::Delta;

/// The type numbers of entries (gitformat-pack).
pub const COMMIT: u8 = 1;
pub const TREE: u8 = 2;
pub const BLOB: u8 = 3;
pub const TAG: u8 = 4;
pub const OFS_DELTA: u8 = 6;
pub const REF_DELTA: u8 = 7;

/// A running hash of either format.
#[derive(Clone)]
pub enum Hash {
    Sha1(sha1::Sha1),
    #[cfg(feature = "sha256")]
    Sha256(sha2::Sha256),
}

impl Hash {
    pub fn new(format: ObjectFormat) -> Self {
        match format {
            ObjectFormat::Sha1 => Self::Sha1(sha1::Sha1::new()),
            #[cfg(feature = "sha256")]
            ObjectFormat::Sha256 => Self::Sha256(<sha2::Sha256 as sha2::Digest>::new()),
            _ => panic!("this build does not know the format {format:?}"),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(state) => state.update(bytes),
            #[cfg(feature = "sha256")]
            Self::Sha256(state) => sha2::Digest::update(state, bytes),
        }
    }

    pub fn finish(self) -> ObjectId {
        match self {
            Self::Sha1(state) => ObjectId::from_bytes(&state.finalize()),
            #[cfg(feature = "sha256")]
            Self::Sha256(state) => ObjectId::from_bytes(&sha2::Digest::finalize(state)),
        }
        .expect("a hash has the length of an id")
    }
}

/// The hash of some bytes: the trailer of a pack.
pub fn hash(format: ObjectFormat, bytes: &[u8]) -> ObjectId {
    let mut hash = Hash::new(format);
    hash.update(bytes);
    hash.finish()
}

/// The id of an object.
pub fn object_id(format: ObjectFormat, kind: ObjectKind, data: &[u8]) -> ObjectId {
    let mut hash = Hash::new(format);
    let name = match kind {
        ObjectKind::Commit => "commit",
        ObjectKind::Tree => "tree",
        ObjectKind::Blob => "blob",
        ObjectKind::Tag => "tag",
    };
    hash.update(format!("{name} {}\0", data.len()).as_bytes());
    hash.update(data);
    hash.finish()
}

/// The id of a blob.
pub fn blob_id(data: &[u8]) -> ObjectId {
    object_id(format(), ObjectKind::Blob, data)
}

/// The data of a tree that holds these plain files, which must be sorted by name.
pub fn tree<'a>(files: impl IntoIterator<Item = (&'a str, &'a ObjectId)>) -> Vec<u8> {
    let mut data = Vec::new();
    for (name, id) in files {
        data.extend_from_slice(format!("100644 {name}\0").as_bytes());
        data.extend_from_slice(id.as_bytes());
    }
    data
}

/// The data of a commit of this tree.
pub fn commit(tree: &ObjectId, parents: &[ObjectId]) -> Vec<u8> {
    let mut text = format!("tree {tree}\n");
    for parent in parents {
        text.push_str(&format!("parent {parent}\n"));
    }
    for role in ["author", "committer"] {
        text.push_str(&format!("{role} A Tester <tester@example.org> 1700000000 +0000\n"));
    }
    text.push_str("\na commit\n");
    text.into_bytes()
}

/// The zlib stream of some bytes, at a level from 0 (stored) to 9.
pub fn zlib(data: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(data.len() + 64), Compression::new(level));
    encoder.write_all(data).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

/// The header of an entry: type and size.
pub fn entry_header(kind: u8, size: u64) -> Vec<u8> {
    let mut rest = size >> 4;
    let mut header = vec![kind << 4 | (size & 15) as u8];
    while rest > 0 {
        *header.last_mut().expect("not empty") |= 0x80;
        header.push((rest & 0x7f) as u8);
        rest >>= 7;
    }
    header
}

/// The distance of an ofs-delta from its base, as it stands between header and zlib stream.
pub fn ofs_distance(distance: u64) -> Vec<u8> {
    let mut reversed = vec![(distance & 0x7f) as u8];
    let mut rest = distance >> 7;
    while rest > 0 {
        rest -= 1;
        reversed.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    reversed.reverse();
    reversed
}

/// The 12 bytes that a pack begins with.
pub fn header(version: u32, count: u32) -> [u8; 12] {
    let mut header = *b"PACK\0\0\0\0\0\0\0\0";
    header[4..8].copy_from_slice(&version.to_be_bytes());
    header[8..].copy_from_slice(&count.to_be_bytes());
    header
}

/// A pack in the making.
///
/// Each of its `entry` methods appends an entry and gives its offset. What is not a sound pack is made with
/// [`declare`](Self::declare), [`lie`](Self::lie) and [`raw`](Self::raw).
#[derive(Clone, Debug)]
pub struct PackBuilder {
    format: ObjectFormat,
    version: u32,
    level: u32,
    declared: Option<u32>,
    count: u32,
    out: Vec<u8>,
}

impl Default for PackBuilder {
    fn default() -> Self {
        Self::new(format())
    }
}

impl PackBuilder {
    /// An empty pack of version 2 whose zlib streams are of level 6.
    pub fn new(format: ObjectFormat) -> Self {
        Self { format, version: 2, level: 6, declared: None, count: 0, out: header(2, 0).to_vec() }
    }

    /// The version that the header names.
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// The level of the zlib streams of the entries to come: 0 (stored) to 9.
    pub fn level(mut self, level: u32) -> Self {
        self.level = level;
        self
    }

    /// The number of entries that the header names, right or wrong; otherwise it is counted.
    pub fn declare(mut self, count: u32) -> Self {
        self.declared = Some(count);
        self
    }

    /// Where the next entry will begin.
    pub fn offset(&self) -> u64 {
        self.out.len() as u64
    }

    /// Appends an object whole; gives its offset.
    pub fn object(&mut self, kind: ObjectKind, data: &[u8]) -> u64 {
        let code = match kind {
            ObjectKind::Commit => COMMIT,
            ObjectKind::Tree => TREE,
            ObjectKind::Blob => BLOB,
            ObjectKind::Tag => TAG,
        };
        self.lie(code, data.len() as u64, b"", data)
    }

    /// Appends a blob whole; gives its id.
    pub fn blob(&mut self, data: &[u8]) -> ObjectId {
        self.object(ObjectKind::Blob, data);
        object_id(self.format, ObjectKind::Blob, data)
    }

    /// Appends a delta against the entry that begins at `base`; gives its offset.
    pub fn ofs_delta(&mut self, base: u64, delta: &Delta) -> u64 {
        let distance = ofs_distance(self.offset() - base);
        self.lie(OFS_DELTA, delta.wire().len() as u64, &distance, delta.wire())
    }

    /// Appends a delta against an object named by its id; gives its offset.
    pub fn ref_delta(&mut self, base: &ObjectId, delta: &Delta) -> u64 {
        self.lie(REF_DELTA, delta.wire().len() as u64, base.as_bytes(), delta.wire())
    }

    /// Appends an entry of any type number and declared size, with any bytes between header and zlib stream.
    pub fn lie(&mut self, kind: u8, size: u64, between: &[u8], data: &[u8]) -> u64 {
        let offset = self.offset();
        self.out.extend_from_slice(&entry_header(kind, size));
        self.out.extend_from_slice(between);
        self.out.extend_from_slice(&zlib(data, self.level));
        self.count += 1;
        offset
    }

    /// Appends bytes as they are, counted as `entries` entries.
    pub fn raw(&mut self, bytes: &[u8], entries: u32) {
        self.out.extend_from_slice(bytes);
        self.count += entries;
    }

    /// The pack without a trailer.
    pub fn without_trailer(&self) -> Vec<u8> {
        let mut out = self.out.clone();
        out[..12].copy_from_slice(&header(self.version, self.declared.unwrap_or(self.count)));
        out
    }

    /// The pack with its right trailer.
    pub fn finish(&self) -> Bytes {
        let mut out = self.without_trailer();
        let trailer = hash(self.format, &out);
        out.extend_from_slice(trailer.as_bytes());
        out.into()
    }

    /// The pack with a trailer that is wrong by one bit.
    pub fn finish_with_wrong_trailer(&self) -> Bytes {
        let mut out = self.finish().to_vec();
        *out.last_mut().expect("a pack is not empty") ^= 1;
        out.into()
    }
}
