//! Refusals and reports, as the real git shows them: each with its reason, also in the middle of a large upload.

#![cfg(all(feature = "bare-repository", feature = "http", feature = "memory"))]

mod support;

use receive_pack::checksum::ChecksumLayer;
use receive_pack::limit::LimitLayer;
use receive_pack::proto::Report;
use receive_pack::push::{Pack, Push};
use receive_pack::receive::ReceivePack;
use receive_pack::store::{BareRepository, MemoryStore, Store};
use receive_pack::{BoxError, Error};
use support::fast_import::Shape;
use support::forge::Forge;
use support::format::format;
use support::git::{self, Output, Repo, assert_same_repository};
use support::host::Host;
use support::io::Script;
use support::pack::PackBuilder;
use support::request::{Advertised, Request, take_pkt};
use support::rng::Rng;
use support::server::{example, heard, serve};
use tokio::net::tcp::OwnedReadHalf;
use tower::{ServiceBuilder, service_fn};

/// A host that refuses packs of more than `limit` bytes.
fn limited(target: &Repo, limit: u64) -> Host {
    let path = target.path().to_owned();
    Host::start(move || {
        let path = path.clone();
        async move {
            let store = BareRepository::open(&path).expect("the repository opens");
            let advertisement = store.advertise().await.expect("an advertisement");
            let layers = ServiceBuilder::new().layer(LimitLayer::new().pack_bytes(limit)).layer(ChecksumLayer::new());
            (advertisement, layers.service(ReceivePack::new(store)))
        }
    })
}

/// A push of more than 50 MB that does not compress.
fn large() -> Repo {
    let source = Repo::bare();
    source.git(["config", "core.compression", "0"]);
    source.commit("main", &[("large.bin", &Rng::new(7).bytes(52 << 20))]);
    source
}

#[track_caller]
fn assert_shown(said: &Output, line: &str) {
    assert!(said.stderr.lines().any(|shown| shown.trim() == line), "no line {line:?} in:\n{}", said.stderr);
    assert!(!said.status.success());
}

#[test]
fn a_refusal_in_the_middle_of_a_large_upload_is_shown_over_tcp() {
    let (source, target) = (large(), Repo::bare());
    let host = limited(&target, 1 << 20);
    let said = source.try_push(&host.url(), &["main"]);
    assert_shown(&said, "! [remote rejected] main -> main (pack exceeds maximum allowed size of 1048576 bytes)");
    let served = host.served().expect("the client was answered");
    assert!(served.discarded() > 40 << 20, "it was read to the end, not from the middle on: {}", served.discarded());
    assert!(target.refs().is_empty() && target.stored().is_empty());
    target.assert_no_leftovers();
}

#[test]
fn a_refusal_before_the_pack_is_shown_over_tcp() {
    let source = large();
    let host = Host::start(|| async {
        let refuse = service_fn(|push: Push<Pack<OwnedReadHalf>>| async move {
            Ok::<_, BoxError>(Report::refused("not on a Friday", push.request().commands()))
        });
        (receive_pack::proto::Advertisement::new(format()), refuse)
    });
    let said = source.try_push(&host.url(), &["main", "main:refs/heads/other"]);
    assert_shown(&said, "! [remote rejected] main -> main (not on a Friday)");
    assert_shown(&said, "! [remote rejected] main -> other (not on a Friday)");
    assert!(host.served().expect("the client was answered").discarded() > 50 << 20);
}

#[test]
fn refusals_of_a_large_upload_are_shown_over_a_pipe() {
    let (source, target) = (large(), Repo::bare());
    let program = format!("--receive-pack={} --max-input-size=1048576", example("receive_pack").display());
    let path = target.path().to_str().expect("a path of text");
    let said = source.try_push(path, &[&program, "main"]);
    assert_shown(&said, "! [remote rejected] main -> main (pack exceeds maximum allowed size of 1048576 bytes)");
    // Before the pack, or it would be the pack that is refused. git's own has the same words.
    let gits = Repo::bare();
    let gits = source.try_push(gits.path().to_str().expect("a path of text"), &["main:refs/x"]);
    for said in [gits, source.try_push(path, &[&program, "main:refs/x"])] {
        assert_shown(&said, "! [remote rejected] main -> refs/x (funny refname)");
    }
    assert!(target.refs().is_empty() && target.stored().is_empty());
    target.assert_no_leftovers();
}

#[test]
fn a_pack_may_be_of_any_size_where_the_limit_is_0() {
    let (source, target) = (Shape::SMALL.repository().borrow(), Repo::bare());
    let program = format!("--receive-pack={} --max-input-size=0", example("receive_pack").display());
    source.push(target.path().to_str().expect("a path of text"), &["-q", &program, "--mirror"]);
    assert_same_repository(&source, &target);
}

#[test]
fn refusals_of_a_large_upload_are_shown_over_http_and_ssh() {
    let (source, forge) = (large(), Forge::start(&["--pack-bytes", "1048576"]));
    for transport in ["http", "ssh"] {
        let push = |refspec: &str| {
            let url = forge.url(transport, &format!("{transport}.git"));
            let mut push = git::command(source.path(), ["push", &url, refspec]);
            push.env("GIT_SSH_COMMAND", forge.ssh_command());
            git::run(push, b"")
        };
        // In the middle, and before the pack.
        let said = push("main");
        assert_shown(&said, "! [remote rejected] main -> main (pack exceeds maximum allowed size of 1048576 bytes)");
        let said = push("main:refs/heads/locked/main");
        assert_shown(&said, "! [remote rejected] main -> locked/main (this branch is locked)");
        let target = forge.repository(&format!("{transport}.git"));
        assert!(target.refs().is_empty() && target.stored().is_empty());
        target.assert_no_leftovers();
    }
}

#[test]
fn a_failure_of_the_server_itself_is_shown_without_its_details() {
    let source = Shape::SMALL.repository().borrow();
    let host = Host::start(|| async {
        let fail = service_fn(|_: Push<Pack<OwnedReadHalf>>| async {
            Err::<Report, _>(Error::store("/srv/secret is full", std::io::Error::other("no space")))
        });
        (receive_pack::proto::Advertisement::new(format()), fail)
    });
    let said = source.try_push(&host.url(), &["main"]);
    assert_shown(&said, "! [remote rejected] main -> main (unpacker error)");
    assert_shown(&said, "error: remote unpack failed: internal error");
    assert!(!said.stderr.contains("secret"), "{}", said.stderr);
    let served = host.served().expect("the client was answered");
    assert_eq!(served.error().expect("the server's log has it").to_string(), "/srv/secret is full");
}

#[test]
fn a_report_of_thousands_of_refs_is_split_and_comes_whole() {
    let (source, store) = (Repo::bare(), MemoryStore::new(format()));
    let tip = source.commit("main", &[("a", b"a\n")]);
    let updates: String = (0..3000).map(|n| format!("create refs/tags/a-tag-of-some-length-{n:06} {tip}\n")).collect();
    source.git_with_input(["update-ref", "--stdin"], updates.as_bytes());
    let target = store.clone();
    let host = Host::start(move || {
        let store = store.clone();
        async move {
            let advertisement = store.advertise().await.expect("an advertisement");
            (advertisement, ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store)))
        }
    });
    let said = source.push(&host.url(), &["--mirror", "--porcelain"]);
    assert_eq!(said.text().lines().filter(|line| line.starts_with('*')).count(), 3001);
    assert_eq!(target.refs().len(), 3001);

    // Refused ones as well: each is named, in its order, once.
    let refused = Host::start(|| async {
        let refuse = service_fn(|push: Push<Pack<OwnedReadHalf>>| async move {
            let reason = "for a reason that takes some room in a report of many lines";
            Ok::<_, BoxError>(Report::refused(reason, push.request().commands()))
        });
        (receive_pack::proto::Advertisement::new(format()), refuse)
    });
    let said = source.try_push(&refused.url(), &["--mirror", "--porcelain"]);
    assert_eq!(said.text().matches("[remote rejected] (for a reason that takes some room").count(), 3001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_report_names_the_refs_in_the_order_of_the_commands() {
    let (ours, gits) = (Repo::bare(), Repo::bare());
    let tip = ours.commit("main", &[("a", b"a\n")]);
    assert_eq!(gits.commit("main", &[("a", b"a\n")]), tip);
    // In no order of names, and what is refused among what is taken.
    let names = (0..1500).map(|n| n * 1009 % 1500).map(|n| {
        let directory = if n % 3 == 0 { "secret" } else { "tags" };
        format!("refs/{directory}/a-name-of-some-length-for-a-long-report-{n:06}")
    });
    let names: Vec<String> = names.collect();
    let request = names.iter().fold(Request::new(), |request, name| request.create(name, &tip));
    let request = request.pack(PackBuilder::default().finish()).bytes();
    for repo in [&ours, &gits] {
        repo.git(["config", "receive.hideRefs", "refs/secret"]);
    }
    let store = BareRepository::open(ours.path()).expect("the repository opens");
    let (served, our_words) = serve(store, Script::of(request.clone())).await;
    served.expect("the push is served");
    let git_words = git::run(git::command(gits.path(), ["receive-pack", "."]), &request).stdout;

    let result = |name: &String| match name.starts_with("refs/secret/") {
        true => Err("deny updating a hidden ref".to_owned()),
        false => Ok(()),
    };
    let expected: Vec<_> = names.iter().map(|name| (name.clone(), result(name))).collect();
    for (whose, words) in [("ours", our_words), ("git's", git_words)] {
        let mut rest = &words[..];
        Advertised::take(&mut rest);
        let packets = std::iter::from_fn(|| take_pkt(&mut rest)).filter(|packet| packet[0] == 1).count();
        assert!(packets > 1, "{whose} fits into a packet");
        assert!(heard(&words).1.refs == expected, "{whose} has another order");
    }
    assert_eq!(ours.refs(), gits.refs());
}

/// A server that cannot move all refs or none does not say that it can, and git goes away.
#[test]
fn git_does_not_push_atomically_to_who_does_not_offer_it() {
    let (source, store) = (Shape::SMALL.repository().borrow(), MemoryStore::new(format()));
    let target = store.clone();
    let host = Host::start(move || {
        let store = store.clone();
        async move {
            let advertisement = store.advertise().await.expect("an advertisement").with_atomic(false);
            (advertisement, ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store)))
        }
    });
    // What git says to its own server of that kind.
    let gits = Repo::bare();
    gits.git(["config", "receive.advertiseAtomic", "false"]);
    for url in [&*host.url(), gits.path().to_str().expect("a path of text")] {
        let said = source.try_push(url, &["--atomic", "main", "next"]);
        assert_shown(&said, "fatal: the receiving end does not support --atomic push");
    }
    assert!(target.refs().is_empty() && gits.refs().is_empty());
    source.push(&host.url(), &["-q", "main", "next"]);
    assert_eq!(target.refs().len(), 2);
}

#[test]
fn a_branch_that_somebody_works_on_does_not_change_under_them() {
    let source = Repo::bare();
    source.commit("main", &[("a", b"a\n")]);
    let refused = "! [remote rejected] main -> main (branch is currently checked out)";
    // With commits on the branch, and before the first.
    for commits in [1, 0] {
        let (ours, gits) = (Repo::work(), Repo::work());
        for target in [&ours, &gits] {
            (0..commits).for_each(|_| drop(target.commit("main", &[("b", b"b\n")])));
        }
        let before = ours.try_git(["rev-parse", "-q", "--verify", "refs/heads/main"]).text();
        let refs = ["--force", "main", "main:refs/heads/other"];
        let host = limited(&ours, u64::MAX);
        for url in [&*host.url(), gits.path().to_str().expect("a path of text")] {
            assert_shown(&source.try_push(url, &refs), refused);
        }
        assert_eq!(ours.refs(), gits.refs());
        assert_eq!(ours.try_git(["rev-parse", "-q", "--verify", "refs/heads/main"]).text(), before);
        assert_eq!(ours.rev("other"), source.rev("main"));
    }
}
