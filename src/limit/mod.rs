//! How much one push may bring: [`LimitLayer`].
//!
//! The limits of [`proto::Limits`](crate::proto::Limits) protect the parser; these are a server's policy, a quota for
//! instance. A push that goes past one is refused while it streams, and its refs with it, by a text that the pusher
//! reads.
//!
//! ```
//! use receive_pack::limit::LimitLayer;
//!
//! let layer = LimitLayer::new().pack_bytes(500 << 20).object_size(100 << 20).commands(1000);
//! # drop(layer);
//! ```

mod body;
mod layer;
mod service;

pub use body::Limited;
pub use layer::LimitLayer;
pub use service::{Limit, ResponseFuture};
