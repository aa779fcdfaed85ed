//! Which refs may be pushed, and how: [`RefRules`].
//!
//! The same rules stand at two places. As a layer, [`RulesLayer`], they refuse what the commands alone give away, before
//! anything of the pack is read. As a [`PreReceive`](crate::receive::PreReceive) policy they judge all of it, for whether
//! an update is a fast-forward is known only when its commits are there. Who denies non-fast-forwards needs the second,
//! and takes the first for the speed.
//!
#![cfg_attr(feature = "memory", doc = "```")]
#![cfg_attr(not(feature = "memory"), doc = "```ignore")]
//! use receive_pack::checksum::ChecksumLayer;
//! use receive_pack::receive::ReceivePack;
//! use receive_pack::rules::{RefRules, RulesLayer};
//! use receive_pack::store::MemoryStore;
//! use tower::ServiceBuilder;
//!
//! let rules = RefRules::new()
//!     .allow(["refs/heads/**", "refs/tags/*"])
//!     .protect(["refs/heads/main", "refs/heads/release/"]);
//!
//! let service = ServiceBuilder::new()
//!     .layer(RulesLayer::new(rules.clone()))
//!     .layer(ChecksumLayer::new())
//!     .service(ReceivePack::new(MemoryStore::default()).pre_receive(rules));
//! # drop(service);
//! ```
//!
//! Rules judge the ref that will be moved. Behind something that [rewrites](crate::push::UpdateRequest::rewrite) they see
//! the other name: allow it, too, or keep these rules to the layer outside of that.
//!
//! A symbolic ref moves the ref that it leads to, and is judged by its own name, as by git: where `refs/heads/master` leads to
//! a protected `refs/heads/main`, protect both.
//!
//! # Patterns
//!
//! | pattern | the refs |
//! |---|---|
//! | `refs/heads/main` | that one |
//! | `refs/heads/` | all below |
//! | `refs/heads/*` | `*` is any bytes but `/` |
//! | `refs/**/wip` | `**` is any bytes |
//!
//! # Cancel safety
//!
//! Nothing here holds state.

mod layer;
mod pattern;
mod refs;

pub use layer::{Rules, RulesLayer};
pub use refs::RefRules;
