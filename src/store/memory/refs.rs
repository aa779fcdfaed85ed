use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use super::store::Repository;
use crate::proto::{Command, ObjectId, ObjectKind};
use crate::push::UpdateRequest;

/// Moves the refs by compare-and-swap; if the push is atomic, all or none.
pub(super) fn move_refs(repository: &mut Repository, request: &mut UpdateRequest) {
    for (index, reason) in refusals(repository, request) {
        request.refuse(index, reason);
    }
    request.settle_atomic();
    for (_, command) in request.open() {
        if command.is_delete() {
            repository.refs.remove(&command.name);
        } else {
            repository.refs.insert(command.name.clone(), command.new);
        }
    }
}

/// The commands that cannot be carried out, and why, in git's words.
fn refusals(repository: &Repository, request: &UpdateRequest) -> Vec<(usize, &'static str)> {
    let mut names = Names { refs: &repository.refs, gone: BTreeSet::new(), new: BTreeSet::new() };
    let (deletions, others): (Vec<_>, Vec<_>) = request.open().partition(|(_, command)| command.is_delete());
    let mut refusals = Vec::new();
    for (index, command) in deletions {
        match stale(repository, command) {
            Some(reason) => refusals.push((index, reason)),
            // Deletions come first, so that `a` may make room for `a/b`; where all is one, nothing comes first.
            None if !request.negotiated().atomic => drop(names.gone.insert(&command.name[..])),
            None => {}
        }
    }
    for (index, command) in others {
        let is_branch = command.name.starts_with(b"refs/heads/");
        if let Some(reason) = stale(repository, command) {
            refusals.push((index, reason));
        } else if is_branch && repository.kind_of(&command.new) != Some(ObjectKind::Commit) {
            refusals.push((index, "invalid new value provided"));
        } else if command.is_create() && names.are_in_the_way(&command.name) {
            refusals.push((index, "refname conflict"));
        } else {
            names.new.insert(&command.name);
        }
    }
    refusals
}

/// What is wrong with the old value that the client saw.
fn stale(repository: &Repository, command: &Command) -> Option<&'static str> {
    match repository.refs.get(&command.name) {
        None => (!command.old.is_zero()).then_some("reference does not exist"),
        Some(old) if *old == command.old => None,
        Some(_) if command.old.is_zero() => Some("reference already exists"),
        Some(_) => Some("incorrect old value provided"),
    }
}

/// The names that are taken, once the push has landed.
struct Names<'a> {
    refs: &'a BTreeMap<Bytes, ObjectId>,
    gone: BTreeSet<&'a [u8]>,
    new: BTreeSet<&'a [u8]>,
}

impl Names<'_> {
    /// Whether some ref is a directory of this name, or has it for one: as files such refs could not be.
    fn are_in_the_way(&self, name: &[u8]) -> bool {
        let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let mut directories = slashes.filter_map(|(end, _)| name.get(..end));
        let below = [name, b"/"].concat();
        let is_below = |other: &[u8]| other.starts_with(&below);
        let from = (Bound::Included(&below[..]), Bound::Unbounded);
        let old = self.refs.range::<[u8], _>(from).map(|(other, _)| &other[..]);
        directories.any(|directory| self.has(directory))
            || old.take_while(|other| is_below(other)).any(|other| !self.gone.contains(other))
            || self.new.range::<[u8], _>(from).next().is_some_and(|other| is_below(other))
    }

    fn has(&self, name: &[u8]) -> bool {
        self.new.contains(name) || (self.refs.contains_key(name) && !self.gone.contains(name))
    }
}
