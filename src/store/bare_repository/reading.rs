use std::collections::BTreeSet;

use crate::Error;
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};
use crate::store::complete::Objects;

/// Objects for somebody who follows links: history as git shows it, and an end when nobody waits any more.
///
/// The commits at which the repository's own history is cut off ([`shallow`](super::shallow)) have no parents here: what
/// lies behind them may be there, in part or not at all.
pub(super) struct Reading<'a, F> {
    objects: &'a dyn Objects,
    shallow: &'a BTreeSet<ObjectId>,
    /// Asked before each look, for whoever follows links may be at it for long.
    go_on: F,
}

impl<'a, F: Fn() -> Result<(), Error> + Sync> Reading<'a, F> {
    pub(super) fn new(objects: &'a dyn Objects, shallow: &'a BTreeSet<ObjectId>, go_on: F) -> Self {
        Self { objects, shallow, go_on }
    }

    fn graft(&self, id: &ObjectId, object: Option<(ObjectKind, Vec<u8>)>) -> Option<(ObjectKind, Vec<u8>)> {
        match object {
            Some((ObjectKind::Commit, data)) if self.shallow.contains(id) => {
                Some((ObjectKind::Commit, without_parents(data, id.format())))
            }
            object => object,
        }
    }
}

impl<F: Fn() -> Result<(), Error> + Sync> Objects for Reading<'_, F> {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        (self.go_on)()?;
        self.objects.kind(id)
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        (self.go_on)()?;
        Ok(self.graft(id, self.objects.object(id)?))
    }

    fn object_unless_blob(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        (self.go_on)()?;
        Ok(self.graft(id, self.objects.object_unless_blob(id)?))
    }
}

/// A commit without the lines behind the first, that of its tree, which name its parents.
fn without_parents(mut commit: Vec<u8>, format: ObjectFormat) -> Vec<u8> {
    const TREE: usize = "tree \n".len();
    const PARENT: usize = "parent \n".len();
    let start = format.hex_len().saturating_add(TREE);
    let parents = commit.get(start..).unwrap_or_default();
    let lines = parents.chunks(format.hex_len().saturating_add(PARENT));
    let len: usize = lines.take_while(|line| line.starts_with(b"parent ")).map(<[u8]>::len).sum();
    if len > 0 {
        commit.drain(start..start.saturating_add(len));
    }
    commit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_loses_its_parents_and_nothing_else() {
        let line = |keyword: &str| format!("{keyword} {}\n", "a".repeat(ObjectFormat::Sha1.hex_len()));
        let rest = format!("author x\ncommitter y\n\n{}", line("parent"));
        for parents in 0..3 {
            let commit = [line("tree"), line("parent").repeat(parents), rest.clone()].concat();
            let left = without_parents(commit.into_bytes(), ObjectFormat::Sha1);
            assert_eq!(String::from_utf8(left).unwrap(), line("tree") + &rest);
        }
        for broken in ["", "tree x", &line("tree")] {
            assert_eq!(without_parents(broken.into(), ObjectFormat::Sha1), broken.as_bytes());
        }
    }
}
