//! The server side of `git push`.

mod error;

pub mod checksum;
pub mod proto;
pub mod store;

pub use error::{BoxError, Error, ErrorKind};
