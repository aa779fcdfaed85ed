use std::sync::{Arc, Mutex, PoisonError};

use super::parse::{Malformed, for_each};
use super::spill::{Link, Spill};
use crate::Error;
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};
use crate::store::index::{Aside, Visit, Worker};

/// What the objects of a push point at, written down while they are resolved.
#[derive(Debug)]
pub(crate) struct Links {
    spill: Spill,
    format: ObjectFormat,
    malformed: Mutex<Option<(ObjectId, Malformed)>>,
    /// What workers that have finished remembered, for those to come.
    remembered: Mutex<Vec<Vec<Option<Link>>>>,
}

/// How many links are kept in memory: 34 bytes each.
const MAX_IN_MEMORY: usize = 48 << 10;
/// How many of the latest links each thread remembers, to not write them down again; a power of two.
const REMEMBERED: usize = 8 << 10;
/// How many links a thread gathers before it takes the lock.
const BATCH: usize = 2048;

impl Links {
    /// Nothing yet. A push with many links writes them to a file from here.
    pub(crate) fn new(format: ObjectFormat, aside: Arc<dyn Aside>) -> Self {
        Self::with_limit(format, aside, MAX_IN_MEMORY)
    }

    pub(crate) fn with_limit(format: ObjectFormat, aside: Arc<dyn Aside>, max_in_memory: usize) -> Self {
        let spill = Spill::new(aside, format, max_in_memory);
        Self { spill, format, malformed: Mutex::default(), remembered: Mutex::default() }
    }

    /// An object that could not be read. That is no reason to refuse the push before it is known that a ref needs it.
    pub(crate) fn malformed(&self) -> Option<(ObjectId, Malformed)> {
        *self.malformed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives all links to `each`, some of them more than once; stops when it says `false`.
    pub(crate) fn for_each(&self, each: impl FnMut(ObjectId, ObjectKind) -> Result<bool, Error>) -> Result<(), Error> {
        self.spill.for_each(each)
    }

    /// Whether a file was needed.
    #[cfg(all(test, feature = "bare-repository"))]
    pub(crate) fn is_on_disk(&self) -> bool {
        self.spill.is_on_disk()
    }
}

impl Visit for Links {
    type Worker<'a> = Collector<'a>;

    fn worker(&self) -> Collector<'_> {
        let latest = self.remembered.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Collector { links: self, latest: latest.unwrap_or_default(), batch: Vec::new() }
    }
}

/// One thread's share of [`Links`].
#[derive(Debug)]
pub(crate) struct Collector<'a> {
    links: &'a Links,
    // Most entries of a tree are those of the tree before it: where an id may stand is given by its last bytes. There is
    // none of it as long as the push is so small that it does not pay.
    latest: Vec<Option<Link>>,
    batch: Vec<Link>,
}

impl Worker for Collector<'_> {
    fn object(&mut self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<(), Error> {
        let Self { links, latest, batch } = self;
        let read = for_each(kind, data, links.format, |kind, raw| {
            let place = raw.last_chunk::<4>().map_or(0, |last| u32::from_le_bytes(*last));
            let place = usize::try_from(place).unwrap_or(0) & (REMEMBERED - 1);
            let slot = latest.get_mut(place);
            if let Some(Some(latest)) = &slot
                && latest.0.as_bytes() == raw
                && latest.1 == kind
            {
                return;
            }
            if let Some(id) = ObjectId::from_bytes(raw) {
                batch.push((id, kind));
                if let Some(slot) = slot {
                    *slot = Some((id, kind));
                }
            }
        });
        if let Err(malformed) = read {
            links.malformed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((*id, malformed));
        }
        if batch.len() < BATCH {
            return Ok(());
        }
        if latest.is_empty() {
            latest.resize(REMEMBERED, None);
        }
        links.spill.append(batch)
    }

    fn finish(mut self) -> Result<(), Error> {
        self.links.remembered.lock().unwrap_or_else(PoisonError::into_inner).push(self.latest);
        self.links.spill.append(&mut self.batch)
    }
}
