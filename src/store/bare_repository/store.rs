use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::thread;

use bytes::Bytes;

use super::current_branch::Deny;
use super::quarantine::BareQuarantine;
use super::{Odb, Repository, alternates, shallow, sweep, unpack};
use crate::Error;
use crate::fsck::Checks;
use crate::proto::{Advertisement, HiddenRefs, ObjectFormat, default_capabilities};
use crate::push::{Progress, UpdateRequest};
use crate::store::blocking::blocking;
use crate::store::examine::Examine;
use crate::store::{PackLimits, Scan, Store};

/// A bare repository on disk, as stock git reads and writes it.
///
/// A push goes into a quarantine directory inside the repository as it arrives; memory does not grow with its bytes,
/// but by about 50 bytes for each object. Beside the pack, short deltas lie there as they were inflated, until all are
/// resolved: half of the pack again where most objects are deltas, twice the pack at most. When the pack is in, its
/// deltas are resolved on as many threads as are [allowed](Self::threads), off the async runtime; thin packs are
/// completed; and what the new refs need is checked to be there. Then pack, index and reverse index are made durable and
/// moved into place, or, of a [small push](Self::unpack_limit), one file for each object; and after that
/// the refs move, each by compare-and-swap under git's own lock files.
/// Other processes, git among them, may use the repository at the same time.
///
/// What the repository's own configuration file says of pushes holds: `receive.denyDeletes`,
/// `receive.denyNonFastForwards` (which `git init --shared` sets), `receive.denyDeleteCurrent`, `receive.fsckObjects`,
/// `receive.hideRefs`, `receive.maxInputSize`, `receive.unpackLimit` and their like under `transfer`. It is read when the
/// repository is opened. What is about the connection rather than the repository (time-outs, push options, nonces) is for
/// the server to set.
///
/// Cheap to clone; clones share what they know of the repository's packs. What they know is up to date for each push; between
/// two they may keep packs open that `git gc` has removed, which then take up the disk until the next push, or until the
/// last clone is dropped.
///
/// ```
/// use receive_pack::proto::ObjectFormat;
/// use receive_pack::store::BareRepository;
///
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("demo.git");
/// let repository = BareRepository::init(&path, ObjectFormat::Sha1)?.threads(2);
/// # drop(repository);
/// # Ok::<(), receive_pack::Error>(())
/// ```
#[derive(Clone)]
pub struct BareRepository {
    pub(super) repository: Arc<Repository>,
    pub(super) odb: Arc<Odb>,
    pub(super) settings: Settings,
    pub(super) examine: Examine,
    pub(super) hidden: Arc<HiddenRefs>,
    /// `Name <email>`.
    pub(super) committer: Arc<str>,
}

/// To find out means to read several files; a server opens a repository for each push.
static PROCESSORS: LazyLock<NonZeroUsize> =
    LazyLock::new(|| thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) threads: NonZeroUsize,
    pub(super) detect_collisions: bool,
    pub(super) deny_current_branch: Deny,
    pub(super) deny_delete_current: Deny,
    pub(super) unpack_limit: u32,
    /// Bytes.
    pub(super) max_input_size: Option<u64>,
    pub(super) limits: PackLimits,
}

impl BareRepository {
    /// Opens a repository: the `.git` in the directory if there is one, as git does, else the directory itself. Blocks on
    /// the disk for a moment.
    ///
    /// What pushes left behind that did not live to clean up is cleared away: quarantines of this crate whose process is
    /// gone, and packs and objects that they had not wholly put in place. Nothing of a living process is touched, nor
    /// anything of git's. Locks stay: nobody can tell whether the owner of a lock is alive, and the ref that is locked is
    /// refused until somebody removes it.
    ///
    /// Who lives is told by `flock`. Several hosts may serve a repository on a file system that they share only if each
    /// sees the locks of the others: on NFS mounted with `local_lock`, and on SSHFS, one may clear away what another is
    /// about to put in place, and pushes fail.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is none at this path;
    /// [`ErrorKind::Store`](crate::ErrorKind::Store) if there is one that this crate cannot write: with an extension that
    /// it does not know, with reftables, with an `includeIf` in its configuration (`include` is followed), or with
    /// alternates that cannot be followed. (Of these git leaves out what is a file, is the repository itself, or leads
    /// back to it; here they have to be mended, and those of an alternate have to be absolute paths.)
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::new(Repository::open(path.as_ref())?)
    }

    /// Opens a repository as [`open`](Self::open) does, or makes a new one, which is bare. Two that do so at the same time
    /// get the same one. Blocks on the disk for a moment.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), and if a repository of another object format is there.
    pub fn init(path: impl AsRef<Path>, format: ObjectFormat) -> Result<Self, Error> {
        Self::new(Repository::init(path.as_ref(), format)?)
    }

    /// What the store makes of an open repository.
    pub(super) fn new(repository: Repository) -> Result<Self, Error> {
        alternates::check(&repository)?;
        sweep::sweep(&repository);
        let odb = repository.odb(u64::MAX)?;
        let settings = Settings {
            threads: *PROCESSORS,
            detect_collisions: true,
            deny_current_branch: repository.rules().deny_current_branch,
            deny_delete_current: repository.rules().deny_delete_current,
            unpack_limit: repository.rules().unpack_limit.unwrap_or(unpack::DEFAULT_LIMIT),
            max_input_size: repository.rules().max_input_size,
            limits: PackLimits::default(),
        };
        let hidden = Arc::new(repository.hidden_refs().clone());
        let examine = Examine { checks: repository.rules().checks.clone(), scan: None };
        // A server has no name of its own to put there.
        let committer = Arc::from("receive-pack <receive-pack@localhost>");
        Ok(Self { repository: Arc::new(repository), odb: Arc::new(odb), settings, examine, hidden, committer })
    }

    /// How many threads resolve the deltas of one push. Default: one per processor; at least one.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.settings.threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// Whether SHA-1 ids are computed with detection of the known collision attacks, as git does. Default yes; without
    /// it, a pack of source code is indexed in about a third less time.
    #[must_use]
    pub fn detect_collisions(mut self, detect: bool) -> Self {
        self.settings.detect_collisions = detect;
        self
    }

    /// Whether a branch that somebody has checked out, in the work tree of the repository or in a linked one, may not be
    /// moved: its files would stay as they are. Default: what the repository's configuration says under
    /// `receive.denyCurrentBranch`, and that it may not if it says nothing, or `updateInstead`.
    #[must_use]
    pub fn deny_current_branch(mut self, deny: bool) -> Self {
        self.settings.deny_current_branch = deny.into();
        self
    }

    /// Whether the branch that `HEAD` names, or that somebody has checked out, may not be deleted. Default: what the
    /// repository's configuration says under `receive.denyDeleteCurrent`, and that it may not if it says nothing.
    #[must_use]
    pub fn deny_delete_current(mut self, deny: bool) -> Self {
        self.settings.deny_delete_current = deny.into();
        self
    }

    /// Checks every object of a push as git does where `receive.fsckObjects` is set: one that breaks a rule refuses the
    /// push, with `object <id>: <message>: <text>` for its reason; warnings go to the pusher. Default: what the
    /// repository's configuration says under `receive.fsckObjects`, `transfer.fsckObjects` and `receive.fsck.<message>`;
    /// if it says nothing no checks, for histories that are imported break old rules more often than one would think.
    #[must_use]
    pub fn check_objects(mut self, checks: impl Into<Option<Checks>>) -> Self {
        self.examine.checks = checks.into();
        self
    }

    /// Shows every object of a push to this, its deltas resolved. Default: to nobody. A clone of the store may have a
    /// scan of its own: one for each push, if it is to know whose push it is.
    #[must_use]
    pub fn scan(mut self, scan: impl Scan) -> Self {
        self.examine.scan = Some(Arc::new(scan));
        self
    }

    /// What resolving the deltas of one push may cost.
    #[must_use]
    pub fn limits(mut self, limits: PackLimits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Refuses packs of more bytes, header and trailer included; 0 is no limit. Default: what the repository's configuration
    /// says under `receive.maxInputSize`, and no limit if it says nothing. A server's own limit for all repositories is
    /// [`LimitLayer::pack_bytes`](crate::limit::LimitLayer::pack_bytes); both hold. While it arrives, a push may take three
    /// times as much of the disk.
    #[must_use]
    pub fn max_input_size(mut self, bytes: u64) -> Self {
        self.settings.max_input_size = (bytes != 0).then_some(bytes);
        self
    }

    /// Pushes of fewer objects than this are stored as loose objects, others as a pack. Default: what the repository's
    /// configuration says under `receive.unpackLimit` or `transfer.unpackLimit`; if it says nothing 16 (git: 100). At 0
    /// and 1 each push makes a pack. More than 100 are taken for 100, and a push of more than 1 MiB of objects always
    /// makes a pack.
    ///
    /// Each pack costs whoever looks for an object in the repository, until a `git gc` makes them one; each loose object
    /// costs the push that brings it a wait for the disk.
    #[must_use]
    pub fn unpack_limit(mut self, objects: u32) -> Self {
        self.settings.unpack_limit = objects;
        self
    }

    /// The refs that are hidden from those who push: not advertised, not to be moved, and what they reach is not taken to be
    /// complete; but who knows an id can make another ref point at it. Default: what the repository's own configuration says under `receive.hideRefs` and `transfer.hideRefs`.
    #[must_use]
    pub fn hide_refs(mut self, hidden: HiddenRefs) -> Self {
        self.hidden = Arc::new(hidden);
        self
    }

    /// Who moves the refs, in the words of their reflogs; git takes it from `GIT_COMMITTER_NAME` and `GIT_COMMITTER_EMAIL`.
    /// Default `receive-pack` and `receive-pack@localhost`. A clone of the store may have a committer of its own: one for
    /// each push, if the logs are to tell who pushed. What would end the one or the other is left out: `<`, `>`, and
    /// control characters.
    #[must_use]
    pub fn committer(mut self, name: &str, email: &str) -> Self {
        let plain = |text: &str| text.replace(|c: char| matches!(c, '<' | '>') || c.is_control(), "");
        self.committer = format!("{} <{}>", plain(name).trim(), plain(email).trim()).into();
        self
    }

    /// The object format of the repository.
    pub fn object_format(&self) -> ObjectFormat {
        self.repository.object_format()
    }

    /// The directory that holds `HEAD`.
    pub fn path(&self) -> &Path {
        self.repository.git_dir()
    }
}

impl fmt::Debug for BareRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BareRepository").field("path", &self.path()).field("settings", &self.settings).finish()
    }
}

/// Needs a tokio runtime, for its blocking threads.
impl Store for BareRepository {
    type Quarantine = BareQuarantine;

    async fn advertise(&self) -> Result<Advertisement, Error> {
        let (repository, hidden) = (Arc::clone(&self.repository), Arc::clone(&self.hidden));
        blocking(move || {
            let refs = repository.refs().list(b"refs/")?;
            let refs = refs.into_iter().map(|listed| (Bytes::from(listed.name), listed.id));
            let mut capabilities = default_capabilities(repository.object_format());
            if repository.rules().is_partial {
                // What a delta is made from may be elsewhere, and nobody fetches it from there.
                capabilities = capabilities.with("no-thin");
            }
            Ok(Advertisement::new(repository.object_format())
                .with_capabilities(capabilities)
                .with_refs(refs)
                .without_hidden(&hidden)
                .with_haves(alternates::tips(&repository))
                .with_shallow(shallow::boundary(&repository)?))
        })
        .await
    }

    async fn quarantine(&self, request: &UpdateRequest, progress: Progress) -> Result<BareQuarantine, Error> {
        Ok(BareQuarantine::new(self.clone(), progress, request.has_pack()))
    }
}
