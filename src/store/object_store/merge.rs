use bytes::BytesMut;

use super::packs::RemotePack;
use super::writer::PackWriter;
use crate::Error;
use crate::checksum::Hasher;
use crate::proto::{
    Complete, EntryKind, Limits, MAX_ENTRY_HEADER, ObjectFormat, ObjectId, PackDecoder, PackFrame, PackHeader,
    entry_header, put_entry_header,
};
use crate::store::batches::FrameWriter as _;
use crate::store::blocking::Cancelled;
use crate::store::index::ReadAt as _;

/// How much of an entry is read at once.
const PIECE: usize = 256 << 10;
/// How much is gathered before it is written, on the wire and inflated.
const BATCH: usize = 512 << 10;
/// The type of a delta that names its base by its id (gitformat-pack).
const REF_DELTA: u8 = 7;

/// Writes one pack out of several, as if it came from a client; gives its checksum. Blocks.
///
/// Each object is taken as it stands in the first pack that has it. The base of a delta is in the pack of the delta, or in
/// one before; it is named by its id, for it may have moved. So no object is made of itself, not even in a roundabout way:
/// each is made of what comes from its own pack, or from one before.
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
    each_entry(packs, |pack, start, end| {
        cancelled.go_on()?;
        copy(pack, format, start, end, &mut feed)
    })?;
    feed.finish()
}

/// Gives each object once, and where its entry begins and ends.
fn each_entry(
    packs: &[RemotePack],
    mut each: impl FnMut(&RemotePack, u64, u64) -> Result<(), Error>,
) -> Result<(), Error> {
    for (number, pack) in packs.iter().enumerate() {
        let before = packs.get(..number).unwrap_or_default();
        let mut rank = 0_u32;
        while let Some((id, span)) = pack.index()?.entry(rank)? {
            rank = rank.saturating_add(1);
            let is_there = |pack: &RemotePack| Ok::<_, Error>(pack.index()?.place_of(&id)?.is_some());
            let mut found = false;
            for pack in before {
                found = found || is_there(pack)?;
            }
            if !found {
                each(pack, span.start, span.end)?;
            }
        }
    }
    Ok(())
}

/// Copies an entry; what it inflates to stays as it is.
fn copy(pack: &RemotePack, format: ObjectFormat, start: u64, end: u64, feed: &mut Feed<'_>) -> Result<(), Error> {
    let damaged = || Error::store("an entry of a pack cannot be read", "its header is damaged").with_offset(start);
    let unreadable = |error| Error::store("a pack cannot be read", error).with_offset(start);
    let mut piece = vec![0; MAX_ENTRY_HEADER.min(len(end.saturating_sub(start)))];
    pack.pack.read_exact_at(&mut piece, start).map_err(unreadable)?;
    let entry = entry_header(&piece, start, format).ok().flatten().ok_or_else(damaged)?;
    let mut at = start.saturating_add(entry.header_len.into());
    match entry.kind {
        EntryKind::OfsDelta { base_offset } => {
            let base = pack.index()?.id_at(base_offset)?.ok_or_else(damaged)?;
            let mut header = Vec::new();
            put_entry_header(REF_DELTA, entry.size, &mut header);
            header.extend_from_slice(base.as_bytes());
            feed.put(&header)?;
        }
        _ => feed.put(piece.get(..entry.header_len.into()).unwrap_or_default())?,
    }
    while at < end {
        piece.resize(PIECE.min(len(end.saturating_sub(at))), 0);
        pack.pack.read_exact_at(&mut piece, at).map_err(unreadable)?;
        feed.put(&piece)?;
        at = at.saturating_add(piece.len() as u64);
    }
    Ok(())
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
            None => Err(Error::store("packs cannot be merged", "one of them has changed")),
        }
    }
}
