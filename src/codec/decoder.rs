use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio_util::codec::{Decoder, FramedRead};

use crate::Error;
use crate::codec::Builder;
use crate::proto::{Frame, Negotiated, ObjectFormat, Receive, Send};

/// Reads pushes, and writes either side of the conversation.
///
/// As a `Decoder` it gives the [`Frame`]s of a push. As an `Encoder<Reply>` it is the server's voice, as an
/// `Encoder<Frame>` the client's: a server, a client, a proxy and a test all use this one type.
#[derive(Debug)]
pub struct ReceivePackCodec {
    receive: Receive,
    read_size: usize,
    pub(super) send: Send,
    /// For a codec that only writes replies: what its reading half negotiated.
    pub(super) negotiated: Option<Negotiated>,
}

impl ReceivePackCodec {
    /// A codec with the defaults: SHA-1, objects, chunks of 64 KiB.
    pub fn new() -> Self {
        Builder::default().build()
    }

    /// Settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn from_builder(builder: Builder) -> Self {
        Self {
            send: Send::new(&builder.config),
            receive: Receive::new(builder.config),
            read_size: builder.read_size,
            negotiated: None,
        }
    }

    /// This codec around a reader, with a buffer of the right size.
    pub fn framed_read<R: AsyncRead>(self, reader: R) -> FramedRead<R, Self> {
        let capacity = self.read_size;
        FramedRead::with_capacity(reader, self, capacity)
    }

    /// The object format that ids are read in.
    pub fn object_format(&self) -> ObjectFormat {
        self.receive.object_format()
    }

    /// What the codec has negotiated: by what it decoded, unless it was [told](Self::set_negotiated).
    pub fn negotiated(&self) -> &Negotiated {
        self.negotiated.as_ref().unwrap_or(self.receive.negotiated())
    }

    /// Tells a codec that only writes what the reading one negotiated.
    pub fn set_negotiated(&mut self, negotiated: Negotiated) {
        self.negotiated = Some(negotiated);
    }

    /// Whether it is in the middle of a pack of which it does not know the end.
    pub(crate) fn is_opaque(&self) -> bool {
        self.receive.is_opaque()
    }

    /// Whether the push has ended, well or not.
    pub fn is_done(&self) -> bool {
        self.receive.is_done()
    }
}

impl Default for ReceivePackCodec {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder for ReceivePackCodec {
    type Item = Frame;
    type Error = Error;

    // Frames are large for values that pass through several hands: inlined, they are made where they end up.
    #[inline]
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, Error> {
        let frame = self.receive.decode(src)?;
        let spare = src.capacity().saturating_sub(src.len());
        if frame.is_none() && spare < self.read_size / 4 {
            src.reserve(self.read_size);
        }
        Ok(frame)
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, Error> {
        self.receive.decode_eof(src)
    }
}
