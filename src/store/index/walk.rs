use std::sync::Arc;

use super::content::{Content, Made, Maker};
use super::options::{PackLimits, limit_exceeded};
use super::resolve::Shared;
use super::seam::{Bases, ReadAt, Visit, Worker, wants};
use super::spool::Spool;
use super::spool_file::SpoolFile;
use super::table::{NONE, Tree};
use super::write::at;
use crate::Error;
use crate::proto::{ObjectId, ObjectKind};

/// After how many objects a thread tells the others what it found.
const BATCH: usize = 256;
/// And after how many bytes that it made, so that nobody waits for long who wants the work to end.
const BATCH_BYTES: u64 = 16 << 20;

/// An object that a walk has found out about.
pub(super) struct Found {
    pub(super) entry: u32,
    pub(super) kind: ObjectKind,
    pub(super) id: ObjectId,
}

/// One thread's walks through trees of deltas.
pub(super) struct Walker<'a, P, B, V: Visit, F> {
    shared: &'a Shared<'a, P, B, V, F>,
    maker: Maker<'a, P>,
    worker: V::Worker<'a>,
    /// The way from the root to where the walk is; only objects that more deltas are to be applied to.
    path: Vec<Base>,
    /// How much memory it takes.
    in_memory: u64,
    /// How many objects at its beginning are not: they were put aside.
    waiting: usize,
    /// Where objects are put aside; the maker puts its large ones there, too.
    spool: Option<Arc<SpoolFile>>,
    /// Whether an object waits for another to be hashed with. Not where deltas name their base by its id: what comes of
    /// an object is known only when the object is.
    in_pairs: bool,
    unnamed: Option<Unnamed>,
    found: Vec<Found>,
    /// How many bytes it made since it told the others.
    made: u64,
}

/// An object that has been made, but not hashed.
struct Unnamed {
    entry: u32,
    kind: ObjectKind,
    /// What is in it; `None` if it is the last one on the path.
    content: Option<Content>,
}

impl Unnamed {
    fn content<'a>(&'a self, path: &'a [Base]) -> Option<&'a Content> {
        self.content.as_ref().or_else(|| path.last().map(|base| &base.content))
    }
}

/// Shows the visitor an object that is in memory, if it wants to see it.
fn show(worker: &mut impl Worker, kind: ObjectKind, id: &ObjectId, content: &Content) -> Result<(), Error> {
    if wants(worker, kind, content.len()) { worker.object(kind, id, content.memory()) } else { Ok(()) }
}

/// An object on the way, and the deltas still to be applied to it.
struct Base {
    kind: ObjectKind,
    content: Content,
    depth: u32,
    children: Children,
}

impl<'a, P, B, V, F> Walker<'a, P, B, V, F>
where
    P: ReadAt,
    B: Bases,
    V: Visit,
    F: Fn(u64, u64) -> Result<(), Error> + Sync,
{
    pub(super) fn new(shared: &'a Shared<'a, P, B, V, F>) -> Self {
        let spool = shared.spool.clone().map(|aside| Arc::new(SpoolFile::new(aside)));
        Self {
            shared,
            maker: shared.maker(spool.clone()),
            worker: shared.visit.worker(),
            path: Vec::new(),
            in_memory: 0,
            waiting: 0,
            spool,
            in_pairs: shared.hashing.is_quicker_in_pairs() && shared.groups.is_empty(),
            unnamed: None,
            found: Vec::with_capacity(BATCH),
            made: 0,
        }
    }

    /// Resolves everything that comes of a whole object of the pack.
    pub(super) fn walk_from_entry(&mut self, entry: u32) -> Result<(), Error> {
        let table = &self.shared.table;
        let (start, end) = (table.offset(entry), table.end_of(entry));
        // Without a file for what is large, it takes as much memory as it is long.
        let PackLimits { delta_result, structured_object, .. } = self.shared.limits;
        let max_len = if self.spool.is_some() { u64::MAX } else { delta_result.max(structured_object) };
        let (kind, content) = self.maker.whole(start, end, max_len).map_err(|error| at(error, start))?;
        if self.shared.is_unseen(entry) {
            let id = self.shared.id(entry);
            self.worker.object(kind, &id, content.memory()).map_err(|error| at(error, start))?;
            self.found.push(Found { entry, kind, id });
        }
        self.tell(content.len())?;
        let children = Children::new(&self.shared.tree, self.shared.tree.first_child(entry), NONE);
        self.walk(Base { kind, content, depth: 0, children })
    }

    /// Resolves everything that comes of an object that is not in the pack: `first` is the first of the deltas.
    pub(super) fn walk_from_base(&mut self, kind: ObjectKind, data: Vec<u8>, first: u32) -> Result<(), Error> {
        let children = Children::new(&self.shared.tree, NONE, first);
        self.walk(Base { kind, content: Content::Memory(data), depth: 0, children })
    }

    /// Walks a tree without recursion, so that no chain of deltas is too long for the stack.
    fn walk(&mut self, root: Base) -> Result<(), Error> {
        self.enter(root)?;
        while let Some(base) = self.path.last_mut() {
            if self.shared.is_stopped() {
                return Ok(());
            }
            let Some(entry) = base.children.next(&self.shared.tree) else {
                self.leave();
                continue;
            };
            let (kind, depth) = (base.kind, base.depth.saturating_add(1));
            let start = self.shared.table.offset(entry);
            let Made { content, len, id: hashed } = self.make(entry, depth).map_err(|error| at(error, start))?;
            let id = match hashed {
                // What is too large for memory was hashed on its way, and is nobody's second.
                Some(id) => self.name_alone().map(|()| Some(id))?,
                None => self.name(entry, kind, &content)?,
            };
            // The last child is the heaviest: its base is let go before going on, so that it does not wait for the
            // whole subtree.
            if self.path.last().is_some_and(|base| base.children.is_empty()) {
                self.leave();
            }
            let mut claimed = NONE;
            if let Some(id) = id {
                if hashed.is_none() {
                    show(&mut self.worker, kind, &id, &content).map_err(|error| at(error, start))?;
                }
                claimed = self.shared.claim(&id).unwrap_or(NONE);
                self.found.push(Found { entry, kind, id });
            }
            self.tell(len)?;
            let children = Children::new(&self.shared.tree, self.shared.tree.first_child(entry), claimed);
            match (children.is_empty(), id) {
                (true, Some(_)) => self.maker.recycle(content),
                (true, None) => self.unnamed = Some(Unnamed { entry, kind, content: Some(content) }),
                (false, id) => {
                    self.enter(Base { kind, content, depth, children })?;
                    self.unnamed = id.is_none().then_some(Unnamed { entry, kind, content: None });
                }
            }
        }
        Ok(())
    }

    /// Tells the others what was found, if it is time for it now that so many bytes more were made.
    fn tell(&mut self, made: u64) -> Result<(), Error> {
        self.made = self.made.saturating_add(made);
        if self.found.len() < BATCH && self.made < BATCH_BYTES {
            return Ok(());
        }
        self.made = 0;
        self.shared.record(&mut self.found)
    }

    /// The id of an object that was made just now, if it is time for it: of those that are hashed in pairs, the first
    /// waits for the second.
    fn name(&mut self, entry: u32, kind: ObjectKind, content: &Content) -> Result<Option<ObjectId>, Error> {
        let hashing = self.shared.hashing;
        if !self.in_pairs {
            let id = hashing.id(kind, content.memory());
            return id.map(Some).map_err(|error| at(error, self.shared.table.offset(entry)));
        }
        let Some(first) = self.unnamed.take() else { return Ok(None) };
        let of_first = first.content(&self.path).map(Content::memory).unwrap_or_default();
        let [id_of_first, id] = hashing.ids([(first.kind, of_first), (kind, content.memory())]);
        self.named(first, id_of_first)?;
        Ok(Some(id))
    }

    /// Hashes the object that waits for another.
    fn name_alone(&mut self) -> Result<(), Error> {
        let Some(object) = self.unnamed.take() else { return Ok(()) };
        let data = object.content(&self.path).map(Content::memory).unwrap_or_default();
        let id = self.shared.hashing.id(object.kind, data);
        let id = id.map_err(|error| at(error, self.shared.table.offset(object.entry)))?;
        self.named(object, id)
    }

    /// What is to be done about an object once it has been waited for.
    fn named(&mut self, object: Unnamed, id: ObjectId) -> Result<(), Error> {
        let (entry, kind) = (object.entry, object.kind);
        if let Some(content) = object.content(&self.path) {
            let shown = show(&mut self.worker, kind, &id, content);
            shown.map_err(|error| at(error, self.shared.table.offset(entry)))?;
        }
        self.found.push(Found { entry, kind, id });
        if let Some(content) = object.content {
            self.maker.recycle(content);
        }
        Ok(())
    }

    fn enter(&mut self, base: Base) -> Result<(), Error> {
        self.in_memory = self.in_memory.saturating_add(base.content.memory_taken());
        self.path.push(base);
        if self.in_memory > self.shared.limits.waiting { self.put_aside() } else { Ok(()) }
    }

    fn leave(&mut self) {
        let Some(base) = self.path.pop() else { return };
        self.in_memory = self.in_memory.saturating_sub(base.content.memory_taken());
        self.maker.recycle(base.content);
        self.waiting = self.waiting.min(self.path.len());
    }

    /// Puts objects aside that will not be needed for the longest time.
    ///
    /// Where all weights are known, few objects wait. But which deltas name an object by its id is known only when
    /// the object is, so a pack can be made so that the heaviest child is never the one that looks like it.
    fn put_aside(&mut self) -> Result<(), Error> {
        let Some(file) = &self.spool else { return Ok(()) };
        let needed_now = self.path.len().saturating_sub(1);
        for base in self.path.iter_mut().take(needed_now).skip(self.waiting) {
            if self.in_memory <= self.shared.limits.waiting {
                break;
            }
            self.waiting = self.waiting.saturating_add(1);
            if let Content::Memory(data) = &base.content {
                self.in_memory = self.in_memory.saturating_sub(base.content.memory_taken());
                base.content = Content::Spooled(Spool::of(data, file)?);
            }
        }
        Ok(())
    }

    /// Applies a delta to the object that the walk is at.
    fn make(&mut self, entry: u32, depth: u32) -> Result<Made, Error> {
        let limit = self.shared.limits.chain_depth;
        if depth > limit {
            return Err(limit_exceeded("the length of a chain of deltas", limit.into()));
        }
        let Some(base) = self.path.last() else { return Err(super::resolve::lost()) };
        let table = &self.shared.table;
        let keep = self.shared.tree.first_child(entry) != NONE || !self.shared.groups.is_empty();
        let span = table.offset(entry)..table.end_of(entry);
        self.maker.delta(entry, span, base.kind, &base.content, keep, Some(&self.shared.budget))
    }

    /// Ends the thread's share.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.name_alone()?;
        self.shared.record(&mut self.found)?;
        self.worker.finish()
    }
}

/// The deltas to be applied to one object: those that are its children in the tree, then the group that it claimed;
/// the heaviest of all comes last.
struct Children {
    lists: [u32; 2],
    heaviest: u32,
}

impl Children {
    fn new(tree: &Tree, own: u32, claimed: u32) -> Self {
        let all = tree.siblings(own).chain(tree.siblings(claimed));
        let heaviest = all.max_by_key(|&child| tree.weight(child)).unwrap_or(NONE);
        Self { lists: [own, claimed], heaviest }
    }

    fn next(&mut self, tree: &Tree) -> Option<u32> {
        for list in &mut self.lists {
            while *list != NONE {
                let child = *list;
                *list = tree.next_sibling(child);
                if child != self.heaviest {
                    return Some(child);
                }
            }
        }
        let heaviest = std::mem::replace(&mut self.heaviest, NONE);
        (heaviest != NONE).then_some(heaviest)
    }

    fn is_empty(&self) -> bool {
        self.heaviest == NONE
    }
}
