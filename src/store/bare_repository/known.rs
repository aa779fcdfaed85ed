use super::Odb;
use super::incoming::{Brought, BroughtReader};
use crate::proto::{ObjectId, ObjectKind};
use crate::store::complete::PackIds as _;
use crate::{Error, ErrorKind};

/// Longer objects are compared by kind and length alone: both copies would have to be in memory, and the hash with
/// collision detection has already seen every byte of the new one.
const MAX_LEN: u64 = 16 << 20;

/// How many deltas may be resolved for each object of the pack, to compare it with what the repository has, and for all
/// together on top. Git makes chains of at most 50 deltas unless told otherwise.
const DELTAS_PER_OBJECT: u64 = 200;
const DELTAS: u64 = 1 << 20;

/// Of a push of so many objects it is not each looked for as a file.
const MANY: u32 = 1 << 12;

/// Refuses a pack with an object that the repository has under the same id with other bytes: somebody has found a
/// collision, or the repository is damaged. Either way nobody must get the one and believe it to be the other.
///
/// Nearly always a push brings nothing that the repository has, and this costs a look into its indexes per object.
pub(super) fn compare(
    brought: &Brought<'_>,
    odb: &Odb,
    mut go_on: impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    let mut comparison = Comparison::new(brought, odb);
    if brought.len() < MANY {
        for (id, kind) in brought.objects() {
            if odb.has(&id)? {
                go_on()?;
                comparison.compare(&id, kind)?;
            }
        }
        return Ok(());
    }
    let inventory = odb.inventory();
    for (id, kind) in brought.objects() {
        if inventory.is_packed(&id) {
            go_on()?;
            comparison.compare(&id, kind)?;
        }
    }
    for id in inventory.loose() {
        if let Some(kind) = brought.kind_of(&id) {
            go_on()?;
            comparison.compare(&id, kind)?;
        }
    }
    Ok(())
}

/// Compares objects, one after the other.
struct Comparison<'a> {
    brought: &'a Brought<'a>,
    odb: &'a Odb,
    /// Nearly always there is nothing to read.
    reader: Option<BroughtReader<'a>>,
    /// How many deltas may still be resolved.
    budget: u64,
}

impl<'a> Comparison<'a> {
    fn new(brought: &'a Brought<'a>, odb: &'a Odb) -> Self {
        let budget = DELTAS.saturating_add(DELTAS_PER_OBJECT.saturating_mul(brought.len().into()));
        Self { brought, odb, reader: None, budget }
    }

    fn compare(&mut self, id: &ObjectId, kind: ObjectKind) -> Result<(), Error> {
        let Some((their_kind, len, their_deltas)) = self.odb.header(id)? else { return Ok(()) };
        if their_kind != kind {
            return Err(collision(id));
        }
        if len > MAX_LEN {
            return Ok(());
        }
        let ours = self.reader.get_or_insert_with(|| self.brought.reader(MAX_LEN));
        let our_deltas = ours.deltas(id)?.unwrap_or(0) as u64;
        let deltas = our_deltas.saturating_add(their_deltas.into());
        self.budget = self.budget.checked_sub(deltas).ok_or_else(|| {
            let text = "the work of comparing objects with those that the repository has exceeds the limit";
            Error::new(ErrorKind::LimitExceeded, format!("{text} of {DELTAS_PER_OBJECT} deltas for each"))
        })?;
        let Some((_, theirs)) = self.odb.read(id, MAX_LEN)? else { return Ok(()) };
        match ours.read(id) {
            Ok(Some((_, data))) if data == theirs => Ok(()),
            Ok(_) => Err(collision(id)),
            // It is made from an object that is too long to be held.
            Err(error) if error.kind() == ErrorKind::LimitExceeded => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Git's words.
fn collision(id: &ObjectId) -> Error {
    Error::new(ErrorKind::Collision, format!("SHA1 COLLISION FOUND WITH {id}"))
}
