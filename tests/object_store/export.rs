//! A repository out of an object store, as git reads it.

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::Served;
use crate::support::git::{Repo, assert_same_repository};

/// The names of all objects, sorted.
pub(crate) async fn names(store: &dyn ObjectStore) -> Vec<String> {
    let found: Vec<_> = store.list(None).try_collect().await.expect("a listing");
    let mut names: Vec<_> = found.into_iter().map(|object| object.location.to_string()).collect();
    names.sort();
    names
}

/// Where an object of this name is.
#[track_caller]
pub(crate) fn at(name: &str) -> Path {
    Path::parse(name).expect("a path")
}

/// A bare repository with the packs that the manifest names, and its refs.
pub(crate) async fn export(served: &Served) -> Repo {
    let target = Repo::bare();
    let manifest = served.repository.manifest().await.expect("a manifest");
    for pack in manifest.packs() {
        for ending in ["pack", "rev", "idx"] {
            let name = format!("{}.{ending}", pack.name());
            let object = served.store.get(&at(&format!("{}/packs/{name}", served.repository.path()))).await;
            let bytes = object.expect("the pack is there").bytes().await.expect("it can be read");
            assert!(ending != "pack" || bytes.len() as u64 == pack.len());
            std::fs::write(target.path().join("objects/pack").join(name), bytes).expect("it can be written");
        }
    }
    let refs: String =
        manifest.refs().map(|(name, id)| format!("create {} {id}\n", String::from_utf8_lossy(name))).collect();
    target.git_with_input(["update-ref", "--stdin"], refs.as_bytes());
    target
}

/// What lies there is what `source` has.
pub(crate) async fn assert_is(served: &Served, source: &Repo) {
    let target = export(served).await;
    assert_same_repository(source, &target);
    for entry in std::fs::read_dir(target.path().join("objects/pack")).expect("packs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "pack") {
            // fsck does not look at reverse indexes.
            target.git(["index-pack".as_ref(), "--verify".as_ref(), "--rev-index".as_ref(), path.as_os_str()]);
        }
    }
}
