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

/// The objects of a push, resolved, in temporary files that nobody else sees: ready to be uploaded.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) index: Index,
    /// The pack and what goes with it.
    pub(super) pack: Draft,
    pub(super) idx: Draft,
    pub(super) rev: Draft,
    /// What is known of the objects, once they were judged.
    pub(super) kinds: Draft,
    /// The bases that a thin pack was completed with.
    completed_with: HashSet<ObjectId>,
    /// Whether all that its objects need is there. Of others a ref may need one that is complete all the same.
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
        let checksum = complete_thin(&mut index, &mut pack, &bases, || self.cancelled.go_on())?.unwrap_or(*checksum);
        drop(bases);
        let (idx, rev) = indexes(&index, &checksum, &scratch).map_err(cannot_write)?;
        let kinds = Draft::new(&scratch);
        let budget = Budget::for_reading(index.pack_len());
        let mut sealed = Sealed { index, pack, idx, rev, kinds, completed_with, is_whole: false, budget };
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

    /// Whether all that is in the pack has all that it needs, in the pack or complete in the repository.
    fn is_whole(&self, sealed: &Sealed, links: &Links) -> Result<bool, Error> {
        if links.malformed().is_some() {
            return Ok(false);
        }
        for base in &sealed.completed_with {
            let is = sealed.index.kind_of(base);
            if !is.map_or(Ok(false), |is| self.packs.has_complete(is, base))? {
                return Ok(false);
            }
        }
        let mut is_whole = true;
        links.for_each(|id, kind| {
            is_whole = match sealed.index.kind_of(&id) {
                Some(is) => is == kind,
                None => {
                    self.cancelled.go_on()?;
                    self.packs.has_complete(kind, &id)?
                }
            };
            Ok(is_whole)
        })?;
        Ok(is_whole)
    }

    /// Refuses the refs that need what is not there, and writes down what is known of the objects of the push.
    pub(super) fn judge(&self, request: &mut UpdateRequest, sealed: Option<&mut Sealed>) -> Result<(), Error> {
        let creates = request.open().filter(|(_, command)| !command.is_delete());
        let (places, news): (Vec<usize>, Vec<ObjectId>) = creates.map(|(place, command)| (place, command.new)).unzip();
        let ids: &dyn PackIds = sealed.as_deref().map_or(&(), |sealed| sealed);
        let brought = sealed.as_deref().map(Brought::new);
        let brought: &dyn Objects = brought.as_ref().map_or(&(), |brought| brought);
        let brought = Watched { objects: brought, cancelled: self.cancelled };
        let repository = self.packs.reader(MAX_OBJECT);
        let repository = Watched { objects: &repository, cancelled: self.cancelled };
        let mut exact = Exact::new(ids, &brought, &repository, self.packs);
        let found = news.iter().map(|new| {
            let is_known = match ids.kind_of(new) {
                Some(_) => sealed.as_deref().is_some_and(|sealed| sealed.is_whole),
                None => self.packs.kind_of(new)?.map_or(Ok(false), |kind| self.packs.has_complete(kind, new))?,
            };
            if is_known { Ok(Ok(())) } else { exact.complete(new) }
        });
        let found = found.collect::<Result<Vec<_>, _>>()?;
        complete::refuse(request, places, found, self.progress);
        let of_objects = match sealed.as_deref() {
            Some(sealed) => Some(self.kinds(sealed, |id| exact.has_found_complete(id))?),
            None => None,
        };
        drop(exact);
        if let (Some(sealed), Some(kinds)) = (sealed, of_objects) {
            sealed.kinds = kinds;
        }
        Ok(())
    }

    /// Writes down what is known of objects that come from the repository itself.
    pub(super) fn carry_over(&self, sealed: &mut Sealed) -> Result<(), Error> {
        sealed.kinds = self.kinds(sealed, |_| false)?;
        Ok(())
    }

    fn kinds(&self, sealed: &Sealed, is_found: impl Fn(&ObjectId) -> bool) -> Result<Draft, Error> {
        let mut out = Draft::new(&self.settings.scratch);
        kinds::write(&sealed.index, &mut out, |kind, id| {
            if sealed.is_whole || is_found(id) {
                return Ok(true);
            }
            self.cancelled.go_on()?;
            self.packs.has_complete(kind, id)
        })?;
        Ok(out)
    }
}

/// Objects that nobody reads any more once nobody waits.
struct Watched<'a> {
    objects: &'a dyn Objects,
    cancelled: &'a Cancelled,
}

impl Objects for Watched<'_> {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        self.cancelled.go_on()?;
        self.objects.kind(id)
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.cancelled.go_on()?;
        self.objects.object(id)
    }
}

/// What lies beside a pack: its index, and its reverse index.
fn indexes(index: &Index, checksum: &ObjectId, scratch: &Scratch) -> std::io::Result<(Draft, Draft)> {
    let [mut idx, mut rev] = [(); 2].map(|()| Draft::new(scratch));
    index.write_idx(checksum, &mut idx)?;
    index.write_rev(checksum, &mut rev)?;
    Ok((idx, rev))
}

impl Sealed {
    /// What a manifest says of it under this name.
    pub(super) fn as_pack(&self, name: &str) -> ManifestPack {
        ManifestPack { name: name.to_owned(), len: self.pack.len(), idx_len: self.idx.len(), objects: self.index.len() }
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
