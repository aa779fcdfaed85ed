//! Whether one commit is an ancestor of another.

use std::collections::{BinaryHeap, HashMap};

use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::receive::Received;
use crate::store::links::Commit;

/// The longest commit that is read: as long as a store takes.
const MAX_COMMIT: u64 = 16 << 20;

const OF_OLD: u8 = 1;
const OF_NEW: u8 = 2;
const OF_BOTH: u8 = OF_OLD | OF_NEW;

/// What became of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ancestor,
    Stranger,
    NoCommit,
    TooLong,
}

/// A walk back from two commits at once, the latest first, that writes down which of them reaches what, as git's own
/// does. It is over when everything that waits is reached by both: beyond there is nothing that tells them apart.
pub(super) struct Ancestry<'a, 'b> {
    push: &'a Received<'b>,
    max_commits: usize,
    reached: HashMap<ObjectId, Reached>,
    queue: BinaryHeap<(u64, ObjectId)>,
    /// How many of those that wait are not reached by both.
    apart: usize,
}

#[derive(Clone, Debug, Default)]
struct Reached {
    by: u8,
    waits: bool,
    time: u64,
    parents: Vec<ObjectId>,
}

impl<'a, 'b> Ancestry<'a, 'b> {
    pub(super) fn new(push: &'a Received<'b>, max_commits: usize) -> Self {
        Self { push, max_commits, reached: HashMap::new(), queue: BinaryHeap::new(), apart: 0 }
    }

    /// Whether `old` is an ancestor of `new`, or the same.
    pub(super) async fn judge(mut self, old: &ObjectId, new: &ObjectId) -> Result<Verdict, Error> {
        if !self.reach(old, OF_OLD).await? || !self.reach(new, OF_NEW).await? {
            return Ok(Verdict::NoCommit);
        }
        loop {
            if self.reached.get(old).is_some_and(|old| old.by == OF_BOTH) {
                return Ok(Verdict::Ancestor);
            }
            if self.apart == 0 {
                return Ok(Verdict::Stranger);
            }
            if self.reached.len() > self.max_commits {
                return Ok(Verdict::TooLong);
            }
            let Some((_, id)) = self.queue.pop() else { return Ok(Verdict::Stranger) };
            let Some(commit) = self.reached.get_mut(&id) else { continue };
            commit.waits = false;
            if commit.by != OF_BOTH {
                self.apart = self.apart.saturating_sub(1);
            }
            let (by, parents) = (commit.by, commit.parents.clone());
            for parent in parents {
                // What is not there, as behind the end of a shallow history, leads nowhere.
                self.reach(&parent, by).await?;
            }
        }
    }

    /// Writes down that a commit is reached; false if there is no such commit.
    async fn reach(&mut self, id: &ObjectId, by: u8) -> Result<bool, Error> {
        if !self.reached.contains_key(id) {
            let Some((ObjectKind::Commit, data)) = self.push.object(id, MAX_COMMIT).await? else { return Ok(false) };
            let Ok(commit) = Commit::parse(&data, id.format()) else { return Ok(false) };
            let (time, parents) = (commit.time, commit.parents().collect());
            self.reached.insert(*id, Reached { time, parents, ..Reached::default() });
        }
        let Some(commit) = self.reached.get_mut(id) else { return Ok(false) };
        let before = commit.by;
        commit.by |= by;
        if commit.by == before {
            return Ok(true);
        }
        if !commit.waits {
            commit.waits = true;
            self.queue.push((commit.time, *id));
            self.apart = self.apart.saturating_add(usize::from(commit.by != OF_BOTH));
        } else if commit.by == OF_BOTH {
            self.apart = self.apart.saturating_sub(1);
        }
        Ok(true)
    }
}
