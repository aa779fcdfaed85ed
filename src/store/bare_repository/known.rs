use super::Odb;
use super::incoming::{Brought, BroughtReader};
use crate::proto::{ObjectId, ObjectKind};
use crate::store::complete::PackIds as _;
use crate::store::index::{Bases as _, Budget};
use crate::{Error, ErrorKind};

/// Longer objects are compared by kind and length alone: both copies would have to be in memory, and the hash with
/// collision detection has already seen every byte of the new one.
const MAX_LEN: u64 = 16 << 20;

/// How many deltas of the repository may be resolved for each object of the pack, to compare it with what is there, and
/// for all together on top. Git makes chains of at most 50 deltas unless told otherwise. What that is in bytes, and what
/// resolving those of the push costs, is limited with all else that the push has us read once more.
const DELTAS_PER_OBJECT: u64 = 100;
const DELTAS: u64 = 1 << 19;

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
struct Comparison<'a, 'b> {
    brought: &'b Brought<'a>,
    odb: &'b Odb,
    /// Nearly always there is nothing to read.
    reader: Option<BroughtReader<'a>>,
    /// How many deltas may still be resolved.
    deltas: u64,
}

impl<'a, 'b> Comparison<'a, 'b> {
    fn new(brought: &'b Brought<'a>, odb: &'b Odb) -> Self {
        let deltas = DELTAS.saturating_add(DELTAS_PER_OBJECT.saturating_mul(brought.len().into()));
        Self { brought, odb, reader: None, deltas }
    }

    fn compare(&mut self, id: &ObjectId, kind: ObjectKind) -> Result<(), Error> {
        let Some((their_kind, len, deltas)) = self.odb.header(id)? else { return Ok(()) };
        if their_kind != kind {
            return Err(collision(id));
        }
        if len > MAX_LEN {
            return Ok(());
        }
        self.deltas = self.deltas.checked_sub(deltas.into()).ok_or_else(|| {
            let text = "the work of comparing objects with those that the repository has exceeds the limit";
            Error::new(ErrorKind::LimitExceeded, format!("{text} of {DELTAS_PER_OBJECT} deltas for each"))
        })?;
        let budget = self.brought.budget();
        let theirs = match self.odb.base(id, MAX_LEN, budget) {
            Ok(Some((_, data))) => data,
            Ok(None) => return Ok(()),
            Err(error) => return too_long(error, budget),
        };
        let ours = self.reader.get_or_insert_with(|| self.brought.reader(MAX_LEN));
        match ours.read(id) {
            Ok(Some((_, data))) if data == theirs => Ok(()),
            Ok(_) => Err(collision(id)),
            Err(error) => too_long(error, budget),
        }
    }
}

/// What is made from an object that is too long to be held is not compared; unless it is the budget that is spent.
fn too_long(error: Error, budget: &Budget) -> Result<(), Error> {
    if error.kind() == ErrorKind::LimitExceeded { budget.check() } else { Err(error) }
}

/// Git's words.
fn collision(id: &ObjectId) -> Error {
    Error::new(ErrorKind::Collision, format!("SHA1 COLLISION FOUND WITH {id}"))
}
