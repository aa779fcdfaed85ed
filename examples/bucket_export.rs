//! Copies a repository out of an object store into a bare repository, for `git fetch`, or to look at.
//!
//! ```sh
//! cargo run --release --example bucket_export --features object-store -- \
//!     --bucket s3://my-bucket/repositories --path team/demo.git --into /tmp/demo.git
//! git clone /tmp/demo.git
//! ```
//!
//! Run again, one at a time, it copies what is new, and removes the packs that are not needed any more: nobody else is to
//! write there. The packs are git's, as they are; the refs are those of one moment. Which branch `HEAD` names is not in the
//! object store. It is enough to be allowed to read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use futures_util::TryStreamExt;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use receive_pack::BoxError;
use receive_pack::store::{BareRepository, Bucket, ManifestPack, ObjectStoreRepository};
use tokio::fs::{self, File};
use tokio::io::copy_buf;
use tokio_util::io::StreamReader;
use url::Url;

/// Copies a repository out of an object store into a bare repository.
#[derive(Debug, Parser)]
struct Args {
    /// The object store, and where in it: s3://bucket/path
    #[arg(long)]
    bucket: Url,
    /// The path of the repository in the bucket.
    #[arg(long)]
    path: String,
    /// The bare repository; made if it is not there.
    #[arg(long)]
    into: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args = Args::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (store, path) = object_store::parse_url_opts(&args.bucket, std::env::vars())?;
    let store: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(store, path));
    let bucket = Bucket::unchecked(Arc::clone(&store), 1 << 20);
    let repository = ObjectStoreRepository::open(&bucket, &args.path).await?;
    let manifest = repository.manifest().await?;
    BareRepository::init(&args.into, manifest.object_format())?;
    let packs = args.into.join("objects/pack");
    for pack in manifest.packs() {
        copy_pack(&*store, repository.path(), pack, &packs).await?;
    }
    // Now that all objects are there: the refs in one go, as `git pack-refs` writes them.
    let mut refs = b"# pack-refs with: sorted \n".to_vec();
    for (name, id) in manifest.refs() {
        refs.extend_from_slice(format!("{id} ").as_bytes());
        refs.extend_from_slice(name);
        refs.push(b'\n');
    }
    let new = args.into.join("packed-refs.new");
    fs::write(&new, refs).await?;
    fs::rename(&new, args.into.join("packed-refs")).await?;
    remove_others(&packs, manifest.packs()).await
}

/// The index comes last: without it nobody takes the others for a pack.
async fn copy_pack(store: &dyn ObjectStore, root: &str, pack: &ManifestPack, into: &Path) -> Result<(), BoxError> {
    let name = pack.name();
    for ending in ["pack", "rev", "idx"] {
        let target = into.join(format!("{name}.{ending}"));
        if target.exists() {
            continue;
        }
        let object = store.get(&ObjectPath::parse(format!("{root}/packs/{name}.{ending}"))?).await?;
        let mut bytes = StreamReader::new(object.into_stream().map_err(io::Error::other));
        let new = target.with_extension("new");
        let mut file = File::create(&new).await?;
        copy_buf(&mut bytes, &mut file).await?;
        file.sync_all().await?;
        fs::rename(&new, &target).await?;
    }
    Ok(())
}

/// Packs that were merged into others.
async fn remove_others(from: &Path, packs: &[ManifestPack]) -> Result<(), BoxError> {
    let mut there = fs::read_dir(from).await?;
    while let Some(file) = there.next_entry().await? {
        let is_needed = |pack: &ManifestPack| file.path().file_stem().is_some_and(|stem| stem == pack.name());
        if !packs.iter().any(is_needed) {
            fs::remove_file(file.path()).await?;
        }
    }
    Ok(())
}
