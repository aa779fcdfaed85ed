use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use super::pack::Bytes;
use super::store::{Pack, Repository};
use crate::proto::{Complete, ObjectId, ObjectKind, PackFrame, Report};
use crate::push::UpdateRequest;
use crate::store::index::{Index, IndexOptions, Indexer, Visit, Worker, complete_thin};
use crate::store::{MemoryStore, Quarantine, links};
use crate::{Error, ErrorKind};

/// A push on its way into a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryQuarantine {
    store: MemoryStore,
    bytes: Bytes,
    indexer: Indexer,
    links: Links,
}

impl MemoryQuarantine {
    pub(super) fn new(store: MemoryStore) -> Self {
        let indexer = Indexer::new(IndexOptions::new(store.format()));
        Self { store, bytes: Bytes::default(), indexer, links: Links::default() }
    }

    /// Indexes the pack; `None` if there is none, or nothing in it.
    fn seal(mut self, checksum: Option<&ObjectId>) -> Result<Option<Pack>, Error> {
        let Some(checksum) = checksum.filter(|_| self.indexer.len() > 0) else { return Ok(None) };
        self.bytes.append(checksum.as_bytes());
        let threads = NonZeroUsize::MIN;
        let mut index = self.indexer.resolve(&self.bytes, &self.store, &self.links, threads, |_, _| Ok(()))?;
        complete_thin(&mut index, &mut self.bytes, &self.store)?;
        self.links.check(&index, &self.store.lock())?;
        Ok(Some(Pack { bytes: self.bytes, index }))
    }
}

impl Quarantine for MemoryQuarantine {
    async fn write(&mut self, frame: PackFrame) -> Result<(), Error> {
        match frame {
            PackFrame::Header(header) => self.bytes.append(&header.wire()),
            PackFrame::Object(object) => {
                self.bytes.append(object.wire());
                self.indexer.write(&object, &mut &self.links)?;
            }
            PackFrame::Data(_) => {
                return Err(Error::new(ErrorKind::Store, "this store takes packs as objects, not opaque"));
            }
            PackFrame::Complete(_) => {}
        }
        Ok(())
    }

    async fn commit(self, mut request: UpdateRequest, complete: Complete) -> Result<Report, Error> {
        let store = self.store.clone();
        let pack = self.seal(complete.checksum()).map_err(|error| match error.kind() {
            // The history of a shallow client may be cut off where ours is not.
            ErrorKind::MissingObjects if !request.shallow().is_empty() => Error::refused("shallow update not allowed"),
            _ => error,
        })?;
        let mut repository = store.lock();
        if let Some(pack) = pack {
            repository.packs.push(Arc::new(pack));
        }
        move_refs(&mut repository, &mut request);
        Ok(request.report())
    }

    async fn abort(self) {}
}

/// Moves the refs by compare-and-swap; if the push is atomic, all or none.
fn move_refs(repository: &mut Repository, request: &mut UpdateRequest) {
    let mut refusals = Vec::new();
    for (index, command) in request.open() {
        let old = repository.refs.get(&command.name);
        if old.map_or(!command.old.is_zero(), |old| *old != command.old) {
            refusals.push((
                index,
                match old {
                    None => "reference does not exist",
                    Some(_) if command.old.is_zero() => "reference already exists",
                    Some(_) => "incorrect old value provided",
                },
            ));
        } else if !command.is_delete() {
            match repository.kind_of(&command.new) {
                None => refusals.push((index, "missing necessary objects")),
                Some(kind) if kind != ObjectKind::Commit && command.name.starts_with(b"refs/heads/") => {
                    refusals.push((index, "invalid new value provided"));
                }
                Some(_) => {}
            }
        }
    }
    for (index, reason) in refusals {
        request.refuse(index, reason);
    }
    request.settle_atomic();
    for (_, command) in request.open() {
        if command.is_delete() {
            repository.refs.remove(&command.name);
        } else {
            repository.refs.insert(command.name.clone(), command.new);
        }
    }
}

/// What the objects of a pack link to.
#[derive(Debug, Default)]
struct Links {
    targets: Mutex<HashSet<(ObjectKind, ObjectId)>>,
}

impl Links {
    fn check(&self, index: &Index, repository: &Repository) -> Result<(), Error> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, id) in &*targets {
            if index.kind_of(id).or_else(|| repository.kind_of(id)) != Some(*kind) {
                let text = format!("the {} {id} is missing", kind.name());
                return Err(Error::new(ErrorKind::MissingObjects, text));
            }
        }
        Ok(())
    }
}

impl Visit for Links {
    type Worker<'a> = &'a Links;

    fn worker(&self) -> &Links {
        self
    }
}

impl Worker for &Links {
    fn object(&mut self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<(), Error> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let collected = links::for_each(kind, data, id.format(), |kind, raw| {
            targets.extend(ObjectId::from_bytes(raw).map(|target| (kind, target)));
        });
        collected.map_err(|links::Malformed(text)| Error::new(ErrorKind::InvalidPack, format!("object {id}: {text}")))
    }

    fn finish(self) -> Result<(), Error> {
        Ok(())
    }
}
