//! Whether everything that the new refs need is there: before any ref moves, and without inflating the push again.
//!
//! While the pack's objects are resolved, [`Links`](crate::store::links::Links) sees each commit, tree and tag once and writes down what they
//! point at. When all are known, [`Check`] asks for each target:
//!
//! 1. Is it in the pack? Then what it needs in turn has been written down as well.
//! 2. If not, it is *external*: the repository must have it, with everything below it. Existing refs, and what they
//!    reach, are trusted:
//!    - a commit is trusted if an existing ref reaches it;
//!    - a blob needs nothing, so it is enough that it is there, or that one of the trusted commits which the push builds
//!      upon has it: a clone without blobs lacks them;
//!    - a tree is trusted if a trusted commit has it. The commits that the push builds upon are looked through,
//!      going down only into directories that are not external themselves: those that the push changed;
//!    - what is left is walked to its end.
//!
//! If that finds everything, all refs may move. If it does not, a pack may still be good enough: git accepts objects
//! that no ref needs, however broken. Then [`Exact`](crate::store::complete::Exact) walks from each new value, so that only the refs that really need
//! something that is not there are refused.
//!
//! Nothing here recurses, whatever the shape of the objects.

mod check;
mod held;
mod reach;
#[cfg(test)]
mod tests;

pub(crate) use check::Check;
