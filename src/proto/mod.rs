//! The receive-pack protocol without I/O: no runtime, no clock, no sockets.
//!
//! [`Receive`] reads what a client sends, bytes in, [`Frame`]s out; [`Send`] is its mirror image. [`Advertisement`],
//! [`Report`] and the other [replies](Reply) are what a server says. The rules are those of Git's own documents
//! (gitprotocol-pack, gitprotocol-common, gitprotocol-capabilities, gitformat-pack); each item names the one it follows.
//!
//! ```
//! use bytes::BytesMut;
//! use receive_pack::proto::{Config, Frame, Receive};
//!
//! let old = "1".repeat(40);
//! let zero = "0".repeat(40);
//! let line = format!("{old} {zero} refs/heads/gone\0 report-status");
//! let mut bytes = BytesMut::from(format!("{:04x}{line}0000", line.len() + 4).as_bytes());
//!
//! let mut receive = Receive::new(Config::default());
//! let mut frames = Vec::new();
//! while let Some(frame) = receive.decode(&mut bytes)? {
//!     frames.push(frame);
//! }
//! // A push of deletions has no pack: it is complete at the flush-pkt, whether or not the stream ends.
//! assert!(matches!(frames[..], [Frame::Capabilities(_), Frame::Command(_), Frame::Flush, Frame::Complete(_)]));
//! # Ok::<(), receive_pack::Error>(())
//! ```

mod advertisement;
mod capability;
mod certificate;
mod command;
mod config;
mod frame;
mod hidden_refs;
mod limits;
mod oid;
mod pack;
pub mod pkt_line;
mod receive;
mod reply;
mod report;
mod send;
pub mod side_band;

pub use advertisement::Advertisement;
pub use capability::{Capabilities, Negotiated, ReportVersion, default_capabilities};
pub use certificate::{Certificate, MalformedCertificate};
pub use command::{Command, is_valid_ref_name};
pub use config::{Config, Payload};
pub use frame::{Frame, PackFrame};
pub use hidden_refs::HiddenRefs;
pub use limits::Limits;
pub use oid::{ObjectFormat, ObjectId};
#[cfg(any(feature = "object-store", feature = "_bench", all(feature = "_index", test)))]
pub(crate) use pack::PackDecoder;
pub(crate) use pack::Tail;
#[cfg(feature = "_index")]
pub(crate) use pack::WholeInflater;
pub use pack::{Complete, Entry, EntryKind, ObjectKind, PackHeader, PackObject};
#[cfg(feature = "_index")]
pub(crate) use pack::{MAX_ENTRY_HEADER, entry_header, put_entry_header};
pub use receive::Receive;
pub use reply::Reply;
pub use report::{RefReport, Report, Rewritten};
pub use send::Send;
