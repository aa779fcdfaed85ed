//! Where a push lands.

#[cfg(feature = "_index")]
pub(crate) mod index;
