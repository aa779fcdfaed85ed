//! From a connection to a report: [`serve`] takes one push over anything that is `AsyncRead` and `AsyncWrite`.
//!
//! TCP, a Unix socket, stdio, an SSH channel: they differ in when the client closes its side, and so nothing here waits
//! for that. The end of a push is found in its bytes.
//!
#![cfg_attr(feature = "memory", doc = "```")]
#![cfg_attr(not(feature = "memory"), doc = "```ignore")]
//! use receive_pack::checksum::ChecksumLayer;
//! use receive_pack::receive::ReceivePack;
//! use receive_pack::serve::serve;
//! use receive_pack::store::{MemoryStore, Store};
//! use tower::ServiceBuilder;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let store = MemoryStore::default();
//! let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store.clone()));
//!
//! // A client that has nothing to push says so with a flush-pkt.
//! let (read, mut write) = (&b"0000"[..], Vec::new());
//! let served = serve(read, &mut write, store.advertise().await?, service).await?;
//! assert!(served.report().is_none());
//! assert!(write.ends_with(b"\n0000"), "the advertisement went out");
//! # Ok::<(), receive_pack::Error>(())
//! # }).unwrap();
//! ```
//!
//! # How a connection ends
//!
//! Report, flush-pkt, shut down the writing side, *linger*: read and discard until the client closes, within
//! [bounds](Serve::linger). A TCP socket that is closed with unread data resets the connection, and the report is lost
//! on its way; so a client that is refused early, and is still sending, is read to its end, and may take
//! [as long](Serve::idle_timeout) over it as any other: all that it holds meanwhile is its connection. Over SSH it need not
//! be read [beyond its push](Linger::after_complete), and so waits for nothing.
//!
//! # When a client hangs up
//!
//! Its push is dropped, and so rolled back, once reading or writing fails. Until the pack is in, somebody reads. While the
//! service works on after that, a reset of the connection is seen at once, but its end is none: so looks a client that
//! has said all. Then only what is written to it tells, text or a [keep-alive](Serve::keep_alive), which no client gets
//! that knows no side-band. A service that may wait for ever needs a time-out of its own, a `TimeoutLayer` for example.
//!
//! # Cancel safety
//!
//! A dropped future closes the connection and rolls the push back, unless its refs are about to move: then it lands. Whoever
//! must know does so in a layer around the service, on a task of its own.

mod connection;
mod linger;
mod patience;
mod replies;

pub use connection::{Serve, Served, refuse, serve};
pub use linger::Linger;
pub use replies::Replies;
