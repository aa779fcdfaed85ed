use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::loose_objects::LooseObjects;
use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::store::index::{Visit, Worker};

/// Keeps the objects of a small push as they pass by, to be stored as loose ones.
///
/// A server that takes a thousand pushes of one commit each would otherwise have a thousand packs, and every process that
/// looks for an object opens the index of each. Git does as we do, for the same reason.
#[derive(Debug)]
pub(super) struct Unpack {
    /// So many objects are no small push any more.
    limit: u32,
    /// Whether the push has turned out to be a large one. What was kept of it is gone then.
    is_large: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    objects: LooseObjects,
    bytes: usize,
}

/// Pushes of fewer objects than this are unpacked, unless somebody says otherwise. Git's default is 100; but git does not
/// wait until each of its loose objects is durable, and of a pack there are three files to be waited for, however many
/// objects it has.
pub(super) const DEFAULT_LIMIT: u32 = 16;

/// No pushes of more objects than this are unpacked, whatever anybody says: they are put in place one after the other.
const MAX_LIMIT: u32 = 100;

/// The objects of a push that is unpacked are in memory; more bytes than these are kept as a pack.
const MAX_BYTES: usize = 1 << 20;

impl Unpack {
    /// Keeps the objects of a push that has fewer of them than `limit`; of 0 or 1 that is none.
    pub(super) fn new(limit: u32) -> Self {
        Self { limit: limit.min(MAX_LIMIT), is_large: AtomicBool::new(limit <= 1), kept: Mutex::default() }
    }

    /// Hears how many objects there will be.
    pub(super) fn expect(&self, count: u32) {
        if count >= self.limit {
            self.is_large.store(true, Ordering::Relaxed);
        }
    }

    /// The objects of the push, if it is a small one: each of `count` was seen.
    pub(super) fn take(&self, count: u32) -> Option<LooseObjects> {
        let Kept { objects, .. } = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        let is_whole = u32::try_from(objects.0.len()) == Ok(count);
        (is_whole && count < self.limit && !self.is_large.load(Ordering::Relaxed)).then_some(objects)
    }

    fn keep(&self, kind: ObjectKind, id: &ObjectId, data: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes = kept.bytes.saturating_add(data.len());
        if kept.bytes > MAX_BYTES || kept.objects.0.len() >= self.limit as usize {
            self.is_large.store(true, Ordering::Relaxed);
            *kept = Kept::default();
        } else {
            kept.objects.0.insert(*id, (kind, data.to_vec()));
        }
    }
}

impl Visit for Unpack {
    type Worker<'a> = &'a Unpack;

    fn worker(&self) -> &Unpack {
        self
    }
}

impl Worker for &Unpack {
    fn max_blob(&self) -> Option<u64> {
        (!self.is_large.load(Ordering::Relaxed)).then_some(MAX_BYTES as u64)
    }

    fn object(&mut self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<(), Error> {
        if !self.is_large.load(Ordering::Relaxed) {
            self.keep(kind, id, data);
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ObjectFormat;

    fn see(unpack: &Unpack, objects: u32, len: usize) {
        let mut worker = unpack.worker();
        for number in 0..objects {
            let id = ObjectId::from_bytes(&[u8::try_from(number).unwrap(); 20]).unwrap();
            if worker.max_blob().is_some_and(|max| len as u64 <= max) {
                worker.object(ObjectKind::Blob, &id, &vec![0; len]).unwrap();
            }
        }
    }

    #[test]
    fn only_small_pushes_are_kept_whole() {
        for (limit, objects, len, is_kept) in [
            (16, 15, 10, true),
            (16, 16, 10, false),
            (0, 1, 10, false),
            (1, 1, 10, false),
            (2, 1, 10, true),
            (16, 8, MAX_BYTES / 8, true),
            (16, 8, MAX_BYTES / 8 + 1, false),
            (16, 1, MAX_BYTES + 1, false),
            (1000, 99, 10, true),
            (1000, 100, 10, false),
        ] {
            let context = format!("{objects} objects of {len} bytes, limit {limit}");
            let unpack = Unpack::new(limit);
            see(&unpack, objects, len);
            assert_eq!(unpack.take(objects).map(|kept| kept.0.len()), is_kept.then_some(objects as usize), "{context}");
            assert_eq!(unpack.kept.lock().unwrap().bytes, 0, "{context}");
        }
    }

    #[test]
    fn a_large_push_is_known_by_its_header() {
        let unpack = Unpack::new(16);
        unpack.expect(16);
        assert_eq!((&unpack).max_blob(), None);
        see(&unpack, 3, 10);
        (&unpack).object(ObjectKind::Tree, &ObjectId::zero(ObjectFormat::Sha1), b"").unwrap();
        assert!(unpack.kept.lock().unwrap().objects.0.is_empty());
        assert!(unpack.take(0).is_none());
    }

    #[test]
    fn objects_that_were_not_seen_are_missed() {
        let unpack = Unpack::new(16);
        unpack.expect(4);
        see(&unpack, 3, 10);
        assert!(unpack.take(4).is_none());
    }
}
