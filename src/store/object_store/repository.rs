use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::bucket::Bucket;
use super::draft::Scratch;
use super::head::Head;
use super::layout::Layout;
use super::manifest::Manifest;
use super::packs::Packs;
use super::prune::{delete, prune};
use super::quarantine::ObjectStoreQuarantine;
use super::repack::Repack;
use crate::fsck::Checks;
use crate::proto::{Advertisement, HiddenRefs, ObjectFormat, ObjectId, default_capabilities};
use crate::push::{Progress, UpdateRequest};
use crate::store::blocking::Landed;
use crate::store::examine::Examine;
use crate::store::{PackLimits, Scan, Store};
use crate::{Error, ErrorKind};

/// A repository in an object store, S3 or its kin: for those who outgrow one machine.
///
/// Any number of servers may take pushes into it at once. Its refs and packs are named by a [`Manifest`], and one object says
/// which manifest holds, moved by compare-and-swap: so a push lands wholly or not at all, whatever dies on the way, and of
/// two that move the same ref the second is refused as any push is that comes too late. Nothing is kept on a server's disk;
/// one that starts sees the same as the others.
///
/// Each push that brings objects adds a pack. Nothing merges them but [`repack`](Self::repack), and nothing is removed but by
/// [`prune`](Self::prune): whoever serves the repository calls them now and then. Neither removes objects that no ref leads
/// to any more: for that export the repository, let git repack it, and push it to a new path.
///
/// An object that the repository has already is not compared with one that arrives under the same id (collisions of SHA-1
/// are detected in what arrives). This crate reads the older one; git, in an export, may read either.
///
/// What this version writes all later ones up to 1.0 will read.
///
/// Cheap to clone.
///
/// ```
/// use std::sync::Arc;
///
/// use object_store::memory::InMemory;
/// use receive_pack::proto::ObjectFormat;
/// use receive_pack::store::{Bucket, ObjectStoreRepository};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), receive_pack::Error> {
/// let bucket = Bucket::open(Arc::new(InMemory::new())).await?;
/// let repository = ObjectStoreRepository::init(&bucket, "team/demo.git", ObjectFormat::Sha1).await?;
/// assert_eq!(repository.manifest().await?.refs().len(), 0);
/// # Ok(())
/// # }
/// ```
#[doc = include_str!("layout.md")]
#[derive(Clone)]
pub struct ObjectStoreRepository {
    pub(super) bucket: Bucket,
    pub(super) layout: Layout,
    pub(super) format: ObjectFormat,
    /// Another repository may come to be at the path.
    pub(super) id: Arc<str>,
    pub(super) settings: Settings,
    pub(super) examine: Examine,
    pub(super) hidden: Arc<HiddenRefs>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) threads: NonZeroUsize,
    pub(super) detect_collisions: bool,
    pub(super) limits: PackLimits,
    pub(super) scratch: Scratch,
}

impl ObjectStoreRepository {
    /// Opens a repository at a path of the bucket: names between slashes, as in `team/project.git`; a slash before or behind
    /// them does not count. Two requests. What it gives may be kept as long as the process lives.
    ///
    /// One may lie below the path of another.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none, and can be none if the path is no path of an object store: one with `.` or
    /// `..` or an empty name in it. [`ErrorKind::Store`] if it cannot be read.
    pub async fn open(bucket: &Bucket, path: &str) -> Result<Self, Error> {
        let layout = Layout::new(path)?;
        match Head::read(bucket, &layout).await? {
            Some(head) => Ok(Self::new(bucket, layout, &head.manifest)),
            None => Err(Error::new(ErrorKind::NotFound, format!("there is no repository at {}", layout.root()))),
        }
    }

    /// Opens a repository as [`open`](Self::open) does, or makes a new one. Two that do so at the same time get the same
    /// one.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), and if a repository of another object format is there.
    pub async fn init(bucket: &Bucket, path: &str, format: ObjectFormat) -> Result<Self, Error> {
        let layout = Layout::new(path)?;
        let repository = match Head::read(bucket, &layout).await? {
            Some(head) => Self::new(bucket, layout, &head.manifest),
            None => {
                let first = Manifest::new(format);
                match Head::create(bucket, &layout, &first).await? {
                    true => Self::new(bucket, layout, &first),
                    false => Self::open(bucket, path).await?,
                }
            }
        };
        if repository.format != format {
            let (path, there) = (repository.path(), repository.format.name());
            let text = format!("the repository at {path} has the object format {there}");
            return Err(Error::new(ErrorKind::Store, text));
        }
        Ok(repository)
    }

    fn new(bucket: &Bucket, layout: Layout, manifest: &Manifest) -> Self {
        let settings = Settings {
            threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            detect_collisions: true,
            limits: PackLimits::default(),
            scratch: Scratch::new(std::env::temp_dir()),
        };
        let (examine, hidden) = (Examine::default(), Arc::default());
        let (format, id) = (manifest.object_format(), Arc::from(&*manifest.repository));
        Self { bucket: bucket.clone(), layout, format, id, settings, examine, hidden }
    }

    /// Where pushes have their temporary files, without names. How large they are is said above. Default: that of the operating system ([`std::env::temp_dir`]), which may be in memory.
    #[must_use]
    pub fn temporary_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.settings.scratch = Scratch::new(directory.into());
        self
    }

    /// How many threads resolve the deltas of one push. Default: one per processor; at least one.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.settings.threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// Whether SHA-1 ids are computed with detection of the known collision attacks, as git does. Default yes.
    #[must_use]
    pub fn detect_collisions(mut self, detect: bool) -> Self {
        self.settings.detect_collisions = detect;
        self
    }

    /// Checks every object of a push as git does where `receive.fsckObjects` is set: one that breaks a rule refuses the
    /// push, with `object <id>: <message>: <text>` for its reason; warnings go to the pusher. Default: no checks.
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

    /// The refs that are hidden from those who push: not advertised, and not to be moved. They are no secret: who knows an
    /// id can make another ref point at it. Default: none.
    #[must_use]
    pub fn hide_refs(mut self, hidden: HiddenRefs) -> Self {
        self.hidden = Arc::new(hidden);
        self
    }

    /// The object format of the repository.
    pub fn object_format(&self) -> ObjectFormat {
        self.format
    }

    /// Its path in the bucket.
    pub fn path(&self) -> &str {
        self.layout.root().as_ref()
    }

    /// What the repository is now, for those who read it: its refs, and where its packs are. Two requests. What refs lead to
    /// is whole.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// Full.
    pub async fn manifest(&self) -> Result<Manifest, Error> {
        Ok(self.head().await?.manifest)
    }

    /// Makes one pack of the latest ones, as `git repack --geometric=2` does: going back, of each pack that has less than twice
    /// as many objects as all later ones together. Says how many packs it was; 0 if there was nothing to do, or somebody
    /// else was quicker. Pushes may land meanwhile.
    ///
    /// Who looks for an object looks into the index of each pack. To call this now and then, after every hundredth push or
    /// every hour, keeps them as few as the logarithm of the number of objects. It takes the disk that a push of these objects
    /// would, some 100 bytes of memory for each, and more time: one thread, one request after the other. The indexes of these
    /// packs, 30 bytes for each object, must fit the cache of the [`Bucket`], or it comes to no end. The old packs stay for those who are reading them, until they are
    /// [pruned](Self::prune).
    ///
    /// # Errors
    ///
    /// The object store's trouble, and the disk's. The repository is either unchanged then or repacked; both are sound.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it stops by itself a little later. Nothing changes, unless the head was about to move: then it is repacked.
    pub async fn repack(&self) -> Result<usize, Error> {
        let repack = Repack::new(self);
        let (cancelled, guard) = (repack.cancelled(), self.bucket.landing());
        let run = async move {
            let merged = repack.run().await;
            drop(guard);
            merged
        };
        Landed::new(cancelled, tokio::spawn(run)).await
    }

    /// Removes what no manifest has named for about as long as `grace`, but not less than an hour: packs that were
    /// [merged](Self::repack), those of pushes that died on their way, and manifests that were replaced. Says how many
    /// objects that was. It lists all that is there, so call it about once a day, and not after each push.
    ///
    /// Who reads by a manifest that was replaced longer ago than `grace` may find its packs gone: a fetch, or a push that
    /// was resolved for so long, which then fails. No push lands without its objects: one that has begun to upload its pack
    /// when this removes something uploads it again. So leave more time between two than the longest push takes.
    ///
    /// How old something is, is told by the clock of the object store beside that of this host: of the hour goes what the two
    /// differ by. S3 turns away a host whose clock is 15 minutes off.
    ///
    /// # Errors
    ///
    /// The object store's trouble.
    ///
    /// # Cancel safety
    ///
    /// Full: what is left is removed the next time.
    pub async fn prune(&self, grace: Duration) -> Result<u64, Error> {
        prune(self, grace).await
    }

    /// Removes the repository: first its head, so that nobody can push into it or read it any more, and then the rest.
    /// Repositories at paths below its own stay. A push that is at work fails, also if somebody makes another repository at
    /// this path before it lands; but that nobody may do before this has returned.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is another repository at the path by now; the object store's trouble.
    ///
    /// # Cancel safety
    ///
    /// Where it was interrupted it can be done again, by the same handle; after a crash [`init`](Self::init) a repository at
    /// the path once more, and delete that.
    pub async fn delete(&self) -> Result<(), Error> {
        delete(self).await
    }

    /// The objects that are there now.
    pub(super) async fn packs(&self) -> Result<Packs, Error> {
        let manifest = self.manifest().await?;
        Ok(Packs::new(&self.bucket, &self.layout, &Handle::current(), &manifest))
    }

    pub(super) async fn head(&self) -> Result<Head, Error> {
        let gone = || Error::new(ErrorKind::NotFound, format!("there is no repository at {} any more", self.path()));
        let head = Head::read(&self.bucket, &self.layout).await?.ok_or_else(gone)?;
        if *head.manifest.repository == *self.id { Ok(head) } else { Err(gone()) }
    }

    /// Whether another repository is at our path.
    pub(super) async fn is_replaced(&self) -> Result<bool, Error> {
        let head = Head::read(&self.bucket, &self.layout).await?;
        Ok(head.is_some_and(|head| *head.manifest.repository != *self.id))
    }

    /// Refuses to move what the pusher is not shown.
    pub(super) fn judge_hidden(&self, request: &mut UpdateRequest) {
        request.refuse_where(|command| match self.hidden.hides(&command.name) {
            true if command.is_delete() => Some("deny deleting a hidden ref"),
            true => Some("deny updating a hidden ref"),
            false => None,
        });
    }
}

impl fmt::Debug for ObjectStoreRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStoreRepository").field("path", &self.path()).field("settings", &self.settings).finish()
    }
}

/// Needs a tokio runtime, for its blocking threads, and so that a landing that nobody waits for comes to its end.
impl Store for ObjectStoreRepository {
    type Quarantine = ObjectStoreQuarantine;

    async fn advertise(&self) -> Result<Advertisement, Error> {
        let manifest = self.manifest().await?;
        let refs: Vec<(Bytes, ObjectId)> = manifest.refs().map(|(name, id)| (name.clone(), *id)).collect();
        Ok(Advertisement::new(self.format)
            .with_capabilities(default_capabilities(self.format))
            .with_refs(refs)
            .without_hidden(&self.hidden))
    }

    async fn quarantine(&self, request: &UpdateRequest, progress: Progress) -> Result<ObjectStoreQuarantine, Error> {
        Ok(ObjectStoreQuarantine::new(self.clone(), progress, self.packs().await?, request.has_pack()))
    }
}
