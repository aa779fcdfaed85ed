//! A daemon that takes pushes over `git://` into an object store. Any number of them may serve the same bucket.
//!
//! ```sh
//! export AWS_REGION=eu-central-1 AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…
//! cargo run --release --example bucket_daemon --features object-store -- --bucket s3://my-bucket/repositories
//! git push git://127.0.0.1:9418/team/demo.git HEAD:refs/heads/main
//! ```
//!
//! What the object store has to be told comes from the environment, as the crate `object_store` documents it; for a server
//! on this machine `AWS_ENDPOINT=http://127.0.0.1:8333 AWS_ALLOW_HTTP=true`. `memory:///` is a bucket that is gone when the
//! daemon is.
//!
//! `git://` knows no passwords: whoever reaches the port may push.

#[path = "forge/signals.rs"]
mod signals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use object_store::prefix::PrefixStore;
use receive_pack::BoxError;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::proto::ObjectFormat;
use receive_pack::receive::ReceivePack;
use receive_pack::serve::{self, Serve};
use receive_pack::store::{Bucket, ObjectStoreRepository, Store};
use receive_pack::transport::DaemonRequest;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;
use url::Url;

/// Takes pushes over git:// into an object store.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// The object store, and where in it: s3://bucket/path
    #[arg(long)]
    bucket: Url,
    /// The object format of repositories that are made, on the first push to a name that has none.
    #[arg(long, default_value = "sha1", value_parser = object_format)]
    object_format: ObjectFormat,
    /// Where to listen; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:9418")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args = Args::parse();
    // Of those that TLS can be had with, the one that this example was built with.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (store, path) = object_store::parse_url_opts(&args.bucket, std::env::vars())?;
    let bucket = Bucket::open(Arc::new(PrefixStore::new(store, path))).await?;
    let listener = TcpListener::bind(args.listen).await?;
    println!("ready: git push git://{}/demo.git HEAD:refs/heads/main", listener.local_addr()?);
    tokio::select! {
        () = accept(listener, bucket.clone(), args.object_format) => {}
        told = signals::told_to_stop() => told?,
    }
    // Who is about to land does; the others are dropped, and roll back.
    bucket.idle().await;
    Ok(())
}

async fn accept(listener: TcpListener, bucket: Bucket, format: ObjectFormat) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of file handles, most likely: others must close first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let bucket = bucket.clone();
        tokio::spawn(async move {
            if let Err(error) = connection(stream, &bucket, format).await {
                eprintln!("{peer}: {error:?}");
            }
        });
    }
}

/// One client, from its request line to the end.
async fn connection(stream: TcpStream, bucket: &Bucket, format: ObjectFormat) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    let (mut read, write) = stream.into_split();
    let request = tokio::time::timeout(Duration::from_secs(10), DaemonRequest::read(&mut read)).await??;
    let path = String::from_utf8_lossy(request.path()).trim_matches('/').to_owned();
    if request.service() != "git-receive-pack" {
        return Ok(serve::refuse(write, "only pushes are taken here").await?);
    }
    let advertised = async {
        let repository = ObjectStoreRepository::init(bucket, &path, format).await?;
        let advertisement = repository.advertise().await?;
        Ok::<_, receive_pack::Error>((repository, advertisement))
    };
    let (repository, advertisement) = match advertised.await {
        Ok(advertised) => advertised,
        Err(error) => {
            eprintln!("{path}: {error:?}");
            // Without a word, the pusher would be told to look at his access rights.
            return Ok(serve::refuse(write, error.reason().into_owned()).await?);
        }
    };
    let advertisement = advertisement.with_version_1(request.wants_version_1());
    let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(repository));
    let served = Serve::new().serve(read, write, advertisement, service).await?;
    if let Some(error) = served.error() {
        // The pusher was told no more than that it was our fault.
        eprintln!("{path}: {error:?}");
    }
    Ok(())
}

fn object_format(name: &str) -> Result<ObjectFormat, String> {
    ObjectFormat::from_name(name.as_bytes()).ok_or_else(|| format!("this build does not know the object format {name}"))
}
