//! The server side of `git push`.

mod error;

pub mod checksum;
pub mod codec;
pub mod limit;
pub mod proto;
pub mod push;
pub mod receive;
pub mod serve;
pub mod store;
pub mod transport;

pub use error::{BoxError, Error, ErrorKind};

/// For `benches/`, not for users: no promise holds for what is in it.
#[cfg(feature = "_bench")]
#[doc(hidden)]
pub mod bench {
    pub use crate::store::index::index_pack;
}
