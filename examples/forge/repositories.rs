//! Which repositories there are, and how a push gets into one.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use receive_pack::checksum::ChecksumLayer;
use receive_pack::limit::LimitLayer;
use receive_pack::proto::{Advertisement, ObjectFormat, Report};
use receive_pack::push::{Pack, Push};
use receive_pack::receive::ReceivePack;
use receive_pack::rules::{RefRules, RulesLayer};
use receive_pack::serve::{Linger, Serve};
use receive_pack::store::{BareRepository, Store};
use receive_pack::{BoxError, Error};
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::util::BoxService;

use crate::activity::Patience;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RepositoryArgs {
    /// The directory that holds the repositories.
    #[arg(long)]
    root: PathBuf,
    /// Make a bare repository on the first push to a name that has none.
    #[arg(long)]
    auto_init: bool,
    /// The object format of repositories that are made: sha1, or sha256 if the crate's feature of that name is on.
    #[arg(long, default_value = "sha1", value_parser = object_format)]
    object_format: ObjectFormat,
    /// Refs below this name cannot be pushed to.
    #[arg(long, default_value = "refs/heads/locked/")]
    locked: String,
    /// Pushes that are worked on at the same time; more wait.
    #[arg(long, default_value_t = 16)]
    pushes: usize,
    /// Fetches that git works on at the same time, over all transports; more wait.
    #[arg(long, default_value_t = 64)]
    fetches: usize,
    /// Bytes of one pack.
    #[arg(long, default_value_t = 2 << 30)]
    pack_bytes: u64,
    /// Seconds that a client may send nothing of its pack.
    #[arg(long, default_value_t = 600)]
    idle: u64,
    /// Seconds that a client may take to say what it wants: to log in, and to name a repository.
    #[arg(long, default_value_t = 30)]
    login_timeout: u64,
    /// Seconds that a client may take nothing of what it is told.
    #[arg(long, default_value_t = 300)]
    write_timeout: u64,
    /// Seconds that a client may stay silent when its push has ended and all is said, before the connection is closed for
    /// it.
    #[arg(long, default_value_t = 15)]
    linger: u64,
    /// Seconds that a client may take for its whole push.
    #[arg(long, default_value_t = 3600)]
    deadline: u64,
}

/// The repositories below one directory.
#[derive(Clone, Debug)]
pub(crate) struct Repositories {
    args: Arc<RepositoryArgs>,
    limit: GlobalConcurrencyLimitLayer,
    fetches: Arc<Semaphore>,
}

impl Repositories {
    pub(crate) fn new(args: RepositoryArgs) -> Result<Self, BoxError> {
        std::fs::create_dir_all(&args.root)?;
        let limit = GlobalConcurrencyLimitLayer::new(args.pushes);
        let fetches = Arc::new(Semaphore::new(args.fetches));
        Ok(Self { args: Arc::new(args), limit, fetches })
    }

    /// How pushes are served. `resets` says whether a connection that is closed with unread data loses what was said.
    pub(crate) fn serve(&self, resets: bool) -> Serve {
        let mut linger = Linger::default();
        linger.idle = Duration::from_secs(self.args.linger);
        linger.after_complete = resets;
        Serve::new()
            .linger(linger)
            .head_timeout(Duration::from_secs(30))
            .idle_timeout(Duration::from_secs(self.args.idle))
            .deadline(Duration::from_secs(self.args.deadline))
            .write_timeout(Duration::from_secs(self.args.write_timeout))
    }

    /// How long a connection without a push may stand still. Between two requests as long as within one: libgit2
    /// compresses its pack before it begins the second.
    pub(crate) fn patience(&self) -> Patience {
        let RepositoryArgs { idle, login_timeout, write_timeout, .. } = *self.args;
        let [first, next, unread] = [login_timeout, idle, write_timeout].map(Duration::from_secs);
        Patience { first, next, unread }
    }

    /// Waits until git may work on one fetch more; it counts until the permit is dropped.
    pub(crate) async fn fetch(&self) -> Result<OwnedSemaphorePermit, BoxError> {
        Ok(Arc::clone(&self.fetches).acquire_owned().await?)
    }

    /// The directory of a repository, if there is one by this name.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        self.path(name).filter(|path| path.is_dir())
    }

    /// The repository to push to, made now if it may be, and what to tell a client of it. `None` if there is none.
    pub(crate) async fn open(&self, name: &str) -> Option<Result<(BareRepository, Advertisement), Error>> {
        let path = self.path(name).filter(|path| self.args.auto_init || path.is_dir())?;
        Some(self.opened(path).await.inspect_err(|error| log(name, error)))
    }

    async fn opened(&self, path: PathBuf) -> Result<(BareRepository, Advertisement), Error> {
        let format = self.args.object_format;
        let opened = tokio::task::spawn_blocking(move || {
            if path.is_dir() { BareRepository::open(path) } else { BareRepository::init(path, format) }
        });
        let repository = opened.await.map_err(|error| Error::store("a task did not end", error))??;
        let advertisement = repository.advertise().await?;
        Ok((repository, advertisement))
    }

    /// Where a repository by this name would be: below the root, wherever the name seems to lead, and in no other
    /// repository, among whose refs or objects it would be taken for some of them, or in whose work tree it would have come
    /// with a push.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let name = Path::new(name.trim_start_matches('/'));
        let is_below = name.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_below || name.as_os_str().is_empty() {
            return None;
        }
        let path = self.args.root.join(name);
        let mut above = path.ancestors().skip(1).take_while(|dir| *dir != self.args.root);
        let is_inside = above.any(|dir| [".git", "HEAD"].iter().any(|name| dir.join(name).symlink_metadata().is_ok()));
        (!is_inside).then_some(path)
    }

    /// What a push passes on its way into the repository, which goes by `name` in the log.
    pub(crate) fn stack<R>(&self, repository: BareRepository, name: String) -> PushService<R>
    where
        R: AsyncRead + Unpin + Send + 'static,
    {
        let locked = RefRules::new().deny([self.args.locked.as_str()], "this branch is locked");
        let stack = ServiceBuilder::new()
            .map_result(move |result: Result<Report, Error>| {
                match &result {
                    Ok(report) => report.error().iter().for_each(|error| log(&name, error)),
                    Err(error) => log(&name, error),
                }
                result
            })
            .layer(self.limit.clone())
            .layer(RulesLayer::new(locked))
            .layer(LimitLayer::new().pack_bytes(self.args.pack_bytes))
            .layer(ChecksumLayer::new())
            .service(ReceivePack::new(repository));
        PushService::new(stack)
    }
}

/// The stack, its layers' names forgotten.
pub(crate) type PushService<R> = BoxService<Push<Pack<R>>, Report, Error>;

/// Of the server's own trouble the client is told no more than that there was some.
fn log(name: &str, error: &Error) {
    if error.is_local() {
        eprintln!("{name:?}: {error:?}");
    }
}

fn object_format(name: &str) -> Result<ObjectFormat, String> {
    ObjectFormat::from_name(name.as_bytes()).ok_or_else(|| format!("this build does not know the object format {name}"))
}
