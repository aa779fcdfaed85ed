//! A look at each frame of a pack as it streams: [`InspectLayer`].
//!
//! It sees what the client sends, as it is sent: whole objects as they are, deltas as instructions. That is enough to
//! judge kinds, sizes, counts and the content of whole objects, and the earliest that anybody can. To see all objects
//! with their deltas resolved, have the store show them (its setting `scan`), and bound what deltas make (its setting
//! `limits`).
//!
//! ```
//! use receive_pack::Error;
//! use receive_pack::inspect::InspectLayer;
//! use receive_pack::proto::{EntryKind, PackFrame};
//! use receive_pack::push::{Extensions, UpdateRequest};
//!
//! // One inspector for each push: here, a closure that counts.
//! let layer = InspectLayer::new(|_: &UpdateRequest, _: &Extensions| {
//!     let mut tags = 0;
//!     move |frame: &PackFrame| {
//!         if let PackFrame::Object(object) = frame
//!             && object.is_start()
//!             && object.entry().kind == EntryKind::Tag
//!         {
//!             tags += 1;
//!         }
//!         if tags > 10 { Err(Error::refused("more than ten tags")) } else { Ok(()) }
//!     }
//! });
//! # drop(layer);
//! ```
//!
//! # Errors
//!
//! The first error of an inspector ends the body, and with it the push: a [refusal](crate::Error::refused) refuses every
//! ref in its words.
//!
//! # Cancel safety
//!
//! Full: all state is in the body.

mod body;
mod layer;

pub use body::{Inspected, Inspector};
pub use layer::{Inspect, InspectLayer};
