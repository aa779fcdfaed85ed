//! Packs made by hand, and the way of a pack through the indexer.

use std::collections::HashMap;
use std::io;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::super::{Aside, AsideFile, Bases, Budget, Index, IndexOptions, Indexer, PackFile, ReadAt, Visit, Worker};
use super::decode::decode;
use crate::checksum::Hasher;
use crate::proto::{ObjectFormat, ObjectId, ObjectKind, put_entry_header};
use crate::{Error, ErrorKind};

/// A repository without objects.
pub(super) struct NoBases;

impl Bases for NoBases {
    fn base(&self, _: &ObjectId, _: u64, _: &Budget) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        Ok(None)
    }
}

impl Bases for HashMap<ObjectId, (ObjectKind, Vec<u8>)> {
    fn base(&self, id: &ObjectId, _: u64, _: &Budget) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        Ok(self.get(id).cloned())
    }
}

/// A pack in memory.
pub(super) struct Memory(pub(super) Vec<u8>);

impl ReadAt for Memory {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = offset as usize;
        let part = self.0.get(offset..offset + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(part);
        Ok(())
    }
}

impl PackFile for Memory {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset as usize + bytes.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        self.0[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }
}

/// Large objects go to temporary files.
#[derive(Debug)]
struct Unnamed;

impl Aside for Unnamed {
    fn file(&self) -> io::Result<Box<dyn AsideFile>> {
        Ok(Box::new(tempfile::tempfile()?))
    }
}

/// Remembers what it was shown.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) objects: Mutex<Vec<(ObjectId, ObjectKind, usize)>>,
    /// The longest blob that it wants to see.
    pub(super) max_blob: Option<u64>,
}

impl Visit for Seen {
    type Worker<'a> = &'a Seen;

    fn worker(&self) -> &Seen {
        self
    }
}

impl Worker for &Seen {
    fn max_blob(&self) -> Option<u64> {
        self.max_blob
    }

    fn object(&mut self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<(), Error> {
        assert_eq!(*id, id_in(id.format(), kind, data));
        self.objects.lock().unwrap().push((*id, kind, data.len()));
        Ok(())
    }

    fn finish(self) -> Result<(), Error> {
        Ok(())
    }
}

pub(super) fn id_of(kind: ObjectKind, data: &[u8]) -> ObjectId {
    id_in(ObjectFormat::Sha1, kind, data)
}

/// The id of a blob.
pub(super) fn blob(data: &[u8]) -> ObjectId {
    id_of(ObjectKind::Blob, data)
}

fn id_in(format: ObjectFormat, kind: ObjectKind, data: &[u8]) -> ObjectId {
    let mut hasher = Hasher::new(format);
    hasher.update(format!("{} {}\0", kind.name(), data.len()).as_bytes());
    hasher.update(data);
    hasher.finish().unwrap()
}

/// Options that keep tests honest about memory, too.
pub(super) fn options() -> IndexOptions {
    let mut options = IndexOptions::new(ObjectFormat::Sha1);
    options.spool = Some(Arc::new(Unnamed));
    options
}

/// Indexes a pack in memory on `threads` threads.
pub(super) fn index(
    pack: &Memory,
    options: IndexOptions,
    bases: &impl Bases,
    visit: &impl Visit,
    threads: usize,
) -> Result<(Index, ObjectId), Error> {
    let format = options.format;
    let mut indexer = Indexer::new(options);
    let mut worker = visit.worker();
    let mut result = Ok(());
    let checksum = decode(pack.0.as_slice(), format, |object| {
        if result.is_ok() {
            result = indexer.write(&object, &mut worker);
        }
    });
    result?;
    worker.finish()?;
    let index = indexer.resolve(pack, bases, visit, NonZeroUsize::new(threads).unwrap(), |_, _| Ok(()))?;
    Ok((index, checksum))
}

/// The error of a pack: its kind, text and offset.
pub(super) fn refused(pack: Builder) -> (ErrorKind, String) {
    let error = index(&pack.finish(), options(), &NoBases, &(), 2).expect_err("it is refused");
    (error.kind(), error.to_string())
}

/// What the stores give from thread to thread.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Indexer>();
    is_send::<Index>();
};

/// Makes packs entry by entry, sound or not.
pub(super) struct Builder {
    bytes: Vec<u8>,
    count: u32,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { bytes: b"PACK\0\0\0\x02\0\0\0\0".to_vec(), count: 0 }
    }

    /// Adds a whole object; gives its offset.
    pub(super) fn whole(&mut self, kind: ObjectKind, data: &[u8]) -> u64 {
        let bits = match kind {
            ObjectKind::Commit => 1,
            ObjectKind::Tree => 2,
            ObjectKind::Blob => 3,
            ObjectKind::Tag => 4,
        };
        self.entry(bits, &[], data)
    }

    /// Adds a delta against the entry at `base`.
    pub(super) fn ofs_delta(&mut self, base: u64, delta: &[u8]) -> u64 {
        let mut distance = self.bytes.len() as u64 - base;
        let mut encoded = vec![(distance & 0x7f) as u8];
        while distance >= 128 {
            distance = (distance >> 7) - 1;
            encoded.insert(0, 0x80 | (distance & 0x7f) as u8);
        }
        self.entry(6, &encoded, delta)
    }

    /// Adds a delta against an id.
    pub(super) fn ref_delta(&mut self, base: &ObjectId, delta: &[u8]) -> u64 {
        self.entry(7, base.as_bytes(), delta)
    }

    /// The same, with blocks of nothing in its zlib stream, so many bytes of them before each byte of the delta.
    pub(super) fn ref_delta_with_nothing(&mut self, base: &ObjectId, delta: &[u8], nothing: usize) -> u64 {
        let mut zlib = vec![0x78, 0x9c];
        for byte in delta {
            zlib.extend(b"\0\0\0\xff\xff".repeat(nothing / 5));
            zlib.extend_from_slice(&[0, 1, 0, 0xfe, 0xff, *byte]);
        }
        zlib.extend_from_slice(&[3, 0]);
        let (a, b) = delta.iter().fold((1, 0), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65521;
            (a, (a + b) % 65521)
        });
        zlib.extend_from_slice(&(b << 16 | a).to_be_bytes());
        self.entry_of(7, base.as_bytes(), delta.len(), &zlib)
    }

    fn entry(&mut self, bits: u8, base: &[u8], data: &[u8]) -> u64 {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(data).unwrap();
        self.entry_of(bits, base, data.len(), &zlib.finish().unwrap())
    }

    fn entry_of(&mut self, bits: u8, base: &[u8], len: usize, zlib: &[u8]) -> u64 {
        let offset = self.bytes.len() as u64;
        put_entry_header(bits, len as u64, &mut self.bytes);
        self.bytes.extend_from_slice(base);
        self.bytes.extend_from_slice(zlib);
        self.count += 1;
        offset
    }

    pub(super) fn finish(mut self) -> Memory {
        self.bytes[8..12].copy_from_slice(&self.count.to_be_bytes());
        let mut hasher = Hasher::new(ObjectFormat::Sha1);
        hasher.update(&self.bytes);
        self.bytes.extend_from_slice(hasher.finish().unwrap().as_bytes());
        Memory(self.bytes)
    }
}

/// A delta out of its parts.
pub(super) fn delta(base_size: u64, result_size: u64, instructions: &[u8]) -> Vec<u8> {
    let mut delta = Vec::new();
    for mut size in [base_size, result_size] {
        while size >= 128 {
            delta.push(0x80 | (size & 0x7f) as u8);
            size >>= 7;
        }
        delta.push(size as u8);
    }
    delta.extend_from_slice(instructions);
    delta
}

/// The instruction that copies up to 16 MiB.
pub(super) fn copy(offset: u32, len: u32) -> Vec<u8> {
    let mut instruction = vec![0xff];
    instruction.extend_from_slice(&offset.to_le_bytes());
    instruction.extend_from_slice(&len.to_le_bytes()[..3]);
    instruction
}

/// The instruction that inserts up to 127 bytes.
pub(super) fn insert(bytes: &[u8]) -> Vec<u8> {
    let mut instruction = vec![bytes.len() as u8];
    instruction.extend_from_slice(bytes);
    instruction
}

/// The delta that puts one more `x` after a base of this length.
pub(super) fn grow(len: u64) -> Vec<u8> {
    let mut instructions = copy(0, u32::try_from(len).unwrap());
    instructions.extend(insert(b"x"));
    delta(len, len + 1, &instructions)
}
