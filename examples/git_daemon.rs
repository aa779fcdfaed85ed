//! A daemon that takes pushes over `git://` into bare repositories, as `git daemon --export-all
//! --enable=receive-pack` does.
//!
//! ```sh
//! cargo run --release --example git_daemon --features bare-repository -- --root /tmp/repos --auto-init
//! git push git://127.0.0.1:9418/demo.git HEAD:refs/heads/main
//! ```
//!
//! `git://` knows no passwords: whoever reaches the port may push.

#[path = "forge/signals.rs"]
mod signals;

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::proto::{Advertisement, ObjectFormat};
use receive_pack::receive::ReceivePack;
use receive_pack::serve::{self, Serve};
use receive_pack::store::{BareRepository, Store};
use receive_pack::transport::DaemonRequest;
use receive_pack::{BoxError, Error};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;

/// Takes pushes over git:// into bare repositories.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// The directory that holds the repositories.
    #[arg(long)]
    root: PathBuf,
    /// Make a bare repository on the first push to a name that has none.
    #[arg(long)]
    auto_init: bool,
    /// The object format of repositories that are made: sha1, or sha256 if the crate's feature of that name is on.
    #[arg(long, default_value = "sha1", value_parser = object_format)]
    object_format: ObjectFormat,
    /// Where to listen; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:9418")]
    listen: SocketAddr,
    /// How many pushes are worked on at the same time; more wait.
    #[arg(long, default_value_t = 64)]
    pushes: usize,
    /// Seconds that a client may take for its whole push, and so keep others waiting.
    #[arg(long, default_value_t = 3600)]
    deadline: u64,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args = Args::parse();
    std::fs::create_dir_all(&args.root)?;
    let listener = TcpListener::bind(args.listen).await?;
    println!("ready: git push git://{}/demo.git HEAD:refs/heads/main", listener.local_addr()?);
    tokio::select! {
        () = accept(listener, args) => {}
        told = signals::told_to_stop() => told?,
    }
    Ok(())
}

async fn accept(listener: TcpListener, args: Args) {
    let limit = GlobalConcurrencyLimitLayer::new(args.pushes);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file handles, most likely: others must close first.
                eprintln!("no connection can be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (args, limit) = (args.clone(), limit.clone());
        tokio::spawn(async move {
            match connection(stream, &args, limit).await {
                Ok(said) => println!("{peer}: {said}"),
                Err(error) => eprintln!("{peer}: {error:?}"),
            }
        });
    }
}

/// One client, from its request line to the end; gives a line for the log.
async fn connection(stream: TcpStream, args: &Args, limit: GlobalConcurrencyLimitLayer) -> Result<String, BoxError> {
    stream.set_nodelay(true)?;
    let (mut read, write) = stream.into_split();
    let request = tokio::time::timeout(Duration::from_secs(10), DaemonRequest::read(&mut read)).await??;

    let path = request.path().escape_ascii();

    let Some(store) = repository(&request, args) else {
        let text = format!("access denied or repository not exported: {path}");
        serve::refuse(write, text.clone()).await?;
        return Ok(text);
    };
    let (store, advertisement) = match advertised(store).await {
        Ok(advertised) => advertised,
        Err(error) => {
            eprintln!("{path}: {error:?}");
            // Without a word, the pusher would be told to look at his access rights.
            serve::refuse(write, error.reason().into_owned()).await?;
            return Ok(format!("failed for {path}"));
        }
    };
    let advertisement = advertisement.with_version_1(request.wants_version_1());
    let service = ServiceBuilder::new().layer(limit).layer(ChecksumLayer::new()).service(ReceivePack::new(store));
    let serve = Serve::new().deadline(Duration::from_secs(args.deadline));
    let served = serve.serve(read, write, advertisement, service).await?;

    if let Some(error) = served.error() {
        // The pusher was told no more than that it was our fault.
        eprintln!("{path}: {error:?}");
    }
    Ok(match served.report() {
        Some(report) if report.is_ok() => format!("pushed to {path}"),
        Some(report) => format!("refused, wholly or in part, for {path}: {report:?}"),
        None if served.error().is_some() => format!("failed for {path}"),
        None => format!("nothing to push to {path}"),
    })
}

async fn advertised(store: Result<BareRepository, Error>) -> Result<(BareRepository, Advertisement), Error> {
    let store = store?;
    let advertisement = store.advertise().await?;
    Ok((store, advertisement))
}

/// The repository that the client names: below the root, in no other repository, and made now if it may be. `None` if
/// there is none.
fn repository(request: &DaemonRequest, args: &Args) -> Option<Result<BareRepository, Error>> {
    let path = std::str::from_utf8(request.path()).ok()?;
    let path = Path::new(path.trim_start_matches('/'));
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
    if request.service() != "git-receive-pack" || !is_below || path.as_os_str().is_empty() {
        return None;
    }
    let path = args.root.join(path);
    // Among the refs or objects of another it would be taken for some of them; in the work tree of another it may have come
    // with a push.
    let mut above = path.ancestors().skip(1).take_while(|dir| *dir != args.root);
    if above.any(|dir| [".git", "HEAD"].iter().any(|name| dir.join(name).symlink_metadata().is_ok())) {
        return None;
    }
    if path.exists() {
        return Some(BareRepository::open(&path));
    }
    args.auto_init.then(|| BareRepository::init(&path, args.object_format))
}

fn object_format(name: &str) -> Result<ObjectFormat, String> {
    ObjectFormat::from_name(name.as_bytes()).ok_or_else(|| format!("this build does not know the object format {name}"))
}
