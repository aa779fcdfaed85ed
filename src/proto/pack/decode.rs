use bytes::{Bytes, BytesMut};

use super::entry::Chunk;
use super::header::{entry_header, pack_header};
#[cfg(feature = "sirocco")]
use super::inflate::WholeInflater;
use super::inflate::{Inflater, StepState};
use crate::proto::{Complete, Entry, Limits, ObjectFormat, ObjectId, PackFrame, PackHeader, PackObject};
use crate::{Error, ErrorKind};

/// From the bytes of a pack to its entries.
///
/// ```text
///  state    waits for            gives                        then
///  Header   12 bytes             Header                       Entry, or Trailer if there are no entries
///  Entry    an entry's header    -                            Body
///  Body     a chunk, or the end  Object                       Body; at the entry's end Entry, or Trailer after the last
///  Trailer  20 or 32 bytes       Complete (not verified)      Done
///  Done     -                    -                            -
/// ```
///
/// # Where chunks are cut
///
/// A chunk is given when it is full or its entry ends, and it is full when it has `chunk_size` inflated bytes, or twice
/// as many bytes on the wire (a stream of empty deflate blocks inflates to nothing, however long). Reads have no
/// influence on that, nor on how many bytes of wire belong to a chunk: an inflater whose output is full may or may not
/// have looked at one more symbol of its input, which depends on whether that symbol had arrived. So the last byte
/// before a cut is inflated with one byte of input at a time, and none before it is needed: then the chunk's wire is
/// the shortest that inflates to the chunk.
#[derive(Debug)]
pub(crate) struct PackDecoder {
    format: ObjectFormat,
    chunk_size: usize,
    max_objects: u32,
    max_object_size: u64,
    expansion: Expansion,
    state: State,
    /// Entries that have not begun.
    entries_left: u32,
    /// Bytes of the pack before the first byte of the source.
    offset: u64,
    inflater: Inflater,
    #[cfg(feature = "sirocco")]
    whole_inflater: WholeInflater,
    /// Where data is inflated to, and cut off from; all of it is zeros or what was inflated.
    slab: BytesMut,
}

#[derive(Debug)]
enum State {
    Header,
    Entry,
    Body(Body),
    Trailer,
    Done,
}

/// The entry that is being inflated.
#[derive(Clone, Copy, Debug)]
struct Body {
    entry: Entry,
    /// Inflated bytes in the chunks that were given.
    given: u64,
    /// Inflated bytes in the slab.
    produced: usize,
    /// Bytes of the source that belong to the chunk: they have been through the inflater, or are the entry's header.
    wire: usize,
    start: bool,
}

/// How much more space than an entry needs the inflater is given for its end: with less than this it leaves its fast
/// path, which for half of all entries would be from their first byte on. Whether the entry overran what it declares
/// is looked at afterwards.
const SLACK: usize = 320;

/// The size of a slab, unless the chunk is larger.
const SLAB: usize = 256 << 10;

impl PackDecoder {
    pub(crate) fn new(format: ObjectFormat, chunk_size: usize, limits: &Limits) -> Self {
        Self {
            format,
            chunk_size: chunk_size.max(1024),
            max_objects: limits.objects,
            max_object_size: limits.object_size,
            expansion: Expansion::new(limits),
            state: State::Header,
            entries_left: 0,
            offset: 0,
            inflater: Inflater::new(),
            #[cfg(feature = "sirocco")]
            whole_inflater: WholeInflater::new(),
            slab: BytesMut::new(),
        }
    }

    /// How many bytes of the pack have gone out as frames.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame, `None` if it needs more bytes than `src` has, or if the pack has ended.
    #[inline]
    pub(crate) fn decode(&mut self, src: &mut BytesMut) -> Result<Option<PackFrame>, Error> {
        loop {
            match self.state {
                State::Header => return self.header(src),
                State::Entry => {
                    if !self.entry(src)? {
                        return Ok(None);
                    }
                    #[cfg(feature = "sirocco")]
                    if let Some(object) = self.whole(src) {
                        self.expansion.add(&object, self.offset)?;
                        return Ok(Some(PackFrame::Object(object)));
                    }
                }
                State::Body(body) => {
                    let frame = self.body(body, src)?;
                    if let Some(PackFrame::Object(object)) = &frame {
                        self.expansion.add(object, self.offset)?;
                    }
                    return Ok(frame);
                }
                State::Trailer => return Ok(self.trailer(src).map(PackFrame::Complete)),
                State::Done => return Ok(None),
            }
        }
    }

    fn header(&mut self, src: &mut BytesMut) -> Result<Option<PackFrame>, Error> {
        let Some(header) = pack_header(src)? else { return Ok(None) };
        if header.objects > self.max_objects {
            let text = format!("pack of {} objects exceeds the limit of {}", header.objects, self.max_objects);
            return Err(Error::new(ErrorKind::LimitExceeded, text).with_offset(8));
        }
        self.take(src, PackHeader::LEN);
        self.entries_left = header.objects;
        self.state = self.next_entry();
        Ok(Some(PackFrame::Header(header)))
    }

    fn next_entry(&self) -> State {
        if self.entries_left == 0 { State::Trailer } else { State::Entry }
    }

    fn entry(&mut self, src: &BytesMut) -> Result<bool, Error> {
        let Some(entry) = entry_header(src, self.offset, self.format)? else { return Ok(false) };
        if entry.size > self.max_object_size {
            let text = format!("object of {} bytes exceeds the limit of {}", entry.size, self.max_object_size);
            return Err(Error::new(ErrorKind::LimitExceeded, text).with_offset(entry.offset));
        }
        self.expansion.judge(&entry)?;
        self.entries_left = self.entries_left.saturating_sub(1);
        self.inflater.reset();
        let wire = usize::from(entry.header_len);
        self.state = State::Body(Body { entry, given: 0, produced: 0, wire, start: true });
        Ok(true)
    }

    fn body(&mut self, mut body: Body, src: &mut BytesMut) -> Result<Option<PackFrame>, Error> {
        let cut = self.cut(&body);
        self.make_room(cut.room);
        let mut drained = false;
        loop {
            // Before the last byte of a full chunk the output ends; then the input comes byte by byte, and each byte
            // only when those before it have given all they have. The symbol that the inflater may have looked at by
            // then is the one that makes the last byte, which the chunk needs in any case.
            let before_last = cut.target.saturating_sub(1);
            let careful = !cut.is_last && body.produced >= before_last;
            let room = if cut.is_last || careful { cut.room } else { before_last };
            let most = match careful {
                true => usize::from(drained),
                false => usize::MAX,
            };
            let until = body.wire.saturating_add(most).min(cut.wire).min(src.len());

            let input = src.get(body.wire..until).unwrap_or_default();
            let output = self.slab.get_mut(body.produced..room).unwrap_or_default();
            let step = self.inflater.step(input, output);
            body.wire = body.wire.saturating_add(step.consumed);
            body.produced = body.produced.saturating_add(step.produced);

            // Before all else: whether the inflater came to see what is wrong behind an overrun depends on the reads.
            if body.produced > cut.target {
                return Err(size_mismatch(&body.entry, "more"));
            }
            match step.state {
                StepState::Ongoing => {}
                StepState::Done => return self.end_of_entry(body, src),
                StepState::Invalid => return Err(invalid_zlib(&body)),
            }
            if !cut.is_last && body.produced == cut.target {
                return Ok(Some(PackFrame::Object(self.end_of_chunk(body, src))));
            }
            let stuck = step.consumed == 0 && step.produced == 0;
            if careful && stuck && !drained {
                drained = true;
                continue;
            }
            drained = false;
            if stuck {
                if body.wire >= cut.wire {
                    return Ok(Some(PackFrame::Object(self.end_of_chunk(body, src))));
                }
                if !input.is_empty() {
                    return Err(invalid_zlib(&body));
                }
                self.state = State::Body(body);
                return Ok(None);
            }
        }
    }

    /// The entry that has just begun, if it fits one chunk and all of it has arrived. Otherwise, and if anything about
    /// it is wrong, nothing has happened.
    #[cfg(feature = "sirocco")]
    fn whole(&mut self, src: &mut BytesMut) -> Option<PackObject> {
        let State::Body(mut body) = self.state else { return None };
        let cut = self.cut(&body);
        let input = src.get(body.wire..src.len().min(cut.wire))?;
        // Most entries are shorter on the wire than inflated: what has not arrived is not begun in vain.
        if !cut.is_last || input.len() < cut.target {
            return None;
        }
        self.make_room(cut.room);
        let output = self.slab.get_mut(..cut.room)?;
        let consumed = self.whole_inflater.inflate(input, output, cut.target)?;
        body.wire = body.wire.saturating_add(consumed);
        body.produced = cut.target;
        self.state = self.next_entry();
        Some(self.chunk(&body, src, true))
    }

    /// Where the chunk will be cut.
    fn cut(&self, body: &Body) -> Cut {
        let left = body.entry.size.saturating_sub(body.given);
        let wire = self.chunk_size.saturating_mul(2);
        match usize::try_from(left) {
            Ok(left) if left <= self.chunk_size => {
                Cut { target: left, room: left.saturating_add(SLACK), wire, is_last: true }
            }
            _ => Cut { target: self.chunk_size, room: self.chunk_size, wire, is_last: false },
        }
    }

    /// Makes the slab at least `room` bytes long.
    fn make_room(&mut self, room: usize) {
        if self.slab.len() >= room {
            return;
        }
        // Data of the chunk that is under way moves along; at most one chunk, once per slab.
        let mut slab = BytesMut::zeroed(SLAB.max(room));
        if let Some(front) = slab.get_mut(..self.slab.len()) {
            front.copy_from_slice(&self.slab);
        }
        self.slab = slab;
    }

    fn end_of_entry(&mut self, body: Body, src: &mut BytesMut) -> Result<Option<PackFrame>, Error> {
        let total = body.given.saturating_add(u64::try_from(body.produced).unwrap_or(u64::MAX));
        if total != body.entry.size {
            return Err(size_mismatch(&body.entry, if total < body.entry.size { "fewer" } else { "more" }));
        }
        self.state = self.next_entry();
        Ok(Some(PackFrame::Object(self.chunk(&body, src, true))))
    }

    fn end_of_chunk(&mut self, body: Body, src: &mut BytesMut) -> PackObject {
        let object = self.chunk(&body, src, false);
        let given = body.given.saturating_add(u64::try_from(body.produced).unwrap_or(u64::MAX));
        self.state = State::Body(Body { given, produced: 0, wire: 0, start: false, ..body });
        object
    }

    #[inline]
    fn chunk(&mut self, body: &Body, src: &mut BytesMut, end: bool) -> PackObject {
        let wire = self.take(src, body.wire);
        let data = self.slab.split_to(body.produced.min(self.slab.len())).freeze();
        PackObject::new(&body.entry, Chunk { data_offset: body.given, start: body.start, end }, wire, data)
    }

    fn trailer(&mut self, src: &mut BytesMut) -> Option<Complete> {
        let checksum = ObjectId::from_bytes(src.get(..self.format.len())?)?;
        self.take(src, self.format.len());
        self.state = State::Done;
        // Whoever stores the pack may be at work for long, and hold this decoder.
        self.slab = BytesMut::new();
        Some(Complete { checksum: Some(checksum), pack_len: self.offset, verified: false })
    }

    fn take(&mut self, src: &mut BytesMut, len: usize) -> Bytes {
        let len = len.min(src.len());
        self.offset = self.offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        src.split_to(len).freeze()
    }
}

/// How much the pack has inflated to.
#[derive(Debug)]
struct Expansion {
    inflated: u64,
    max: u64,
    ratio: u64,
    floor: u64,
}

impl Expansion {
    fn new(limits: &Limits) -> Self {
        let Limits { inflated_bytes: max, expansion_ratio: ratio, expansion_floor: floor, .. } = *limits;
        Self { inflated: 0, max, ratio, floor }
    }

    /// What an entry declares is judged before it is inflated.
    fn judge(&self, entry: &Entry) -> Result<(), Error> {
        if self.inflated.saturating_add(entry.size) > self.max {
            let text = format!("pack inflates to more than the limit of {} bytes", self.max);
            return Err(Error::new(ErrorKind::LimitExceeded, text).with_offset(entry.offset));
        }
        Ok(())
    }

    /// Counts a chunk, after which the pack is `pack_len` bytes long.
    fn add(&mut self, object: &PackObject, pack_len: u64) -> Result<(), Error> {
        self.inflated = self.inflated.saturating_add(u64::try_from(object.data().len()).unwrap_or(u64::MAX));
        let most = pack_len.saturating_mul(self.ratio).saturating_add(self.floor);
        if self.inflated > most {
            let Self { ratio, floor, .. } = self;
            let text = format!("pack inflates to more than {floor} bytes and the limit of {ratio} times its length");
            return Err(Error::new(ErrorKind::LimitExceeded, text).with_offset(object.entry().offset));
        }
        Ok(())
    }
}

struct Cut {
    /// Inflated bytes at which the chunk is full, or the entry's declared size is reached.
    target: usize,
    /// Bytes of output to make room for.
    room: usize,
    /// Bytes of wire at which the chunk is full.
    wire: usize,
    /// Whether the entry should end in this chunk.
    is_last: bool,
}

fn invalid_zlib(body: &Body) -> Error {
    Error::new(ErrorKind::InvalidPack, "entry does not inflate: damaged or foreign zlib stream")
        .with_offset(body.entry.offset)
}

fn size_mismatch(entry: &Entry, which: &str) -> Error {
    let text = format!("entry inflates to {which} bytes than the {} it declares", entry.size);
    Error::new(ErrorKind::InvalidPack, text).with_offset(entry.offset)
}
