use std::collections::BTreeSet;
use std::io::{self, Write};

use super::lock::{self, Lock};
use super::loose::{self, Loose, Touched};
use super::refusal::lossy;
use super::transaction::Plan;
use super::{Reason, Refs, Refusal, name};
use crate::proto::{ObjectId, ObjectKind};
use crate::store::complete::Objects;

/// A ref that is locked and may move.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) lock: Lock,
    /// Whether there is a file for it.
    pub(super) is_loose: bool,
    /// Whether there is anything to do.
    pub(super) moves: bool,
}

/// A ref that is locked, and what it shall become.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) locked: Locked,
}

/// Locks a ref and checks under the lock that it may move as planned.
///
/// `taken` holds the names that refs of the same transaction have or get. The lock file holds the new value, durable,
/// and only has to be renamed.
pub(super) fn lock_and_check(
    refs: &Refs,
    plan: &Plan,
    taken: &BTreeSet<Vec<u8>>,
    objects: &dyn Objects,
    touched: &mut Touched,
) -> Result<Locked, Refusal> {
    let Plan { name, old, new, .. } = plan;
    // A name sorts before those that it is a directory of, so looking up is enough.
    if let Some(other) = name::prefixes(name).find(|prefix| taken.contains(*prefix)) {
        return Err(Refusal::conflict_within(name, other));
    }
    let locked = Lock::of_ref(&refs.fs, &refs.git_dir, name, refs.options.lock_timeout, touched);
    let (lock, mut file) = locked.map_err(|error| cannot_lock(refs, name, error))?;

    let current = read_under_lock(refs, plan)?;
    let is_loose = current.is_loose;
    let moves = match &current.value {
        Some(Loose::Id(id)) if id == old => new != old,
        Some(Loose::Id(id)) => return Err(Refusal::old_value(name, Some(id), old)),
        None if old.is_zero() => !new.is_zero(),
        None => return Err(Refusal::old_value(name, None, old)),
        // A broken ref is advertised with the zero id; who saw that may delete it.
        Some(Loose::Broken) if old.is_zero() && new.is_zero() => true,
        Some(_) => {
            let why = format!("unable to resolve reference '{}': reference broken", lossy(name));
            return Err(Refusal::lock(Reason::Failed, name, why));
        }
    };
    if !new.is_zero() {
        check_object(objects, name, new)?;
    }
    if moves && current.value.is_none() {
        check_room(refs, name)?;
    }
    if moves && !new.is_zero() {
        let written = file.write_all(format!("{new}\n").as_bytes()).and_then(|()| file.sync());
        written.map_err(|error| Refusal::io(name, error))?;
    }
    Ok(Locked { lock, is_loose, moves })
}

struct Current {
    value: Option<Loose>,
    is_loose: bool,
}

/// What the ref holds, now that nobody else may change it.
fn read_under_lock(refs: &Refs, plan: &Plan) -> Result<Current, Refusal> {
    let name = &plan.name;
    let value = loose::read(&refs.fs, &refs.git_dir, name, refs.format).map_err(|error| Refusal::io(name, error))?;
    let is_loose = value.is_some();
    let value = match value {
        Some(value) => Some(value),
        None => refs.read(name).map_err(|error| Refusal::io(name, error))?,
    };
    let leads_elsewhere = match plan.through.first() {
        Some(first) => refs.resolve(first).map_err(|error| Refusal::io(name, error))?.name != *name,
        None => matches!(value, Some(Loose::Symbolic(_))),
    };
    if leads_elsewhere {
        return Err(Refusal::lock(Reason::Failed, name, "a symbolic ref was changed meanwhile"));
    }
    Ok(Current { value, is_loose })
}

/// A branch holds a commit, everything else an object that is there.
fn check_object(objects: &dyn Objects, name: &[u8], new: &ObjectId) -> Result<(), Refusal> {
    let why = match objects.kind(new).map_err(|error| Refusal::io(name, error))? {
        Some(ObjectKind::Commit) => return Ok(()),
        Some(_) if !name.starts_with(b"refs/heads/") => return Ok(()),
        Some(_) => format!("trying to write non-commit object {new} to branch '{}'", lossy(name)),
        None => format!("trying to write ref '{}' with nonexistent object {new}", lossy(name)),
    };
    Err(Refusal::new(Reason::InvalidNewValue, format!("cannot update ref '{}': {why}", lossy(name))))
}

/// No other ref is a directory of a new ref's name, nor has the new name as a directory.
pub(super) fn check_room(refs: &Refs, name: &[u8]) -> Result<(), Refusal> {
    let failed = |error| Refusal::io(name, error);
    let below = [name, b"/"].concat();
    // Loose ones first: a ref that is packed meanwhile is then found in the file that is read after it.
    for prefix in name::prefixes(name) {
        if loose::read(&refs.fs, &refs.git_dir, prefix, refs.format).map_err(failed)?.is_some() {
            return Err(Refusal::conflict(name, prefix));
        }
    }
    let loose_below = loose::names(&refs.fs, &refs.git_dir, &below).map_err(failed)?.into_iter().min();
    let packed = refs.packed().map_err(|error| Refusal::io(name, error))?;
    if let Some(prefix) = name::prefixes(name).find(|prefix| packed.get(prefix).is_some()) {
        return Err(Refusal::conflict(name, prefix));
    }
    let packed_below = packed.with_prefix(&below).next().map(|record| packed.name(record).to_vec());
    match packed_below.or(loose_below) {
        Some(other) => Err(Refusal::conflict(name, &other)),
        None => Ok(()),
    }
}

fn cannot_lock(refs: &Refs, name: &[u8], error: io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let mut refusal = Refusal::lock(Reason::Failed, name, lock::held(&refs.fs, &refs.path(name), name));
            refusal.source = Some(crate::Error::store(format!("'{}.lock' is held by another", lossy(name)), error));
            refusal
        }
        io::ErrorKind::InvalidFilename => Refusal::lock(Reason::Failed, name, "File name too long"),
        // There is a file where a directory should be: the ref whose file it is.
        io::ErrorKind::NotADirectory => match check_room(refs, name) {
            Err(refusal) => refusal,
            Ok(()) => Refusal::io(name, error),
        },
        _ => Refusal::io(name, error),
    }
}
