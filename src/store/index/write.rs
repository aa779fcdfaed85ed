use super::delta::{DeltaHeader, MAX_DELTA_HEADER};
use super::kept::KeptDeltas;
use super::options::{Hashing, IndexOptions, finish, limit_exceeded};
use super::seam::{Worker, wants};
use super::table::{Kind, NONE, Table, Tree, set_id};
use crate::checksum::Hasher;
use crate::proto::{EntryKind, ObjectId, ObjectKind, PackObject};
use crate::{Error, ErrorKind};

/// Takes the entries of a pack as they arrive.
///
/// [`resolve`](Self::resolve) makes an [`Index`](super::Index) of them.
#[derive(Debug)]
pub(crate) struct Indexer {
    pub(super) options: IndexOptions,
    pub(super) hashing: Hashing,
    pub(super) table: Table,
    pub(super) tree: Tree,
    pub(super) kept: KeptDeltas,
    pub(super) open: Option<Open>,
}

/// The entry that is arriving.
#[derive(Debug)]
pub(super) struct Open {
    crc: crc32fast::Hasher,
    /// The id of a whole object, as far as it has arrived.
    hasher: Option<Hasher>,
    inflated: u64,
    /// The front of a delta whose two lengths have not arrived yet.
    front: Option<Vec<u8>>,
}

impl Indexer {
    /// An indexer for one pack.
    pub(crate) fn new(options: IndexOptions) -> Self {
        Self {
            hashing: options.hashing(),
            table: Table::new(options.format),
            tree: Tree::default(),
            kept: KeptDeltas::new(options.spool.clone()),
            open: None,
            options,
        }
    }

    /// How many entries have arrived whole.
    pub(crate) fn len(&self) -> u32 {
        self.table.len().saturating_sub(u32::from(self.open.is_some()))
    }

    /// Takes the next chunk. A whole object that `worker` wants to see and that is in one chunk is shown to it at once.
    ///
    /// # Errors
    ///
    /// [`InvalidPack`](ErrorKind::InvalidPack) with the entry's offset: a delta whose base lies where no entry begins,
    /// an entry of another length than it says. [`Collision`](ErrorKind::Collision),
    /// [`LimitExceeded`](ErrorKind::LimitExceeded), and whatever the worker says.
    pub(crate) fn write(&mut self, object: &PackObject, worker: &mut impl Worker) -> Result<(), Error> {
        self.take(object, worker).map_err(|error| at(error, object.entry().offset))
    }

    fn take(&mut self, object: &PackObject, worker: &mut impl Worker) -> Result<(), Error> {
        let mut open = match (self.open.take(), object.is_start()) {
            (None, true) => self.begin(object)?,
            (Some(open), false) => open,
            _ => return Err(Error::new(ErrorKind::Store, "the chunks of a pack are out of order")),
        };
        open.crc.update(object.wire());
        open.inflated = open.inflated.saturating_add(object.data().len() as u64);
        self.table.end = self.table.end.saturating_add(object.wire().len() as u64);
        if let Some(hasher) = &mut open.hasher {
            hasher.update(object.data());
        }
        if let Some(header) = open.delta_header(object)? {
            self.weigh(&header)?;
        }
        if object.is_end() {
            return self.end(open, object, worker);
        }
        self.open = Some(open);
        Ok(())
    }

    fn begin(&mut self, object: &PackObject) -> Result<Open, Error> {
        let entry = object.entry();
        if entry.offset != self.table.end {
            return Err(Error::new(ErrorKind::Store, "the chunks of a pack are out of order"));
        }
        if self.table.len() == NONE.saturating_sub(1) {
            return Err(limit_exceeded("the number of entries", NONE.into()));
        }
        let kind = entry.kind.object_kind().filter(|kind| *kind != ObjectKind::Blob);
        let limit = self.options.limits.structured_object;
        if kind.is_some() && entry.size > limit {
            return Err(limit_exceeded("the length of a commit, tree or tag", limit));
        }
        let base = match &entry.kind {
            EntryKind::OfsDelta { base_offset } => {
                Some(self.table.entry_at(*base_offset).ok_or_else(|| out_of_bound(*base_offset))?)
            }
            _ => None,
        };
        // Until a delta against an id is resolved, its place holds the id of its base.
        let id = match &entry.kind {
            EntryKind::RefDelta { base } => *base,
            _ => ObjectId::zero(self.table.format),
        };
        self.table.push(Kind::of(&entry.kind), &id);
        self.kept.take(object);
        // That of a delta is not known yet.
        self.tree.push(weight(if entry.kind.is_delta() { 0 } else { entry.size }));
        if let Some(base) = base {
            self.tree.link(base, self.table.last());
        }
        let hasher = entry.kind.object_kind().map(|kind| self.hashing.object(kind, entry.size));
        let front = entry.kind.is_delta().then(Vec::new);
        Ok(Open { crc: crc32fast::Hasher::new(), hasher, inflated: 0, front })
    }

    /// Sets the weight of the delta that is arriving.
    fn weigh(&mut self, header: &DeltaHeader) -> Result<(), Error> {
        let limit = self.options.limits.delta_result;
        if header.result_size > limit {
            return Err(limit_exceeded("the length of the object that a delta makes", limit));
        }
        self.tree.set_weight(self.table.last(), weight(header.result_size));
        Ok(())
    }

    fn end(&mut self, open: Open, object: &PackObject, worker: &mut impl Worker) -> Result<(), Error> {
        if open.inflated != object.entry().size {
            return Err(Error::new(ErrorKind::InvalidPack, "the entry inflates to another length than it says"));
        }
        if let Some(crc) = self.table.crcs.last_mut() {
            *crc = open.crc.finalize();
        }
        let (Some(hasher), Some(kind)) = (open.hasher, object.entry().kind.object_kind()) else { return Ok(()) };
        let id = finish(hasher)?;
        let last = self.table.last();
        set_id(&mut self.table.ids, last, &id);
        let (size, limits) = (object.entry().size, &self.options.limits);
        if !wants(worker, kind, size) {
            return Ok(());
        }
        if kind == ObjectKind::Blob && size > limits.in_memory && self.options.spool.is_some() {
            return Ok(());
        }
        if object.is_start() {
            return worker.object(kind, &id, object.data());
        }
        // It is shown when the pack is there to be read again.
        if let Some(last) = self.table.kinds.last_mut() {
            *last = Kind::Unseen(kind);
        }
        Ok(())
    }
}

impl Open {
    /// The header of a delta, in the chunk with which it is there: nearly always the first, but a zlib stream may begin
    /// with as many blocks of nothing as it likes, and chunks may be empty.
    fn delta_header(&mut self, object: &PackObject) -> Result<Option<DeltaHeader>, Error> {
        let Some(front) = &mut self.front else { return Ok(None) };
        let data = object.data();
        let enough = data.get(..MAX_DELTA_HEADER.saturating_sub(front.len()));
        if enough.is_none() && !object.is_end() {
            front.extend_from_slice(data);
            return Ok(None);
        }
        let parse = |front: &[u8]| DeltaHeader::parse(front, object.entry().size).map(|(header, _)| header);
        let header = if front.is_empty() { parse(data) } else { parse(&[front, enough.unwrap_or(data)].concat()) };
        self.front = None;
        header.map(Some)
    }
}

/// The work that an entry is for whoever resolves it: one, and one more for each quarter of a KiB of the object.
fn weight(bytes: u64) -> u32 {
    u32::try_from(bytes >> 8).unwrap_or(NONE).saturating_add(1)
}

/// Names the entry that an error is about. A refusal by policy keeps its words, and the server's own trouble is not about
/// an entry.
pub(super) fn at(error: Error, offset: u64) -> Error {
    let is_about_entry = error.is_remote() && error.kind() != ErrorKind::Refused;
    if is_about_entry && error.offset().is_none() { error.with_offset(offset) } else { error }
}

fn out_of_bound(base_offset: u64) -> Error {
    Error::new(ErrorKind::InvalidPack, format!("delta base offset is out of bound: no entry begins at {base_offset}"))
}
