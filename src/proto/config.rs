use crate::proto::{Capabilities, Limits, ObjectFormat, default_capabilities};

/// How the pack is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Payload {
    /// Each entry is inflated and comes as a [`PackObject`](crate::proto::PackObject); the end of the pack is known
    /// from its structure.
    #[default]
    Objects,
    /// Nothing is inflated: the pack comes as [`Bytes`](bytes::Bytes), without a copy. Where it ends can only be told by its
    /// checksum, which is what [`Checksummed`](crate::checksum::Checksummed) does, or by the end of the stream.
    Opaque,
}

/// What a [`Receive`](crate::proto::Receive) needs to know before the first byte.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The object format of the repository. Default SHA-1.
    pub format: ObjectFormat,
    /// The capabilities that were advertised to the client: those that it asks for beyond them do not count.
    pub advertised: Capabilities,
    /// How the pack is taken. Default [`Payload::Objects`].
    pub payload: Payload,
    /// Inflated bytes at which a chunk of an object is full; at least 1,024. Default 64 KiB: in real repositories 99.4 %
    /// of all objects fit one chunk. With twice as many bytes on the wire a chunk is full as well, however few they
    /// inflate to.
    pub chunk_size: usize,
    /// What a client may make us hold or count.
    pub limits: Limits,
}

impl Config {
    /// The defaults for a repository of this format.
    pub fn new(format: ObjectFormat) -> Self {
        Self {
            format,
            advertised: default_capabilities(format),
            payload: Payload::default(),
            chunk_size: 64 << 10,
            limits: Limits::default(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new(ObjectFormat::default())
    }
}
