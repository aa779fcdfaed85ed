//! Whatever fails, and whenever: a push lands wholly or not at all.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use receive_pack::ErrorKind;
use receive_pack::store::{Bucket, ObjectStoreRepository};

use super::faulty::{Fault, Faulty};
use super::{Served, export};
use crate::support::format::{format, made_up};
use crate::support::git::Repo;
use crate::support::io::Script;
use crate::support::request::Request;
use crate::support::rng::Rng;
use crate::support::server::{heard, in_time, serve};

/// A repository with one push in it, and the source of the next.
async fn begun(faulty: &Arc<Faulty>) -> (Served, Arc<Repo>) {
    let served = Served::new(Arc::clone(faulty) as Arc<dyn ObjectStore>).await;
    let source = Arc::new(Repo::work());
    source.commit("main", &[("file", &b"a line that is in both\n".repeat(100))]);
    served.push(&source, &["-q", "main"]).await;
    source.commit("main", &[("file", &b"a line that is in both\n".repeat(101))]);
    source.git(["branch", "other", "main"]);
    (served, source)
}

/// Each operation of a push fails once, and says that it was done or not.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_a_push_lands_wholly_or_not_at_all() {
    for fault in [Fault::NotDone, Fault::AnswerLost] {
        let (mut landed, mut refused) = (Vec::new(), Vec::new());
        for place in 0.. {
            let faulty = Arc::new(Faulty::default());
            let (served, source) = begun(&faulty).await;
            let before = served.repository.manifest().await.expect("a manifest");
            faulty.plan(fault, place, 1);
            let said = served.try_push(&source, &["main", "other"]).await;
            let operations = faulty.no_plan();
            let after = served.repository.manifest().await.expect("a manifest");
            if said.status.success() {
                assert_eq!(after.refs().len(), 2, "{fault:?} of {place}: {operations:?}");
                export::assert_is(&served, &source).await;
                landed.extend(operations.get(place).cloned());
            } else {
                assert_eq!(after, before, "{fault:?} of {place}: {operations:?}, {}", said.stderr);
                refused.extend(operations.get(place).cloned());
            }
            served.assert_no_leftovers().await;
            served.push(&source, &["main", "other"]).await;
            export::assert_is(&served, &source).await;
            if operations.len() <= place {
                break;
            }
        }
        // What decides is asked again; all else fails the push.
        assert_eq!(landed, ["put head"], "{fault:?}");
        let kinds = ["get head", "put pack-", "put "];
        for kind in kinds {
            assert!(refused.iter().any(|operation| operation.starts_with(kind)), "{fault:?}: {kind} of {refused:?}");
        }
    }
}

/// The head was moved, the answer was lost, and from then on nobody answers: it may have landed, so nothing is removed.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_landed_is_not_removed() {
    let faulty = Arc::new(Faulty::default());
    let (served, source) = begun(&faulty).await;
    faulty.plan(Fault::AnswerLost, usize::MAX, 0);
    served.push(&source, &["-q", "main:refs/heads/rehearsal"]).await;
    let operations = faulty.no_plan();
    let head = operations.iter().rposition(|operation| operation == "put head").expect("a head");

    for (fault, lands) in [(Fault::AnswerLost, true), (Fault::NotDone, false)] {
        let faulty = Arc::new(Faulty::default());
        let (served, source) = begun(&faulty).await;
        faulty.plan(fault, head, 1000);
        let said = served.try_push(&source, &["main"]).await;
        faulty.no_plan();
        assert!(said.stderr.contains("internal error"), "{}", said.stderr);
        let manifest = served.repository.manifest().await.expect("a manifest");
        assert_eq!(manifest.packs().len(), if lands { 2 } else { 1 });
        // Two packs of four objects each, the head, and the manifests.
        let (names, manifests) = served.objects().await;
        assert_eq!(names.len() - manifests, 9, "{names:?}");
        if lands {
            source.git(["branch", "-D", "-q", "other"]);
            export::assert_is(&served, &source).await;
        }
    }
}

/// The operations of a push from its beginning.
async fn rehearsed() -> Vec<String> {
    let faulty = Arc::new(Faulty::default());
    let (served, source) = begun(&faulty).await;
    // As the others do: what was read is not read again.
    served.repository.manifest().await.expect("a manifest");
    faulty.plan(Fault::Held, usize::MAX, 0);
    through_the_store(served.repository.clone(), source).await;
    faulty.no_plan()
}

/// What the docs promise of a small push.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_push_asks_for_little() {
    let operations = rehearsed().await;
    let count = |what: &str| operations.iter().filter(|operation| operation.starts_with(what)).count();
    assert!(
        count("put ") == 6 && count("get ") <= 10 && operations.len() == count("put ") + count("get "),
        "{operations:?}"
    );
}

/// Dropped at any operation, a push rolls back, unless the head is about to move: then it lands.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_nobody_waits_for_lands_wholly_or_not_at_all() {
    let (mut landed, mut rolled_back) = (0, 0);
    for place in 0..rehearsed().await.len() {
        let faulty = Arc::new(Faulty::default());
        let (served, source) = begun(&faulty).await;
        let before = served.repository.manifest().await.expect("a manifest");
        faulty.plan(Fault::Held, place, 1);
        let push = tokio::spawn(through_the_store(served.repository.clone(), Arc::clone(&source)));
        in_time(faulty.reached()).await;
        push.abort();
        let _ = push.await;
        faulty.let_go();
        in_time(served.bucket.idle()).await;
        let operations = faulty.no_plan();
        let after = served.repository.manifest().await.expect("a manifest");
        served.assert_no_leftovers().await;
        if after == before {
            rolled_back += 1;
        } else {
            assert_eq!(operations[place], "put head");
            export::assert_is(&served, &source).await;
            landed += 1;
        }
    }
    assert_eq!(landed, 1);
    assert!(rolled_back >= 8, "{rolled_back}");
}

/// The head was moved, somebody else moved it on, and only then the first hears that something went wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_found_below_one_that_came_after_it() {
    let operations = rehearsed().await;
    let head = operations.iter().rposition(|operation| operation == "put head").expect("a head");
    let faulty = Arc::new(Faulty::default());
    let (served, source) = begun(&faulty).await;
    served.repository.manifest().await.expect("a manifest");
    faulty.plan(Fault::AnswerHeld, head, 1);
    let first = tokio::spawn(through_the_store(served.repository.clone(), Arc::clone(&source)));
    in_time(faulty.reached()).await;
    for number in 0..3 {
        source.git(["branch", &format!("later{number}"), "main"]);
        source.commit(&format!("later{number}"), &[("file", number.to_string().as_bytes())]);
        served.push(&source, &["-q", &format!("later{number}")]).await;
    }
    faulty.let_go();
    first.await.expect("it is told that it has landed");
    export::assert_is(&served, &source).await;
    served.assert_no_leftovers().await;
}

/// What was said to have failed is done all the same, some time later.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_is_waited_for() {
    let mut landed = 0;
    for place in 0.. {
        let faulty = Arc::new(Faulty::default());
        let (served, source) = begun(&faulty).await;
        let before = served.repository.manifest().await.expect("a manifest");
        faulty.plan(Fault::Later, place, 1);
        let said = served.try_push(&source, &["main", "other"]).await;
        let operations = faulty.no_plan();
        let Some(operation) = operations.get(place) else { break };
        // By then it has come.
        tokio::time::sleep(Duration::from_millis(500)).await;
        if said.status.success() {
            assert_eq!(operation, "put head");
            export::assert_is(&served, &source).await;
            landed += 1;
        } else {
            assert_eq!(served.repository.manifest().await.expect("a manifest"), before, "{operation}");
        }
        served.push(&source, &["main", "other"]).await;
        export::assert_is(&served, &source).await;
    }
    assert_eq!(landed, 1);
}

/// A pack that goes up in parts.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_is_aborted_where_it_fails() {
    let push = async |fault, place| {
        let faulty = Arc::new(Faulty::default());
        let served = Served::new(Arc::clone(&faulty) as Arc<dyn ObjectStore>).await;
        let source = Arc::new(Repo::work());
        source.commit("main", &[("file", &Rng::new(7).bytes(9 << 20))]);
        faulty.plan(fault, place, 1);
        let said = served.try_push(&source, &["main"]).await;
        let operations = faulty.no_plan();
        served.assert_no_leftovers().await;
        if said.status.success() {
            export::assert_is(&served, &source).await;
        } else {
            assert_eq!(served.repository.manifest().await.expect("a manifest").refs().len(), 0);
            // What had begun was aborted.
            let begun = operations.iter().any(|operation| operation.starts_with("part "));
            assert_eq!(operations.iter().any(|operation| operation.starts_with("abort ")), begun, "{operations:?}");
        }
        (said.status.success(), operations)
    };
    let (lands, operations) = push(Fault::NotDone, usize::MAX).await;
    let is_of_parts =
        |operation: &str| ["put_multipart ", "part ", "complete "].iter().any(|of| operation.starts_with(of));
    let places: Vec<_> = (0..operations.len()).filter(|place| is_of_parts(&operations[*place])).collect();
    assert!(lands && places.len() == 4, "{operations:?}");
    for place in places {
        for fault in [Fault::NotDone, Fault::AnswerLost] {
            let (lands, operations) = push(fault, place).await;
            assert!(!lands, "{fault:?} of {:?}", operations[place]);
        }
    }
}

/// A part that arrives after the upload was aborted would be there for good.
#[tokio::test(flavor = "multi_thread")]
async fn no_upload_is_aborted_while_a_part_is_on_its_way() {
    let faulty = Arc::new(Faulty::default());
    let served = Served::new(Arc::clone(&faulty) as Arc<dyn ObjectStore>).await;
    let source = Arc::new(Repo::work());
    source.commit("main", &[("file", &Rng::new(7).bytes(9 << 20))]);
    faulty.plan(Fault::NotDone, usize::MAX, 0);
    served.push(&source, &["-q", "main:refs/heads/rehearsal"]).await;
    let operations = faulty.no_plan();
    let second = operations.iter().rposition(|operation| operation.starts_with("part ")).expect("two parts");

    let faulty = Arc::new(Faulty::default());
    let served = Served::new(Arc::clone(&faulty) as Arc<dyn ObjectStore>).await;
    faulty.plan(Fault::NotDone, second, 1);
    faulty.hold("part ");
    let push = served.try_push(&source, &["main"]);
    let let_go = async {
        faulty.reached().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        faulty.let_go();
    };
    let (said, ()) = futures_util::future::join(push, let_go).await;
    assert!(said.stderr.contains("internal error"), "{}", said.stderr);
    let operations = faulty.no_plan();
    let place = |of: &str| operations.iter().position(|operation| operation.starts_with(of)).expect(of);
    assert!(place("part ") < place("let go") && place("let go") < place("abort "), "{operations:?}");
    served.assert_no_leftovers().await;
}

/// A push through the store alone, without a connection that would have a task of its own.
async fn through_the_store(repository: ObjectStoreRepository, source: Arc<Repo>) {
    let pack = source.git_with_input(["pack-objects", "--revs", "--stdout", "-q"], b"main\nother\n");
    let zero = made_up('0');
    let manifest = repository.manifest().await.expect("a manifest");
    let old = manifest.refs().next().expect("a ref").1.to_string();
    let request = Request::new().update("refs/heads/main", old, source.rev("main"));
    let request = request.update("refs/heads/other", zero, source.rev("other"));
    let (served, said) = serve(repository, Script::of(request.pack(pack.stdout).bytes())).await;
    served.expect("it is served");
    heard(&said).1.assert_ok();
}

/// A server that died, or a store that forgot: what is missing is named, and nothing is overwritten.
#[tokio::test]
async fn a_repository_that_is_not_there_is_not_found() {
    let faulty: Arc<dyn ObjectStore> = Arc::new(Faulty::default());
    let bucket = Bucket::open(Arc::clone(&faulty)).await.expect("a bucket");
    let error = ObjectStoreRepository::open(&bucket, "no/such.git").await.expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    for bad in ["", "/", "a//b", "a/../b", "a/./b"] {
        let error = ObjectStoreRepository::init(&bucket, bad, format()).await.expect_err(bad);
        assert_eq!(error.kind(), ErrorKind::NotFound, "{bad:?}");
    }
    let one = ObjectStoreRepository::init(&bucket, "a/b.git", format()).await.expect("it is made");
    let manifest = one.manifest().await.expect("a manifest");
    let again = ObjectStoreRepository::init(&bucket, "/a/b.git/", format()).await.expect("it is opened");
    assert_eq!((again.path(), again.manifest().await.expect("a manifest")), ("a/b.git", manifest));
}
