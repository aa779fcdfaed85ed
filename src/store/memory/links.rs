use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::store::{Pack, Repository};
use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::store::complete::PackIds;
use crate::store::index::{Visit, Worker};
use crate::store::links;

/// What the objects of a pack point at, gathered while they are resolved.
#[derive(Debug, Default)]
pub(super) struct Links {
    gathered: Mutex<Gathered>,
}

#[derive(Debug, Default)]
struct Gathered {
    targets: HashSet<(ObjectKind, ObjectId)>,
    /// Whether some object could not be read. That is no reason to refuse the push before a ref needs it.
    malformed: bool,
}

impl Links {
    /// Whether all of it is there: in the pack, or complete in the repository.
    pub(super) fn are_complete(&self, pack: &Pack, repository: &Repository) -> bool {
        let gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = |(kind, id): &(ObjectKind, ObjectId)| match PackIds::kind_of(pack, id) {
            Some(is) => is == *kind,
            None => repository.kind_of(id) == Some(*kind) && repository.trusts(*kind, id),
        };
        !gathered.malformed && gathered.targets.iter().all(is_there)
    }
}

impl Visit for Links {
    type Worker<'a> = &'a Links;

    fn worker(&self) -> &Links {
        self
    }
}

impl Worker for &Links {
    fn object(&mut self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<(), Error> {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let read = links::for_each(kind, data, id.format(), |kind, raw| {
            gathered.targets.extend(ObjectId::from_bytes(raw).map(|target| (kind, target)));
        });
        gathered.malformed |= read.is_err();
        Ok(())
    }

    fn finish(self) -> Result<(), Error> {
        Ok(())
    }
}
