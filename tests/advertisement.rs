//! What a bare repository says first, beside what git's own receive-pack says of it; and what hangs on that: hidden
//! refs, alternates, shallow clones.

#![cfg(feature = "bare-repository")]

mod support;

use bytes::BytesMut;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::proto::HiddenRefs;
use receive_pack::receive::ReceivePack;
use receive_pack::store::{BareRepository, Store};
use support::fast_import::Shape;
use support::format::formats;
use support::git::{Repo, assert_same_repository};
use support::host::Host;
use support::io::Script;
use support::pack::PackBuilder;
use support::request::{Request, take_pkt};
use support::server::{heard, serve};
use tower::ServiceBuilder;

/// The lines of an advertisement without its capabilities, which differ in the agent.
fn lines(mut said: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(line) = take_pkt(&mut said) {
        let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
        lines.push(String::from_utf8_lossy(line).trim_end().to_owned());
    }
    assert!(said.is_empty());
    lines
}

fn ours(repo: &Repo, version_1: bool) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let store = BareRepository::open(repo.path()).expect("the repository opens");
    let advertisement = runtime.block_on(store.advertise()).expect("an advertisement").with_version_1(version_1);
    let mut wire = BytesMut::new();
    advertisement.encode(&mut wire).expect("it can be encoded");
    lines(&wire)
}

fn gits(repo: &Repo, version_1: bool) -> Vec<String> {
    let mut command = support::git::command(repo.path(), ["receive-pack", "--http-backend-info-refs", "."]);
    if version_1 {
        command.env("GIT_PROTOCOL", "version=1");
    }
    lines(&support::git::run(command, b"").expect_success("git receive-pack").stdout)
}

#[track_caller]
fn assert_as_git(repo: &Repo) {
    // Offers of alternates have no order that anybody minds.
    let sorted = |mut lines: Vec<String>| {
        let from = lines.iter().position(|line| line.ends_with(" .have")).unwrap_or(lines.len());
        let offers = lines[from..].iter().take_while(|line| line.ends_with(" .have")).count();
        lines[from..from + offers].sort();
        lines
    };
    assert_eq!(sorted(ours(repo, false)), sorted(gits(repo, false)));
}

/// Takes pushes into a repository as it is configured.
fn host(target: &Repo) -> Host {
    let path = target.path().to_owned();
    Host::start(move || {
        let path = path.clone();
        async move {
            let store = BareRepository::open(&path).expect("the repository opens");
            let advertisement = store.advertise().await.expect("an advertisement");
            (advertisement, ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store)))
        }
    })
}

#[test]
fn it_is_the_advertisement_of_git() {
    for format in formats() {
        assert_as_git(&Repo::bare_in(format.name()));
    }
    let repo = Shape::SMALL.repository().borrow();
    for name in ["refs/for/x", "refs/notes/n", "refs/heads/a-b", "refs/heads/a/b", "refs/stash"] {
        repo.git(["update-ref", name, "main"]);
    }
    repo.git(["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    repo.git(["symbolic-ref", "refs/heads/dangling", "refs/heads/none"]);
    assert_as_git(&repo);
    assert_eq!(ours(&repo, true), gits(&repo, true));
    assert_eq!(ours(&repo, true)[0], "version 1");
}

#[test]
fn the_tips_of_alternates_are_offered_each_once_and_only_if_no_ref_has_them() {
    let lender = Shape::SMALL.repository().borrow();
    lender.git(["update-ref", "refs/heads/again", "next"]);
    let borrower = Repo::bare();
    let alternates = borrower.git_dir().join("objects/info/alternates");
    std::fs::write(&alternates, format!("# a comment\n{}\n", lender.git_dir().join("objects").display()))
        .expect("alternates");
    borrower.git(["update-ref", "refs/heads/main", &lender.rev("main")]);
    assert_as_git(&borrower);
    let said = ours(&borrower, false);
    assert!(said.iter().filter(|line| line.ends_with(".have")).count() > 10, "{said:?}");
    assert!(!said.contains(&format!("{} .have", lender.rev("main"))));

    // What an alternate's ref reaches need not be sent, and counts as complete.
    let source = lender.borrow();
    source.commit("next", &[("new.txt", b"new\n")]);
    source.push(&host(&borrower).url(), &["-q", "next"]);
    assert_eq!(borrower.rev("next"), source.rev("next"));
    let counted = borrower.git(["count-objects", "-v"]).text();
    let packed = counted.lines().find_map(|line| line.strip_prefix("in-pack: ")).and_then(|text| text.parse().ok());
    assert!(packed.is_some_and(|packed: u32| packed < 10), "all was sent: {counted}");
    borrower.fsck();

    // Lenders that are gone, or are no repositories, offer nothing.
    std::fs::write(&alternates, "/nowhere/objects\n").expect("alternates");
    borrower.git(["update-ref", "-d", "refs/heads/main"]);
    assert!(ours(&borrower, false).iter().all(|line| !line.ends_with(".have")));
}

#[test]
fn of_alternates_only_those_refs_are_offered_that_the_configuration_names() {
    let lender = Shape::SMALL.repository().borrow();
    lender.commit("secret/deep", &[("secret", b"secret")]);
    lender.commit("secretly", &[("secret", b"no secret")]);
    let borrower = Repo::bare();
    let alternates = borrower.git_dir().join("objects/info/alternates");
    std::fs::write(&alternates, format!("{}\n", lender.git_dir().join("objects").display())).expect("alternates");
    let offers = || {
        assert_as_git(&borrower);
        ours(&borrower, false).iter().filter(|line| line.ends_with(".have")).count()
    };
    let all = offers();
    let mut seen = std::collections::BTreeSet::new();
    for prefixes in [
        "refs/heads/secret",
        "refs/heads/secret/",
        "refs/heads/secret/deep",
        "refs/heads/secret/deep/",
        "refs/heads/secr",
        "refs/heads",
        "refs/heads/main refs/tags",
        " \t refs/heads/main\t\n refs/tags/ ",
        "heads",
        "refs",
        "",
        " ",
    ] {
        borrower.git(["config", "core.alternateRefsPrefixes", prefixes]);
        seen.insert(offers());
    }
    assert!(seen.len() > 4 && seen.contains(&0) && seen.contains(&1) && seen.contains(&all), "{seen:?}");
    // What git's wildcards would offer nobody needs.
    borrower.git(["config", "core.alternateRefsPrefixes", "refs/heads/* refs/heads/main"]);
    assert_eq!(ours(&borrower, false).iter().filter(|line| line.ends_with(".have")).count(), 1);
    // git runs what it names, which says nothing here.
    borrower.git(["config", "core.alternateRefsCommand", "true"]);
    assert_eq!(offers(), 0);
}

#[test]
fn hidden_refs_are_not_shown_not_moved_and_not_counted_as_known() {
    let (source, target) = (Shape::SMALL.repository().borrow(), Repo::bare());
    source.git(["update-ref", "refs/secret/a", "next"]);
    source.push(&host(&target).url(), &["-q", "--mirror"]);
    for (key, value) in [("transfer.hideRefs", "refs/secret"), ("receive.hideRefs", "!refs/secret/open")] {
        target.git(["config", key, value]);
    }
    target.git(["update-ref", "refs/secret/open/b", "main"]);
    assert_as_git(&target);
    assert!(!ours(&target, false).iter().any(|line| line.ends_with("refs/secret/a")));

    let host = host(&target);
    source.git(["update-ref", "refs/secret/c", "main"]);
    let said = source.try_push(&host.url(), &["refs/secret/c", "main:refs/secret/open/c", "main:refs/heads/fresh"]);
    let refused = "! [remote rejected] refs/secret/c -> refs/secret/c (deny updating a hidden ref)";
    assert!(said.stderr.contains(refused), "{}", said.stderr);
    assert_eq!(target.rev("refs/secret/open/c"), source.rev("main"));
    assert_eq!(target.rev("refs/heads/fresh"), source.rev("main"));
    assert!(!target.try_git(["rev-parse", "-q", "--verify", "refs/secret/c"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_ref_is_not_deleted_and_what_only_it_reaches_is_looked_at() {
    let target = Repo::bare();
    let (tip, hidden) = (target.commit("main", &[("a", b"a\n")]), target.commit("hidden", &[("b", b"b\n")]));
    let request = Request::new().delete("refs/heads/hidden", &hidden).create("refs/heads/x", &tip);
    let request = request.pack(PackBuilder::default().finish());
    let store = BareRepository::open(target.path()).expect("the repository opens");
    let store = store.hide_refs(HiddenRefs::new(["refs/heads/hidden"]));
    let (advertised, reply) = heard(&serve(store.clone(), Script::of(request.bytes())).await.1);
    assert_eq!(advertised.refs, [("refs/heads/main".to_owned(), tip)]);
    assert_eq!(reply.refs[0].1, Err("deny deleting a hidden ref".to_owned()));
    assert_eq!(reply.refs[1].1, Ok(()));
    assert_eq!(target.rev("hidden"), hidden);

    // A commit below a hidden ref whose tree is gone is no longer taken on trust.
    let blob = target.rev("hidden:b");
    std::fs::remove_file(loose(&target, &blob)).expect("a loose object");
    let create = |name: &str| Request::new().create(name, &hidden).pack(PackBuilder::default().finish());
    let reply = heard(&serve(store, Script::of(create("refs/heads/y").bytes())).await.1).1;
    assert_eq!(reply.refs[0].1, Err("missing necessary objects".to_owned()));
    let trusting = BareRepository::open(target.path()).expect("the repository opens");
    heard(&serve(trusting, Script::of(create("refs/heads/z").bytes())).await.1).1.assert_ok();
}

/// Where a loose object is; fast-import packs what it makes, so everything is unpacked first.
fn loose(repo: &Repo, id: &str) -> std::path::PathBuf {
    let packs = repo.git_dir().join("objects/pack");
    for entry in std::fs::read_dir(&packs).expect("the packs").flatten() {
        if entry.path().extension() == Some("pack".as_ref()) {
            let pack = std::fs::read(entry.path()).expect("a pack");
            std::fs::remove_file(entry.path()).expect("a pack");
            repo.git_with_input(["unpack-objects", "-q"], &pack);
        }
    }
    for entry in std::fs::read_dir(&packs).expect("the packs").flatten() {
        std::fs::remove_file(entry.path()).expect("what belonged to a pack");
    }
    repo.git_dir().join("objects").join(&id[..2]).join(&id[2..])
}

/// A clone of the last commits of a repository.
fn shallow_clone(of: &Repo, depth: &str) -> Repo {
    let clone = Repo::bare();
    clone.git(["fetch", "-q", &format!("--depth={depth}"), &format!("file://{}", of.path().display()), "main:main"]);
    clone
}

#[test]
fn a_shallow_clone_pushes_back_to_where_it_came_from() {
    let target = Shape::SMALL.repository().borrow();
    let clone = shallow_clone(&target, "3");
    clone.commit("main", &[("new.txt", b"new\n")]);
    clone.push(&host(&target).url(), &["-q", "main"]);
    assert_eq!(target.rev("main"), clone.rev("main"));
    assert!(!target.git_dir().join("shallow").exists());
    target.fsck();
    target.assert_no_leftovers();
}

#[test]
fn a_shallow_clone_brings_no_new_root() {
    let (source, target) = (Shape::SMALL.repository().borrow(), Repo::bare());
    let clone = shallow_clone(&source, "3");
    // A history of its own beside it, which git would take.
    clone.commit("whole", &[("a", b"a\n")]);
    let said = clone.try_push(&host(&target).url(), &["main", "whole"]);
    let line = "! [remote rejected] main -> main (shallow update not allowed)";
    assert!(said.stderr.contains(line), "{}", said.stderr);
    assert_eq!(target.refs(), [("refs/heads/whole".to_owned(), clone.rev("whole"))]);
    assert!(!target.git_dir().join("shallow").exists());

    // As git does.
    let gits = Repo::bare();
    let said = clone.try_push(gits.path().to_str().expect("a path of text"), &["main", "whole"]);
    assert!(said.stderr.contains(line), "{}", said.stderr);
    assert_eq!(target.refs(), gits.refs());
}

#[test]
fn a_shallow_repository_says_so_and_is_pushed_to() {
    let source = Shape::SMALL.repository().borrow();
    let target = shallow_clone(&source, "3");
    assert_as_git(&target);
    assert!(ours(&target, false).iter().any(|line| line.starts_with("shallow ")));
    source.commit("main", &[("new.txt", b"new\n")]);
    source.push(&host(&target).url(), &["-q", "main"]);
    assert_eq!(target.rev("main"), source.rev("main"));
    target.fsck();
    let whole = Repo::bare();
    source.push(&host(&whole).url(), &["-q", "--mirror"]);
    assert_same_repository(&source, &whole);
}

/// A source of three commits, each of which claims to be older than the one before, and twice a server that has the last
/// two of them: one for git.
fn backwards() -> (Repo, [Repo; 2]) {
    let source = Repo::bare();
    let mut stream = String::new();
    for time in [3000, 2000, 1000] {
        let file = format!("M 100644 inline {time}\ndata 5\n{time}\n");
        stream += &format!("commit refs/heads/main\ncommitter A <a@x> {time} +0000\ndata 2\nc\n{file}\n");
    }
    source.git_with_input(["fast-import", "--quiet"], stream.as_bytes());
    let targets = [shallow_clone(&source, "2"), shallow_clone(&source, "2")];
    (source, targets)
}

/// Pushes by our server and by git's; what became of the refs must be the same.
#[track_caller]
fn push_to_both(source: &Repo, [ours, gits]: &[Repo; 2], refspec: &str) -> String {
    let said = source.try_push(&host(ours).url(), &["-f", refspec]).stderr;
    let git_said = source.try_push(gits.path().to_str().expect("a path of text"), &["-f", refspec]).stderr;
    assert_eq!(ours.refs(), gits.refs(), "{refspec}: {said}\ngit: {git_said}");
    let verdict = |said: &str| said.lines().find(|line| line.starts_with(" ")).map(str::to_owned);
    let verdict = (verdict(&said), verdict(&git_said));
    assert_eq!(verdict.0, verdict.1);
    ours.fsck();
    verdict.0.unwrap_or_default()
}

/// The history of the repository ends at its boundary, whatever way one comes there.
#[test]
fn where_a_shallow_repository_ends_nothing_is_missing() {
    let (source, targets) = backwards();
    let at = push_to_both(&source, &targets, "main~1:refs/heads/at");
    assert!(at.contains("[new branch]"), "{at}");
    source.git(["branch", "beside", "main~1"]);
    source.commit("beside", &[("beside.txt", b"beside\n")]);
    let beside = push_to_both(&source, &targets, "beside");
    assert!(beside.contains("[new branch]"), "{beside}");
}

/// What is behind the boundary does not count, even where it is there.
#[test]
fn behind_where_a_shallow_repository_ends_is_no_fast_forward() {
    let (source, targets) = backwards();
    let behind = source.git_with_input(["pack-objects", "-q", "--revs", "--stdout"], b"main~2\n").stdout;
    for target in &targets {
        target.git_with_input(["unpack-objects", "-q"], &behind);
        target.git(["update-ref", "refs/heads/old", &source.rev("main~2")]);
        target.git(["config", "receive.denyNonFastForwards", "true"]);
        assert!(target.git_dir().join("shallow").exists());
    }
    source.git(["branch", "next", "main"]);
    source.commit("next", &[("next.txt", b"next\n")]);
    let forward = push_to_both(&source, &targets, "next:main");
    assert!(forward.contains("next -> main") && !forward.contains("rejected"), "{forward}");
    let old = push_to_both(&source, &targets, "main:old");
    assert!(old.contains("[remote rejected] main -> old (non-fast-forward)"), "{old}");
}
