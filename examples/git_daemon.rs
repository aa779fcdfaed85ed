//! A daemon that takes pushes over `git://` into bare repositories, as `git daemon --enable=receive-pack` does.
//!
//! ```sh
//! cargo run --release --example git_daemon --features bare-repository -- --root /tmp/repos --auto-init
//! git push git://127.0.0.1:9418/demo.git HEAD:refs/heads/main
//! ```
//!
//! `git://` knows no passwords: whoever reaches the port may push.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::proto::ObjectFormat;
use receive_pack::receive::ReceivePack;
use receive_pack::serve::{self, Serve};
use receive_pack::store::{BareRepository, Store};
use receive_pack::{BoxError, Error};
use tokio::io::{AsyncRead, AsyncReadExt};
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
    /// Where to listen; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:9418")]
    listen: SocketAddr,
    /// How many pushes are worked on at the same time; more wait.
    #[arg(long, default_value_t = 64)]
    pushes: usize,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args = Args::parse();
    std::fs::create_dir_all(&args.root)?;
    let listener = TcpListener::bind(args.listen).await?;
    println!("ready: git push git://{}/demo.git HEAD:refs/heads/main", listener.local_addr()?);

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
                Err(error) => eprintln!("{peer}: {error}"),
            }
        });
    }
}

/// One client, from its request line to the end; gives a line for the log.
async fn connection(stream: TcpStream, args: &Args, limit: GlobalConcurrencyLimitLayer) -> Result<String, BoxError> {
    stream.set_nodelay(true)?;
    let (mut read, write) = stream.into_split();
    let request = tokio::time::timeout(Duration::from_secs(10), Request::read(&mut read)).await??;

    let Some(store) = request.repository(args) else {
        let text = format!("access denied or repository not exported: {}", request.path);
        serve::refuse(write, text.clone()).await?;
        return Ok(text);
    };
    let store = store?;
    let advertisement = store.advertise().await?.with_version_1(request.version_1);
    let service = ServiceBuilder::new().layer(limit).layer(ChecksumLayer::new()).service(ReceivePack::new(store));
    let served = Serve::new().serve(read, write, advertisement, service).await?;

    Ok(match (served.report(), served.error()) {
        (Some(report), _) if report.is_ok() => format!("pushed to {}", request.path),
        (Some(report), _) => format!("refused, wholly or in part, for {}: {report:?}", request.path),
        (None, Some(error)) => format!("failed for {}: {error}", request.path),
        (None, None) => format!("nothing to push to {}", request.path),
    })
}

/// The first pkt-line of a connection: `git-receive-pack /path\0host=..\0[\0version=1\0]` (gitprotocol-pack, "Git
/// Transport").
struct Request {
    is_push: bool,
    path: String,
    version_1: bool,
}

impl Request {
    async fn read(read: &mut (impl AsyncRead + Unpin)) -> Result<Self, BoxError> {
        let mut len = [0; 4];
        read.read_exact(&mut len).await?;
        let len = usize::from_str_radix(std::str::from_utf8(&len)?, 16)?;
        if !(5..=4096).contains(&len) {
            return Err("the request line is malformed".into());
        }
        let mut line = vec![0; len - 4];
        read.read_exact(&mut line).await?;
        let line = String::from_utf8(line)?;
        let mut words = line.split('\0');
        let (service, path) = words.next().unwrap_or_default().trim_end().split_once(' ').unwrap_or_default();
        let version_1 = words.any(|word| word == "version=1");
        Ok(Self { is_push: service == "git-receive-pack", path: path.to_owned(), version_1 })
    }

    /// The repository that the client names: below the root, and made now if it may be. `None` if there is none.
    fn repository(&self, args: &Args) -> Option<Result<BareRepository, Error>> {
        let path = Path::new(self.path.trim_start_matches('/'));
        let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !self.is_push || !is_below || path.as_os_str().is_empty() {
            return None;
        }
        let path = args.root.join(path);
        if path.exists() {
            return Some(BareRepository::open(&path));
        }
        args.auto_init.then(|| BareRepository::init(&path, ObjectFormat::Sha1))
    }
}
