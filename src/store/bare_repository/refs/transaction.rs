use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::io;

use super::loose::Touched;
use super::prepare::{Prepared, lock_and_check};
use super::refusal::lossy;
use super::{Reason, Reflog, Refs, Refusal, Resolved, Value, name};
use crate::Error;
use crate::proto::ObjectId;
use crate::store::complete::Objects;

/// One command: move a ref from one value to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    /// The full name.
    pub(crate) name: Vec<u8>,
    /// What it must hold now; the zero id: it must not exist.
    pub(crate) old: ObjectId,
    /// What it shall hold; the zero id: it shall not exist.
    pub(crate) new: ObjectId,
}

/// Whether the updates of a transaction stand or fall together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each by itself; deletions first, so that `a` may make room for `a/b`.
    Each,
    /// All or none, whatever happens, a crash included.
    Atomic,
}

/// How many refs are locked at once that move each by itself: others must not wait for a whole mirror, and what is killed
/// leaves no more locks. Those that are moved together share the syncs of their directories.
const UPDATES: usize = 64;

/// The same of those that are deleted: each time `packed-refs` is written anew.
const DELETIONS: usize = 1024;

/// What one ref shall become, and which of the commands ask for it.
#[derive(Debug)]
pub(super) struct Plan {
    /// The ref that holds the id: where symbolic refs lead.
    pub(super) name: Vec<u8>,
    /// The symbolic refs on the way.
    pub(super) through: Vec<Vec<u8>>,
    pub(super) old: ObjectId,
    pub(super) new: ObjectId,
    /// The commands: more than one if several aliases of one ref were given the same value.
    members: Vec<usize>,
}

/// The outcome of each command, as they come in.
#[derive(Debug)]
pub(super) struct Outcomes(Vec<Option<Result<(), Refusal>>>);

impl Outcomes {
    fn set(&mut self, members: &[usize], outcome: &Result<(), Refusal>) {
        for member in members {
            if let Some(slot) = self.0.get_mut(*member) {
                *slot = Some(outcome.clone());
            }
        }
    }

    pub(super) fn done(&mut self, plan: &Plan) {
        self.set(&plan.members, &Ok(()));
    }

    pub(super) fn refuse(&mut self, plan: &Plan, refusal: Refusal) {
        self.set(&plan.members, &Err(refusal));
    }

    fn any_refused(&self) -> bool {
        self.0.iter().flatten().any(Result::is_err)
    }

    /// The outcome of an atomic transaction that failed: everybody failed, with the text of those who were the cause.
    fn all_failed(self) -> Vec<Result<(), Refusal>> {
        let failed = |outcome: Option<Result<(), Refusal>>| {
            let (text, source) = match outcome {
                Some(Err(refusal)) => (refusal.text, refusal.source),
                _ => (None, None),
            };
            Err(Refusal { reason: Reason::AtomicFailed, text, source })
        };
        self.0.into_iter().map(failed).collect()
    }

    fn finish(self) -> Vec<Result<(), Refusal>> {
        let missing = || Err(Refusal { reason: Reason::Failed, text: None, source: None });
        self.0.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }
}

impl Refs {
    /// Moves refs; says of each whether it moved, in the order given.
    ///
    /// A ref moves only if it holds `old` while its lock is held. Its new value is durable when this returns. A
    /// symbolic ref moves what it leads to. What branches shall hold must be commits, everything else any object that
    /// `objects` has.
    ///
    /// This blocks: on the disk, and for the timeouts on locks that others hold.
    pub(crate) fn transaction(
        &self,
        updates: &[Update],
        mode: Mode,
        objects: &dyn Objects,
        reflog: &Reflog,
    ) -> Vec<Result<(), Refusal>> {
        let mut outcomes = Outcomes(vec![None; updates.len()]);
        let plans = self.plan(updates, &mut outcomes);
        match mode {
            Mode::Each => {
                let (deletions, others): (Vec<_>, Vec<_>) = plans.into_iter().partition(|plan| plan.new.is_zero());
                let (mut touched, mut taken) = (Touched::default(), BTreeSet::new());
                let mut deletions = deletions.into_iter();
                while !deletions.as_slice().is_empty() {
                    let some = deletions.by_ref().take(DELETIONS).collect();
                    let prepared = self.prepare_all(some, &mut taken, objects, &mut touched, &mut outcomes);
                    self.commit_deletions(prepared, reflog, &mut touched, &mut outcomes);
                }
                let mut others = others.into_iter();
                while !others.as_slice().is_empty() {
                    let some = others.by_ref().take(UPDATES).collect();
                    let prepared = self.prepare_all(some, &mut taken, objects, &mut touched, &mut outcomes);
                    self.commit_updates(prepared, reflog, &mut touched, &mut outcomes);
                }
                outcomes.finish()
            }
            Mode::Atomic => {
                if !outcomes.any_refused() {
                    self.atomic(plans, objects, reflog, &mut outcomes);
                }
                if outcomes.any_refused() { outcomes.all_failed() } else { outcomes.finish() }
            }
        }
    }

    fn atomic(&self, plans: Vec<Plan>, objects: &dyn Objects, reflog: &Reflog, outcomes: &mut Outcomes) {
        let mut touched = Touched::default();
        // One ref moves by one rename, and that is atomic already.
        let single = plans.len() == 1;
        // Several move by one rename of `packed-refs`, where not all may be.
        for plan in plans.iter().filter(|plan| !single && name::is_per_work_tree(&plan.name)) {
            let why = "a work tree has it for itself, so it moves with no other in an atomic push";
            let text = format!("cannot update ref '{}': {why}", lossy(&plan.name));
            outcomes.refuse(plan, Refusal::new(Reason::Failed, text));
        }
        if outcomes.any_refused() {
            return;
        }
        let prepared = self.prepare_all(plans, &mut BTreeSet::new(), objects, &mut touched, outcomes);
        if outcomes.any_refused() {
            return;
        }
        if !single {
            return self.commit_atomically(prepared, objects, reflog, &mut touched, outcomes);
        }
        if prepared.iter().any(|prepared| prepared.plan.new.is_zero()) {
            self.commit_deletions(prepared, reflog, &mut touched, outcomes);
        } else {
            self.commit_updates(prepared, reflog, &mut touched, outcomes);
        }
    }

    /// Finds the refs that the commands are about; refuses those that no lock is needed to refuse. By name.
    fn plan(&self, updates: &[Update], outcomes: &mut Outcomes) -> Vec<Plan> {
        let mut plans: BTreeMap<Vec<u8>, Vec<Plan>> = BTreeMap::new();
        for (member, update) in updates.iter().enumerate() {
            match self.find(update) {
                Ok(Resolved { name, through, .. }) => {
                    let plan =
                        Plan { name: name.clone(), through, old: update.old, new: update.new, members: vec![member] };
                    plans.entry(name).or_default().push(plan);
                }
                Err(refusal) => outcomes.set(&[member], &Err(refusal)),
            }
        }
        let mut planned = Vec::with_capacity(plans.len());
        for (target, mut same) in plans {
            let Some(first) = same.pop() else { continue };
            if same.is_empty() {
                planned.push(first);
                continue;
            }
            let mut names = BTreeSet::new();
            let mut all = first.members.clone();
            all.extend(same.iter().flat_map(|plan| plan.members.iter().copied()));
            let aliases =
                all.iter().all(|member| updates.get(*member).is_some_and(|update| names.insert(&update.name)));
            let agree = same.iter().all(|plan| (plan.old, plan.new) == (first.old, first.new));
            if aliases && agree {
                planned.push(Plan { members: all, ..first });
            } else if aliases {
                let text = format!("refusing inconsistent updates of '{}' through its aliases", lossy(&target));
                outcomes.set(&all, &Err(Refusal::new(Reason::InconsistentAlias, text)));
            } else {
                let text = format!("multiple updates for ref '{}' not allowed", lossy(&target));
                outcomes.set(&all, &Err(Refusal::new(Reason::Failed, text)));
            }
        }
        planned
    }

    fn find(&self, update: &Update) -> Result<Resolved, Refusal> {
        let Update { name, old, new } = update;
        if !name::is_valid(name) {
            let text = format!("refusing to update funny ref '{}' remotely", lossy(name));
            return Err(Refusal::new(Reason::FunnyRefname, text));
        }
        if old.format() != self.format || new.format() != self.format {
            let text = format!("cannot update ref '{}': an id of another object format", lossy(name));
            return Err(Refusal::new(Reason::InvalidNewValue, text));
        }
        let resolved = self.resolve(name).map_err(|error| match cause(&error) {
            Some(io::ErrorKind::InvalidFilename) => Refusal::lock(Reason::Failed, name, "File name too long"),
            _ => Refusal::io(name, error),
        })?;
        if resolved.value == Value::Loop {
            let text = format!("refusing update to broken symref '{}'", lossy(name));
            return Err(Refusal::new(Reason::BrokenSymref, text));
        }
        Ok(resolved)
    }

    /// Locks and checks the refs, in the order of their names. Those that fail are refused and let go. `taken` has the names
    /// that refs of the transaction have or get.
    fn prepare_all(
        &self,
        plans: Vec<Plan>,
        taken: &mut BTreeSet<Vec<u8>>,
        objects: &dyn Objects,
        touched: &mut Touched,
        outcomes: &mut Outcomes,
    ) -> Vec<Prepared> {
        let mut prepared: Vec<Prepared> = Vec::with_capacity(plans.len());
        for plan in plans {
            match lock_and_check(self, &plan, taken, objects, touched) {
                Ok(locked) => {
                    if !plan.new.is_zero() {
                        taken.insert(plan.name.clone());
                    }
                    prepared.push(Prepared { plan, locked });
                }
                Err(refusal) => outcomes.refuse(&plan, refusal),
            }
        }
        prepared
    }
}

/// What the disk said.
fn cause(error: &Error) -> Option<io::ErrorKind> {
    error.source()?.downcast_ref::<io::Error>().map(io::Error::kind)
}
