//! Whether one commit is an ancestor of another.

use std::collections::{BinaryHeap, HashMap};

use super::links::Commit;
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};

/// The longest commit that is worth reading: as long as a store takes.
pub(crate) const MAX_COMMIT: u64 = 16 << 20;

const OF_OLD: u8 = 1;
const OF_NEW: u8 = 2;
const OF_BOTH: u8 = OF_OLD | OF_NEW;

/// How often each commit may be looked at on the average: a question looks at a commit once for each of its children, and a
/// push may ask as many questions as it has commands.
const LOOKS: usize = 16;

/// How often commits may be looked at for a question that comes when that is used up: short ones are answered all the same.
const LOOKS_AT_LEAST: usize = 1024;

/// How many parents may be held for each commit on the average; one commit of 16 MiB may name 350,000.
const PARENTS: usize = 4;

/// After how many looks whoever asks hears of it: less than a millisecond.
const PAUSE: usize = 2048;

/// What became of a question.
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
    /// Nothing; but it was at work for a while, and somebody else may want the thread.
    Pause,
    Done(Verdict),
}

/// A walk back from two commits at once, the latest first, that writes down which of them reaches what, as git's own
/// does. It is over when everything that waits is reached by both: beyond there is nothing that tells them apart.
///
/// It does no I/O: whoever asks reads the objects. One value answers all questions of a push, so that no commit is read
/// twice, and what they may cost is bounded together.
#[derive(Debug)]
pub(crate) struct Ancestry {
    old: ObjectId,
    new: ObjectId,
    max_commits: usize,
    looks: usize,
    /// Those of them before the question.
    looks_before: usize,
    /// The number of the question: what was found out for another does not count.
    question: u32,
    /// What was read: `None` is no commit, or not there.
    known: HashMap<ObjectId, Option<Known>>,
    /// How many parents those have.
    parents: usize,
    /// What is reached, and by whom, but not written down yet.
    todo: Vec<(ObjectId, u8)>,
    queue: BinaryHeap<(u64, ObjectId)>,
    /// How many of those that wait are not reached by both.
    apart: usize,
}

#[derive(Debug)]
struct Known {
    time: u64,
    parents: Box<[ObjectId]>,
    /// What follows is about this question.
    question: u32,
    by: u8,
    waits: bool,
}

impl Ancestry {
    /// Before the first question. For all together at most so many commits are read.
    pub(crate) fn new(format: ObjectFormat, max_commits: usize) -> Self {
        Self {
            old: ObjectId::zero(format),
            new: ObjectId::zero(format),
            max_commits,
            looks: 0,
            looks_before: 0,
            question: 0,
            known: HashMap::new(),
            parents: 0,
            todo: Vec::new(),
            queue: BinaryHeap::new(),
            apart: 0,
        }
    }

    /// Asks whether `old` is an ancestor of `new`, or the same; [`step`](Self::step) finds it out.
    pub(crate) fn ask(&mut self, old: ObjectId, new: ObjectId) {
        (self.old, self.new, self.apart) = (old, new, 0);
        self.looks_before = self.looks;
        self.question = self.question.wrapping_add(1);
        self.queue.clear();
        self.todo.clear();
        self.todo.extend([(new, OF_NEW), (old, OF_OLD)]);
    }

    /// Goes on as far as is possible with what was read.
    pub(crate) fn step(&mut self) -> Step {
        loop {
            while let Some(&(id, by)) = self.todo.last() {
                let Some(known) = self.known.get_mut(&id) else {
                    let is_too_long =
                        self.known.len() >= self.max_commits || self.parents > self.max_commits.saturating_mul(PARENTS);
                    return if is_too_long { Step::Done(Verdict::TooLong) } else { Step::Read(id) };
                };
                self.todo.pop();
                self.looks = self.looks.saturating_add(1);
                match known {
                    // What is not there, as behind the end of a shallow history, leads nowhere.
                    None if id != self.old && id != self.new => {}
                    None => return Step::Done(Verdict::NoCommit),
                    Some(commit) => {
                        if commit.question != self.question {
                            (commit.question, commit.by, commit.waits) = (self.question, 0, false);
                        }
                        let before = commit.by;
                        commit.by |= by;
                        if commit.by != before && !commit.waits {
                            commit.waits = true;
                            self.queue.push((commit.time, id));
                            self.apart = self.apart.saturating_add(usize::from(commit.by != OF_BOTH));
                        } else if commit.by != before && commit.by == OF_BOTH {
                            self.apart = self.apart.saturating_sub(1);
                        }
                    }
                }
                let most = self.max_commits.saturating_mul(LOOKS).max(self.looks_before.saturating_add(LOOKS_AT_LEAST));
                if self.looks > most {
                    return Step::Done(Verdict::TooLong);
                }
                if self.looks.is_multiple_of(PAUSE) {
                    return Step::Pause;
                }
            }
            if matches!(self.known.get(&self.old), Some(Some(old)) if old.by == OF_BOTH) {
                return Step::Done(Verdict::Ancestor);
            }
            if self.apart == 0 {
                return Step::Done(Verdict::Stranger);
            }
            let Some((_, id)) = self.queue.pop() else { return Step::Done(Verdict::Stranger) };
            let Some(Some(commit)) = self.known.get_mut(&id) else { continue };
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
        let known = commit.map(|commit| Known {
            time: commit.time,
            parents: commit.parents().collect(),
            question: self.question,
            by: 0,
            waits: false,
        });
        self.parents = self.parents.saturating_add(known.as_ref().map_or(0, |known| known.parents.len()));
        self.known.insert(id, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The n-th commit of a history, and its id.
    fn commit(n: u32) -> (ObjectId, Vec<u8>) {
        let id = |n: u32| format!("{n:040x}");
        let parent = if n == 0 { String::new() } else { format!("parent {}\n", id(n - 1)) };
        let who = format!("A <a> {n} +0000");
        let text = format!("tree {}\n{parent}author {who}\ncommitter {who}\n\n", "1".repeat(40));
        (ObjectId::from_hex(ObjectFormat::Sha1, id(n).as_bytes()).unwrap(), text.into_bytes())
    }

    /// The verdict on each question, and how many commits were read for all.
    fn judge(history: u32, max_commits: usize, questions: &[(u32, u32)]) -> (Vec<Verdict>, usize) {
        let commits: HashMap<_, _> = (0..history).map(commit).collect();
        let mut ancestry = Ancestry::new(ObjectFormat::Sha1, max_commits);
        let mut reads = 0;
        let mut answer = |&(old, new): &(u32, u32)| {
            ancestry.ask(commit(old).0, commit(new).0);
            loop {
                match ancestry.step() {
                    Step::Done(verdict) => return verdict,
                    Step::Pause => {}
                    Step::Read(id) => {
                        reads += 1;
                        ancestry.give(id, commits.get(&id).map(|data| (ObjectKind::Commit, &data[..])));
                    }
                }
            }
        };
        (questions.iter().map(&mut answer).collect(), reads)
    }

    #[test]
    fn the_questions_of_a_push_share_what_was_read_and_what_it_may_cost() {
        let many = [(0, 99), (99, 0), (50, 60), (100, 3), (0, 99), (7, 7)];
        let verdicts = [
            Verdict::Ancestor,
            Verdict::Stranger,
            Verdict::Ancestor,
            Verdict::NoCommit,
            Verdict::Ancestor,
            Verdict::Ancestor,
        ];
        let (found, reads) = judge(100, 200, &many);
        assert_eq!(found, verdicts);
        // One of them is not there.
        assert_eq!(reads, 101);
        // No more are read than may be.
        let (found, reads) = judge(100, 50, &[(90, 99), (0, 99), (95, 99)]);
        assert_eq!(found, [Verdict::Ancestor, Verdict::TooLong, Verdict::Ancestor]);
        assert_eq!(reads, 50);
        // To ask the same again and again reads nothing, and ends all the same.
        let (found, reads) = judge(2_000, 2_001, &[(0, 1_999); 100]);
        assert_eq!((found[0], found[99]), (Verdict::Ancestor, Verdict::TooLong));
        assert_eq!(reads, 2_000);
        // Short ones are answered then, too.
        let (found, _) = judge(2_000, 2_001, &[[(0, 1_999); 99], [(1_990, 1_999); 99]].concat());
        assert_eq!((found[98], found[99], found[197]), (Verdict::TooLong, Verdict::Ancestor, Verdict::Ancestor));
    }
}
