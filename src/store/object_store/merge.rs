use std::collections::HashMap;
use std::io;
use std::ops::Range;

use bytes::BytesMut;

use super::packs::RemotePack;
use super::writer::PackWriter;
use crate::checksum::Hasher;
use crate::proto::{
    Complete, EntryKind, Limits, MAX_ENTRY_HEADER, ObjectFormat, ObjectId, PackDecoder, PackFrame, PackHeader,
    entry_header, put_entry_header,
};
use crate::store::batches::FrameWriter as _;
use crate::store::blocking::Cancelled;
use crate::store::index::ReadAt as _;
use crate::{Error, ErrorKind};

/// How much of an entry is read at once.
const PIECE: usize = 256 << 10;
/// How much is gathered before it is written, on the wire and inflated.
const BATCH: usize = 512 << 10;
/// The type of a delta that names its base by its id (gitformat-pack).
const REF_DELTA: u8 = 7;

/// How many deltas may stand between an object and the whole object that it is made from, where there is another way: as
/// many as git makes.
const MAX_DEPTH: u16 = 50;

/// Writes one pack out of several, as if it came from a client; gives its checksum. Blocks.
///
/// Each object is taken as it stands in the first pack that has it. The base of a delta is in the pack of the delta, or in
/// one before; it is named by its id, for it may have moved. So no object is made of itself, not even in a roundabout way:
/// each is made of what comes from its own pack, or from one before.
///
/// A thin pack was completed with whole objects, which are deltas in a pack before. To take those would make each chain as
/// long as there were pushes; so where it becomes too long the whole object is taken, which needs no other.
pub(super) fn merge(
    packs: &[RemotePack],
    format: ObjectFormat,
    writer: &mut PackWriter,
    cancelled: &Cancelled,
) -> Result<ObjectId, Error> {
    let mut objects = 0_u32;
    each_entry(packs, |_, _, _| {
        objects = objects.saturating_add(1);
        cancelled.go_on()
    })?;
    let mut feed = Feed::new(format, writer);
    feed.put(&PackHeader { version: 2, objects }.wire())?;
    let mut depths: HashMap<ObjectId, u16> = HashMap::new();
    each_entry(packs, |number, id, span| {
        cancelled.go_on()?;
        let pack = packs.get(number).ok_or_else(changed)?;
        let entry = StoredEntry::read(pack, format, span)?;
        let depth = match &entry.base {
            // One that comes later may be made of however many.
            Some(base) => depths.get(base).copied().unwrap_or(MAX_DEPTH).saturating_add(1),
            None => 0,
        };
        if depth > MAX_DEPTH
            && let Some((pack, whole)) = find_whole(packs.get(number..).unwrap_or_default(), format, id)?
        {
            depths.insert(*id, 0);
            return whole.copy(pack, &mut feed);
        }
        depths.insert(*id, depth);
        entry.copy(pack, &mut feed)
    })?;
    feed.finish()
}

/// Gives the id of each object once.
pub(super) fn each_object(
    packs: &[RemotePack],
    mut each: impl FnMut(&ObjectId) -> Result<(), Error>,
) -> Result<(), Error> {
    each_entry(packs, |_, id, _| each(id))
}

/// Gives each object once: the number of its pack, its id, and the bytes of its entry.
fn each_entry(
    packs: &[RemotePack],
    mut each: impl FnMut(usize, &ObjectId, Range<u64>) -> Result<(), Error>,
) -> Result<(), Error> {
    for (number, pack) in packs.iter().enumerate() {
        let before = packs.get(..number).unwrap_or_default();
        let mut rank = 0_u32;
        while let Some((id, span)) = pack.index()?.entry(rank)? {
            rank = rank.saturating_add(1);
            let mut is_there = false;
            for pack in before {
                is_there = is_there || pack.index()?.place_of(&id)?.is_some();
            }
            if !is_there {
                each(number, &id, span)?;
            }
        }
    }
    Ok(())
}

/// An object that is no delta, in the first of these packs that has it so.
fn find_whole<'a>(
    packs: &'a [RemotePack],
    format: ObjectFormat,
    id: &ObjectId,
) -> Result<Option<(&'a RemotePack, StoredEntry)>, Error> {
    for pack in packs {
        if let Some(span) = pack.index()?.span_of(id)? {
            let entry = StoredEntry::read(pack, format, span)?;
            if entry.base.is_none() {
                return Ok(Some((pack, entry)));
            }
        }
    }
    Ok(None)
}

/// An entry as it stands in its pack.
struct StoredEntry {
    /// As it will stand in the new one.
    header: Vec<u8>,
    base: Option<ObjectId>,
    /// The bytes that inflate to the object, or to the delta.
    deflated: Range<u64>,
}

impl StoredEntry {
    fn read(pack: &RemotePack, format: ObjectFormat, span: Range<u64>) -> Result<Self, Error> {
        let damaged = || {
            let text = "the header of an entry of a pack is damaged";
            Error::new(ErrorKind::Store, text).with_offset(span.start)
        };
        let mut front = vec![0; MAX_ENTRY_HEADER.min(len(span.end.saturating_sub(span.start)))];
        pack.pack.read_exact_at(&mut front, span.start).map_err(|error| unreadable(error, span.start))?;
        let entry = entry_header(&front, span.start, format).ok().flatten().ok_or_else(damaged)?;
        let base = match entry.kind {
            EntryKind::OfsDelta { base_offset } => Some(pack.index()?.id_at(base_offset)?.ok_or_else(damaged)?),
            EntryKind::RefDelta { base } => Some(base),
            _ => None,
        };
        let mut header = Vec::new();
        match &base {
            Some(base) => {
                put_entry_header(REF_DELTA, entry.size, &mut header);
                header.extend_from_slice(base.as_bytes());
            }
            None => header.extend_from_slice(front.get(..entry.header_len.into()).unwrap_or_default()),
        }
        Ok(Self { header, base, deflated: span.start.saturating_add(entry.header_len.into())..span.end })
    }

    fn copy(&self, pack: &RemotePack, feed: &mut Feed<'_>) -> Result<(), Error> {
        feed.put(&self.header)?;
        let (mut at, mut piece) = (self.deflated.start, Vec::new());
        while at < self.deflated.end {
            piece.resize(PIECE.min(len(self.deflated.end.saturating_sub(at))), 0);
            pack.pack.read_exact_at(&mut piece, at).map_err(|error| unreadable(error, at))?;
            feed.put(&piece)?;
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(())
    }
}

fn unreadable(error: io::Error, offset: u64) -> Error {
    Error::store("a pack cannot be read", error).with_offset(offset)
}

/// One of them is not what it was.
pub(super) fn changed() -> Error {
    Error::new(ErrorKind::Store, "one of the packs has changed")
}

fn len(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Takes the bytes of a pack to where those of a push go.
struct Feed<'a> {
    decoder: PackDecoder,
    buffer: BytesMut,
    hasher: Hasher,
    writer: &'a mut PackWriter,
    batch: Vec<PackFrame>,
    batch_bytes: usize,
    complete: Option<Complete>,
}

impl<'a> Feed<'a> {
    fn new(format: ObjectFormat, writer: &'a mut PackWriter) -> Self {
        // It was all taken once already.
        let limits = Limits {
            objects: u32::MAX,
            object_size: u64::MAX,
            inflated_bytes: u64::MAX,
            expansion_floor: u64::MAX,
            ..Limits::default()
        };
        Self {
            decoder: PackDecoder::new(format, 64 << 10, &limits),
            buffer: BytesMut::new(),
            hasher: Hasher::new(format),
            writer,
            batch: Vec::new(),
            batch_bytes: 0,
            complete: None,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.take(bytes)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        while let Some(frame) = self.decoder.decode(&mut self.buffer)? {
            self.batch_bytes = self.batch_bytes.saturating_add(frame.wire_len()).saturating_add(size_of::<PackFrame>());
            match frame {
                PackFrame::Complete(complete) => {
                    self.complete = Some(complete);
                    break;
                }
                PackFrame::Object(ref object) => {
                    self.batch_bytes = self.batch_bytes.saturating_add(object.data().len());
                }
                _ => {}
            }
            self.batch.push(frame);
            if self.batch_bytes > BATCH {
                self.batch_bytes = 0;
                self.writer.write(std::mem::take(&mut self.batch))?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<ObjectId, Error> {
        let checksum = self.hasher.clone().finish().map_err(|error| Error::store("the checksum of a pack", error))?;
        self.take(checksum.as_bytes())?;
        self.writer.write(self.batch)?;
        // Were there fewer objects than the header says, the trailer would be taken for one.
        match self.complete {
            Some(_) => Ok(checksum),
            None => Err(changed()),
        }
    }
}
