//! Whether one commit is an ancestor of another.

use std::collections::{BinaryHeap, HashMap};

use super::links::Commit;
use crate::proto::{ObjectId, ObjectKind};

/// The longest commit that is worth reading: as long as a store takes.
pub(crate) const MAX_COMMIT: u64 = 16 << 20;

const OF_OLD: u8 = 1;
const OF_NEW: u8 = 2;
const OF_BOTH: u8 = OF_OLD | OF_NEW;

/// What became of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ancestor,
    Stranger,
    NoCommit,
    TooLong,
}

/// What the walk needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This object, by [`Ancestry::give`].
    Read(ObjectId),
    Done(Verdict),
}

/// A walk back from two commits at once, the latest first, that writes down which of them reaches what, as git's own
/// does. It is over when everything that waits is reached by both: beyond there is nothing that tells them apart.
///
/// It does no I/O: whoever asks reads the objects.
#[derive(Debug)]
pub(crate) struct Ancestry {
    old: ObjectId,
    new: ObjectId,
    max_commits: usize,
    /// What was read: `None` is no commit, or not there.
    reached: HashMap<ObjectId, Option<Reached>>,
    /// What is reached, and by whom, but not written down yet.
    todo: Vec<(ObjectId, u8)>,
    queue: BinaryHeap<(u64, ObjectId)>,
    /// How many of those that wait are not reached by both.
    apart: usize,
}

#[derive(Debug, Default)]
struct Reached {
    by: u8,
    waits: bool,
    time: u64,
    parents: Vec<ObjectId>,
}

impl Ancestry {
    /// Whether `old` is an ancestor of `new`, or the same. At most so many commits are looked at.
    pub(crate) fn new(old: ObjectId, new: ObjectId, max_commits: usize) -> Self {
        let todo = vec![(new, OF_NEW), (old, OF_OLD)];
        Self { old, new, max_commits, reached: HashMap::new(), todo, queue: BinaryHeap::new(), apart: 0 }
    }

    /// Goes on as far as is possible with what was read.
    pub(crate) fn step(&mut self) -> Step {
        loop {
            while let Some(&(id, by)) = self.todo.last() {
                let Some(commit) = self.reached.get_mut(&id) else { return Step::Read(id) };
                self.todo.pop();
                match commit {
                    // What is not there, as behind the end of a shallow history, leads nowhere.
                    None if id != self.old && id != self.new => {}
                    None => return Step::Done(Verdict::NoCommit),
                    Some(commit) => {
                        let before = commit.by;
                        commit.by |= by;
                        if commit.by == before {
                            continue;
                        }
                        if !commit.waits {
                            commit.waits = true;
                            self.queue.push((commit.time, id));
                            self.apart = self.apart.saturating_add(usize::from(commit.by != OF_BOTH));
                        } else if commit.by == OF_BOTH {
                            self.apart = self.apart.saturating_sub(1);
                        }
                    }
                }
            }
            if matches!(self.reached.get(&self.old), Some(Some(old)) if old.by == OF_BOTH) {
                return Step::Done(Verdict::Ancestor);
            }
            if self.apart == 0 {
                return Step::Done(Verdict::Stranger);
            }
            if self.reached.len() > self.max_commits {
                return Step::Done(Verdict::TooLong);
            }
            let Some((_, id)) = self.queue.pop() else { return Step::Done(Verdict::Stranger) };
            let Some(Some(commit)) = self.reached.get_mut(&id) else { continue };
            commit.waits = false;
            if commit.by != OF_BOTH {
                self.apart = self.apart.saturating_sub(1);
            }
            self.todo.extend(commit.parents.iter().map(|parent| (*parent, commit.by)));
        }
    }

    /// The object that the last [`step`](Self::step) asked for, if there is one.
    pub(crate) fn give(&mut self, id: ObjectId, object: Option<(ObjectKind, &[u8])>) {
        let commit = match object {
            Some((ObjectKind::Commit, data)) => Commit::parse(data, id.format()).ok(),
            _ => None,
        };
        let reached = commit.map(|commit| Reached {
            time: commit.time,
            parents: commit.parents().collect(),
            ..Reached::default()
        });
        self.reached.insert(id, reached);
    }
}
