use super::Odb;
use super::incoming::Brought;
use crate::proto::ObjectId;
use crate::{Error, ErrorKind};

/// Longer objects are compared by kind and length alone: both copies would have to be in memory, and the hash with
/// collision detection has already seen every byte of the new one.
const MAX_LEN: u64 = 16 << 20;

/// How many deltas may be resolved for each object of the pack, to compare it with what the repository has, and for all
/// together on top. Git makes chains of at most 50 deltas unless told otherwise.
const DELTAS_PER_OBJECT: u64 = 200;
const DELTAS: u64 = 1 << 20;

/// Refuses a pack with an object that the repository has under the same id with other bytes: somebody has found a
/// collision, or the repository is damaged. Either way nobody must get the one and believe it to be the other.
///
/// Nearly always a push brings nothing that the repository has, and this costs a look into its indexes per object.
pub(super) fn compare(brought: &Brought<'_>, odb: &Odb, go_on: impl Fn() -> Result<(), Error>) -> Result<(), Error> {
    // Nearly always there is nothing to read.
    let mut reader = None;
    let mut budget = DELTAS.saturating_add(DELTAS_PER_OBJECT.saturating_mul(brought.len().into()));
    for (id, kind) in brought.objects() {
        if !odb.has(&id)? {
            continue;
        }
        go_on()?;
        let Some((their_kind, len, their_deltas)) = odb.header(&id)? else { continue };
        if their_kind != kind {
            return Err(collision(&id));
        }
        if len > MAX_LEN {
            continue;
        }
        let ours = reader.get_or_insert_with(|| brought.reader(MAX_LEN));
        let our_deltas = ours.deltas(&id)?.unwrap_or(0) as u64;
        let deltas = our_deltas.saturating_add(their_deltas.into());
        budget = budget.checked_sub(deltas).ok_or_else(|| {
            let text = "the work of comparing objects with those that the repository has exceeds the limit";
            Error::new(ErrorKind::LimitExceeded, format!("{text} of {DELTAS_PER_OBJECT} deltas for each"))
        })?;
        let Some((_, theirs)) = odb.read(&id, MAX_LEN)? else { continue };
        match ours.read(&id) {
            Ok(Some((_, data))) if data == theirs => {}
            Ok(_) => return Err(collision(&id)),
            // It is made from an object that is too long to be held.
            Err(error) if error.kind() == ErrorKind::LimitExceeded => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Git's words.
fn collision(id: &ObjectId) -> Error {
    Error::new(ErrorKind::Collision, format!("SHA1 COLLISION FOUND WITH {id}"))
}
