//! From the entries of a pack to its index: what every store that keeps packs shares.

mod seam;

pub(crate) use seam::{Bases, ReadAt, Visit, Worker};
