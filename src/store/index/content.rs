use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::delta::{Application, DeltaHeader, Sink, Source};
use super::kept::KeptDeltas;
use super::options::{Hashing, PackLimits, finish, limit_exceeded};
use super::reader::EntryReader;
use super::seam::ReadAt;
use super::spool::{Hashed, Spool, SpoolSource, SpoolWriter};
use super::spool_file::SpoolFile;
use crate::proto::{Entry, ObjectId, ObjectKind};
use crate::{Error, ErrorKind};

/// How much of a delta is inflated at once. Nearly all deltas fit whole.
const INSTRUCTIONS: usize = 64 * 1024;
/// What may be reserved for an object before any of its bytes are there.
const RESERVE: u64 = 1 << 20;
/// How many bytes of used buffers are kept for the next objects.
const SPARE: usize = 8 << 20;

/// An object that deltas are applied to.
#[derive(Debug)]
pub(super) enum Content {
    /// In memory.
    Memory(Vec<u8>),
    /// In a temporary file: a large blob.
    Spooled(Spool),
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Memory(data) => data.len() as u64,
            Self::Spooled(spool) => spool.len(),
        }
    }

    /// How much memory it takes: a buffer that held a larger object before is still as large.
    pub(super) fn memory_taken(&self) -> u64 {
        match self {
            Self::Memory(data) => data.capacity() as u64,
            Self::Spooled(_) => 0,
        }
    }

    /// The bytes of an object that is in memory.
    pub(super) fn memory(&self) -> &[u8] {
        match self {
            Self::Memory(data) => data,
            Self::Spooled(_) => &[],
        }
    }
}

/// An object that was made out of a delta.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) content: Content,
    /// How long it is, also if its content was not kept.
    pub(super) len: u64,
    /// Its id, if it was hashed on its way.
    pub(super) id: Option<ObjectId>,
}

/// What may still be spent on a pack; the threads share it.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    total: u64,
}

impl Budget {
    /// The budget of a pack of this length.
    pub(super) fn new(limits: &PackLimits, pack_len: u64) -> Self {
        let total = pack_len.saturating_mul(limits.resolved_per_byte).saturating_add(limits.resolved_floor);
        Self { used: AtomicU64::new(0), total }
    }

    /// The budget for objects of a pack of this length that are read once more, one by one: each costs all deltas on the
    /// way to it, and git makes chains of 50.
    pub(crate) fn for_reading(pack_len: u64) -> Self {
        let Self { used, total } = Self::new(&PackLimits::default(), pack_len);
        Self { used, total: total.saturating_mul(64) }
    }

    /// That it is not spent; unlike the error of something that is too long, which may be left out, this one ends the push.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.spend(0).map_err(|spent| Error::new(ErrorKind::InvalidPack, spent.to_string()))
    }

    #[cfg(test)]
    pub(crate) fn of(total: u64) -> Self {
        Self { used: AtomicU64::new(0), total }
    }

    /// Takes something out, before it is spent.
    pub(crate) fn spend(&self, bytes: u64) -> Result<(), Error> {
        // No limit lets one object be large enough for the sum to go around.
        let used = self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if used > self.total {
            return Err(limit_exceeded("the length of all objects that deltas make", self.total));
        }
        Ok(())
    }
}

/// Takes something out of a budget, if there is one.
pub(super) fn spend(budget: Option<&Budget>, bytes: u64) -> Result<(), Error> {
    budget.map_or(Ok(()), |budget| budget.spend(bytes))
}

/// Makes the objects of a pack, one at a time: whole ones as they are, the others out of a base and a delta.
pub(super) struct Maker<'a, P> {
    reader: EntryReader<'a, P>,
    hashing: Hashing,
    limits: PackLimits,
    spool: Option<Arc<SpoolFile>>,
    instructions: Vec<u8>,
    spare: Vec<Vec<u8>>,
    spare_bytes: usize,
}

impl<'a, P: ReadAt> Maker<'a, P> {
    pub(super) fn new(
        pack: &'a P,
        pack_end: u64,
        hashing: Hashing,
        limits: PackLimits,
        spool: Option<Arc<SpoolFile>>,
        kept: Option<&'a KeptDeltas>,
    ) -> Self {
        Self {
            reader: EntryReader::new(pack, hashing.format, pack_end, kept),
            hashing,
            limits,
            spool,
            instructions: vec![0; INSTRUCTIONS],
            spare: Vec::new(),
            spare_bytes: 0,
        }
    }

    /// The header of the entry between two places of the pack.
    pub(super) fn entry(&mut self, start: u64, end: u64) -> Result<Entry, Error> {
        self.reader.open(start, end)
    }

    /// The whole object between two places of the pack, if it is not longer than `max_len`.
    pub(super) fn whole(&mut self, start: u64, end: u64, max_len: u64) -> Result<(ObjectKind, Content), Error> {
        let entry = self.reader.open(start, end)?;
        if entry.size > max_len {
            return Err(limit_exceeded("the length of an object", max_len));
        }
        let kind = entry.kind.object_kind().ok_or_else(|| Error::new(ErrorKind::Store, "the pack has changed"))?;
        if let Some(file) = self.spool.as_ref().filter(|_| self.is_large(kind, entry.size)) {
            let mut spool = SpoolWriter::new(file);
            loop {
                let len = self.reader.read(&mut self.instructions)?;
                if len == 0 {
                    return Ok((kind, Content::Spooled(spool.finish()?)));
                }
                spool.put(self.instructions.get(..len).unwrap_or_default())?;
            }
        }
        let mut data = self.buffer();
        self.reader.read_whole(entry.size, &mut data)?;
        Ok((kind, Content::Memory(data)))
    }

    /// The object that a delta makes out of `base`: its number in the pack, and the bytes that it takes there. What it
    /// costs goes out of the budget.
    ///
    /// A large object of which nothing else is made (not `keep`) is only hashed: its content is empty.
    pub(super) fn delta(
        &mut self,
        entry: u32,
        span: Range<u64>,
        kind: ObjectKind,
        base: &Content,
        keep: bool,
        budget: Option<&Budget>,
    ) -> Result<Made, Error> {
        let (size, filled) = self.reader.open_delta(entry, span, &mut self.instructions)?;
        let front = self.instructions.get(..filled).unwrap_or_default();
        let (header, instructions) = DeltaHeader::parse(front, size)?;
        let begin = filled.saturating_sub(instructions.len());
        self.check(kind, &header)?;
        spend(budget, header.result_size.saturating_add(size))?;
        let application = Application::new(header, base.len())?;
        if let Some(file) = self.spool.as_ref().filter(|_| self.is_large(kind, header.result_size)) {
            let to = keep.then(|| SpoolWriter::new(file));
            let mut sink = Hashed { hasher: self.hashing.object(kind, header.result_size), to };
            self.apply(application, begin..filled, base, &mut sink, budget)?;
            let content = match sink.to {
                Some(spool) => Content::Spooled(spool.finish()?),
                None => Content::Memory(Vec::new()),
            };
            return Ok(Made { content, len: header.result_size, id: Some(finish(sink.hasher)?) });
        }
        let mut data = self.buffer();
        let reserve = header.result_size.min(base.len().max(RESERVE));
        data.reserve(usize::try_from(reserve).unwrap_or(0));
        self.apply(application, begin..filled, base, &mut data, budget)?;
        Ok(Made { content: Content::Memory(data), len: header.result_size, id: None })
    }

    fn apply(
        &mut self,
        application: Application,
        first: Range<usize>,
        base: &Content,
        sink: &mut impl Sink,
        budget: Option<&Budget>,
    ) -> Result<(), Error> {
        match base {
            Content::Memory(data) => self.follow(application, first, &mut data.as_slice(), sink),
            Content::Spooled(spool) => self.follow(application, first, &mut SpoolSource::new(spool, budget), sink),
        }
    }

    /// Follows the instructions to their end; those in the range `first` of the buffer have been inflated already.
    fn follow(
        &mut self,
        mut application: Application,
        first: Range<usize>,
        base: &mut impl Source,
        sink: &mut impl Sink,
    ) -> Result<(), Error> {
        let mut filled = first;
        loop {
            let piece = self.instructions.get(filled.clone()).unwrap_or_default();
            let rest = application.run(piece, base, sink)?.len();
            if rest == 0 && self.reader.is_finished() {
                return application.finish(&[]);
            }
            // The front of an instruction is followed by the rest of it.
            self.instructions.copy_within(filled.end.saturating_sub(rest)..filled.end, 0);
            let (front, space) = self.instructions.split_at_mut(rest);
            let len = self.reader.read(space)?;
            if len == 0 {
                return application.finish(front);
            }
            filled = 0..rest.saturating_add(len);
        }
    }

    fn check(&self, kind: ObjectKind, header: &DeltaHeader) -> Result<(), Error> {
        let (what, limit) = if kind == ObjectKind::Blob {
            ("the length of the object that a delta makes", self.limits.delta_result)
        } else {
            ("the length of a commit, tree or tag", self.limits.structured_object)
        };
        if header.result_size > limit {
            return Err(limit_exceeded(what, limit));
        }
        Ok(())
    }

    /// Whether an object is better kept in a file. Those that are looked into are not.
    fn is_large(&self, kind: ObjectKind, size: u64) -> bool {
        kind == ObjectKind::Blob && size > self.limits.in_memory
    }

    fn buffer(&mut self) -> Vec<u8> {
        let buffer = self.spare.pop().unwrap_or_default();
        self.spare_bytes = self.spare_bytes.saturating_sub(buffer.capacity());
        buffer
    }

    /// Takes back what is not needed any more.
    pub(super) fn recycle(&mut self, content: Content) {
        let Content::Memory(mut buffer) = content else { return };
        let bytes = self.spare_bytes.saturating_add(buffer.capacity());
        if buffer.capacity() > 0 && bytes <= SPARE {
            buffer.clear();
            self.spare.push(buffer);
            self.spare_bytes = bytes;
        }
    }
}
