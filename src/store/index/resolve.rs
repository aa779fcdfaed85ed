use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::content::{Budget, Maker};
use super::groups::{Claims, Groups};
use super::kept::KeptDeltas;
use super::lookup::Index;
use super::options::{Hashing, PackLimits};
use super::seam::{Aside, Bases, ReadAt, Visit};
use super::spool_file::SpoolFile;
use super::table::{Kind, NONE, Table, Tree, id_bytes, set_id};
use super::thin::leave_out_own;
use super::walk::{Found, Walker};
use super::write::Indexer;
use crate::proto::ObjectId;
use crate::{Error, ErrorKind};

impl Indexer {
    /// Resolves the deltas, now that all of the pack has arrived and can be read from `pack`.
    ///
    /// It works on the calling thread and on `threads - 1` more, and returns when all is done. `progress` hears how many
    /// deltas are resolved, and of how many; an error from it ends the work, and is given back.
    ///
    /// # Errors
    ///
    /// [`InvalidPack`](ErrorKind::InvalidPack) with the offset of the delta that is wrong,
    /// [`MissingObjects`](ErrorKind::MissingObjects) if a base is nowhere (or in a circle of deltas),
    /// [`LimitExceeded`](ErrorKind::LimitExceeded) with the name of the limit, [`Collision`](ErrorKind::Collision),
    /// [`Store`](ErrorKind::Store), and whatever `bases`, `visit` and `progress` say.
    pub(crate) fn resolve<P, B, V, F>(
        self,
        pack: &P,
        bases: &B,
        visit: &V,
        threads: NonZeroUsize,
        progress: F,
    ) -> Result<Index, Error>
    where
        P: ReadAt,
        B: Bases,
        V: Visit,
        F: Fn(u64, u64) -> Result<(), Error> + Sync,
    {
        let Self { options, hashing, mut table, mut tree, mut kept, open: None } = self else {
            return Err(Error::new(ErrorKind::Store, "the last entry of the pack has not ended"));
        };
        kept.finish();
        let groups = Groups::new(&table, &mut tree)?;
        let mut claims = Claims::new(&groups);
        groups.claim_by_whole_objects(&mut claims, &table, &mut tree);
        tree.weigh();
        let found = Columns {
            ids: std::mem::take(&mut table.ids),
            kinds: std::mem::take(&mut table.kinds),
            claims,
            external: Vec::new(),
        };
        let deltas = found.kinds.iter().filter(|kind| kind.object().is_none()).count() as u64;
        let shared = Shared {
            budget: Budget::new(&options.limits, table.end),
            reading: Budget::for_reading(table.end),
            pack,
            kept,
            bases,
            visit,
            progress,
            hashing,
            limits: options.limits,
            spool: options.spool,
            table,
            tree,
            groups,
            found: Mutex::new(found),
            done: AtomicU64::new(0),
            deltas,
            stop: AtomicBool::new(false),
        };
        shared.resolve(threads)?;
        let Shared { mut table, tree, kept, found, .. } = shared;
        // What is sorted now need not find room beside them.
        drop((tree, kept));
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        (table.ids, table.kinds) = (found.ids, found.kinds);
        let mut index = Index::new(table, hashing, found.external);
        leave_out_own(&mut index, pack)?;
        Ok(index)
    }
}

/// What the threads share.
pub(super) struct Shared<'a, P, B, V, F> {
    pack: &'a P,
    kept: KeptDeltas,
    bases: &'a B,
    pub(super) visit: &'a V,
    progress: F,
    pub(super) hashing: Hashing,
    pub(super) limits: PackLimits,
    pub(super) spool: Option<Arc<dyn Aside>>,
    pub(super) budget: Budget,
    /// For what is read of the repository.
    reading: Budget,
    /// Without the columns that change.
    pub(super) table: Table,
    pub(super) tree: Tree,
    pub(super) groups: Groups,
    found: Mutex<Columns>,
    done: AtomicU64,
    deltas: u64,
    /// Some thread has failed, so what the others do is in vain.
    stop: AtomicBool,
}

/// The columns of the table that the threads fill.
struct Columns {
    ids: Vec<u8>,
    kinds: Vec<Kind>,
    claims: Claims,
    /// The objects outside of the pack that deltas were applied to.
    external: Vec<ObjectId>,
}

/// What it costs to find out that a base is nowhere, in resolved bytes: a look into every directory of the repository that
/// holds objects takes as long as hashing some 64 KiB, and some thirty bytes of a pack ask for it.
const MISSING_BASE: u64 = 64 << 10;

/// Where walks begin.
enum Start {
    /// At whole objects of the pack.
    Entry,
    /// At objects that are not in the pack: of each, the first delta.
    Base,
}

impl<P, B, V, F> Shared<'_, P, B, V, F>
where
    P: ReadAt,
    B: Bases,
    V: Visit,
    F: Fn(u64, u64) -> Result<(), Error> + Sync,
{
    fn resolve(&self, threads: NonZeroUsize) -> Result<(), Error> {
        self.walk_all(Start::Entry, &self.roots(), threads)?;
        let unclaimed = self.groups.unclaimed(&self.found().claims);
        self.walk_all(Start::Base, &unclaimed, threads)?;
        let done = self.done.load(Ordering::Relaxed);
        if done == self.deltas { Ok(()) } else { Err(self.unresolved(self.deltas.saturating_sub(done))) }
    }

    /// The whole objects that something is to be done about, the heaviest first: a heavy tree that is begun last would
    /// keep one thread busy while the others have nothing left.
    fn roots(&self) -> Vec<u32> {
        let found = self.found();
        let mut roots: Vec<u32> = (0..self.table.len())
            .zip(&found.kinds)
            .filter(|(entry, kind)| match kind {
                Kind::Unseen(_) => true,
                Kind::Object(_) => self.tree.first_child(*entry) != NONE,
                Kind::OfsDelta | Kind::RefDelta => false,
            })
            .map(|(entry, _)| entry)
            .collect();
        roots.sort_unstable_by_key(|&root| (std::cmp::Reverse(self.tree.weight(root)), root));
        roots
    }

    /// Walks from all these places; each thread takes the next one as soon as it is done with one.
    fn walk_all(&self, start: Start, places: &[u32], threads: NonZeroUsize) -> Result<(), Error> {
        let cursor = AtomicUsize::new(0);
        let work = || {
            let result = self.work(&start, places, &cursor);
            if result.is_err() {
                self.stop.store(true, Ordering::Relaxed);
            }
            result
        };
        if places.is_empty() {
            return Ok(());
        }
        thread::scope(|scope| {
            let more = threads.get().min(places.len()).saturating_sub(1);
            // If the system has no more threads, those that there are do all of it.
            let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
            let others: Vec<_> = (0..more).map_while(spawn).collect();
            let mut result = work();
            for other in others {
                let theirs = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result = result.and(theirs);
            }
            result
        })
    }

    fn work(&self, start: &Start, places: &[u32], cursor: &AtomicUsize) -> Result<(), Error> {
        let mut walker = Walker::new(self);
        while let Some(&place) = places.get(cursor.fetch_add(1, Ordering::Relaxed)) {
            if self.is_stopped() {
                return Ok(());
            }
            match start {
                Start::Entry => walker.walk_from_entry(place)?,
                Start::Base => self.walk_from_base(&mut walker, place)?,
            }
        }
        walker.finish()
    }

    /// Resolves the group of deltas that begins with `head`, if its base is in the repository and nobody claimed it.
    fn walk_from_base(&self, walker: &mut Walker<'_, P, B, V, F>, head: u32) -> Result<(), Error> {
        // If it was claimed since the list was made, this is not the id of its base any more, and nobody waits for it.
        let id = self.id(head);
        if !self.groups.may_want(&id) {
            return Ok(());
        }
        // There may be many to look for, and nobody who still waits.
        (self.progress)(self.done.load(Ordering::Relaxed), self.deltas)?;
        let Some((kind, data)) = self.bases.base(&id, self.limits.thin_base, &self.reading)? else {
            return self.budget.spend(MISSING_BASE);
        };
        // It is not in the pack, but a few bytes of the pack made us read it, and will make us write it.
        self.budget.spend(data.len() as u64)?;
        let Some(first) = self.claim(&id) else { return Ok(()) };
        self.found().external.push(id);
        walker.walk_from_base(kind, data, first)
    }

    fn unresolved(&self, deltas: u64) -> Error {
        let unclaimed = self.groups.unclaimed(&self.found().claims);
        let base = unclaimed.first().map_or(ObjectId::zero(self.table.format), |&head| self.id(head));
        let s = if deltas == 1 { "" } else { "s" };
        let error = Error::new(
            ErrorKind::MissingObjects,
            format!("pack has {deltas} unresolved delta{s}: base {base} is missing"),
        );
        unclaimed.first().map_or(error.clone(), |&head| error.with_offset(self.table.offset(head)))
    }

    pub(super) fn maker(&self, spool: Option<Arc<SpoolFile>>) -> Maker<'_, P> {
        Maker::new(self.pack, self.table.end, self.hashing, self.limits, spool, Some(&self.kept))
    }

    pub(super) fn id(&self, entry: u32) -> ObjectId {
        ObjectId::from_bytes(id_bytes(&self.found().ids, self.table.format, entry))
            .unwrap_or(ObjectId::zero(self.table.format))
    }

    /// Whether a whole object has still to be shown to the visitor.
    pub(super) fn is_unseen(&self, entry: u32) -> bool {
        matches!(self.found().kinds.get(entry as usize), Some(Kind::Unseen(_)))
    }

    /// Gives the deltas that want the object `id` as their base to the caller: the first of them.
    pub(super) fn claim(&self, id: &ObjectId) -> Option<u32> {
        if !self.groups.may_want(id) {
            return None;
        }
        let Columns { ids, claims, .. } = &mut *self.found();
        self.groups.claim(id, claims, ids, self.table.format)
    }

    /// Puts what a thread has found into the table.
    pub(super) fn record(&self, batch: &mut Vec<Found>) -> Result<(), Error> {
        let mut resolved = 0_u64;
        let mut columns = self.found();
        for found in batch.drain(..) {
            set_id(&mut columns.ids, found.entry, &found.id);
            if let Some(kind) = columns.kinds.get_mut(found.entry as usize) {
                resolved = resolved.saturating_add(u64::from(kind.object().is_none()));
                *kind = Kind::Object(found.kind);
            }
        }
        drop(columns);
        if self.is_stopped() {
            return Ok(());
        }
        let done = self.done.fetch_add(resolved, Ordering::Relaxed).saturating_add(resolved);
        (self.progress)(done, self.deltas)
    }

    /// Whether another thread has failed.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn found(&self) -> MutexGuard<'_, Columns> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error for what cannot be unless there is a mistake in this crate.
pub(super) fn lost() -> Error {
    Error::new(ErrorKind::Store, "a delta has lost its base")
}
