use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Repository;
use crate::proto::ObjectId;

/// The values of the refs of all repositories that this one borrows objects from (`objects/info/alternates`, and
/// theirs in turn): a client need not send what these reach.
///
/// It is an offer, no more: an alternate that is no repository, or cannot be read, has none.
pub(super) fn tips(repository: &Repository) -> BTreeSet<ObjectId> {
    let objects = repository.objects_dir();
    let mut tips = BTreeSet::new();
    if !repository.fs().exists(&objects.join("info/alternates")).unwrap_or_default() {
        return tips;
    }
    for directory in directories(objects) {
        // As git finds the refs: the objects of a repository lie beside them.
        let Some(git_dir) = directory.parent().filter(|_| directory.file_name() == Some("objects".as_ref())) else {
            continue;
        };
        tips.extend(refs_of(git_dir, repository).unwrap_or_default());
    }
    tips
}

/// The `objects` directories that this one borrows from.
pub(super) fn directories(objects: PathBuf) -> Vec<PathBuf> {
    let current = std::env::current_dir().unwrap_or_default();
    gix_odb::alternate::resolve(objects, &current).unwrap_or_default()
}

fn refs_of(git_dir: &Path, borrower: &Repository) -> Option<Vec<ObjectId>> {
    let lender = Repository::open_with(git_dir, borrower.fs())
        .ok()
        .filter(|lender| lender.object_format() == borrower.object_format())?;
    let refs = lender.refs().list(b"refs/").ok()?;
    // A broken ref has the zero id.
    Some(refs.into_iter().map(|listed| listed.id).filter(|id| !id.is_zero()).collect())
}
