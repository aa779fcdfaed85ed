use std::collections::HashMap;

use super::commit::{PackedLock, packed_failed};
use super::loose::Touched;
use super::packed::Changes;
use super::prepare::{Locked, Prepared, check_room};
use super::reflog;
use super::refusal::lossy;
use super::transaction::{Outcomes, Plan};
use super::{Reason, Reflog, Refs, Refusal};
use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::store::complete::Objects;
use crate::store::links;

/// How many tags may point at each other in a row before we stop to look for what is at their end.
const MAX_TAGS: usize = 10_000;

impl Refs {
    /// Moves all prepared refs by one rename of `packed-refs`.
    ///
    /// All locks are held. A loose ref hides the packed one of its name, so first every ref of the transaction becomes
    /// packed *with the value it has*; then one rename gives all of them their new values, deletions included.
    ///
    /// | after | `packed-refs` says | files | what everybody reads |
    /// |---|---|---|---|
    /// | the locks | old values, or older ones | old values, or none | all old |
    /// | 1. `packed-refs` rewritten with the old values, synced | old | old, or none | all old |
    /// | 2. some of the files removed | old | old, or none | all old |
    /// | 3. all of the files removed, their directories synced | old | none | all old |
    /// | 4. **`packed-refs` rewritten with the new values, synced** | new | none | **all new** |
    /// | 5. the lock files renamed into place, or removed | new | new, or none | all new |
    ///
    /// A crash at any point, also one that loses what was not synced, leaves one of these lines; so does looking at
    /// the refs meanwhile. Step 3 is synced before step 4 because a file that came back after a crash would hide a new
    /// value. If step 4 cannot be done, everything is old, and only packed; but if it is only the last sync that fails,
    /// everything is new and reported to have failed, for a crash might take it back.
    ///
    /// Step 5 is not needed for what the refs say, but the files keep others from creating `a/b` beside a new `a`: only
    /// who begins between our last look and step 4 can still do that, and then both are there, which git lists and can
    /// delete.
    pub(super) fn commit_atomically(
        &self,
        prepared: Vec<Prepared>,
        objects: &dyn Objects,
        reflog: &Reflog,
        touched: &mut Touched,
        outcomes: &mut Outcomes,
    ) {
        let mut peeler = Peeler::new(objects);
        let done = self.lock_packed().map_err(Failure::Broken).and_then(|lock| {
            self.pack_old_values(&lock, &prepared, &mut peeler, touched)?;
            self.switch(&lock, &prepared, &mut peeler, reflog)?;
            Ok(lock)
        });
        let packed_lock = match done {
            Ok(lock) => lock,
            Err(failure) => {
                for (number, Prepared { plan, .. }) in prepared.iter().enumerate() {
                    match &failure {
                        Failure::Refused(at, refusal) if *at == number => outcomes.refuse(plan, refusal.clone()),
                        Failure::Refused(..) => {}
                        Failure::Broken(error) => outcomes.refuse(plan, packed_failed(self, &plan.name, error)),
                    }
                }
                return;
            }
        };
        for Prepared { plan, locked: Locked { lock, moves, .. } } in prepared {
            if plan.new.is_zero() {
                reflog::remove(&self.fs, &self.git_dir, &plan.name);
            } else if moves {
                // Without the file the ref is only packed: it has its value, durably.
                let _ = lock.commit();
            }
            touched.above(&self.git_dir, &plan.name);
            outcomes.done(&plan);
        }
        touched.parent_of(packed_lock.path());
        drop(packed_lock);
        // The refs are durable. This is for the locks: those that were in a directory when it was synced would be there
        // again after a crash, and nobody's.
        let _ = touched.sync(&self.fs);
    }

    /// Steps 1 to 3.
    fn pack_old_values(
        &self,
        lock: &PackedLock,
        prepared: &[Prepared],
        peeler: &mut Peeler<'_>,
        touched: &mut Touched,
    ) -> Result<(), Failure> {
        let loose = || {
            let all = prepared.iter().enumerate();
            all.filter(|(_, prepared)| prepared.locked.moves && prepared.locked.is_loose)
        };
        let packed = self.packed()?;
        let mut changes = Changes::new();
        for (number, Prepared { plan, .. }) in loose() {
            // A broken ref has the zero id, and no value to keep.
            if !plan.old.is_zero() && packed.get(&plan.name).is_none_or(|record| record.id != plan.old) {
                changes.insert(plan.name.clone(), Some((plan.old, peeler.peel(number, plan, &plan.old)?)));
            }
        }
        if !changes.is_empty() {
            self.write_packed(lock, &packed.rewrite(&changes))?;
        }
        let failed = |error| Failure::Broken(Error::store("a loose ref cannot be removed", error));
        for (_, Prepared { plan, .. }) in loose() {
            let path = self.path(&plan.name);
            touched.parent_of(&path);
            self.fs.remove(&path).map_err(failed)?;
        }
        touched.sync(&self.fs).map_err(failed)
    }

    /// Step 4.
    fn switch(
        &self,
        lock: &PackedLock,
        prepared: &[Prepared],
        peeler: &mut Peeler<'_>,
        reflog: &Reflog,
    ) -> Result<(), Failure> {
        let mut changes = Changes::new();
        for (number, Prepared { plan, locked }) in prepared.iter().enumerate() {
            if !locked.moves {
                continue;
            }
            if plan.old.is_zero() && !plan.new.is_zero() {
                check_room(self, &plan.name).map_err(|refusal| Failure::Refused(number, refusal))?;
            }
            let value = if plan.new.is_zero() { None } else { Some((plan.new, peeler.peel(number, plan, &plan.new)?)) };
            changes.insert(plan.name.clone(), value);
        }
        for Prepared { plan, .. } in prepared.iter().filter(|prepared| prepared.locked.moves) {
            self.log(reflog, &plan.name, &plan.through, &plan.old, &plan.new)
                .map_err(|error| Error::store("a reflog cannot be written", error))?;
        }
        if changes.is_empty() {
            return Ok(());
        }
        Ok(self.write_packed(lock, &self.packed()?.rewrite(&changes))?)
    }
}

/// Why an atomic transaction failed.
enum Failure {
    /// The ref of this number may not move.
    Refused(usize, Refusal),
    /// The server has a trouble.
    Broken(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// What annotated tags lead to at last.
///
/// Many refs may be moved to tags of one long chain: each tag is read once.
struct Peeler<'a> {
    objects: &'a dyn Objects,
    known: HashMap<ObjectId, End>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    /// It is no tag.
    Itself,
    At(ObjectId),
    /// At something that is not there, or a tag that cannot be read. To git such a tag has no value but itself.
    Nowhere,
}

impl<'a> Peeler<'a> {
    fn new(objects: &'a dyn Objects) -> Self {
        Self { objects, known: HashMap::new() }
    }

    /// What this leads to, for the ref of this number; `None` for anything but a tag.
    fn peel(&mut self, number: usize, plan: &Plan, id: &ObjectId) -> Result<Option<ObjectId>, Failure> {
        let mut way = Vec::new();
        let mut at = *id;
        let end = loop {
            match self.known.get(&at) {
                Some(End::Itself) => break End::At(at),
                Some(end) => break *end,
                None => {}
            }
            match self.objects.kind(&at)? {
                Some(ObjectKind::Tag) if way.len() >= MAX_TAGS => {
                    let text = format!("tag {id} leads through more than {MAX_TAGS} tags");
                    let text = format!("cannot update ref '{}': {text}", lossy(&plan.name));
                    return Err(Failure::Refused(number, Refusal::new(Reason::InvalidNewValue, text)));
                }
                Some(ObjectKind::Tag) => {
                    way.push(at);
                    match self.target(&at)? {
                        Some(target) => at = target,
                        None => break End::Nowhere,
                    }
                }
                Some(_) => drop(self.known.insert(at, End::Itself)),
                None => drop(self.known.insert(at, End::Nowhere)),
            }
        };
        self.known.extend(way.into_iter().map(|tag| (tag, end)));
        match end {
            End::At(end) if end != *id => Ok(Some(end)),
            _ => Ok(None),
        }
    }

    /// What a tag points at.
    fn target(&self, id: &ObjectId) -> Result<Option<ObjectId>, Error> {
        let Some((ObjectKind::Tag, data)) = self.objects.object(id)? else { return Ok(None) };
        Ok(links::tag(&data, id.format()).ok().map(|(target, _)| target))
    }
}
