//! Refs that are kept in one piece, names to ids: what may become of them, and what does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use crate::proto::{Command, ObjectId, ObjectKind};
use crate::push::UpdateRequest;

/// Full names of refs and what they point at, in the order of the names.
pub(crate) type RefMap = BTreeMap<Bytes, ObjectId>;

/// Refuses the commands that cannot be carried out on these refs, in git's words; of an atomic push all others with them.
/// `kind_of` knows the objects that the new values are.
pub(crate) fn judge(refs: &RefMap, kind_of: impl Fn(&ObjectId) -> Option<ObjectKind>, request: &mut UpdateRequest) {
    for (index, reason) in refusals(refs, kind_of, request) {
        request.refuse(index, reason);
    }
    request.settle_atomic();
}

/// Carries out the commands that are not refused.
pub(crate) fn apply(refs: &mut RefMap, request: &UpdateRequest) {
    for (_, command) in request.open() {
        if command.is_delete() {
            refs.remove(&command.name);
        } else {
            refs.insert(command.name.clone(), command.new);
        }
    }
}

/// The commands that cannot be carried out, and why.
fn refusals(
    refs: &RefMap,
    kind_of: impl Fn(&ObjectId) -> Option<ObjectKind>,
    request: &UpdateRequest,
) -> Vec<(usize, &'static str)> {
    let mut names = Names { refs, gone: BTreeSet::new(), new: BTreeSet::new() };
    let (deletions, others): (Vec<_>, Vec<_>) = request.open().partition(|(_, command)| command.is_delete());
    let mut refusals = Vec::new();
    for (index, command) in deletions {
        match stale(refs, command) {
            Some(reason) => refusals.push((index, reason)),
            // Deletions come first, so that `a` may make room for `a/b`; where all is one, nothing comes first.
            None if !request.negotiated().atomic => drop(names.gone.insert(&command.name[..])),
            None => {}
        }
    }
    for (index, command) in others {
        let is_branch = command.name.starts_with(b"refs/heads/");
        if let Some(reason) = stale(refs, command) {
            refusals.push((index, reason));
        } else if is_branch && kind_of(&command.new) != Some(ObjectKind::Commit) {
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
fn stale(refs: &RefMap, command: &Command) -> Option<&'static str> {
    match refs.get(&command.name) {
        None => (!command.old.is_zero()).then_some("reference does not exist"),
        Some(old) if *old == command.old => None,
        Some(_) if command.old.is_zero() => Some("reference already exists"),
        Some(_) => Some("incorrect old value provided"),
    }
}

/// The names that are taken, once the push has landed.
struct Names<'a> {
    refs: &'a RefMap,
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
