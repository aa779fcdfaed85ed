use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::MemoryQuarantine;
use crate::Error;
use crate::fsck::Checks;
use crate::proto::{Advertisement, ObjectFormat, ObjectId, ObjectKind, default_capabilities};
use crate::push::{Progress, UpdateRequest};
use crate::store::complete::{Objects, PackIds, Trust, built_in};
use crate::store::examine::Examine;
use crate::store::index::{Bases, Budget, Index, ObjectReader};
use crate::store::links::Malformed;
use crate::store::ref_map::RefMap;
use crate::store::{PackLimits, Scan, Store};

/// A repository in memory: for tests, previews, and gateways that look at a push and forget it.
///
/// It keeps packs as they come, so its memory is that of all packs it took, and while a push comes in that of the ids which
/// its objects name. Thin packs are completed, atomic pushes are atomic, and a ref moves only if all that it needs is
/// there: as with git, the others of the same push move all the same, and what no ref needs may be missing.
///
/// All work is done on the task that polls, and in memory: when the pack is in, its deltas are resolved in one go. What that
/// may cost is bounded by [`limits`](Self::limits), the pack itself by [`LimitLayer`](crate::limit::LimitLayer). A gateway
/// that takes large packs spawns each push on a thread that may block.
///
/// ```
/// use receive_pack::proto::ObjectFormat;
/// use receive_pack::store::MemoryStore;
///
/// let store = MemoryStore::new(ObjectFormat::Sha1);
/// assert!(store.refs().is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStore {
    format: ObjectFormat,
    pub(super) examine: Examine,
    pub(super) limits: PackLimits,
    repository: Arc<Mutex<Repository>>,
}

/// What all clones share.
#[derive(Debug, Default)]
pub(super) struct Repository {
    pub(super) refs: RefMap,
    pub(super) packs: Vec<Arc<Pack>>,
}

/// A pack that has landed.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) bytes: super::pack::Bytes,
    pub(super) index: Index,
    /// The bases that it was completed with, if it came thin.
    pub(super) completed_with: HashSet<ObjectId>,
    /// Whether all that its objects need was there when it came. Of others a ref may need one that is complete, and
    /// whoever builds upon that is looked at as far down as it takes.
    pub(super) is_whole: bool,
}

impl Pack {
    /// The object with this id, if the pack has it and it is not longer than `max_len` bytes. What it takes to read it goes
    /// out of the budget.
    pub(super) fn read(
        &self,
        id: &ObjectId,
        max_len: u64,
        budget: Option<&Budget>,
    ) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        // A reader is dear to make, and most packs have not what is looked for.
        match self.index.kind_of(id) {
            Some(_) => self.index.reader(&self.bytes, max_len).read_within(id, budget),
            None => Ok(None),
        }
    }

    /// The objects that the push brought.
    pub(super) fn brought(&self) -> impl Iterator<Item = (ObjectId, ObjectKind)> + '_ {
        self.index.distinct_objects().filter(|(id, _)| !self.completed_with.contains(id))
    }
}

/// The largest object that is read: 1 GiB.
const MAX_OBJECT: u64 = 1 << 30;

impl MemoryStore {
    /// An empty repository.
    pub fn new(format: ObjectFormat) -> Self {
        let limits = PackLimits { delta_result: 64 << 20, thin_base: 64 << 20, ..PackLimits::default() };
        Self { format, examine: Examine::default(), limits, repository: Arc::default() }
    }

    /// What resolving a pack may cost. Default: as [`PackLimits`] has it, but objects that deltas make and bases of thin packs
    /// of 64 MiB at most, for here all of them are made in memory, one at a time and those that wait for more deltas: some
    /// bytes of a pack may ask for each. What has to be read of packs that have landed does not count. There is no disk to put
    /// objects aside on, so [`waiting`](PackLimits::waiting) bounds nothing here, and of [`in_memory`](PackLimits::in_memory)
    /// is left that longer blobs which come whole are shown to no [`Scan`].
    #[must_use]
    pub fn limits(mut self, limits: PackLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Checks every object of a push as git does where `receive.fsckObjects` is set: one that breaks a rule refuses the
    /// push, with `object <id>: <message>: <text>` for its reason; warnings go to the pusher. Default: no checks, as with
    /// git, for histories that are imported break old rules more often than one would think.
    #[must_use]
    pub fn check_objects(mut self, checks: impl Into<Option<Checks>>) -> Self {
        self.examine.checks = checks.into();
        self
    }

    /// Shows every object of a push to this, its deltas resolved. Default: to nobody. A clone of the store may have a
    /// scan of its own: one for each push, if it is to know whose push it is.
    #[must_use]
    pub fn scan(mut self, scan: impl Scan) -> Self {
        self.examine.scan = Some(Arc::new(scan));
        self
    }

    /// The refs: full names and ids, sorted by name.
    pub fn refs(&self) -> Vec<(Bytes, ObjectId)> {
        self.lock().refs.iter().map(|(name, id)| (name.clone(), *id)).collect()
    }

    /// The object with this id, its deltas resolved.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) if it is larger than 1 GiB.
    pub fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.read(id, MAX_OBJECT, None)
    }

    pub(super) fn read(
        &self,
        id: &ObjectId,
        max_len: u64,
        budget: Option<&Budget>,
    ) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        if let Some(kind) = built_in(id) {
            return Ok(Some((kind, Vec::new())));
        }
        let packs = self.lock().packs.clone();
        for pack in packs {
            if let Some(object) = pack.read(id, max_len, budget)? {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    /// The ids of all objects, in no order; one that came in several packs stands there several times.
    pub fn object_ids(&self) -> Vec<ObjectId> {
        let packs = self.lock().packs.clone();
        packs.iter().flat_map(|pack| pack.index.objects().map(|(id, _)| id)).collect()
    }

    pub(super) fn format(&self) -> ObjectFormat {
        self.format
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Repository> {
        self.repository.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An empty repository of SHA-1.
impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(ObjectFormat::default())
    }
}

impl Repository {
    pub(super) fn kind_of(&self, id: &ObjectId) -> Option<ObjectKind> {
        built_in(id).or_else(|| self.packs.iter().find_map(|pack| pack.index.kind_of(id)))
    }

    /// Whether this object is known to have all that it needs.
    pub(super) fn trusts(&self, kind: ObjectKind, id: &ObjectId) -> bool {
        kind == ObjectKind::Blob
            || self.packs.iter().any(|pack| pack.is_whole && PackIds::kind_of(&**pack, id).is_some())
    }
}

impl PackIds for Pack {
    fn kind_of(&self, id: &ObjectId) -> Option<ObjectKind> {
        self.index.kind_of(id).filter(|_| !self.completed_with.contains(id))
    }
}

/// What the push brought, for those who follow its links; what that may cost is limited.
pub(super) struct Brought<'a> {
    pack: &'a Pack,
    reader: Mutex<ObjectReader<'a, super::pack::Bytes>>,
}

impl<'a> Brought<'a> {
    pub(super) fn new(pack: &'a Pack, budget: &'a Budget) -> Self {
        Self { pack, reader: Mutex::new(pack.index.reader_within(&pack.bytes, MAX_OBJECT, budget)) }
    }
}

impl Objects for Brought<'_> {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        Ok(PackIds::kind_of(self.pack, id))
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        if self.pack.completed_with.contains(id) {
            return Ok(None);
        }
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).read(id)
    }
}

/// What the packs that have landed hold.
impl Objects for MemoryStore {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        Ok(self.lock().kind_of(id))
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.read(id, MAX_OBJECT, None)
    }
}

impl Trust for &MemoryStore {
    fn trusts(&mut self, kind: ObjectKind, id: &ObjectId, _: &[u8]) -> Result<Result<bool, Malformed>, Error> {
        Ok(Ok(self.lock().trusts(kind, id)))
    }
}

/// Thin packs have their bases here.
impl Bases for MemoryStore {
    fn base(&self, id: &ObjectId, max_len: u64, reading: &Budget) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.read(id, max_len, Some(reading))
    }
}

impl Store for MemoryStore {
    type Quarantine = MemoryQuarantine;

    async fn advertise(&self) -> Result<Advertisement, Error> {
        let advertisement = Advertisement::new(self.format).with_refs(self.refs());
        Ok(advertisement.with_capabilities(default_capabilities(self.format)))
    }

    fn quarantine(
        &self,
        _: &UpdateRequest,
        progress: Progress,
    ) -> impl Future<Output = Result<MemoryQuarantine, Error>> + Send {
        std::future::ready(Ok(MemoryQuarantine::new(self.clone(), progress)))
    }
}
