//! The codec: [`proto`](crate::proto) as a tokio-util [`Decoder`](tokio_util::codec::Decoder) and
//! [`Encoder`](tokio_util::codec::Encoder), so that `FramedRead` and `FramedWrite` do the reading and writing.
//!
//! ```
//! use futures_util::StreamExt;
//! use receive_pack::codec::ReceivePackCodec;
//! use receive_pack::proto::Frame;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let probe = &b"0000"[..];
//! let codec = ReceivePackCodec::new();
//! let mut frames = codec.framed_read(probe);
//! assert_eq!(frames.next().await.unwrap()?, Frame::Flush);
//! assert!(matches!(frames.next().await.unwrap()?, Frame::Complete(_)));
//! assert!(frames.next().await.is_none());
//! # Ok::<(), receive_pack::Error>(())
//! # }).unwrap();
//! ```
//!
//! `FramedRead` reads on behind [`Complete`](crate::proto::Frame::Complete), where a client that keeps its side open sends
//! nothing more: stop there. A [`Pack`](crate::push::Pack) does.
//!
//! # Buffer management
//!
//! The codec asks for room for [`read_size`](Builder::read_size) bytes whenever it runs short of input inside a pack,
//! so that one read can take what a socket holds. Frames are views into that buffer; it is used again as soon as the
//! last of them is dropped, and replaced by a fresh one if some still live. So the memory of a connection is that of the
//! frames that somebody keeps, rounded up to read buffers.
//!
//! # Errors
//!
//! The first error is final: the codec gives it again for each further call. `FramedRead` is not fused, and would
//! otherwise decode on in the middle of nowhere.
//!
//! # Cancel safety
//!
//! All state is in the codec and in the buffer of `FramedRead`: a dropped `next()` loses nothing.

mod builder;
mod decoder;
mod encoder;

pub use builder::Builder;
pub use decoder::ReceivePackCodec;
