//! What the integration tests share: real git, made-up repositories and packs, requests, difficult streams.

// Each test binary compiles the whole module and uses the part that it needs; nothing here is anybody's public API.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod clients;
pub mod fast_import;
pub mod forge;
pub mod format;
pub mod git;
pub mod host;
pub mod io;
pub mod line;
pub mod load;
pub mod memory;
pub mod pack;
pub mod request;
pub mod rng;
#[cfg(feature = "object-store")]
pub mod s3;
pub mod server;
#[cfg(feature = "http")]
pub mod slow_store;
pub mod ssh;
pub mod ssh_host;
pub mod stall;
