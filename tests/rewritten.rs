//! A policy that moves another ref than the one that was named: what real git shows of that.

#![cfg(all(feature = "memory", feature = "bare-repository"))]

mod support;

use receive_pack::Error;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::proto::{HiddenRefs, ObjectId, Rewritten};
use receive_pack::receive::{PreReceive, ReceivePack, Received};
use receive_pack::rules::RefRules;
use receive_pack::store::{BareRepository, MemoryStore, Store};
use support::format::format;
use support::git::Repo;
use support::host::Host;
use support::io::Script;
use support::pack::PackBuilder;
use support::request::Request;
use support::server::{heard, serve_with};
use tower::ServiceBuilder;

/// What is pushed for review becomes a change: `refs/for/<branch>` moves `refs/changes/1`.
#[derive(Clone)]
struct Review {
    /// What the change holds so far.
    old: Option<ObjectId>,
}

impl PreReceive for Review {
    async fn pre_receive(&self, push: &mut Received<'_>) -> Result<(), Error> {
        let old = self.old.unwrap_or(ObjectId::zero(push.request().format()));
        for (index, command) in push.request().commands().to_vec().into_iter().enumerate() {
            if command.name.starts_with(b"refs/for/") {
                push.request_mut().rewrite(index, Rewritten::of("refs/changes/1/head", old));
            }
        }
        Ok(())
    }
}

fn host<P: PreReceive + Clone>(store: impl Store, policy: P) -> Host {
    Host::start(move || {
        let (store, policy) = (store.clone(), policy.clone());
        async move {
            let advertisement = store.advertise().await.expect("an advertisement");
            let service = ReceivePack::new(store).pre_receive(policy);
            (advertisement, ServiceBuilder::new().layer(ChecksumLayer::new()).service(service))
        }
    })
}

/// The lines in which git says what became of refs.
fn shown(stderr: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    stderr.lines().filter(|line| line.contains(" -> ")).map(words).collect()
}

#[test]
fn git_shows_the_ref_that_was_really_moved() {
    let (source, repo) = (Repo::bare(), Repo::bare());
    let first = source.commit("main", &[("a", b"1\n")]);
    let memory = MemoryStore::new(format());
    let names = || memory.refs().into_iter().map(|(name, id)| (name, id.to_string())).collect::<Vec<_>>();
    let bare = || BareRepository::open(repo.path()).expect("it opens");

    let review = Review { old: None };
    for host in [host(bare(), review.clone()), host(memory.clone(), review)] {
        let said = source.push(&host.url(), &["main:refs/for/main", "main:refs/heads/beside"]);
        let lines = shown(&said.stderr);
        assert_eq!(
            lines,
            ["* [new reference] main -> refs/changes/1/head", "* [new branch] main -> beside"],
            "{lines:?}"
        );
    }
    let refs = [("refs/changes/1/head", &first), ("refs/heads/beside", &first)];
    assert_eq!(repo.refs(), refs.map(|(name, id)| (name.to_owned(), id.clone())));
    assert_eq!(names(), refs.map(|(name, id)| (name.into(), id.clone())));

    // Again: the change goes on from where it is, which git is told as well.
    let second = source.commit("main", &[("a", b"2\n")]);
    let review = Review { old: Some(support::format::oid(&first)) };
    for host in [host(bare(), review.clone()), host(memory.clone(), review)] {
        let said = source.push(&host.url(), &["main:refs/for/main"]);
        let (from, to) = (source.git(["rev-parse", "--short", &first]).text(), &second);
        let to = source.git(["rev-parse", "--short", to]).text();
        assert_eq!(shown(&said.stderr), [format!("{from}..{to} main -> refs/changes/1/head")]);
    }
    assert_eq!(repo.rev("refs/changes/1/head"), second);
    assert_eq!(names()[0].1, second);
    repo.fsck();
    repo.assert_no_leftovers();
}

/// Moves each ref to one commit, whatever was pushed.
#[derive(Clone)]
struct Instead {
    to: Rewritten,
}

impl PreReceive for Instead {
    async fn pre_receive(&self, push: &mut Received<'_>) -> Result<(), Error> {
        (0..push.request().commands().len()).for_each(|index| push.request_mut().rewrite(index, self.to.clone()));
        Ok(())
    }
}

#[test]
fn git_shows_where_the_ref_was_really_moved_to() {
    let (source, repo) = (Repo::bare(), Repo::bare());
    let [first, second] = [b"1\n", b"2\n"].map(|text| source.commit("main", &[("a", text)]));
    let other = source.commit("other", &[("a", b"other\n")]);
    let short = |id: &str| source.git(["rev-parse", "--short", id]).text();
    let path = repo.path().to_str().expect("a path of text");
    source.push(path, &["-q", "other", &format!("{first}:refs/heads/main")]);
    let bare = || BareRepository::open(repo.path()).expect("it opens");

    // Forced by the policy, which has it from the pusher's own ref to a commit that is there.
    let mut to = Rewritten::default();
    to.new = Some(support::format::oid(&other));
    to.forced = true;
    let said = source.push(&host(bare(), Instead { to: to.clone() }).url(), &[&format!("{second}:refs/heads/main")]);
    let line = format!("+ {}...{} {second} -> main (forced update)", short(&first), short(&other));
    assert_eq!(shown(&said.stderr), [line]);
    assert_eq!((repo.rev("main"), repo.rev("other")), (other.clone(), other.clone()));

    // Another ref, from another id, to another one.
    to.name = Some("refs/heads/other".into());
    to.old = Some(support::format::oid(&other));
    to.new = Some(support::format::oid(&first));
    to.forced = false;
    let said = source.push(&host(bare(), Instead { to }).url(), &[&format!("{second}:refs/heads/new")]);
    let line = format!("{}..{} {second} -> other", short(&other), short(&first));
    assert_eq!(shown(&said.stderr), [line]);
    assert_eq!((repo.rev("main"), repo.rev("other")), (other, first));

    // What the client asked for anyway is not told.
    let tip = repo.rev("main");
    let as_asked = Instead { to: Rewritten::of("refs/heads/again", ObjectId::zero(format())) };
    let said = source.push(&host(bare(), as_asked).url(), &[&format!("{tip}:refs/heads/again")]);
    assert_eq!(shown(&said.stderr), [format!("* [new branch] {tip} -> again")]);
    assert_eq!(repo.rev("again"), tip);
    repo.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_ref_is_judged_as_if_it_had_been_named() {
    let repo = Repo::bare();
    let tip = repo.commit("main", &[("a", b"1\n")]);
    let bare = || BareRepository::open(repo.path()).expect("it opens");
    let request = |names: &[&str]| {
        let request = names.iter().fold(Request::new(), |request, name| request.create(name, &tip));
        Script::of(request.pack(PackBuilder::default().finish()).bytes())
    };
    // Two that come to the same; one that was named as well.
    let twice = Err("multiple updates for this ref not allowed".to_owned());
    for names in [["refs/for/a", "refs/for/b"], ["refs/for/a", "refs/changes/1/head"]] {
        let reply = heard(&serve_with(bare(), Review { old: None }, request(&names)).await.1).1;
        assert_eq!(reply.refs, names.map(|name| (name.to_owned(), twice.clone())));
    }
    // A policy that comes after it, and the store's comparison with the old value.
    let rules = RefRules::new().deny(["refs/changes/"], "no changes today");
    let reply = heard(&serve_with(bare(), (Review { old: None }, rules), request(&["refs/for/a"])).await.1).1;
    assert_eq!(reply.refs, [("refs/for/a".to_owned(), Err("no changes today".to_owned()))]);
    let stale = Review { old: Some(support::format::oid(&tip)) };
    let reply = heard(&serve_with(bare(), stale, request(&["refs/for/a"])).await.1).1;
    assert_eq!(reply.refs, [("refs/for/a".to_owned(), Err("reference does not exist".to_owned()))]);
    assert_eq!(repo.refs(), [("refs/heads/main".to_owned(), tip.clone())]);
    // It may be one that nobody but the policy can name.
    let hidden = || bare().hide_refs(HiddenRefs::new(["refs/changes"]));
    let reply = heard(&serve_with(hidden(), (), request(&["refs/changes/1/head"])).await.1).1;
    assert_eq!(reply.refs[0].1, Err("deny updating a hidden ref".to_owned()));
    heard(&serve_with(hidden(), Review { old: None }, request(&["refs/for/a"])).await.1).1.assert_ok();
    assert_eq!(repo.rev("refs/changes/1/head"), tip);
}
