//! Packs that many pushes left behind become few.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use receive_pack::ErrorKind;
use receive_pack::store::ObjectStoreRepository;

use super::faulty::{Fault, Faulty};
use super::{PATH, Served, export};
use crate::support::git::Repo;

/// Pushes of all kinds of deltas: against what the same push brings, and against what is there.
async fn pushes(served: &Served, source: &Arc<Repo>, numbers: std::ops::Range<usize>) {
    let text = b"a long file, so that git sends the next one as a delta\n".repeat(300);
    for number in numbers {
        let text = [&text[..], number.to_string().as_bytes()].concat();
        source.commit("main", &[("file", &text), (&format!("dir{}/file", number % 5), number.to_string().as_bytes())]);
        source.commit("main", &[("file", &[&text[..], b"!"].concat())]);
        served.push(source, &["-q", "--thin", "main"]).await;
    }
}

async fn packs(served: &Served) -> usize {
    served.repository.manifest().await.expect("a manifest").packs().len()
}

/// What is known of the objects of each pack.
async fn kinds(served: &Served) -> Vec<String> {
    let mut found = Vec::new();
    for pack in served.repository.manifest().await.expect("a manifest").packs() {
        let object = served.store.get(&export::at(&format!("{PATH}/packs/{}.kinds", pack.name()))).await;
        let text = object.expect("it is there").bytes().await.expect("it can be read");
        found.push(String::from_utf8(text.into()).expect("text"));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn many_packs_become_few_and_hold_the_same() {
    let served = Served::new(Arc::new(InMemory::new())).await;
    let source = Arc::new(Repo::work());
    assert_eq!(served.repository.repack().await.expect("nothing to do"), 0);
    pushes(&served, &source, 0..12).await;
    assert_eq!(packs(&served).await, 12);
    assert_eq!(served.repository.repack().await.expect("it is done"), 12);
    assert_eq!(packs(&served).await, 1);
    export::assert_is(&served, &source).await;
    // All that was complete is known to be so, and nobody walks through it.
    assert!(kinds(&served).await.iter().all(|kinds| kinds.bytes().all(|kind| kind.is_ascii_uppercase())));
    assert_eq!(served.repository.repack().await.expect("nothing to do"), 0);

    // Thin pushes find their bases in it, with a server that has read nothing else.
    let other = Served::new(Arc::clone(&served.store)).await;
    pushes(&other, &source, 12..14).await;
    assert_eq!(packs(&other).await, 3);
    // The large pack stays as it is.
    assert_eq!(other.repository.repack().await.expect("it is done"), 2);
    assert_eq!(packs(&other).await, 2);
    export::assert_is(&other, &source).await;
    // And git takes them for packs that it may replace.
    let target = export::export(&other).await;
    target.git(["repack", "-a", "-d", "-q"]);
    let packs = std::fs::read_dir(target.path().join("objects/pack")).expect("packs");
    let packs =
        packs.filter(|file| file.as_ref().expect("an entry").path().extension().is_some_and(|end| end == "pack"));
    assert_eq!(packs.count(), 1);
}

/// Each push made a delta of what the one before had left.
#[tokio::test(flavor = "multi_thread")]
async fn chains_of_deltas_do_not_grow_with_the_pushes() {
    let served = Served::new(Arc::new(InMemory::new())).await;
    let source = Arc::new(Repo::work());
    pushes(&served, &source, 0..60).await;
    assert_eq!(served.repository.repack().await.expect("it is done"), 60);
    let target = export::export(&served).await;
    let mut longest = 0;
    for file in std::fs::read_dir(target.path().join("objects/pack")).expect("packs") {
        let path = file.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "idx") {
            let said = target.git(["verify-pack".as_ref(), "-v".as_ref(), path.as_os_str()]).text();
            // `<id> blob <size> <size in the pack> <offset> <depth> <base>`
            let depths = said.lines().filter_map(|line| line.split_whitespace().nth(5)?.parse::<u32>().ok());
            longest = longest.max(depths.max().unwrap_or_default());
        }
    }
    // Where the client itself has made a delta upon the last one that may be, it is one more.
    assert!((20..=52).contains(&longest), "{longest}");
    export::assert_is(&served, &source).await;
}

/// What a push brought beside what it needed, and that is not complete, stays so; and nothing else is the less so.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_complete_stays_so_by_itself() {
    let served = Served::new(Arc::new(InMemory::new())).await;
    let source = Arc::new(Repo::work());
    source.commit("main", &[("file", b"1")]);
    served.push(&source, &["-q", "main"]).await;
    source.commit("main", &[("file", b"2")]);
    let commit = source.rev("main");
    // The commit without its tree, beside a tag of something that is there.
    source.git(["tag", "-a", "-m", "a tag", "v1", "main~1"]);
    let objects = format!("{commit}\n{}\n", source.rev("v1"));
    let pack = source.git_with_input(["pack-objects", "--stdout", "-q"], objects.as_bytes()).stdout;
    let zero = crate::support::format::zero();
    let request = crate::support::request::Request::new().update("refs/tags/v1", &zero, source.rev("v1"));
    let request = request.update("refs/heads/broken", &zero, &commit).pack(pack).bytes();
    let take = async |request| {
        let script = crate::support::io::Script::of(request);
        let (result, said) = crate::support::server::serve(served.repository.clone(), script).await;
        result.expect("it is served");
        crate::support::server::heard(&said).1.refs
    };
    let missing = Err("missing necessary objects".to_owned());
    let expected = [("refs/tags/v1".to_owned(), Ok(())), ("refs/heads/broken".to_owned(), missing.clone())];
    assert_eq!(take(request).await, expected);
    // Of all objects one: that commit. The tag that came beside it is complete.
    let incomplete = async || kinds(&served).await.concat().bytes().filter(u8::is_ascii_lowercase).count();
    assert_eq!(incomplete().await, 1);
    assert_eq!(served.repository.repack().await.expect("it is done"), 2);
    assert_eq!((incomplete().await, packs(&served).await), (1, 1));
    // The commit is there now, and its tree is as little as before.
    let nothing = source.git_with_input(["pack-objects", "--stdout", "-q"], b"").stdout;
    let again = crate::support::request::Request::new().update("refs/heads/broken", &zero, &commit);
    assert_eq!(take(again.pack(nothing).bytes()).await, [("refs/heads/broken".to_owned(), missing)]);
    // And what comes upon the others is complete at once.
    source.git(["reset", "-q", "--hard", "main~1"]);
    source.commit("main", &[("file", b"3")]);
    served.push(&source, &["-q", "main"]).await;
    assert_eq!(incomplete().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_land_while_packs_are_merged() {
    let served = Served::new(Arc::new(InMemory::new())).await;
    let source = Arc::new(Repo::work());
    pushes(&served, &source, 0..6).await;
    let other = Served::new(Arc::clone(&served.store)).await;
    let repack = async {
        let mut merged = 0;
        for _ in 0..8 {
            merged += served.repository.repack().await.expect("it is done");
        }
        merged
    };
    let (merged, ()) = join(repack, pushes(&other, &source, 6..16)).await;
    assert!(merged >= 6, "{merged}");
    assert!(packs(&served).await < 16);
    export::assert_is(&served, &source).await;
    export::assert_is(&other, &source).await;
}

/// Each operation fails once: what lies there is what was there, in many packs or in few.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_nothing_is_lost() {
    for fault in [Fault::NotDone, Fault::AnswerLost] {
        for place in 0.. {
            let faulty = Arc::new(Faulty::default());
            let served = Served::new(Arc::clone(&faulty) as Arc<dyn ObjectStore>).await;
            let source = Arc::new(Repo::work());
            pushes(&served, &source, 0..3).await;
            faulty.plan(fault, place, 1);
            let repacked = served.repository.repack().await;
            let operations = faulty.no_plan();
            let expected = if repacked.is_ok() { 1 } else { 3 };
            assert_eq!(packs(&served).await, expected, "{fault:?} of {place}: {operations:?}");
            export::assert_is(&served, &source).await;
            if repacked.is_err() {
                served.assert_no_leftovers().await;
            }
            if operations.len() <= place {
                assert!(repacked.is_ok() && operations.len() > 10, "{operations:?}");
                break;
            }
        }
    }
}

/// A push is held just before the head moves, and what it has uploaded is taken for what a dead one left.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_outlives_that_its_pack_is_removed() {
    let faulty = Arc::new(Faulty::default());
    let served = Served::new(Arc::clone(&faulty) as Arc<dyn ObjectStore>).await;
    let source = Arc::new(Repo::work());
    pushes(&served, &source, 0..3).await;
    source.commit("main", &[("more", b"to come")]);
    faulty.hold("put head");
    let push = served.push(&source, &["-q", "main"]);
    let prune = async {
        faulty.reached().await;
        faulty.age();
        // The pack of the push, and the manifests of the others.
        let removed = served.repository.prune(Duration::ZERO).await.expect("it is done");
        assert!(removed > 4, "{removed}");
        faulty.let_go();
    };
    join(push, prune).await;
    export::assert_is(&served, &source).await;
    served.assert_no_leftovers().await;
}

/// Of two repositories at the same path the second gets nothing that was pushed to the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_does_not_land_in_the_repository_that_came_after() {
    let faulty = Arc::new(Faulty::default());
    let served = Served::new(Arc::clone(&faulty) as Arc<dyn ObjectStore>).await;
    let source = Arc::new(Repo::work());
    pushes(&served, &source, 0..2).await;
    source.commit("other", &[("file", b"a history of its own")]);
    faulty.hold("put head");
    let push = served.try_push(&source, &["other"]);
    let replace = async {
        faulty.reached().await;
        served.repository.delete().await.expect("it is removed");
        let other = Served::new(Arc::clone(&served.store)).await;
        faulty.let_go();
        other
    };
    let (said, other) = join(push, replace).await;
    assert!(!said.status.success() && said.stderr.contains("internal error"), "{}", said.stderr);
    assert_eq!(other.repository.manifest().await.expect("a manifest").refs().len(), 0);
    // Who still holds the first does not harm the second.
    assert_eq!(served.repository.delete().await.expect_err("it is gone").kind(), ErrorKind::NotFound);
    assert_eq!(served.repository.manifest().await.expect_err("it is gone").kind(), ErrorKind::NotFound);
    other.assert_no_leftovers().await;
    other.push(&source, &["-q", "main", "other"]).await;
    export::assert_is(&other, &source).await;
}

/// What lands before the head is gone goes with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_lands_while_its_repository_is_removed_leaves_nothing() {
    let faulty = Arc::new(Faulty::default());
    let served = Served::new(Arc::clone(&faulty) as Arc<dyn ObjectStore>).await;
    let source = Arc::new(Repo::work());
    pushes(&served, &source, 0..2).await;
    faulty.hold("get head");
    let push = async {
        faulty.reached().await;
        pushes(&served, &source, 2..3).await;
        faulty.let_go();
    };
    let (removed, ()) = join(served.repository.delete(), push).await;
    removed.expect("it is removed");
    assert_eq!(served.objects().await.0, Vec::<String>::new());
}

/// What was merged goes away, and nothing of a repository below.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_needed_is_removed_and_nothing_else() {
    let faulty = Arc::new(Faulty::default());
    let served = Served::new(Arc::clone(&faulty) as Arc<dyn ObjectStore>).await;
    let below = ["packs", "manifests", "packs/pack-1.git"];
    let below = futures_util::future::join_all(below.map(async |name| {
        let path = format!("{PATH}/{name}");
        let repository = ObjectStoreRepository::init(&served.bucket, &path, crate::support::format::format()).await;
        repository.expect("a repository")
    }));
    let below = below.await;
    let source = Arc::new(Repo::work());
    pushes(&served, &source, 0..4).await;
    assert_eq!(served.repository.repack().await.expect("it is done"), 4);
    faulty.age();
    // What was in use an hour ago stays: here that is what is in use now.
    assert!(served.repository.prune(Duration::from_secs(3600)).await.expect("it is done") > 4 * 4);
    export::assert_is(&served, &source).await;
    let other = Served::new(Arc::clone(&served.store)).await;
    pushes(&other, &source, 4..6).await;
    export::assert_is(&other, &source).await;
    served.repository.delete().await.expect("it is removed");
    assert_eq!(served.repository.manifest().await.expect_err("it is gone").kind(), ErrorKind::NotFound);
    let (names, _) = served.objects().await;
    assert_eq!(names.len(), 2 * below.len(), "{names:?}");
    for repository in below {
        repository.manifest().await.expect("it is there");
        repository.delete().await.expect("it is removed");
    }
    assert_eq!(served.objects().await.0, Vec::<String>::new());
}
