//! A program that stands where `git receive-pack` stands: the client's bytes come on standard input, the server's go to
//! standard output.
//!
//! ```sh
//! cargo build --release --example receive_pack --features bare-repository
//! git push --receive-pack=$PWD/target/release/examples/receive_pack /tmp/repos/demo.git main
//! ```
//!
//! With the two options it does what `git http-backend` asks of `git receive-pack`.

#[path = "forge/signals.rs"]
mod signals;

use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::BytesMut;
use clap::Parser;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::receive::ReceivePack;
use receive_pack::serve::{self, Linger, Serve};
use receive_pack::store::{BareRepository, Store};
use receive_pack::{BoxError, ErrorKind};
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::runtime::{Handle, Runtime};
use tower::ServiceBuilder;

/// Takes one push into a bare repository, over standard input and output.
#[derive(Debug, Parser)]
struct Args {
    /// The advertisement was sent by an earlier run: begin with the request.
    #[arg(long)]
    stateless_rpc: bool,
    /// Send the advertisement, and nothing else.
    #[arg(long, alias = "advertise-refs")]
    http_backend_info_refs: bool,
    /// Refuse packs of more bytes than this, whatever `receive.maxInputSize` says; 0 is no limit.
    #[arg(long)]
    max_input_size: Option<u64>,
    /// The repository: as with git it may be `DIR/.git`, `DIR`, `DIR.git/.git` or `DIR.git`, and begin with `~/`.
    dir: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = Runtime::new().map_err(BoxError::from).and_then(|runtime| {
        let result = runtime.block_on(async {
            tokio::select! {
                result = run(&args) => result,
                told = signals::told_to_stop() => told.map_err(BoxError::from).and(Err("told to stop".into())),
            }
        });
        // If the push was broken off when its refs had begun to move, all of them do: none stays locked. Whoever does
        // not read what we say is not waited for without end.
        runtime.shutdown_timeout(Duration::from_secs(60));
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fatal: {}", whole(&*error));
            // As git's own ends when it dies.
            ExitCode::from(128)
        }
    }
}

async fn run(args: &Args) -> Result<(), BoxError> {
    // Whoever set it means refs of their own, and would get everybody's.
    if std::env::var_os("GIT_NAMESPACE").is_some_and(|namespace| !namespace.is_empty()) {
        let text = "GIT_NAMESPACE is set, and this program knows no namespaces";
        serve::refuse(tokio::io::stdout(), text).await?;
        return Err(text.into());
    }
    let mut store = resolve(&args.dir)?;
    if let Some(bytes) = args.max_input_size {
        store = store.max_input_size(bytes);
    }
    // Of several versions the highest counts, and of version 2 there is none for a push.
    let version_1 = std::env::var("GIT_PROTOCOL").is_ok_and(|list| {
        let asked = |version| list.split(':').any(|word| word == version);
        asked("version=1") && !asked("version=2")
    });
    let advertisement = store.advertise().await?.with_version_1(version_1);
    let mut stdout = tokio::io::stdout();
    if args.http_backend_info_refs {
        let mut bytes = BytesMut::new();
        advertisement.encode(&mut bytes)?;
        stdout.write_all(&bytes).await?;
        stdout.flush().await?;
        return Ok(());
    }
    let mut serve = Serve::new().stateless(args.stateless_rpc);
    if args.stateless_rpc {
        // The request ends by itself, and whoever called us sees to the connection.
        serve = serve.linger(Linger::none());
    }
    let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store));
    let served = serve.serve(stdin(), stdout, advertisement, service).await?;
    if let Some(error) = served.error() {
        // The client was told no more than that it was our fault.
        eprintln!("error: {}: {}", args.dir.display(), whole(error));
    }
    Ok(())
}

/// The repository that git finds by this name.
fn resolve(dir: &Path) -> Result<BareRepository, BoxError> {
    let absent = || format!("'{}' does not appear to be a git repository", dir.display());
    let path = match dir.strip_prefix("~") {
        Ok(below) => PathBuf::from(std::env::var_os("HOME").ok_or_else(absent)?).join(below),
        Err(_) => dir.to_path_buf(),
    };
    // Without the slashes at its end.
    let mut longer = path.components().as_path().to_owned().into_os_string();
    longer.push(".git");
    for path in [path, longer.into()] {
        match BareRepository::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return Ok(opened?),
        }
    }
    Err(absent().into())
}

/// Standard input, read by a thread of its own. It may sit in a read for as long as the client keeps its side open, and
/// those of the runtime are waited for at the end.
fn stdin() -> impl AsyncRead + Send + Unpin + 'static {
    let (read, mut write) = tokio::io::duplex(64 << 10);
    let runtime = Handle::current();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = std::io::stdin().read(&mut buffer)
            && runtime.block_on(write.write_all(&buffer[..n])).is_ok()
        {}
    });
    read
}

/// An error with its causes, in one line.
fn whole(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
