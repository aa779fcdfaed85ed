//! Pushes into an object store, by real git: in memory, where operations can be made to fail, and over the wire.

#![cfg(all(feature = "object-store", feature = "bare-repository"))]

#[path = "../support/mod.rs"]
mod support;

mod export;
mod faults;
mod faulty;
mod races;
mod repack;
mod servers;

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::receive::ReceivePack;
use receive_pack::store::{Bucket, ObjectStoreRepository};
use support::format::format;
use support::git::{Output, Repo};
use support::server::{listen, try_push};
use tower::ServiceBuilder;

/// A repository in an object store, and a server for it.
struct Served {
    store: Arc<dyn ObjectStore>,
    bucket: Bucket,
    repository: ObjectStoreRepository,
    url: String,
}

/// Nothing in it is written in another way for the object store.
const PATH: &str = "team ü~#1/a%20[b].git";

impl Served {
    /// A server that knows nothing yet of what is there.
    async fn new(store: Arc<dyn ObjectStore>) -> Self {
        let bucket = Bucket::open(Arc::clone(&store)).await.expect("a store that can be used");
        let repository = ObjectStoreRepository::init(&bucket, PATH, format()).await.expect("a repository");
        let service = {
            let repository = repository.clone();
            move || ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(repository.clone()))
        };
        let url = listen(repository.clone(), service).await;
        Self { store, bucket, repository, url }
    }

    async fn try_push(&self, source: &Arc<Repo>, args: &[&str]) -> Output {
        try_push(source, &self.url, args).await
    }

    async fn push(&self, source: &Arc<Repo>, args: &[&str]) {
        self.try_push(source, args).await.expect_success("git push");
    }

    /// The names of all objects in the store, and how many manifests are among them.
    async fn objects(&self) -> (Vec<String>, usize) {
        let names = export::names(&*self.store).await;
        let manifests = names.iter().filter(|name| name.contains("/manifests/")).count();
        (names, manifests)
    }

    /// Nothing lies there but what the manifest names, and manifests.
    async fn assert_no_leftovers(&self) {
        let manifest = self.repository.manifest().await.expect("a manifest");
        let mut expected = vec![format!("{PATH}/head")];
        for pack in manifest.packs() {
            expected
                .extend(["idx", "kinds", "pack", "rev"].map(|ending| format!("{PATH}/packs/{}.{ending}", pack.name())));
        }
        expected.sort();
        let mut there = self.objects().await.0;
        there.retain(|name| !name.contains("/manifests/"));
        assert_eq!(there, expected);
    }
}

/// Git's whole repertoire, one push upon the other; what lies in the store is what git has.
async fn a_life_of_pushes(store: Arc<dyn ObjectStore>) {
    let served = Served::new(store).await;
    let source = Arc::new(Repo::work());
    let text = b"a long file, so that git sends the next one as a delta\n".repeat(500);
    source.commit("main", &[("file", &text), ("dir/other", b"1")]);
    served.push(&source, &["main"]).await;
    export::assert_is(&served, &source).await;

    // Thin: a delta against what is there.
    for number in 0..3 {
        let text = [&text[..], number.to_string().as_bytes()].concat();
        source.commit("main", &[("file", &text), ("dir/other", number.to_string().as_bytes())]);
        served.push(&source, &["--thin", "main"]).await;
    }
    export::assert_is(&served, &source).await;
    let packs = served.repository.manifest().await.expect("a manifest").packs().to_vec();
    assert_eq!(packs.len(), 4);
    // They were completed with what was there.
    let objects: usize = packs.iter().map(|pack| pack.objects() as usize).sum();
    assert!(objects > source.reachable().len(), "{packs:?}");

    // A branch and a tag that bring nothing, or next to nothing.
    source.git(["branch", "old", "main~2"]);
    source.git(["tag", "-a", "-m", "a tag", "v1", "main~1"]);
    served.push(&source, &["old", "v1"]).await;
    export::assert_is(&served, &source).await;

    // Another history, and one that is cut off.
    source.git(["checkout", "-q", "--orphan", "apart"]);
    source.commit("apart", &[("file", b"nothing in common")]);
    served.push(&source, &["apart"]).await;
    source.git(["branch", "-f", "old", "apart"]);
    let said = served.try_push(&source, &["old"]).await;
    assert!(!said.status.success() && said.stderr.contains("non-fast-forward"), "{}", said.stderr);
    served.push(&source, &["--force", "old"]).await;
    export::assert_is(&served, &source).await;

    // What goes away, and what takes its place.
    source.git(["branch", "-D", "-q", "old"]);
    source.git(["branch", "old/deep", "apart"]);
    served.push(&source, &[":refs/heads/old", "old/deep"]).await;
    export::assert_is(&served, &source).await;

    // All or nothing.
    let before = served.repository.manifest().await.expect("a manifest");
    source.git(["branch", "new", "main"]);
    let said = served.try_push(&source, &["--atomic", "new", "new:refs/heads/main/below"]).await;
    assert!(said.stderr.contains("atomic push failure"), "{}", said.stderr);
    assert_eq!(served.repository.manifest().await.expect("a manifest"), before);
    source.git(["branch", "-D", "-q", "new"]);

    // Somebody who comes new knows what everybody knows.
    let other = Served::new(Arc::clone(&served.store)).await;
    source.commit("apart", &[("file", b"more")]);
    other.push(&source, &["apart"]).await;
    export::assert_is(&served, &source).await;
    served.assert_no_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_what_git_has() {
    a_life_of_pushes(Arc::new(InMemory::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_over_s3_is_what_git_has() {
    let Some(s3) = support::s3::S3::seaweedfs() else { return };
    a_life_of_pushes(s3.store()).await;
}

/// Of many packs each is looked into, by a server that has read none of them yet.
#[tokio::test(flavor = "multi_thread")]
async fn many_small_pushes_are_one_repository() {
    let served = Served::new(Arc::new(InMemory::new())).await;
    let source = Arc::new(Repo::work());
    for number in 0..40 {
        source.commit("main", &[("file", number.to_string().as_bytes()), (&format!("file{number}"), b"the same")]);
        served.push(&source, &["-q", "main"]).await;
    }
    let other = Served::new(Arc::clone(&served.store)).await;
    // A branch to each commit, which is nowhere but in its own pack.
    for number in 0..40 {
        source.git(["branch", &format!("b{number}"), &format!("main~{number}")]);
    }
    other.push(&source, &["-q", "--all"]).await;
    assert_eq!(other.repository.manifest().await.expect("a manifest").packs().len(), 40);
    export::assert_is(&other, &source).await;
}
