use std::collections::{BinaryHeap, HashSet};

use super::held::Held;
use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::store::complete::{Objects, Trust};
use crate::store::links::{Commit, Malformed, tag};

/// The commits that the existing refs reach, found as far back as somebody asks.
///
/// History is walked from the refs, the latest commit first. A commit whose time is after that of one that it comes
/// before may be missed; then it counts as not reached, and what it needs is looked at: more work, and the same answer
/// unless the repository lacks something of it.
pub(super) struct Reached<'a> {
    repository: &'a dyn Objects,
    tips: HashSet<ObjectId>,
    // The tips are read only if somebody asks for a commit that is none of them.
    walk: Option<Walk>,
    held: Held<'a>,
}

#[derive(Default)]
struct Walk {
    known: HashSet<ObjectId>,
    // Those of the known ones whose parents were not looked at, by their time.
    next: BinaryHeap<(u64, ObjectId, Vec<ObjectId>)>,
}

impl<'a> Reached<'a> {
    pub(super) fn new(repository: &'a dyn Objects, tips: &[ObjectId]) -> Self {
        Self { repository, tips: tips.iter().copied().collect(), walk: None, held: Held::new(repository) }
    }

    /// Whether an existing ref holds this id.
    pub(super) fn is_tip(&self, id: &ObjectId) -> bool {
        self.tips.contains(id)
    }

    /// Whether an existing ref reaches this commit, which was committed at `time`.
    pub(super) fn contains(&mut self, id: &ObjectId, time: u64) -> Result<bool, Error> {
        if self.tips.contains(id) {
            self.held.by(*id);
            return Ok(true);
        }
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => self.begin()?,
        };
        let found = self.advance(&mut walk, id, time);
        self.walk = Some(walk);
        if let Ok(true) = found {
            self.held.by(*id);
        }
        found
    }

    /// Whether a commit that was [asked for](Self::contains), and is reached, has this tree or blob.
    pub(super) fn has(&mut self, id: &ObjectId, kind: ObjectKind) -> Result<bool, Error> {
        self.held.has(id, kind)
    }

    fn advance(&self, walk: &mut Walk, id: &ObjectId, time: u64) -> Result<bool, Error> {
        while !walk.known.contains(id) {
            if walk.next.peek().is_none_or(|(latest, ..)| *latest < time) {
                return Ok(false);
            }
            let Some((_, _, parents)) = walk.next.pop() else { return Ok(false) };
            for parent in parents {
                self.add(walk, parent)?;
            }
        }
        Ok(true)
    }

    fn begin(&self) -> Result<Walk, Error> {
        let mut walk = Walk::default();
        for tip in &self.tips {
            self.add(&mut walk, *tip)?;
        }
        Ok(walk)
    }

    /// Takes a commit, or what a tag leads to, into the walk. What is missing or broken in the history of existing
    /// refs is not what the push is to be blamed for.
    fn add(&self, walk: &mut Walk, id: ObjectId) -> Result<(), Error> {
        let mut at = id;
        while walk.known.insert(at) {
            match self.repository.object_unless_blob(&at)? {
                Some((ObjectKind::Commit, data)) => {
                    if let Ok(commit) = Commit::parse(&data, at.format()) {
                        walk.next.push((commit.time, at, commit.parents().collect()));
                    }
                }
                Some((ObjectKind::Tag, data)) => {
                    if let Ok((target, ObjectKind::Commit | ObjectKind::Tag)) = tag(&data, at.format()) {
                        at = target;
                        continue;
                    }
                }
                _ => {}
            }
            return Ok(());
        }
        Ok(())
    }
}

impl Trust for Reached<'_> {
    fn trusts(&mut self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<Result<bool, Malformed>, Error> {
        match kind {
            ObjectKind::Commit => match Commit::parse(data, id.format()) {
                Ok(commit) => self.contains(id, commit.time).map(Ok),
                Err(malformed) => Ok(Err(malformed)),
            },
            _ => Ok(Ok(self.is_tip(id))),
        }
    }

    fn excuses(&mut self, kind: ObjectKind, id: &ObjectId) -> Result<bool, Error> {
        self.has(id, kind)
    }
}
