use std::task::Poll;

use bytes::Bytes;

use crate::Error;
use crate::proto::{Capabilities, Certificate, Command, Complete, ObjectId, PackHeader, PackObject};

/// One piece of a push, in the order of the wire.
///
/// ```text
/// (Shallow | Capabilities? Command)* PushOption* Flush                     the head,
/// Shallow* Capabilities? Certificate Command* Shallow* PushOption* Flush   or a signed one
/// PackHeader PackObject* Complete                                          the body: objects,
/// PackHeader PackData* Complete                                            or opaque,
/// Complete                                                                 or no pack: no command, or only deletions
/// ```
///
/// git sends every `Shallow` first, but reads them where they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// A commit at which the history of the client's clone is cut off.
    Shallow(ObjectId),
    /// The capabilities that the client asks for; they stand on the wire behind the first command, and come before it
    /// here.
    Capabilities(Capabilities),
    /// A push certificate. The commands that follow are those that it lists.
    Certificate(Certificate),
    /// A ref to move.
    Command(Command),
    /// A push option, without its LF.
    PushOption(Bytes),
    /// The flush-pkt that ends the head (that of the push options, if they were negotiated). It comes at once, while
    /// the client may still be compressing its pack.
    Flush,
    /// The beginning of the pack.
    PackHeader(PackHeader),
    /// An entry of the pack, or a chunk of one that takes several.
    PackObject(PackObject),
    /// Bytes of an opaque pack, its trailer included.
    PackData(Bytes),
    /// The end of the push. Always the last frame.
    Complete(Complete),
}

/// A frame passes through several hands, and what is longer than this is moved by calls of `memmove`: 90 ns for
/// each small object, a third of what decoding costs beside inflating.
const LARGEST: usize = 128;
const _: () = assert!(size_of::<Poll<Option<Result<Frame, Error>>>>() <= LARGEST);

/// One piece of the body of a push: the frames of its pack.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackFrame {
    /// The beginning of the pack.
    Header(PackHeader),
    /// An entry of the pack, or a chunk of one that takes several.
    Object(PackObject),
    /// Bytes of an opaque pack, its trailer included.
    Data(Bytes),
    /// The end of the push. Always the last frame.
    Complete(Complete),
}

impl From<PackFrame> for Frame {
    fn from(frame: PackFrame) -> Self {
        match frame {
            PackFrame::Header(header) => Self::PackHeader(header),
            PackFrame::Object(object) => Self::PackObject(object),
            PackFrame::Data(data) => Self::PackData(data),
            PackFrame::Complete(complete) => Self::Complete(complete),
        }
    }
}

/// Gives a frame of the head back as the error.
impl TryFrom<Frame> for PackFrame {
    type Error = Frame;

    #[inline]
    fn try_from(frame: Frame) -> Result<Self, Frame> {
        match frame {
            Frame::PackHeader(header) => Ok(Self::Header(header)),
            Frame::PackObject(object) => Ok(Self::Object(object)),
            Frame::PackData(data) => Ok(Self::Data(data)),
            Frame::Complete(complete) => Ok(Self::Complete(complete)),
            head => Err(head),
        }
    }
}

impl PackFrame {
    /// How many bytes of the pack the frame holds, for those who count.
    pub fn wire_len(&self) -> usize {
        match self {
            Self::Header(_) => PackHeader::LEN,
            Self::Object(object) => object.wire().len(),
            Self::Data(data) => data.len(),
            Self::Complete(_) => 0,
        }
    }
}
