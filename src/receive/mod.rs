//! The service at the bottom of the stack: [`ReceivePack`] takes a push into a [`Store`](crate::store::Store).
//!
#![cfg_attr(feature = "memory", doc = "```")]
#![cfg_attr(not(feature = "memory"), doc = "```ignore")]
//! use receive_pack::checksum::ChecksumLayer;
//! use receive_pack::limit::LimitLayer;
//! use receive_pack::receive::ReceivePack;
//! use receive_pack::store::MemoryStore;
//! use tower::ServiceBuilder;
//!
//! let service = ServiceBuilder::new()
//!     .concurrency_limit(64)
//!     .layer(LimitLayer::new().pack_bytes(1 << 30))
//!     .layer(ChecksumLayer::new())
//!     .service(ReceivePack::new(MemoryStore::default()));
//! # drop(service);
//! ```
//!
//! # Errors
//!
//! What is wrong with a push is said in its [`Report`](crate::proto::Report); the service's own error is the server's
//! trouble.
//!
//! # Cancel safety
//!
//! A dropped response future rolls the push back, unless its refs are about to move: then it lands, and nobody is told.
#![doc = include_str!("git.md")]

mod pre_receive;
mod received;
mod service;

pub use pre_receive::PreReceive;
pub use received::Received;
pub use service::ReceivePack;
