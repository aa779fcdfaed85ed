use std::mem;
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::links::Links;
use super::pack::Bytes;
use super::store::{Brought, Pack};
use crate::proto::{Complete, ObjectId, ObjectKind, PackFrame, Report};
use crate::push::{Progress, UpdateRequest};
use crate::store::complete::{self, Exact, Objects, PackIds};
use crate::store::examine::{Examination, MAX_SPECIAL_FILE};
use crate::store::index::{Budget, IndexOptions, Indexer, Visit, Worker, complete_thin};
use crate::store::ref_map;
use crate::store::{MemoryStore, Quarantine};
use crate::{Error, ErrorKind};

/// A push on its way into a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryQuarantine {
    store: MemoryStore,
    progress: Progress,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Writing(Box<Incoming>),
    /// With the pack, if there is one and something is in it.
    Sealed(Option<Arc<Pack>>),
    /// Sealing it failed.
    Lost,
}

/// A pack that arrives.
#[derive(Debug)]
struct Incoming {
    bytes: Bytes,
    indexer: Indexer,
    links: Links,
    examination: Examination,
}

impl MemoryQuarantine {
    pub(super) fn new(store: MemoryStore, progress: Progress) -> Self {
        let mut options = IndexOptions::new(store.format());
        options.limits = store.limits;
        let indexer = Indexer::new(options);
        let examination = Examination::new(store.examine.clone(), progress.clone());
        let incoming = Incoming { bytes: Bytes::default(), indexer, links: Links::default(), examination };
        Self { store, progress, stage: Stage::Writing(Box::new(incoming)) }
    }

    fn pack(&self) -> Option<&Arc<Pack>> {
        match &self.stage {
            Stage::Sealed(pack) => pack.as_ref(),
            Stage::Writing(_) | Stage::Lost => None,
        }
    }

    /// Refuses the refs that need what is not there.
    fn judge(&self, request: &mut UpdateRequest, pack: Option<&Pack>) -> Result<(), Error> {
        let creates = request.open().filter(|(_, command)| !command.is_delete());
        let (places, news): (Vec<usize>, Vec<ObjectId>) = creates.map(|(place, command)| (place, command.new)).unzip();
        let ids: &dyn PackIds = pack.map_or(&(), |pack| pack);
        let budget = Budget::for_reading(pack.map_or(0, |pack| pack.index.pack_len()));
        let brought = pack.map(|pack| Brought::new(pack, &budget));
        let brought: &dyn Objects = brought.as_ref().map_or(&(), |brought| brought);
        let mut exact = Exact::new(ids, brought, &self.store, &self.store);
        let is_whole = |new: &ObjectId| pack.is_some_and(|pack| pack.is_whole) && ids.kind_of(new).is_some();
        let found = news.iter().map(|new| if is_whole(new) { Ok(Ok(())) } else { exact.complete(new) });
        let found = found.collect::<Result<Vec<_>, _>>()?;
        complete::refuse(request, places, found, &self.progress);
        Ok(())
    }

    fn read(&self, id: &ObjectId, max_len: u64) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        match self.pack().map(|pack| pack.read(id, max_len, None)).transpose()?.flatten() {
            Some(object) => Ok(Some(object)),
            None => self.store.read(id, max_len, None),
        }
    }
}

impl Incoming {
    fn write(&mut self, frame: PackFrame) -> Result<(), Error> {
        match frame {
            PackFrame::Header(header) => self.bytes.append(&header.wire()),
            PackFrame::Object(object) => {
                self.bytes.append(object.wire());
                let visit = (&self.links, &self.examination);
                let mut worker = visit.worker();
                self.indexer.write(&object, &mut worker)?;
                worker.finish()?;
            }
            PackFrame::Data(_) => {
                return Err(Error::new(ErrorKind::Store, "this store takes packs as objects, not opaque"));
            }
            PackFrame::Complete(_) => {}
        }
        Ok(())
    }

    /// Indexes the pack; `None` if there is none, or nothing in it.
    fn seal(mut self, store: &MemoryStore, checksum: Option<&ObjectId>) -> Result<Option<Pack>, Error> {
        let Some(checksum) = checksum.filter(|_| self.indexer.len() > 0) else { return Ok(None) };
        self.bytes.append(checksum.as_bytes());
        let threads = NonZeroUsize::MIN;
        let visit = (&self.links, &self.examination);
        let mut index = self.indexer.resolve(&self.bytes, store, &visit, threads, |_, _| Ok(()))?;
        index.refuse_duplicates()?;
        let completed_with = index.external_bases().iter().copied().collect();
        complete_thin(&mut index, &mut self.bytes, store, || Ok(()))?;
        let budget = Budget::for_reading(index.pack_len());
        let mut reader = index.reader_within(&self.bytes, MAX_SPECIAL_FILE, &budget);
        self.examination.finish(|id| match reader.read(id).or_else(|error| budget.check().and(Err(error)))? {
            Some(object) => Ok(Some(object)),
            None => store.read(id, MAX_SPECIAL_FILE, None),
        })?;
        let mut pack = Pack { bytes: self.bytes, index, completed_with, is_whole: false };
        pack.is_whole = self.links.are_complete(&pack, &store.lock());
        Ok(Some(pack))
    }
}

impl Quarantine for MemoryQuarantine {
    async fn write(&mut self, frame: PackFrame) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Writing(incoming) => incoming.write(frame),
            Stage::Sealed(_) | Stage::Lost => Err(out_of_order()),
        }
    }

    async fn seal(&mut self, request: &mut UpdateRequest, complete: &Complete) -> Result<(), Error> {
        let Stage::Writing(incoming) = mem::replace(&mut self.stage, Stage::Lost) else { return Err(out_of_order()) };
        let pack = incoming.seal(&self.store, complete.checksum())?;
        self.judge(request, pack.as_ref())?;
        self.stage = Stage::Sealed(pack.map(Arc::new));
        Ok(())
    }

    fn new_objects(&self) -> impl Iterator<Item = (ObjectId, ObjectKind)> + Send {
        self.pack().into_iter().flat_map(|pack| pack.brought())
    }

    async fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        let brought = self.pack().and_then(|pack| pack.index.kind_of(id));
        Ok(brought.or_else(|| self.store.lock().kind_of(id)))
    }

    async fn object(&self, id: &ObjectId, max_len: u64) -> Result<Option<(ObjectKind, bytes::Bytes)>, Error> {
        Ok(self.read(id, max_len)?.map(|(kind, data)| (kind, data.into())))
    }

    async fn commit(self, mut request: UpdateRequest) -> Result<Report, Error> {
        let Stage::Sealed(pack) = self.stage else { return Err(out_of_order()) };
        let mut repository = self.store.lock();
        let has_pack = pack.is_some();
        // The refs are asked for the objects as well.
        repository.packs.extend(pack);
        ref_map::judge(&repository.refs, |id| repository.kind_of(id), &mut request);
        ref_map::apply(&mut repository.refs, &request);
        if has_pack && request.is_refused() {
            repository.packs.pop();
        }
        Ok(request.report())
    }

    async fn abort(self) {}
}

fn out_of_order() -> Error {
    Error::new(ErrorKind::Store, "a push is written, then sealed, then committed")
}
