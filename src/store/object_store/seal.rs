use std::collections::HashSet;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use super::draft::{Draft, Scratch};
use super::kinds;
use super::manifest::ManifestPack;
use super::packs::Packs;
use super::repository::Settings;
use super::writer::{PackWriter, cannot_write};
use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::push::{Meter, Progress, UpdateRequest};
use crate::store::blocking::Cancelled;
use crate::store::complete::{self, Exact, Objects, PackIds};
use crate::store::examine::MAX_SPECIAL_FILE;
use crate::store::index::{Budget, Index, ObjectReader, complete_thin};
use crate::store::links::Links;
use crate::store::unique::pack_name;

/// The objects of a push, resolved, in temporary files that nobody else sees: ready to be uploaded.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) index: Index,
    /// The pack and what goes with it.
    pub(super) pack: Draft,
    pub(super) idx: Draft,
    pub(super) rev: Draft,
    pub(super) kinds: Draft,
    /// The name that it will have, without an ending.
    pub(super) name: String,
    /// The bases that a thin pack was completed with.
    completed_with: HashSet<ObjectId>,
    /// Whether all that its objects need is there. Of others a ref may need one that is complete, and whoever builds upon
    /// that is looked at as far down as it takes.
    is_whole: bool,
    /// For what the push itself has us read once more.
    budget: Budget,
}

/// Makes what arrived ready to be uploaded. Blocks.
pub(super) struct Sealer<'a> {
    pub(super) packs: &'a Packs,
    pub(super) settings: &'a Settings,
    pub(super) progress: &'a Progress,
    pub(super) cancelled: &'a Cancelled,
}

/// The largest object that is read to follow its links. Those that have any are bounded already.
const MAX_OBJECT: u64 = 64 << 20;

impl Sealer<'_> {
    /// Indexes the pack; `None` if there is nothing in it.
    pub(super) fn seal(&self, writer: PackWriter, checksum: &ObjectId) -> Result<Option<Sealed>, Error> {
        if writer.indexer.len() == 0 {
            return Ok(None);
        }
        let PackWriter { mut pack, indexer, links, examination, scratch } = writer;
        pack.write_all(checksum.as_bytes()).map_err(cannot_write)?;
        let bases = self.packs.reader(u64::MAX);
        let meter = Meter::new(self.progress, "Resolving deltas");
        let visit = (&links, &examination);
        let mut index = indexer.resolve(&pack, &bases, &visit, self.settings.threads, |done, total| {
            meter.update(done, total);
            self.cancelled.go_on()
        })?;
        index.refuse_duplicates()?;
        let completed_with: HashSet<ObjectId> = index.external_bases().iter().copied().collect();
        let checksum = complete_thin(&mut index, &mut pack, &bases)?.unwrap_or(*checksum);
        drop(bases);
        let name = pack_name(&checksum).map_err(cannot_write)?;
        let (idx, rev, kinds) = beside(&index, &checksum, &scratch).map_err(cannot_write)?;
        let budget = Budget::for_reading(index.pack_len());
        let mut sealed = Sealed { index, pack, idx, rev, kinds, name, completed_with, is_whole: false, budget };
        let mut ours = sealed.index.reader_within(&sealed.pack, MAX_SPECIAL_FILE, &sealed.budget);
        let theirs = self.packs.reader(MAX_SPECIAL_FILE);
        examination.finish(|id| {
            self.cancelled.go_on()?;
            match sealed.kind_of(id) {
                Some(_) => ours.read(id).or_else(|error| sealed.budget.check().and(Err(error))),
                None => theirs.object(id),
            }
        })?;
        drop(ours);
        sealed.is_whole = self.is_whole(&sealed, &links)?;
        Ok(Some(sealed))
    }

    /// Whether all that is in the pack has all that it needs, in the pack or in packs that are whole.
    fn is_whole(&self, sealed: &Sealed, links: &Links) -> Result<bool, Error> {
        if links.malformed().is_some() {
            return Ok(false);
        }
        for base in &sealed.completed_with {
            let is = sealed.index.kind_of(base);
            if !is.map_or(Ok(false), |is| self.packs.has_whole(is, base))? {
                return Ok(false);
            }
        }
        let mut is_whole = true;
        links.for_each(|id, kind| {
            is_whole = match sealed.index.kind_of(&id) {
                Some(is) => is == kind,
                None => {
                    self.cancelled.go_on()?;
                    self.packs.has_whole(kind, &id)?
                }
            };
            Ok(is_whole)
        })?;
        Ok(is_whole)
    }

    /// Refuses the refs that need what is not there.
    pub(super) fn judge(&self, request: &mut UpdateRequest, sealed: Option<&Sealed>) -> Result<(), Error> {
        let creates = request.open().filter(|(_, command)| !command.is_delete());
        let (places, news): (Vec<usize>, Vec<ObjectId>) = creates.map(|(place, command)| (place, command.new)).unzip();
        let ids: &dyn PackIds = sealed.map_or(&(), |sealed| sealed);
        let brought = sealed.map(Brought::new);
        let brought: &dyn Objects = brought.as_ref().map_or(&(), |brought| brought);
        let repository = self.packs.reader(MAX_OBJECT);
        let mut exact = Exact::new(ids, brought, &repository, self.packs);
        let is_whole = |new: &ObjectId| sealed.is_some_and(|sealed| sealed.is_whole) && ids.kind_of(new).is_some();
        let found = news.iter().map(|new| {
            self.cancelled.go_on()?;
            if is_whole(new) { Ok(Ok(())) } else { exact.complete(new) }
        });
        let found = found.collect::<Result<Vec<_>, _>>()?;
        complete::refuse(request, places, found, self.progress);
        Ok(())
    }
}

/// What lies beside a pack: its index, its reverse index, and what its objects are.
fn beside(index: &Index, checksum: &ObjectId, scratch: &Scratch) -> std::io::Result<(Draft, Draft, Draft)> {
    let [mut idx, mut rev, mut of_kinds] = [(); 3].map(|()| Draft::new(scratch));
    index.write_idx(checksum, &mut idx)?;
    index.write_rev(checksum, &mut rev)?;
    kinds::write(index, &mut of_kinds)?;
    Ok((idx, rev, of_kinds))
}

impl Sealed {
    /// What a manifest says of it.
    pub(super) fn as_pack(&self) -> ManifestPack {
        ManifestPack {
            name: self.name.clone(),
            len: self.pack.len(),
            idx_len: self.idx.len(),
            objects: self.index.len(),
            is_whole: self.is_whole,
        }
    }

    /// The objects that the push brought.
    pub(super) fn brought(&self) -> impl Iterator<Item = (ObjectId, ObjectKind)> + '_ {
        self.index.distinct_objects().filter(|(id, _)| !self.completed_with.contains(id))
    }

    /// One of them, if it, and each object that it is made from, is not longer than `max_len` bytes.
    pub(super) fn read(&self, id: &ObjectId, max_len: u64) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        match self.kind_of(id) {
            Some(_) => self.index.reader(&self.pack, max_len).read(id),
            None => Ok(None),
        }
    }
}

/// Without the bases that a thin pack was completed with: nobody looked into them.
impl PackIds for Sealed {
    fn kind_of(&self, id: &ObjectId) -> Option<ObjectKind> {
        self.index.kind_of(id).filter(|_| !self.completed_with.contains(id))
    }
}

/// What the push brought, for those who follow its links; what that may cost is limited.
struct Brought<'a> {
    sealed: &'a Sealed,
    reader: Mutex<ObjectReader<'a, Draft>>,
}

impl<'a> Brought<'a> {
    fn new(sealed: &'a Sealed) -> Self {
        Self { sealed, reader: Mutex::new(sealed.index.reader_within(&sealed.pack, MAX_OBJECT, &sealed.budget)) }
    }
}

impl Objects for Brought<'_> {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        Ok(self.sealed.kind_of(id))
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        match self.sealed.kind_of(id) {
            Some(_) => self.reader.lock().unwrap_or_else(PoisonError::into_inner).read(id),
            None => Ok(None),
        }
    }
}
