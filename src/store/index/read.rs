use super::content::{Content, Maker};
use super::lookup::Index;
use super::options::{PackLimits, limit_exceeded};
use super::seam::ReadAt;
use crate::proto::{EntryKind, ObjectId, ObjectKind};
use crate::{Error, ErrorKind};

/// Reads objects of an indexed pack by their ids. It is worth keeping for the next object.
pub(crate) struct ObjectReader<'a, P> {
    index: &'a Index,
    maker: Maker<'a, P>,
    limits: PackLimits,
}

impl Index {
    /// Reads objects of at most `max_len` bytes out of the pack. If the pack came thin, complete it first.
    pub(crate) fn reader<'a, P: ReadAt>(&'a self, pack: &'a P, max_len: u64) -> ObjectReader<'a, P> {
        let limits = PackLimits {
            delta_result: max_len,
            structured_object: max_len,
            in_memory: u64::MAX,
            // A longer chain goes in a circle.
            chain_depth: self.len(),
            ..PackLimits::default()
        };
        ObjectReader { index: self, maker: Maker::new(pack, self.table.end, self.hashing, limits, None, None), limits }
    }
}

impl<P: ReadAt> ObjectReader<'_, P> {
    /// The object with this id, `None` if the pack does not hold it. The object and one of the bases that it is made
    /// from are in memory at a time.
    ///
    /// # Errors
    ///
    /// [`LimitExceeded`](ErrorKind::LimitExceeded) if it, or one of its bases, is too long;
    /// [`Store`](ErrorKind::Store) if the pack cannot be read any more.
    pub(crate) fn read(&mut self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        let Some(entry) = self.index.entry_of(id) else { return Ok(None) };
        let mut chain = self.chain(entry)?;
        let table = &self.index.table;
        let root = chain.pop().ok_or_else(super::resolve::lost)?;
        let (kind, mut content) = self.maker.whole(table.offset(root), table.end_of(root), self.limits.delta_result)?;
        while let Some(delta) = chain.pop() {
            let made = self.maker.delta(table.offset(delta), table.end_of(delta), kind, &content, true)?;
            self.maker.recycle(std::mem::replace(&mut content, made.content));
        }
        match content {
            Content::Memory(data) => Ok(Some((kind, data))),
            Content::Spooled(_) => Err(super::resolve::lost()),
        }
    }

    /// How many deltas the object with this id is made of, `None` if the pack does not hold it.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    #[cfg(any(feature = "bare-repository", test))]
    pub(crate) fn deltas(&mut self, id: &ObjectId) -> Result<Option<usize>, Error> {
        let Some(entry) = self.index.entry_of(id) else { return Ok(None) };
        Ok(Some(self.chain(entry)?.len().saturating_sub(1)))
    }

    /// The entries from this one to the whole object that it is made from.
    fn chain(&mut self, entry: u32) -> Result<Vec<u32>, Error> {
        let table = &self.index.table;
        let mut chain = vec![entry];
        let mut last = entry;
        loop {
            let base = match self.maker.entry(table.offset(last), table.end_of(last))?.kind {
                EntryKind::OfsDelta { base_offset } => table.entry_at(base_offset),
                EntryKind::RefDelta { base } => self.index.entry_of(&base),
                _ => return Ok(chain),
            };
            last = base.ok_or_else(|| {
                Error::new(ErrorKind::Store, "the base of a delta is not in the pack").with_offset(table.offset(last))
            })?;
            chain.push(last);
            // Among entries with the same id a delta may find one that is made from itself.
            let depth = u32::try_from(chain.len()).unwrap_or(u32::MAX);
            if depth.saturating_sub(1) > self.limits.chain_depth {
                return Err(limit_exceeded("the length of a chain of deltas", self.limits.chain_depth.into()));
            }
        }
    }
}

impl<P> std::fmt::Debug for ObjectReader<'_, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectReader").field("limits", &self.limits).finish_non_exhaustive()
    }
}
