use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use super::content::{Budget, Content, Maker, spend};
use super::lookup::Index;
use super::options::{Hashing, PackLimits, limit_exceeded};
use super::seam::ReadAt;
use crate::proto::{EntryKind, ObjectId, ObjectKind};
use crate::{Error, ErrorKind};

/// Where the entries of a pack are. They have numbers, in an order of its own.
pub(crate) trait Entries {
    /// How many there are.
    fn len(&self) -> u32;

    /// The first entry with this id.
    fn find(&self, id: &ObjectId) -> Result<Option<u32>, Error>;

    /// The entry that begins at this byte of the pack.
    fn entry_at(&self, offset: u64) -> Result<Option<u32>, Error>;

    /// The bytes of the pack that an entry takes.
    fn span(&self, entry: u32) -> Result<Range<u64>, Error>;
}

/// Numbered in the order of the pack.
impl Entries for Index {
    fn len(&self) -> u32 {
        self.table.len()
    }

    fn find(&self, id: &ObjectId) -> Result<Option<u32>, Error> {
        Ok(self.entry_of(id))
    }

    fn entry_at(&self, offset: u64) -> Result<Option<u32>, Error> {
        Ok(self.table.entry_at(offset))
    }

    fn span(&self, entry: u32) -> Result<Range<u64>, Error> {
        Ok(self.table.offset(entry)..self.table.end_of(entry))
    }
}

/// Reads objects of an indexed pack by their ids. It is worth keeping for the next object.
pub(crate) struct ObjectReader<'a, P, E = Index> {
    entries: &'a E,
    maker: Maker<'a, P>,
    limits: PackLimits,
    budget: Option<&'a Budget>,
    held: Held,
}

/// What the way from one entry to the one that it is made from costs of a budget, however short both are: bytes that could
/// have been made in that time.
pub(crate) const LINK: u64 = 8 << 10;

impl Index {
    /// Reads objects of at most `max_len` bytes out of the pack. If the pack came thin, complete it first.
    pub(crate) fn reader<'a, P: ReadAt>(&'a self, pack: &'a P, max_len: u64) -> ObjectReader<'a, P> {
        self.new_reader(pack, max_len, None)
    }

    /// The same, where the pack says what is read.
    pub(crate) fn reader_within<'a, P: ReadAt>(
        &'a self,
        pack: &'a P,
        max_len: u64,
        budget: &'a Budget,
    ) -> ObjectReader<'a, P> {
        self.new_reader(pack, max_len, Some(budget))
    }

    fn new_reader<'a, P: ReadAt>(
        &'a self,
        pack: &'a P,
        max_len: u64,
        budget: Option<&'a Budget>,
    ) -> ObjectReader<'a, P> {
        ObjectReader::new(self, pack, self.table.end, self.hashing, max_len, budget)
    }
}

impl<'a, P: ReadAt, E: Entries> ObjectReader<'a, P, E> {
    /// Reads objects of at most `max_len` bytes out of the pack, whose last entry ends at `end`.
    pub(super) fn new(
        entries: &'a E,
        pack: &'a P,
        end: u64,
        hashing: Hashing,
        max_len: u64,
        budget: Option<&'a Budget>,
    ) -> Self {
        let limits = PackLimits {
            delta_result: max_len,
            structured_object: max_len,
            in_memory: u64::MAX,
            // A longer chain goes in a circle.
            chain_depth: entries.len(),
            ..PackLimits::default()
        };
        let maker = Maker::new(pack, end, hashing, limits, None, None);
        Self { entries, maker, limits, budget, held: Held::default() }
    }

    /// The object with this id, `None` if the pack does not hold it. The object and one of the bases that it is made
    /// from are in memory at a time, and a few MiB of what was read before.
    ///
    /// # Errors
    ///
    /// [`LimitExceeded`](ErrorKind::LimitExceeded) if it, or one of its bases, is too long, or if the budget is spent;
    /// [`Store`](ErrorKind::Store) if the pack cannot be read any more.
    pub(crate) fn read(&mut self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.read_within(id, self.budget)
    }

    /// The same, with another budget for this object.
    pub(crate) fn read_within(
        &mut self,
        id: &ObjectId,
        budget: Option<&Budget>,
    ) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        let Some(entry) = self.entries.find(id)? else { return Ok(None) };
        let mut chain = self.chain(entry, budget)?;
        let mut last = chain.pop().ok_or_else(super::resolve::lost)?;
        let (kind, mut content) = match (self.held.objects.get(&last), chain.pop()) {
            (Some((kind, base)), Some(delta)) => {
                let made = self.maker.delta(delta, self.entries.span(delta)?, *kind, base, true, budget)?;
                last = delta;
                (*kind, made.content)
            }
            (Some((kind, object)), None) => {
                spend(budget, object.len())?;
                (*kind, Content::Memory(object.memory().to_vec()))
            }
            (None, next) => {
                chain.extend(next);
                let span = self.entries.span(last)?;
                spend(budget, self.maker.entry(span.start, span.end)?.size)?;
                self.maker.whole(span.start, span.end, self.limits.delta_result)?
            }
        };
        while let Some(delta) = chain.pop() {
            let made = self.maker.delta(delta, self.entries.span(delta)?, kind, &content, true, budget)?;
            let base = std::mem::replace(&mut content, made.content);
            self.hold(last, kind, base);
            last = delta;
        }
        let Content::Memory(data) = content else { return Err(super::resolve::lost()) };
        if self.held.takes(last, data.len() as u64) {
            self.hold(last, kind, Content::Memory(data.clone()));
        }
        Ok(Some((kind, data)))
    }

    /// Keeps an object of which others may be made, as long as there is room.
    fn hold(&mut self, entry: u32, kind: ObjectKind, content: Content) {
        if !self.held.takes(entry, content.len()) {
            return self.maker.recycle(content);
        }
        for old in self.held.put(entry, kind, content) {
            self.maker.recycle(old);
        }
    }

    /// The entries from this one to an object that is at hand: whole in the pack, or held.
    fn chain(&mut self, entry: u32, budget: Option<&Budget>) -> Result<Vec<u32>, Error> {
        let mut chain = vec![entry];
        let mut last = entry;
        while !self.held.objects.contains_key(&last) {
            last = match self.made_of(last, budget)? {
                MadeOf::Itself => break,
                MadeOf::Entry(base) => base,
                MadeOf::Outside => {
                    let start = self.entries.span(last)?.start;
                    return Err(
                        Error::new(ErrorKind::Store, "the base of a delta is not in the pack").with_offset(start)
                    );
                }
            };
            chain.push(last);
            // Among entries with the same id a delta may find one that is made from itself.
            let depth = u32::try_from(chain.len()).unwrap_or(u32::MAX);
            if depth.saturating_sub(1) > self.limits.chain_depth {
                return Err(limit_exceeded("the length of a chain of deltas", self.limits.chain_depth.into()));
            }
        }
        Ok(chain)
    }

    /// Whether the way from an entry to what it is made of never ends.
    pub(super) fn is_circular(&mut self, entry: u32) -> Result<bool, Error> {
        let mut last = entry;
        for _ in 0..self.entries.len() {
            match self.made_of(last, self.budget)? {
                MadeOf::Entry(base) => last = base,
                MadeOf::Itself | MadeOf::Outside => return Ok(false),
            }
        }
        Ok(true)
    }

    fn made_of(&mut self, entry: u32, budget: Option<&Budget>) -> Result<MadeOf, Error> {
        let span = self.entries.span(entry)?;
        let base = match self.maker.entry(span.start, span.end)?.kind {
            EntryKind::OfsDelta { base_offset } => self.entries.entry_at(base_offset)?,
            EntryKind::RefDelta { base } => self.entries.find(&base)?,
            _ => return Ok(MadeOf::Itself),
        };
        spend(budget, LINK)?;
        Ok(base.map_or(MadeOf::Outside, MadeOf::Entry))
    }
}

/// What an object is made of.
enum MadeOf {
    /// It stands there whole.
    Itself,
    /// A delta, and the object of this entry.
    Entry(u32),
    /// A delta, and an object that is not in the pack.
    Outside,
}

/// The objects that were made last: what is read next is likely made of one of them.
#[derive(Default)]
struct Held {
    objects: HashMap<u32, (ObjectKind, Content)>,
    /// Their entries, the oldest first.
    order: VecDeque<u32>,
    bytes: u64,
}

impl Held {
    /// How many bytes are held.
    const MAX: u64 = 8 << 20;
    /// What an object takes beside its data.
    const EACH: u64 = 128;

    /// Whether such an object is worth its room, and not held yet.
    fn takes(&self, entry: u32, len: u64) -> bool {
        len <= Self::MAX / 4 && !self.objects.contains_key(&entry)
    }

    /// Keeps one more; gives those that had to go.
    fn put(&mut self, entry: u32, kind: ObjectKind, content: Content) -> Vec<Content> {
        self.bytes = self.bytes.saturating_add(content.memory_taken()).saturating_add(Self::EACH);
        self.objects.insert(entry, (kind, content));
        self.order.push_back(entry);
        let mut gone = Vec::new();
        while self.bytes > Self::MAX
            && let Some((_, content)) = self.order.pop_front().and_then(|oldest| self.objects.remove(&oldest))
        {
            self.bytes = self.bytes.saturating_sub(content.memory_taken().saturating_add(Self::EACH));
            gone.push(content);
        }
        gone
    }
}

impl<P, E> std::fmt::Debug for ObjectReader<'_, P, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectReader").field("limits", &self.limits).finish_non_exhaustive()
    }
}
