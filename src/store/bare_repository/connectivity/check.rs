use std::collections::{HashMap, HashSet};

use super::reach::Reached;
use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::store::complete::{Exact, Missing, Objects, PackIds};
use crate::store::links::{self, Links};

/// Everything that is needed to say whether the new values of refs are complete.
#[derive(Clone, Copy)]
pub(crate) struct Check<'a> {
    /// The ids of what the push brought.
    pub(crate) pack: &'a dyn PackIds,
    /// The same objects, to be read; only if something seems to be missing.
    pub(crate) brought: &'a dyn Objects,
    /// The objects that were there before.
    pub(crate) repository: &'a dyn Objects,
    /// What the existing refs hold that are not hidden, and those of alternates: they and all they reach are trusted.
    pub(crate) trusted: &'a [ObjectId],
    /// What the refs held that shall move: the push most likely builds upon these.
    pub(crate) olds: &'a [ObjectId],
}

/// External objects, and whether something that is trusted has them.
type Externals = HashMap<ObjectId, External>;

#[derive(Clone, Copy, Debug)]
struct External {
    kind: ObjectKind,
    trusted: bool,
}

/// How many external objects are looked at in one go; more of them cost time, not memory.
const MAX_EXTERNALS: usize = 512 << 10;

impl<'a> Check<'a> {
    /// Says of each new value whether all that it needs is there. There are links only if the push brought objects.
    ///
    /// # Errors
    ///
    /// Only the repository's own trouble; what is wrong with the push is said of each value.
    pub(crate) fn run(self, links: Option<&Links>, news: &[ObjectId]) -> Result<Vec<Result<(), Missing>>, Error> {
        self.run_in_batches(links, news, MAX_EXTERNALS)
    }

    pub(super) fn run_in_batches(
        self,
        links: Option<&Links>,
        news: &[ObjectId],
        batch: usize,
    ) -> Result<Vec<Result<(), Missing>>, Error> {
        let mut reached = Reached::new(self.repository, self.trusted);
        if links.and_then(Links::malformed).is_none() && self.all_complete(links, news, &mut reached, batch)? {
            return Ok(vec![Ok(()); news.len()]);
        }
        let mut exact = Exact::new(self.pack, self.brought, self.repository, reached);
        news.iter().map(|new| exact.complete(new)).collect()
    }

    /// Whether everything that the pack holds and everything that the new values are is complete.
    fn all_complete(
        &self,
        links: Option<&Links>,
        news: &[ObjectId],
        reached: &mut Reached<'a>,
        batch: usize,
    ) -> Result<bool, Error> {
        let mut externals = Externals::new();
        for new in news.iter().filter(|new| self.pack.kind_of(new).is_none()) {
            let Some(kind) = self.repository.kind(new)? else { return Ok(false) };
            externals.insert(*new, External { kind, trusted: false });
        }
        let mut complete = true;
        let each = |id, kind| {
            complete = match self.pack.kind_of(&id) {
                Some(is) => is == kind,
                None => externals.entry(id).or_insert(External { kind, trusted: false }).kind == kind,
            };
            if complete && externals.len() >= batch {
                complete = self.settle(&mut externals, reached)?;
                externals.clear();
            }
            Ok(complete)
        };
        links.map_or(Ok(()), |links| links.for_each(each))?;
        Ok(complete && self.settle(&mut externals, reached)?)
    }

    /// Whether the repository has these objects and all below them.
    fn settle(&self, externals: &mut Externals, reached: &mut Reached<'a>) -> Result<bool, Error> {
        let mut to_walk: Vec<(ObjectId, ObjectKind)> = Vec::new();
        let mut boundary: Vec<ObjectId> = self.olds.iter().copied().filter(|old| reached.is_tip(old)).collect();
        for (id, external) in externals.iter_mut() {
            match external.kind {
                ObjectKind::Commit => match self.trusts(id, reached)? {
                    Some(true) => {
                        external.trusted = true;
                        boundary.push(*id);
                    }
                    Some(false) => to_walk.push((*id, ObjectKind::Commit)),
                    None => return Ok(false),
                },
                kind if reached.is_tip(id) => external.trusted = self.repository.kind(id)? == Some(kind),
                ObjectKind::Tag => to_walk.push((*id, ObjectKind::Tag)),
                ObjectKind::Tree | ObjectKind::Blob => {}
            }
        }
        self.trust_trees_of(boundary, externals)?;
        for (id, external) in externals.iter().filter(|(_, external)| !external.trusted) {
            match external.kind {
                ObjectKind::Tree => to_walk.push((*id, ObjectKind::Tree)),
                ObjectKind::Blob if !self.has_blob(id, reached)? => return Ok(false),
                _ => {}
            }
        }
        self.walk(to_walk, externals, reached)
    }

    /// Whether a blob is there, or need not be.
    fn has_blob(&self, id: &ObjectId, reached: &mut Reached<'a>) -> Result<bool, Error> {
        match self.repository.kind(id)? {
            Some(kind) => Ok(kind == ObjectKind::Blob),
            None => reached.has(id, ObjectKind::Blob),
        }
    }

    /// Whether a commit of the repository is trusted; `None` if it is not there, or is none.
    fn trusts(&self, id: &ObjectId, reached: &mut Reached<'a>) -> Result<Option<bool>, Error> {
        if reached.is_tip(id) {
            return match self.repository.kind(id)? {
                Some(ObjectKind::Commit) => reached.contains(id, 0).map(Some),
                _ => Ok(Some(false)),
            };
        }
        match self.repository.object_unless_blob(id)? {
            Some((ObjectKind::Commit, data)) => match links::Commit::parse(&data, id.format()) {
                Ok(commit) => reached.contains(id, commit.time).map(Some),
                Err(_) => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Finds external trees, and blobs on the way, in the trees of trusted commits.
    ///
    /// A directory that the push did not change is external itself: it is found, and not entered. So this enters the
    /// directories that changed, and those that are gone.
    fn trust_trees_of(&self, boundary: Vec<ObjectId>, externals: &mut Externals) -> Result<(), Error> {
        let mut wanted = externals.values().filter(|e| e.kind == ObjectKind::Tree && !e.trusted).count();
        let mut seen: HashSet<ObjectId> = HashSet::new();
        let mut stack: Vec<(ObjectId, ObjectKind)> = Vec::new();
        for commit in boundary {
            stack.push((commit, ObjectKind::Commit));
            while let Some((id, kind)) = stack.pop() {
                if wanted == 0 {
                    return Ok(());
                }
                let Some((is, data)) = self.repository.object_unless_blob(&id)? else { continue };
                if is != kind {
                    continue;
                }
                // The history of a commit is not what we look for, and what is broken in it is not the push's fault.
                let _ = links::for_each(kind, &data, id.format(), |kind, raw| {
                    let Some(id) = ObjectId::from_bytes(raw).filter(|_| kind != ObjectKind::Commit) else { return };
                    match externals.get_mut(&id) {
                        Some(external) if external.kind == kind => {
                            if !external.trusted && kind == ObjectKind::Tree {
                                wanted = wanted.saturating_sub(1);
                            }
                            external.trusted = true;
                        }
                        _ if kind == ObjectKind::Tree && seen.insert(id) => stack.push((id, kind)),
                        _ => {}
                    }
                });
            }
        }
        Ok(())
    }

    /// Walks objects of the repository to their ends: trusted ones, and those of the pack.
    fn walk(
        &self,
        mut stack: Vec<(ObjectId, ObjectKind)>,
        externals: &Externals,
        reached: &mut Reached<'a>,
    ) -> Result<bool, Error> {
        // A tree may call one object by two kinds, and then one of them is wrong.
        let mut seen: HashSet<(ObjectId, ObjectKind)> = HashSet::new();
        while let Some((id, kind)) = stack.pop() {
            let mut complete = true;
            let Some((is, data)) = self.repository.object_unless_blob(&id)? else { return Ok(false) };
            if is != kind {
                return Ok(false);
            }
            let mut targets = Vec::new();
            let read = links::for_each(kind, &data, id.format(), |kind, raw| {
                if let Some(id) = ObjectId::from_bytes(raw) {
                    targets.push((id, kind));
                }
            });
            if read.is_err() {
                return Ok(false);
            }
            for (id, kind) in targets {
                if externals.get(&id).is_some_and(|external| external.trusted && external.kind == kind)
                    || !seen.insert((id, kind))
                {
                    continue;
                }
                match (self.pack.kind_of(&id), kind) {
                    (Some(is), _) => complete &= is == kind,
                    (None, ObjectKind::Blob) => complete &= self.has_blob(&id, reached)?,
                    (None, ObjectKind::Commit) => match self.trusts(&id, reached)? {
                        Some(true) => {}
                        Some(false) => stack.push((id, kind)),
                        None => complete = false,
                    },
                    (None, ObjectKind::Tree | ObjectKind::Tag) => stack.push((id, kind)),
                }
            }
            if !complete {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl std::fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("trusted", &self.trusted.len()).finish_non_exhaustive()
    }
}
