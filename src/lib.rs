//! The server side of `git push`.

mod error;

pub mod certificate;
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
