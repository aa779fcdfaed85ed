//! What a server decides about a push, and where: a map of the seams. There is no code in here.
//!
//! | when | what is known | where it stands | how it refuses | what it costs |
//! |---|---|---|---|---|
//! | at the advertisement | who connects, to which repository | before [`serve`](crate::serve::serve): [`refuse`](crate::serve::refuse), or [`Advertisement::retain_refs`](crate::proto::Advertisement::retain_refs) | `fatal: remote error: …` | nothing was sent yet |
//! | after the head, before the pack | commands, options, who pushes | any tower layer: it looks at [`Push::request`](crate::push::Push::request) and calls [`refuse`](crate::push::UpdateRequest::refuse) on [`request_mut`](crate::push::Push::request_mut); [`RulesLayer`](crate::rules::RulesLayer), [`LimitLayer`](crate::limit::LimitLayer) | ref by ref | no object is stored; the client's upload is read and discarded |
//! | while it streams | each frame: kind, size, content, deltas as instructions | a layer that wraps the body: [`InspectLayer`](crate::inspect::InspectLayer), [`LimitLayer`](crate::limit::LimitLayer) | all refs, in the middle of the upload | a look at each frame, nothing kept |
//! | while deltas are resolved | every object whole | the store: its settings `scan`, `check_objects` and `limits` | all refs; whole objects in the middle of the upload, deltas at its end | no object is made twice |
//! | when all of it is there | any object of push and repository, by id | [`PreReceive`](crate::receive::PreReceive), given to [`ReceivePack::pre_receive`](crate::receive::ReceivePack::pre_receive); [`RefRules`](crate::rules::RefRules) | ref by ref | one read of the store for each object asked for |
//! | after the refs moved | what became of each ref | a layer around the response: a [`Report`](crate::proto::Report) | it is too late | the client waits for the report |
//!
//! Take the first that knows enough. What a layer has learned (who pushes) it puts into the
//! [`Extensions`](crate::push::Extensions) for those further in; text for the pusher goes through the
//! [`Progress`](crate::push::Progress) that is among them, at any of these places but the first.
//!
//! Of a push that is refused ref by ref the objects land all the same, if any ref is taken, and the next push finds them
//! there. So who judges new objects refuses all of the push, with [`Error::refused`](crate::Error::refused); who refuses
//! single refs judges what [`command.new`](crate::proto::Command) is, whether or not the object is new.
//!
//! Layers stand in this order: what refuses by the head outside, then what wraps the body, the
//! [`ChecksumLayer`](crate::checksum::ChecksumLayer) next to the service. A layer that acts after the refs moved stands
//! outside of all that may refuse, a time-out among them, and looks at the report to see what happened. A time-out that
//! stands outside of it may end a push, and say so, whose refs have moved:
//!
#![cfg_attr(feature = "memory", doc = "```")]
#![cfg_attr(not(feature = "memory"), doc = "```ignore")]
//! use receive_pack::checksum::ChecksumLayer;
//! use receive_pack::inspect::InspectLayer;
//! use receive_pack::limit::LimitLayer;
//! use receive_pack::proto::{PackFrame, Report};
//! use receive_pack::push::{Extensions, UpdateRequest};
//! use receive_pack::receive::ReceivePack;
//! use receive_pack::rules::{RefRules, RulesLayer};
//! use receive_pack::store::MemoryStore;
//! use tower::ServiceBuilder;
//!
//! let rules = RefRules::new().protect(["refs/heads/main"]);
//! let service = ServiceBuilder::new()
//!     .map_response(|report: Report| {
//!         let moved = report.refs().iter().filter(|entry| entry.is_ok()).count();
//!         println!("{moved} refs moved");
//!         report
//!     })
//!     .layer(RulesLayer::new(rules.clone()))
//!     .layer(LimitLayer::new().pack_bytes(1 << 30))
//!     .layer(InspectLayer::new(|_: &UpdateRequest, _: &Extensions| |_: &PackFrame| Ok(())))
//!     .layer(ChecksumLayer::new())
//!     .service(ReceivePack::new(MemoryStore::default()).pre_receive(rules));
//! # drop(service);
//! ```
