use bytes::Bytes;

use crate::proto::ObjectId;

/// The first 12 bytes of a pack (gitformat-pack): `PACK`, the version, the number of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackHeader {
    /// 2 or 3.
    pub version: u32,
    /// How many entries the client says will follow. Nothing is allocated by this number.
    pub objects: u32,
}

impl PackHeader {
    /// The length of a header on the wire.
    pub const LEN: usize = 12;

    /// The 12 bytes as they stand in the pack.
    pub fn wire(&self) -> [u8; Self::LEN] {
        let mut wire = *b"PACK\0\0\0\0\0\0\0\0";
        for (slot, byte) in
            wire.iter_mut().skip(4).zip(self.version.to_be_bytes().into_iter().chain(self.objects.to_be_bytes()))
        {
            *slot = byte;
        }
        wire
    }
}

/// What an entry of a pack holds (gitformat-pack, "object types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A commit, whole.
    Commit,
    /// A tree, whole.
    Tree,
    /// A blob, whole.
    Blob,
    /// An annotated tag, whole.
    Tag,
    /// A delta against an earlier entry of the same pack.
    OfsDelta {
        /// Where the entry of the base begins, counted from the first byte of the pack; always before this entry.
        base_offset: u64,
    },
    /// A delta against an object named by its id: anywhere in the pack, or (a *thin* pack) in the repository.
    RefDelta {
        /// The base.
        base: ObjectId,
    },
}

impl EntryKind {
    /// Whether the entry is a delta, so that its data are instructions and not an object.
    pub const fn is_delta(&self) -> bool {
        matches!(self, Self::OfsDelta { .. } | Self::RefDelta { .. })
    }

    /// The kind of object, for an entry that holds one whole.
    pub const fn object_kind(&self) -> Option<ObjectKind> {
        match self {
            Self::Commit => Some(ObjectKind::Commit),
            Self::Tree => Some(ObjectKind::Tree),
            Self::Blob => Some(ObjectKind::Blob),
            Self::Tag => Some(ObjectKind::Tag),
            Self::OfsDelta { .. } | Self::RefDelta { .. } => None,
        }
    }
}

/// The four kinds of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A commit.
    Commit,
    /// A tree.
    Tree,
    /// A blob.
    Blob,
    /// An annotated tag.
    Tag,
}

impl ObjectKind {
    /// Git's word for it, as it stands in an object's header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// The header of one entry of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Where the entry begins, in bytes from the first byte of the pack; the first entry stands at 12.
    pub offset: u64,
    /// How many bytes the entry's header takes; the zlib stream follows it. At most 42.
    pub header_len: u8,
    /// What the entry holds.
    pub kind: EntryKind,
    /// How many bytes the entry inflates to: of the object, or of the delta's instructions. Declared by the client;
    /// an entry that inflates to another number is refused.
    pub size: u64,
}

/// One chunk of one entry: nearly always the whole entry.
///
/// An entry that inflates to more than the chunk size (64 KiB unless set otherwise) comes in several chunks; only the
/// first [is a start](Self::is_start) and only the last [is an end](Self::is_end). So may a shorter one: a zlib stream
/// may have any number of blocks of nothing in it, and a chunk also ends with twice the chunk size on the wire. Then it
/// may have no [data](Self::data) at all, the first chunk too. Where the chunks are cut depends on the pack alone, never
/// on how it was read.
///
/// Both slices are views into shared buffers of up to a few hundred KiB: copy what you keep for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackObject {
    // Of the entry. Its parts stand for themselves, so that no space is lost between them: see `frame`.
    kind: PackedKind,
    offset: u64,
    size: u64,
    header_len: u8,
    // Of the chunk.
    start: bool,
    end: bool,
    data_offset: u64,
    wire: Bytes,
    data: Bytes,
}

/// An [`EntryKind`] that may stand at any address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PackedKind {
    Commit,
    Tree,
    Blob,
    Tag,
    OfsDelta([u8; 8]),
    RefDelta(ObjectId),
}

/// What there is to know of a chunk beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    pub(crate) data_offset: u64,
    pub(crate) start: bool,
    pub(crate) end: bool,
}

impl PackObject {
    #[inline]
    pub(crate) fn new(entry: &Entry, chunk: Chunk, wire: Bytes, data: Bytes) -> Self {
        let Entry { offset, header_len, kind, size } = *entry;
        let Chunk { data_offset, start, end } = chunk;
        let kind = match kind {
            EntryKind::Commit => PackedKind::Commit,
            EntryKind::Tree => PackedKind::Tree,
            EntryKind::Blob => PackedKind::Blob,
            EntryKind::Tag => PackedKind::Tag,
            EntryKind::OfsDelta { base_offset } => PackedKind::OfsDelta(base_offset.to_ne_bytes()),
            EntryKind::RefDelta { base } => PackedKind::RefDelta(base),
        };
        Self { kind, offset, size, header_len, start, end, data_offset, wire, data }
    }

    /// The header of the entry that this chunk is a part of; the same in each chunk.
    #[inline]
    pub fn entry(&self) -> Entry {
        let Self { offset, size, header_len, .. } = *self;
        let kind = match self.kind {
            PackedKind::Commit => EntryKind::Commit,
            PackedKind::Tree => EntryKind::Tree,
            PackedKind::Blob => EntryKind::Blob,
            PackedKind::Tag => EntryKind::Tag,
            PackedKind::OfsDelta(base) => EntryKind::OfsDelta { base_offset: u64::from_ne_bytes(base) },
            PackedKind::RefDelta(base) => EntryKind::RefDelta { base },
        };
        Entry { offset, header_len, kind, size }
    }

    /// The chunk exactly as it stood in the pack, the entry's header included in the first one.
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    /// The chunk inflated: a piece of the object, or of the delta's instructions; empty now and then.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Where [`data`](Self::data) begins within the inflated entry, in bytes.
    pub fn data_offset(&self) -> u64 {
        self.data_offset
    }

    /// Whether this is the first chunk of its entry.
    pub fn is_start(&self) -> bool {
        self.start
    }

    /// Whether this is the last chunk of its entry.
    pub fn is_end(&self) -> bool {
        self.end
    }
}

/// The end of a push: the last frame of every body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complete {
    pub(crate) checksum: Option<ObjectId>,
    pub(crate) pack_len: u64,
    pub(crate) verified: bool,
}

impl Complete {
    /// The trailer of the pack: the hash of everything before it. `None` for a push that has no pack.
    pub fn checksum(&self) -> Option<&ObjectId> {
        self.checksum.as_ref()
    }

    /// The length of the pack in bytes, header and trailer included; 0 for a push that has no pack.
    pub fn pack_len(&self) -> u64 {
        self.pack_len
    }

    /// Whether somebody compared the trailer with the bytes. The codec does not; [`Checksummed`] does. A push without
    /// a pack has nothing to verify and counts as verified.
    ///
    /// [`Checksummed`]: crate::checksum::Checksummed
    pub fn is_verified(&self) -> bool {
        self.verified || self.checksum.is_none()
    }
}
