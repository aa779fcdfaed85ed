//! Where a push lands.

#[cfg(feature = "_index")]
pub(crate) mod index;
// Nobody calls it yet: the store that puts the parts together comes next.
#[cfg(feature = "bare-repository")]
#[allow(dead_code, unused_imports)]
pub mod bare_repository;
