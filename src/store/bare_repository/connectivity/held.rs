use std::collections::{HashSet, VecDeque};

use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::store::complete::Objects;
use crate::store::links;

/// What trusted commits have in their trees, found as far down as somebody asks.
///
/// It is asked only of what the repository lacks, as a clone without blobs does: git does not look for what the commits
/// that a push builds upon have.
pub(super) struct Held<'a> {
    repository: &'a dyn Objects,
    found: HashSet<(ObjectId, ObjectKind)>,
    // Those of them that were not looked into: what is near the root comes first.
    next: VecDeque<(ObjectId, ObjectKind)>,
}

/// How many objects are remembered, of some 50 bytes each. In a repository of more, what is missing may count as missing.
const MAX_FOUND: usize = 2 << 20;

impl<'a> Held<'a> {
    pub(super) fn new(repository: &'a dyn Objects) -> Self {
        Self { repository, found: HashSet::new(), next: VecDeque::new() }
    }

    /// Takes a trusted commit in.
    pub(super) fn by(&mut self, commit: ObjectId) {
        if self.found.insert((commit, ObjectKind::Commit)) {
            self.next.push_back((commit, ObjectKind::Commit));
        }
    }

    /// Whether one of them has this tree or blob.
    pub(super) fn has(&mut self, id: &ObjectId, kind: ObjectKind) -> Result<bool, Error> {
        if !matches!(kind, ObjectKind::Tree | ObjectKind::Blob) {
            return Ok(false);
        }
        while !self.found.contains(&(*id, kind)) {
            if self.found.len() > MAX_FOUND {
                return Ok(false);
            }
            let Some((id, kind)) = self.next.pop_front() else { return Ok(false) };
            let Some((is, data)) = self.repository.object_unless_blob(&id)? else { continue };
            if is != kind {
                continue;
            }
            // What is broken in there is not the push's fault.
            let _ = links::for_each(kind, &data, id.format(), |kind, raw| {
                let Some(id) = ObjectId::from_bytes(raw).filter(|_| kind != ObjectKind::Commit) else { return };
                if self.found.insert((id, kind)) && kind == ObjectKind::Tree {
                    self.next.push_back((id, kind));
                }
            });
        }
        Ok(true)
    }
}
