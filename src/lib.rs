//! The server side of `git push`, as parts that tokio and tower people already know how to hold.
//!
//! Memory does not grow with the bytes of a push (a store that indexes takes about 50 bytes for each object). A push
//! lands wholly or not at all, and ends where its bytes say so: no git binary, no fork per push, no wait for EOF.
//!
//! # Quick start
//!
//! A server for one repository, over `git://` and with a limit:
//!
#![cfg_attr(feature = "bare-repository", doc = "```no_run")]
#![cfg_attr(not(feature = "bare-repository"), doc = "```ignore")]
#![doc = include_str!("../examples/quick_start.rs")]
//! ```
//!
//! # The way of the data
//!
//! ```text
//!  client bytes
//!  ──────────▶ AsyncRead ─▶ FramedRead<R, ReceivePackCodec>
//!                              │  proto::Receive  (pure: bytes → frames)
//!             (Shallow | Capabilities? Command)* PushOption* Flush     PackHeader PackObject* Complete
//!             └──────────────── the head: accept() ──────────────┘     └──── the body: stays a stream ────┘
//!                              │                                        │
//!                        UpdateRequest                     Pack<R>: Stream<Item = Result<PackFrame, Error>>
//!                              └──────────────────┬─────────────────────┘         fused after Complete or Err
//!                                           Push<Pack<R>>
//!    tower:  Timeout, ConcurrencyLimit, LoadShed, …   (stock middleware; one request = one push)
//!            LimitLayer      Push<B> → Push<Limited<B>>
//!            ChecksumLayer   Push<B> → Push<Checksummed<B>>
//!                              ▼
//!            ReceivePack<St>: Service<Push<Checksummed<B>>>  ─▶ Quarantine::write*  ─▶ objects
//!                              │                             ─▶ Quarantine::seal, PreReceive
//!                              │                             ─▶ Quarantine::commit  ─▶ refs      (drop = roll back)
//!                              ▼
//!            Replies: Stream<Item = Reply>   progress*, keep-alive*, report, flush-pkt
//!               │ its end closes the write side
//!  ◀────────────┘
//! ```
//!
//! Backpressure runs right to left without a queue: a slow store leaves the body unpolled, the socket unread, the
//! client's window closed. There is no channel and no spawned task on the way in.
//!
//! # The rooms
//!
//! Dependencies point one way, down this list backwards:
//!
//! | module | what is in it |
//! |---|---|
//! | [`proto`] | the protocol without I/O: bytes to frames and back, for those with their own loop |
//! | [`codec`] | `proto` as a tokio-util `Decoder` and `Encoder` |
//! | [`push`] | one push as a request: `Push<B>`, a known head and a streaming body |
//! | [`certificate`] | signed pushes: nonces, and the layer that has certificates verified |
//! | [`checksum`] | the layer that verifies a pack, and finds the end of an opaque one |
//! | [`limit`] | the layer that bounds what a push brings |
//! | [`inspect`] | the layer that has somebody look at each frame |
//! | [`rules`] | which refs may be pushed, and how |
//! | [`fsck`] | the rules that objects must keep, without I/O |
//! | [`store`] | where pushes land: the contract, and the stores |
//! | [`receive`] | the service at the bottom of the stack |
//! | [`policy`] | a map: what is decided about a push, and where |
//! | [`serve`] | from a connection to a report, and how connections end |
//! | [`transport`] | the first lines of `git://` and SSH, and a service for smart HTTP |
//!
//! # What always holds
//!
//! 1. Frames depend on the bytes, never on how reads cut them; for an opaque pack, whose data are the reads themselves,
//!    that is true of their concatenation.
//! 2. The joined wire bytes of all frames of a pack are the pack (without its trailer, which `Complete` has; an opaque
//!    pack has it in its data), and decoding what was encoded gives the same frames.
//! 3. Exactly one `Complete`, last. After an error the decoder repeats it; bodies are fused.
//! 4. Nothing is allocated from a declared size or count. Every loop over a client's data has a named
//!    [limit](proto::Limits) with a default.
//! 5. The memory of a push is bounded by constants (a chunk, a read, the windows of the store) and, in the stores that
//!    index, about 50 bytes per object. One that builds on old history remembers each newer commit. The list of refs is
//!    held while it is advertised: some 350 bytes for each; and in an object store 2 KiB for each pack. (`MemoryStore` is
//!    what its name says: it keeps all.)
//! 6. A push lands wholly or not at all: objects are durable before any ref moves, refs move by compare-and-swap on the
//!    old id, `atomic` means all or none, and a dropped future rolls back, unless the refs are about to move: then all of
//!    them do.
//! 7. A refusal reaches the client as git prints it, not as a broken pipe: what is left of the push is read, however long
//!    the client compresses it, up to [bounds](serve::Linger) on its bytes and on the time that any push has.
//! 8. No unsafe code, and no panic that input could reach.
//!
//! # Features
//!
//! None is on by default. A feature adds API and changes nothing else, but for one: with `collision-detection`, which
//! `bare-repository` and `object-store` turn on, `MemoryStore` looks for collisions as well, and refuses the objects in
//! which it finds one.
//!
//! | feature | what it adds |
//! |---|---|
//! | `memory` | `MemoryStore`: for tests, and for gateways that look and forget |
//! | `bare-repository` | `BareRepository`: a repository on disk that stock git reads; turns on `collision-detection` |
//! | `object-store` | `ObjectStoreRepository`: a repository in S3 or its kin; turns on `collision-detection` |
//! | `http` | `HttpReceivePack`: a tower service for smart HTTP |
//! | `collision-detection` | SHA-1 with detection of the known collision attacks; the stores use it |
//! | `sha256` | repositories whose object format is SHA-256 |
//! | `sirocco` | objects that have arrived whole are inflated with `sirocco`, quicker than zlib-rs; the stores turn it on |
//!
//! # Rust versions
//!
//! The oldest compiler is Rust 1.95, with which the tests are run. A newer one is asked for only in a minor version.
//!
//! # What it is not
//!
//! No fetching: `git upload-pack` is another protocol. No hooks that run programs: a policy is a tower layer. No
//! `git gc`: packs pile up until somebody runs it, as with git itself when `receive.autogc` is off. A
//! repository in an object store has `repack` and `prune` of its own, for somebody to call.
#![cfg_attr(docsrs, feature(doc_cfg))]
// The docs name what features bring; without them the names lead nowhere.
#![cfg_attr(
    not(all(feature = "memory", feature = "bare-repository", feature = "object-store")),
    allow(rustdoc::broken_intra_doc_links)
)]
// No input can panic us.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic,
        clippy::unreachable
    )
)]

mod error;
#[cfg(feature = "_fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod git_config;
mod yield_now;

pub mod certificate;
pub mod checksum;
pub mod codec;
pub mod fsck;
pub mod inspect;
pub mod limit;
pub mod policy;
pub mod proto;
pub mod push;
pub mod receive;
pub mod rules;
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
