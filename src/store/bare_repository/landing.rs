use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::connectivity::Check;
use super::current_branch::CurrentBranches;
use super::known;
use super::migrate::pack_name;
use super::reading::Reading;
use super::refs::{Mode, Reflog, Update};
use super::sealed::{Sealed, SealedPack, Stored};
use super::store::BareRepository;
use super::writer::{PackWriter, cannot_write};
use super::{alternates, shallow};
use crate::Error;
use crate::proto::{Command, ObjectId, Report};
use crate::push::{Meter, Progress, UpdateRequest};
use crate::store::blocking::Cancelled;
use crate::store::complete::{self, Objects, PackIds as _, Targets};
use crate::store::examine::MAX_SPECIAL_FILE;
use crate::store::index::{Budget, complete_thin};

/// From a pack in quarantine to moved refs, in the order that makes a push land wholly or not at all:
///
/// 1. [`seal`](Self::seal): the pack is indexed, completed, and with its indexes made durable in quarantine, or, if it is
///    small, [unpacked](super::unpack) in memory;
/// 2. [`check_connectivity`](Self::check_connectivity): what the new refs need is checked to be there; here a policy may
///    look at the push;
/// 3. [`land`](Self::land): the objects are [migrated](Sealed::migrate) to where everybody sees them, durably, and kept
///    there;
/// 4. the refs move.
///
/// Until step 3 nobody but us sees anything. A crash between 3 and 4 leaves objects that no ref needs, which `git gc`
/// clears away.
pub(super) struct Landing {
    store: BareRepository,
    progress: Progress,
    cancelled: Cancelled,
}

impl Landing {
    pub(super) fn new(store: BareRepository, progress: Progress) -> Self {
        Self { store, progress, cancelled: Cancelled::default() }
    }

    /// What ends the landing with an error, unless the refs are about to move.
    pub(super) fn cancelled(&self) -> Cancelled {
        self.cancelled.clone()
    }

    /// Lands a sealed push; says what became of each ref. Blocks.
    pub(super) fn land(&self, sealed: Option<&Sealed>, mut request: UpdateRequest) -> Result<Report, Error> {
        let sealed_objects = sealed.map(Sealed::brought);
        let brought: &dyn Objects = sealed_objects.as_ref().map_or(&(), |brought| brought);
        let rules = self.store.repository.rules();
        let settings = &self.store.settings;
        let current = CurrentBranches::read(&self.store.repository)?;
        current.judge_updates(settings.deny_current_branch, &mut request, &self.progress);
        rules.judge_deletes(&mut request, &self.progress);
        current.judge_deletes(settings.deny_delete_current, &mut request, &self.progress);
        // Whatever happens: once refs move, all of them do.
        let targets = Targets { brought, repository: &*self.store.odb };
        let shallow = shallow::boundary(&self.store.repository)?;
        let history = Reading::new(&targets, &shallow, || self.go_on());
        rules.judge_fast_forwards(&mut request, &history, &self.progress)?;
        request.settle_atomic();
        if request.is_refused() {
            return Ok(request.report());
        }
        self.go_on()?;
        let migrated = match sealed.map(|sealed| sealed.migrate(&self.store.repository)).transpose() {
            Ok(migrated) => migrated,
            // The pack was good: what failed is not the unpacking of it.
            Err(error) => {
                let text = "unable to migrate objects to permanent storage";
                request.refuse_where(|_| Some(text));
                return Ok(request.report().with_error(Some(Error::store(text, error))));
            }
        };
        let trouble = self.move_refs(&mut request, &targets);
        // From here on the refs keep the pack.
        drop(migrated);
        Ok(request.report().with_error(trouble))
    }

    fn go_on(&self) -> Result<(), Error> {
        self.cancelled.go_on()
    }

    /// Indexes the pack and makes its objects durable; `None` if there are none, as for a new ref to a known commit.
    /// Blocks.
    pub(super) fn seal(&self, writer: PackWriter, checksum: &ObjectId) -> Result<Option<Sealed>, Error> {
        if writer.indexer.len() == 0 {
            return Ok(None);
        }
        let PackWriter { mut pack, indexer, links, examination, unpack, directory } = writer;
        pack.finish(checksum.as_bytes()).map_err(cannot_write)?;
        let odb = &*self.store.odb;
        // A store that is open for long may lack packs whose indexes could not be loaded once.
        odb.renew(Duration::from_secs(1));
        let meter = Meter::new(&self.progress, "Resolving deltas");
        let others = (&examination, &unpack);
        let visit = (&links, &others);
        let mut index = indexer.resolve(&pack, odb, &visit, self.store.settings.threads, |done, total| {
            meter.update(done, total);
            self.go_on()
        })?;
        index.refuse_duplicates()?;
        let stored = match unpack.take(index.len()) {
            Some(objects) => Stored::Loose(objects),
            None => {
                let mut file = pack.into_file().map_err(cannot_write)?;
                let completed_with = index.external_bases().iter().copied().collect();
                let checksum = complete_thin(&mut index, &mut file, odb, || self.go_on())?.unwrap_or(*checksum);
                let name = pack_name(&checksum).map_err(cannot_write)?;
                Stored::Pack(SealedPack { file, completed_with, checksum, name })
            }
        };
        // Resolving may take long, and packs that came since are not known.
        odb.renew(Duration::from_secs(1));
        let budget = Budget::for_reading(index.pack_len());
        let sealed = Sealed { index, links, stored, budget, directory };
        let brought = sealed.brought();
        known::compare(&brought, odb, || self.go_on())?;
        let mut reader = brought.reader(MAX_SPECIAL_FILE);
        examination.finish(|id| {
            self.go_on()?;
            match brought.kind_of(id) {
                Some(_) => reader.read(id).or_else(|error| sealed.budget.check().and(Err(error))),
                None => odb.read(id, MAX_SPECIAL_FILE),
            }
        })?;
        sealed.make_durable().map_err(cannot_write)?;
        Ok(Some(sealed))
    }

    /// Refuses to move what the pusher is not shown.
    pub(super) fn judge_hidden(&self, request: &mut UpdateRequest) {
        request.refuse_where(|command| match self.store.hidden.hides(&command.name) {
            true if command.is_delete() => Some("deny deleting a hidden ref"),
            true => Some("deny updating a hidden ref"),
            false => None,
        });
    }

    /// Refuses the refs that need what is not there. Blocks.
    pub(super) fn check_connectivity(&self, request: &mut UpdateRequest, sealed: Option<&Sealed>) -> Result<(), Error> {
        // Packs that `git gc` has removed may still be open, and must not count. To look again at once would cost as much
        // as all the rest of a small push, and git relies on what it saw for as long as a push takes.
        self.store.odb.renew(Duration::from_secs(1));
        let (places, commands): (Vec<usize>, Vec<&Command>) =
            request.open().filter(|(_, command)| !command.is_delete()).unzip();
        if commands.is_empty() {
            return Ok(());
        }
        let repository = &self.store.repository;
        let news: Vec<ObjectId> = commands.iter().map(|command| command.new).collect();
        let olds: Vec<ObjectId> = commands.iter().map(|command| command.old).filter(|old| !old.is_zero()).collect();
        let refs = repository.refs().list(b"refs/")?.into_iter();
        let shown = refs.filter(|listed| !self.store.hidden.hides(&listed.name)).map(|listed| listed.id);
        let trusted: Vec<ObjectId> = shown.chain(alternates::tips(repository)).collect();
        let sealed_objects = sealed.map(Sealed::brought);
        let shallow = shallow::boundary(repository)?;
        let brought: &dyn Objects = sealed_objects.as_ref().map_or(&(), |brought| brought);
        let brought = Reading::new(brought, &shallow, || self.go_on());
        let repository = Reading::new(&*self.store.odb, &shallow, || self.go_on());
        let check = Check {
            pack: sealed_objects.as_ref().map_or(&(), |brought| brought),
            brought: &brought,
            repository: &repository,
            trusted: &trusted,
            olds: &olds,
        };
        let found = check.run(sealed.map(|sealed| &sealed.links), &news)?;
        complete::refuse(request, places, found, &self.progress);
        Ok(())
    }

    /// Moves the refs; gives the first trouble that was not the push's.
    fn move_refs(&self, request: &mut UpdateRequest, targets: &Targets<'_>) -> Option<Error> {
        let (places, updates): (Vec<usize>, Vec<Update>) = request
            .open()
            .map(|(place, command)| (place, Update { name: command.name.to_vec(), old: command.old, new: command.new }))
            .unzip();
        let mode = if request.negotiated().atomic { Mode::Atomic } else { Mode::Each };
        let reflog = Reflog { committer: self.committer(), message: "push".to_owned() };
        let outcomes = self.store.repository.refs().transaction(&updates, mode, targets, &reflog);
        let mut trouble = None;
        for (place, outcome) in places.into_iter().zip(outcomes) {
            if let Err(refusal) = outcome {
                if let Some(text) = &refusal.text {
                    self.progress.note(format_args!("error: {text}"));
                }
                request.refuse(place, refusal.reason.as_str());
                trouble = trouble.or(refusal.source);
            }
        }
        trouble
    }

    /// Who stands in the reflogs, and since when.
    fn committer(&self) -> String {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        format!("{} {seconds} +0000", self.store.committer)
    }
}
