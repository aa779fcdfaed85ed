use crate::codec::ReceivePackCodec;
use crate::proto::{Capabilities, Config, Limits, ObjectFormat, Payload, default_capabilities};

/// Settings of a [`ReceivePackCodec`].
///
/// ```
/// use receive_pack::codec::ReceivePackCodec;
/// use receive_pack::proto::Payload;
///
/// let codec = ReceivePackCodec::builder().payload(Payload::Opaque).read_size(64 << 10).build();
/// # drop(codec);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    pub(super) config: Config,
    pub(super) read_size: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self { config: Config::default(), read_size: 256 << 10 }
    }
}

impl Builder {
    /// The object format of the repository, and the advertised capabilities that go with it. Default SHA-1.
    pub fn object_format(mut self, format: ObjectFormat) -> Self {
        self.config.format = format;
        self.config.advertised = default_capabilities(format);
        self
    }

    /// The capabilities that were advertised; what a client asks for beyond them does not count.
    pub fn advertised(mut self, capabilities: Capabilities) -> Self {
        self.config.advertised = capabilities;
        self
    }

    /// How the pack is taken. Default [`Payload::Objects`].
    pub fn payload(mut self, payload: Payload) -> Self {
        self.config.payload = payload;
        self
    }

    /// Inflated bytes at which a chunk of an object is full; at least 1,024. Default 64 KiB. With twice as many bytes on
    /// the wire a chunk is full as well, however few they inflate to.
    pub fn chunk_size(mut self, bytes: usize) -> Self {
        self.config.chunk_size = bytes;
        self
    }

    /// What a client may make us hold or count.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Room for one read inside a pack, in bytes; at least 4,096. Default 256 KiB: with 8 KiB, the usual default,
    /// decoding is a fifth to a third slower.
    pub fn read_size(mut self, bytes: usize) -> Self {
        self.read_size = bytes.max(4096);
        self
    }

    /// The codec, at the first byte of a request.
    pub fn build(self) -> ReceivePackCodec {
        ReceivePackCodec::from_builder(self)
    }
}
