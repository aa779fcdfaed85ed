//! Is the pack whole, and is it what the client sent? [`ChecksumLayer`] verifies the body of each push.
//!
//! The layer wraps the body into a [`Checksummed`], which hashes the pack as it passes and lets a verified
//! [`Complete`](crate::proto::Complete) through at the end, or an error. Layers and stores behind it take
//! `Push<Checksummed<B>>`, so leaving the layer out is a compile error and not a hole.
//!
//! `Checksummed` is a plain stream adaptor, too, for those who use the codec without tower:
//!
//! ```
//! use futures_util::{StreamExt, TryStreamExt};
//! use receive_pack::checksum::{Checksummed, Hasher, Throttle};
//! use receive_pack::proto::{ObjectFormat, PackFrame, PackHeader};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! // An opaque pack without entries: its header, and the hash of its header.
//! let header = PackHeader { version: 2, objects: 0 };
//! let mut hasher = Hasher::new(ObjectFormat::Sha1);
//! hasher.update(&header.wire());
//! let trailer = hasher.finish().unwrap().as_bytes().to_vec();
//! let pack = [Ok(PackFrame::Header(header)), Ok(PackFrame::Data(trailer.into()))];
//!
//! // The stream stays open: nothing tells the end of the pack but its checksum.
//! let body = futures_util::stream::iter(pack).chain(futures_util::stream::pending());
//! let mut body = Checksummed::new(body, ObjectFormat::Sha1, Throttle::default());
//! while let Some(frame) = body.try_next().await? {
//!     if let PackFrame::Complete(complete) = frame {
//!         assert!(complete.is_verified());
//!     }
//! }
//! # Ok::<(), receive_pack::Error>(())
//! # }).unwrap();
//! ```
//!
//! # When an opaque pack is found to be complete
//!
//! [`Throttle`] says when to compare. The hash runs along, so a comparison costs a clone and a finalization of its state
//! (about 60 ns), never a re-hash; no byte is hashed twice, and none is held back.
//!
//! # EOF is flush
//!
//! When the body ends, the last comparison is made: a pack that does not match by then is
//! [`IncompletePack`](crate::ErrorKind::IncompletePack).

mod body;
mod hasher;
mod layer;
#[cfg(feature = "_index")]
mod pair;
mod throttle;

pub use body::Checksummed;
pub(crate) use body::WORK_PER_POLL;
pub use hasher::{Collision, Hasher};
pub use layer::{Checksum, ChecksumLayer};
#[cfg(feature = "_index")]
pub(crate) use pair::{Message, sha1_of_two};
pub use throttle::Throttle;
