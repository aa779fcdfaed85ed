//! A gate that no secret passes: every blob of a push is looked at while it arrives, deltas resolved, and a push that
//! brings a key is refused before anybody can see it. So is one that brings an object too long to be looked at.
//!
//! ```sh
//! cargo run --release --example secret_gate --features bare-repository -- --repository /tmp/gated.git
//! git push git://127.0.0.1:9418/gated.git HEAD:refs/heads/main
//! ```
//!
//! The reason names the kind of the secret and the blob, never the secret and no path: what was found, and the object to
//! look for with `git log --find-object`.

#[path = "forge/signals.rs"]
mod signals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::limit::LimitLayer;
use receive_pack::proto::{ObjectFormat, ObjectId, ObjectKind};
use receive_pack::receive::ReceivePack;
use receive_pack::serve::{refuse, serve};
use receive_pack::store::{BareRepository, PackLimits, Scan, Store};
use receive_pack::transport::DaemonRequest;
use receive_pack::{BoxError, Error};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;

/// Takes pushes over git:// into one repository, unless a secret is in them.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// The repository; made if it is not there.
    #[arg(long)]
    repository: PathBuf,
    /// The object format that it is made in: sha1, or sha256 if the crate's feature of that name is on.
    #[arg(long, default_value = "sha1", value_parser = object_format)]
    object_format: ObjectFormat,
    /// Where to listen; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:9418")]
    listen: SocketAddr,
}

/// The longest blob that is looked at, in bytes. Nothing longer gets in.
const MAX_BLOB: u64 = 4 << 20;

/// Knows secrets by their looks.
struct Secrets;

/// What a secret begins with, the bytes that follow, how many of them, and what it is.
type Look = (&'static [u8], fn(&u8) -> bool, usize, &'static str);

const LOOKS: [Look; 3] = [
    (b"AKIA", |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit(), 16, "an AWS access key"),
    (b"ghp_", u8::is_ascii_alphanumeric, 36, "a GitHub token"),
    (b"-----BEGIN OPENSSH PRIVATE KEY-----", |_| true, 1, "a private key"),
];

impl Scan for Secrets {
    fn max_blob(&self) -> u64 {
        MAX_BLOB
    }

    fn object(&self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<(), Error> {
        if kind != ObjectKind::Blob {
            return Ok(());
        }
        for (front, follows, count, what) in LOOKS {
            let is_secret = |window: &[u8]| {
                window.strip_prefix(front).is_some_and(|rest| rest.len() == count && rest.iter().all(follows))
            };
            if data.windows(front.len() + count).any(is_secret) {
                return Err(Error::refused(format!("{what} is in blob {id}")));
            }
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args = Args::parse();
    // For what deltas make; whole objects meet the limit of the layer.
    let mut limits = PackLimits::default();
    limits.delta_result = MAX_BLOB;
    let repository = BareRepository::init(&args.repository, args.object_format)?.scan(Secrets).limits(limits);
    let listener = TcpListener::bind(args.listen).await?;
    println!("ready: git push git://{}/gated.git HEAD:refs/heads/main", listener.local_addr()?);
    tokio::select! {
        () = accept(listener, args, repository) => {}
        told = signals::told_to_stop() => told?,
    }
    Ok(())
}

async fn accept(listener: TcpListener, args: Args, repository: BareRepository) {
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
        let (args, repository) = (args.clone(), repository.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(stream, args, repository).await {
                eprintln!("{peer}: {error:?}");
            }
        });
    }
}

async fn connection(stream: TcpStream, args: Args, repository: BareRepository) -> Result<(), BoxError> {
    let (mut read, write) = stream.into_split();
    let request = tokio::time::timeout(Duration::from_secs(10), DaemonRequest::read(&mut read)).await??;
    if request.service() != "git-receive-pack" {
        return Ok(refuse(write, "only pushes are taken here").await?);
    }
    let advertisement = match repository.advertise().await {
        Ok(advertisement) => advertisement.with_version_1(request.wants_version_1()),
        Err(error) => {
            eprintln!("{}: {error:?}", args.repository.display());
            // Without a word, the pusher would be told to look at his access rights.
            return Ok(refuse(write, error.reason().into_owned()).await?);
        }
    };
    let service = ServiceBuilder::new()
        .layer(LimitLayer::new().object_size(MAX_BLOB))
        .layer(ChecksumLayer::new())
        .service(ReceivePack::new(repository));
    let served = serve(read, write, advertisement, service).await?;
    if let Some(error) = served.error() {
        // The pusher was told no more than that it was our fault.
        eprintln!("{}: {error:?}", args.repository.display());
    }
    Ok(())
}

fn object_format(name: &str) -> Result<ObjectFormat, String> {
    ObjectFormat::from_name(name.as_bytes()).ok_or_else(|| format!("this build does not know the object format {name}"))
}
