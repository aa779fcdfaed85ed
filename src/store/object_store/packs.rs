use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::runtime::Handle;

use super::blocks::RemoteFile;
use super::bucket::Bucket;
use super::kinds::{self, Known};
use super::layout::Layout;
use super::manifest::{Manifest, ManifestPack};
use crate::Error;
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};
use crate::store::complete::{Objects, Trust, built_in};
use crate::store::index::{Bases, Budget, ObjectReader, StoredIndex};
use crate::store::links::Malformed;

/// The objects of a repository at one moment: those of the packs that a manifest names. Asking blocks.
#[derive(Debug)]
pub(super) struct Packs {
    pub(super) packs: Vec<RemotePack>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct RemotePack {
    format: ObjectFormat,
    idx: OnceLock<RemoteIndex>,
    idx_file: Arc<RemoteFile>,
    rev_file: Arc<RemoteFile>,
    kinds: RemoteFile,
    pub(super) pack: RemoteFile,
    len: u64,
}

type RemoteIndex = StoredIndex<Arc<RemoteFile>, Arc<RemoteFile>>;

/// How many indexes are asked for at once.
const AT_ONCE: usize = 16;

impl RemotePack {
    fn new(bucket: &Bucket, layout: &Layout, runtime: &Handle, format: ObjectFormat, pack: &ManifestPack) -> Self {
        let file = |ending: &str, len: u64| RemoteFile::new(bucket, runtime, layout.pack(&pack.name, ending), len);
        let objects = u64::from(pack.objects);
        let hashes = [format.len() as u64; 2].iter().sum();
        let rev_len = objects.saturating_mul(4).saturating_add(12).saturating_add(hashes);
        Self {
            format,
            idx: OnceLock::new(),
            idx_file: Arc::new(file("idx", pack.idx_len)),
            rev_file: Arc::new(file("rev", rev_len)),
            kinds: file("kinds", objects),
            pack: file("pack", pack.len),
            len: pack.len,
        }
    }

    pub(super) fn index(&self) -> Result<&RemoteIndex, Error> {
        if let Some(index) = self.idx.get() {
            return Ok(index);
        }
        let (idx, rev) = (Arc::clone(&self.idx_file), Arc::clone(&self.rev_file));
        let index = StoredIndex::open(idx, rev, self.format, self.len)?;
        // If somebody was quicker, theirs it is.
        Ok(self.idx.get_or_init(|| index))
    }

    /// Opens the index, by those who may wait for it.
    async fn open(&self) -> Result<(), Error> {
        let front = self.idx_file.front().await;
        let front = front.map_err(|error| Error::store("the index of a pack cannot be read", error))?;
        let (idx, rev) = (Arc::clone(&self.idx_file), Arc::clone(&self.rev_file));
        let index = StoredIndex::with_front(&front, idx, rev, self.format, self.len)?;
        let _ = self.idx.set(index);
        Ok(())
    }

    fn known(&self, id: &ObjectId) -> Result<Option<Known>, Error> {
        let Some(place) = self.index()?.place_of(id)? else { return Ok(None) };
        kinds::read(&self.kinds, place).map(Some)
    }
}

impl Packs {
    /// Those of a manifest. Nothing is read before they are [opened](Self::open), or somebody asks.
    pub(super) fn new(bucket: &Bucket, layout: &Layout, runtime: &Handle, manifest: &Manifest) -> Self {
        let pack = |pack| RemotePack::new(bucket, layout, runtime, manifest.object_format(), pack);
        Self { packs: manifest.packs().iter().map(pack).collect() }
    }

    /// Opens the indexes, many at once: an object that is nowhere is looked for in each.
    pub(super) async fn open(&self) -> Result<(), Error> {
        let mut opening: Vec<_> = Vec::with_capacity(self.packs.len());
        for pack in self.packs.iter().filter(|pack| pack.idx.get().is_none()) {
            opening.push(pack.open());
        }
        let mut opening = stream::iter(opening).buffer_unordered(AT_ONCE);
        while let Some(opened) = opening.next().await {
            opened?;
        }
        Ok(())
    }

    /// What kind of object this is; `None` if there is no such object.
    pub(super) fn kind_of(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        if let Some(kind) = built_in(id) {
            return Ok(Some(kind));
        }
        for pack in &self.packs {
            if let Some(known) = pack.known(id)? {
                return Ok(Some(known.kind));
            }
        }
        Ok(None)
    }

    /// Whether the object is there, is of this kind, and all that it needs is known to be there.
    pub(super) fn has_complete(&self, kind: ObjectKind, id: &ObjectId) -> Result<bool, Error> {
        if let Some(is) = built_in(id) {
            return Ok(is == kind);
        }
        // What the first pack that has it did not know, another one may.
        for pack in &self.packs {
            match pack.known(id)? {
                Some(known) if known.kind != kind => return Ok(false),
                Some(known) if known.is_complete => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Reads objects of at most `max_len` bytes.
    pub(super) fn reader(&self, max_len: u64) -> Reader<'_> {
        Reader { packs: self, max_len, last: Mutex::default() }
    }
}

type PackReader<'a> = ObjectReader<'a, RemoteFile, RemoteIndex>;

/// Reads objects; who reads one out of a pack most likely reads the next out of the same.
pub(super) struct Reader<'a> {
    packs: &'a Packs,
    max_len: u64,
    last: Mutex<Option<(usize, u64, PackReader<'a>)>>,
}

impl<'a> Reader<'a> {
    /// The object with this id, if it is not longer than `max_len` bytes.
    fn read(
        &self,
        id: &ObjectId,
        max_len: u64,
        budget: Option<&Budget>,
    ) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        if let Some(kind) = built_in(id) {
            return Ok(Some((kind, Vec::new())));
        }
        for (number, pack) in self.packs.packs.iter().enumerate() {
            let index = pack.index()?;
            if index.place_of(id)?.is_none() {
                continue;
            }
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if !matches!(&*last, Some((of, max, _)) if *of == number && *max == max_len) {
                *last = Some((number, max_len, index.reader(&pack.pack, max_len)));
            }
            return last.as_mut().map_or(Ok(None), |(_, _, reader)| reader.read_within(id, budget));
        }
        Ok(None)
    }
}

impl Objects for Reader<'_> {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        self.packs.kind_of(id)
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.read(id, self.max_len, None)
    }
}

impl Trust for &Packs {
    fn trusts(&mut self, kind: ObjectKind, id: &ObjectId, _: &[u8]) -> Result<Result<bool, Malformed>, Error> {
        self.has_complete(kind, id).map(Ok)
    }
}

/// Thin packs have their bases here.
impl Bases for Reader<'_> {
    fn base(&self, id: &ObjectId, max_len: u64, reading: &Budget) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.read(id, max_len, Some(reading))
    }
}
