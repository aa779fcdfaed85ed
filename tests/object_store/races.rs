//! Several servers for one repository.

use std::sync::Arc;

use futures_util::future::{join, join_all};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::faulty::Faulty;
use super::{Served, export};
use crate::support::git::Repo;
use crate::support::s3::S3;

const SERVERS: usize = 6;

/// Each server is pushed a branch of its own and one that all push, at the same time.
async fn race(store: Arc<dyn ObjectStore>) {
    let first = Served::new(Arc::clone(&store)).await;
    let origin = Arc::new(Repo::work());
    origin.commit("main", &[("file", b"from the beginning")]);
    first.push(&origin, &["-q", "main"]).await;
    for round in 0..3 {
        let servers = join_all((0..SERVERS).map(|_| Served::new(Arc::clone(&store)))).await;
        let sources: Vec<_> = (0..SERVERS)
            .map(|number| {
                let source = Repo::work();
                source.commit("main", &[("file", format!("round {round} of {number}").as_bytes())]);
                source.git(["branch", "-M", &format!("own{number}-{round}")]);
                source.git(["branch", &format!("all{round}")]);
                Arc::new(source)
            })
            .collect();
        let pushes = servers.iter().zip(&sources).map(|(server, source)| server.try_push(source, &["--all"]));
        let said = join_all(pushes).await;
        let mut winners = Vec::new();
        for (number, said) in said.iter().enumerate() {
            let own = format!("[new branch]      own{number}-{round} -> own{number}-{round}");
            assert!(said.stderr.contains(&own), "{}", said.stderr);
            if said.status.success() {
                winners.push(number);
            } else {
                let lost = format!("! [remote rejected] all{round} -> all{round} (reference already exists)");
                // Whose client came when the winner had landed already is told so by the list of refs.
                let late = format!("! [rejected]        all{round} -> all{round} (fetch first)");
                assert!([lost, late].iter().any(|line| said.stderr.contains(line)), "{}", said.stderr);
            }
        }
        assert_eq!(winners.len(), 1, "{said:?}");
        // What the winners said is what is there.
        origin.git([
            "fetch",
            "-q",
            sources[winners[0]].path().to_str().expect("a path"),
            &format!("all{round}:all{round}"),
        ]);
        for (number, source) in sources.iter().enumerate() {
            let own = format!("own{number}-{round}:own{number}-{round}");
            origin.git(["fetch", "-q", source.path().to_str().expect("a path"), &own]);
        }
        export::assert_is(&first, &origin).await;
    }
    first.assert_no_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_push_the_same_ref_one_wins() {
    race(Arc::new(InMemory::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_push_the_same_ref_over_s3_one_wins() {
    let Some(s3) = S3::seaweedfs() else { return };
    race(s3.store()).await;
}

/// Between a push's look at the head and its move somebody else lands: what he moved is refused, all else is not, and
/// nothing is uploaded twice.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_overtaken_is_judged_anew() {
    let faulty = Arc::new(Faulty::default());
    let store: Arc<dyn ObjectStore> = Arc::clone(&faulty) as _;
    let (slow, quick) = (Served::new(Arc::clone(&store)).await, Served::new(store).await);
    let [first, second] = ["first", "second"].map(|name| {
        let source = Repo::work();
        source.commit("all", &[("file", name.as_bytes())]);
        source.git(["branch", name, "all"]);
        Arc::new(source)
    });
    faulty.hold("put head");
    let overtaken = slow.try_push(&first, &["all", "first"]);
    let overtakes = async {
        faulty.reached().await;
        quick.push(&second, &["all", "second"]).await;
        faulty.let_go();
    };
    let (said, ()) = join(overtaken, overtakes).await;
    assert!(said.stderr.contains("[new branch]      first -> first"), "{}", said.stderr);
    let refused = "! [remote rejected] all -> all (reference already exists)";
    assert!(said.stderr.contains(refused), "{}", said.stderr);
    let operations = faulty.no_plan();
    let packs = operations.iter().filter(|operation| operation.starts_with("put ") && operation.ends_with(".pack"));
    assert_eq!(packs.count(), 2);
    second.git(["fetch", "-q", first.path().to_str().expect("a path"), "first:first"]);
    export::assert_is(&slow, &second).await;
    slow.assert_no_leftovers().await;
}
