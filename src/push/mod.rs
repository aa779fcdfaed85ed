//! One push as a request: [`Push<B>`], with a head that is known and a body that streams, as `http::Request<B>` is.
//!
//! [`accept`] reads the head off a connection and leaves the pack in it, as the body. Everything from there on, layers
//! and stores, takes a `Push`.
//!
//! ```
//! use futures_util::StreamExt;
//! use receive_pack::codec::ReceivePackCodec;
//! use receive_pack::push::accept;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let line = format!("{} {} refs/heads/old\0 report-status", "1".repeat(40), "0".repeat(40));
//! let request = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
//!
//! let push = accept(ReceivePackCodec::new().framed_read(&request[..])).await?.expect("a push, not a probe");
//! assert_eq!(&push.request().commands()[0].name[..], b"refs/heads/old");
//!
//! let (_, _, mut pack) = push.into_parts();
//! assert!(matches!(pack.next().await, Some(Ok(receive_pack::proto::PackFrame::Complete(_)))));
//! # Ok::<(), receive_pack::Error>(())
//! # }).unwrap();
//! ```

mod accept;
mod extensions;
mod meter;
mod pack;
mod progress;
mod reclaim;
mod request;

pub(crate) use accept::take_head_item;
pub use accept::{accept, read_head};
pub use extensions::Extensions;
pub use meter::Meter;
pub use pack::Pack;
pub use progress::Progress;
pub(crate) use progress::ProgressText;
pub use reclaim::Reclaim;
pub(crate) use reclaim::{TimeLeft, Unread};
pub use request::{Push, UpdateRequest};
