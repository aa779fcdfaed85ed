//! Limits, rules for refs, and looks at frames: what real git shows its user when they say no.

#![cfg(feature = "bare-repository")]

mod support;

use std::sync::{Arc, Mutex};

use receive_pack::Error;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::inspect::InspectLayer;
use receive_pack::limit::LimitLayer;
use receive_pack::proto::{EntryKind, PackFrame};
use receive_pack::push::{Extensions, UpdateRequest};
use receive_pack::receive::ReceivePack;
use receive_pack::rules::{RefRules, RulesLayer};
use receive_pack::store::BareRepository;
use support::git::{Output, Repo};
use support::rng::Rng;
use support::server::{listen, try_push};
use tower::ServiceBuilder;

fn open(repo: &Repo) -> BareRepository {
    BareRepository::open(repo.path()).expect("the repository opens")
}

/// The reason that git shows for a ref.
#[track_caller]
fn reason<'a>(said: &'a Output, name: &str) -> Option<&'a str> {
    let arrow = format!("-> {name} (");
    let line = said.stderr.lines().find(|line| line.contains("[remote rejected]") && line.contains(&arrow))?;
    line.split_once(&arrow)?.1.strip_suffix(')')
}

/// A source with a branch of many blobs that do not compress: 16 MiB.
fn large() -> Arc<Repo> {
    let source = Repo::work();
    let mut rng = Rng::new(17);
    let files: Vec<_> = (0..16).map(|n| (format!("file{n:02}"), rng.bytes(1 << 20))).collect();
    let files: Vec<_> = files.iter().map(|(name, data)| (&name[..], &data[..])).collect();
    source.commit("main", &files);
    Arc::new(source)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_refuses_a_large_upload_in_its_own_words() {
    let (source, target) = (large(), Repo::bare());
    source.git(["branch", "-q", "a-branch-with-a-long-name", "main"]);
    let store = open(&target);
    for (limit, text) in [
        (LimitLayer::new().pack_bytes(5 << 20), "pack exceeds maximum allowed size of 5242880 bytes"),
        (LimitLayer::new().inflated_bytes(3 << 20), "pack inflates to more than 3145728 bytes"),
        (LimitLayer::new().objects(17), "pack of 18 objects exceeds the limit of 17"),
        (
            LimitLayer::new().object_size((1 << 20) - 1),
            "object of 1048576 bytes exceeds the limit of 1048575 (at byte ",
        ),
        (LimitLayer::new().commands(1), "push of 2 refs exceeds the limit of 1"),
        (LimitLayer::new().ref_name_bytes(35), "ref name of 36 bytes exceeds the limit of 35"),
    ] {
        let service = ServiceBuilder::new().layer(limit).layer(ChecksumLayer::new());
        let url = listen(store.clone(), {
            let store = store.clone();
            move || service.service(ReceivePack::new(store.clone()))
        })
        .await;
        let said = try_push(&source, &url, &["main", "a-branch-with-a-long-name"]).await;
        for name in ["main", "a-branch-with-a-long-name"] {
            let found = reason(&said, name).unwrap_or_else(|| panic!("no refusal of {name}: {}", said.stderr));
            assert!(found.starts_with(text), "{found}");
        }
        assert!(target.refs().is_empty() && target.stored().is_empty());
    }
    // At the limits themselves it passes: of 18 objects, the largest of 1 MiB, under 17 MiB.
    let limit = LimitLayer::new().pack_bytes(17 << 20).inflated_bytes(17 << 20).objects(18).object_size(1 << 20);
    let service = ServiceBuilder::new().layer(limit.commands(2).ref_name_bytes(36)).layer(ChecksumLayer::new());
    let url = listen(store.clone(), move || service.service(ReceivePack::new(store.clone()))).await;
    let said = try_push(&source, &url, &["main", "a-branch-with-a-long-name"]).await;
    assert!(said.status.success(), "{}", said.stderr);
    target.assert_no_leftovers();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inspector_refuses_in_the_middle_of_an_upload() {
    let (source, target) = (large(), Repo::bare());
    let store = open(&target);
    let url = listen(store.clone(), move || {
        let inspect = InspectLayer::new(|request: &UpdateRequest, _: &Extensions| {
            let refs = request.commands().len();
            let mut seen = 0_usize;
            move |frame: &PackFrame| {
                seen += frame.wire_len();
                if seen > 5 << 20 { Err(Error::refused(format!("too much for {refs} refs"))) } else { Ok(()) }
            }
        });
        ServiceBuilder::new().layer(inspect).layer(ChecksumLayer::new()).service(ReceivePack::new(store.clone()))
    });
    let said = try_push(&source, &url.await, &["main"]).await;
    assert_eq!(reason(&said, "main"), Some("too much for 1 refs"), "{}", said.stderr);
    assert!(target.refs().is_empty() && target.stored().is_empty());
    target.assert_no_leftovers();
}

/// What an inspector is shown of each object: its kind, its size, and its bytes put together.
type Shown = Arc<Mutex<Vec<(EntryKind, u64, Vec<u8>)>>>;

/// A server that shows all objects, and refuses those that an inspector of kinds, of sizes or of bytes would.
async fn inspected(target: &Repo) -> (String, Shown) {
    let (store, shown) = (open(target), Shown::default());
    let seen = Arc::clone(&shown);
    let url = listen(store.clone(), move || {
        let seen = Arc::clone(&seen);
        let inspect = InspectLayer::new(move |_: &UpdateRequest, _: &Extensions| {
            let seen = Arc::clone(&seen);
            move |frame: &PackFrame| {
                let PackFrame::Object(object) = frame else { return Ok(()) };
                let (entry, mut seen) = (object.entry(), seen.lock().expect("the list"));
                if object.is_start() {
                    seen.push((entry.kind, entry.size, Vec::new()));
                }
                let (_, _, data) = seen.last_mut().expect("an object begins before it goes on");
                assert_eq!(object.data_offset(), data.len() as u64);
                data.extend_from_slice(object.data());
                match entry.kind {
                    EntryKind::Tag => Err(Error::refused("no tags")),
                    EntryKind::Blob if entry.size > 4 << 20 => {
                        Err(Error::refused(format!("a blob of {} bytes", entry.size)))
                    }
                    EntryKind::Blob if data.ends_with(b"secret\n") => Err(Error::refused("a secret")),
                    _ => Ok(()),
                }
            }
        });
        ServiceBuilder::new().layer(inspect).layer(ChecksumLayer::new()).service(ReceivePack::new(store.clone()))
    });
    (url.await, shown)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inspector_sees_kind_size_and_bytes_of_each_object() {
    let (source, target) = (Arc::new(Repo::work()), Repo::bare());
    let (url, shown) = inspected(&target).await;
    // One that fits into a frame, and one that takes many.
    let large = Rng::new(19).bytes(3 << 20);
    source.commit("main", &[("empty", b""), ("large", &large), ("small", b"small\n")]);
    let said = try_push(&source, &url, &["main"]).await;
    assert!(said.status.success(), "{}", said.stderr);
    let mut expected = vec![
        (EntryKind::Blob, 0, Vec::new()),
        (EntryKind::Blob, large.len() as u64, large),
        (EntryKind::Blob, 6, b"small\n".to_vec()),
    ];
    for (kind, name, of) in [(EntryKind::Commit, "commit", "main"), (EntryKind::Tree, "tree", "main^{tree}")] {
        let data = source.object(name, &source.rev(of));
        expected.push((kind, data.len() as u64, data));
    }
    let mut shown = std::mem::take(&mut *shown.lock().expect("the list"));
    for objects in [&mut shown, &mut expected] {
        objects.sort_by_key(|(kind, size, _)| (format!("{kind:?}"), *size));
    }
    assert!(shown == expected, "other objects than were sent: {} of {}", shown.len(), expected.len());
    target.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inspector_refuses_by_kind_by_size_and_by_bytes() {
    let (source, target) = (Arc::new(Repo::work()), Repo::bare());
    source.commit("main", &[("file", b"1\n")]);
    source.git(["tag", "-a", "-m", "a tag", "v1", "main"]);
    source.commit("size", &[("file", &vec![0; (4 << 20) + 1])]);
    // Behind many other bytes: an inspector that was shown the first frame alone would not find it.
    let secret = [&Rng::new(23).bytes(1 << 20)[..], b"secret\n"].concat();
    source.commit("bytes", &[("file", &secret)]);
    for (name, text) in [("v1", "no tags"), ("size", "a blob of 4194305 bytes"), ("bytes", "a secret")] {
        let (url, _) = inspected(&target).await;
        let said = try_push(&source, &url, &[name]).await;
        assert_eq!(reason(&said, name), Some(text), "{}", said.stderr);
        assert!(target.refs().is_empty() && target.stored().is_empty());
        target.assert_no_leftovers();
    }
}

/// A server with these rules, as a layer and as a policy, or as a policy alone.
async fn ruled(target: &Repo, rules: RefRules, layer: bool) -> String {
    let store = open(target).deny_delete_current(false);
    let head = if layer { rules.clone() } else { RefRules::new() };
    listen(store.clone(), move || {
        let service = ReceivePack::new(store.clone()).pre_receive(rules.clone());
        ServiceBuilder::new().layer(RulesLayer::new(head.clone())).layer(ChecksumLayer::new()).service(service)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn refs_are_refused_one_by_one() {
    for layer in [true, false] {
        let (source, target) = (Arc::new(Repo::work()), Repo::bare());
        let rules = RefRules::new()
            .allow(["refs/heads/**", "refs/tags/v*"])
            .allow(["refs/notes/"])
            .deny(["refs/heads/frozen", "refs/heads/old/**"], "it is frozen")
            .protect(["refs/heads/main"])
            .deny_deletes(["refs/tags/"]);
        let url = ruled(&target, rules, layer).await;
        source.commit("main", &[("a", b"1\n")]);
        for name in
            ["heads/fine", "heads/a/b", "heads/frozen", "heads/old/x", "tags/v1", "tags/x", "notes/a/b", "other/x"]
        {
            source.git(["update-ref", &format!("refs/{name}"), "main"]);
        }
        let said = try_push(&source, &url, &["refs/*:refs/*"]).await;
        for name in ["frozen", "old/x"] {
            assert_eq!(reason(&said, name), Some("it is frozen"), "{}", said.stderr);
        }
        for name in ["x", "refs/other/x"] {
            assert_eq!(reason(&said, name), Some("not an allowed ref"), "{}", said.stderr);
        }
        let names: Vec<_> = target.refs().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["refs/heads/a/b", "refs/heads/fine", "refs/heads/main", "refs/notes/a/b", "refs/tags/v1"]);

        let said = try_push(&source, &url, &["--delete", "main", "v1", "fine"]).await;
        let lines: Vec<_> = said.stderr.lines().filter(|line| line.contains("(deletion prohibited)")).collect();
        assert_eq!(lines.len(), 2, "{}", said.stderr);
        let names: Vec<_> = target.refs().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["refs/heads/a/b", "refs/heads/main", "refs/notes/a/b", "refs/tags/v1"]);
        target.fsck();
    }
}

/// What happens to a forced push of `commit` over `main`, under these rules.
async fn force(source: &Arc<Repo>, url: &str, commit: &str) -> Option<String> {
    let said = try_push(source, url, &["--force", &format!("{commit}:refs/heads/main")]).await;
    let found = reason(&said, "main").map(str::to_owned);
    assert_eq!(found.is_none(), said.status.success(), "{}", said.stderr);
    found
}

/// What git itself, told to deny non-fast-forwards, says to the same forced push.
fn git_says(source: &Repo, target: &Repo, commit: &str) -> Output {
    let copy = Repo::bare();
    copy.git(["config", "receive.denyNonFastForwards", "true"]);
    copy.git(["fetch", "-q", target.path().to_str().expect("a path of text"), "refs/*:refs/*"]);
    let url = copy.path().to_str().expect("a path of text").to_owned();
    source.try_push(&url, &["--force", &format!("{commit}:refs/heads/main")])
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_lost_by_nobody_where_git_would_not_lose_it() {
    let (source, target) = (Arc::new(Repo::work()), Repo::bare());
    let url = ruled(&target, RefRules::new().deny_non_fast_forwards(["refs/heads/"]), true).await;
    // Commits with times that lie: a parent later than its child.
    let commit = |tree: &str, parents: &[&str], time: u32| {
        let who = format!("A Tester <tester@example.org> {time} +0000");
        let parents: String = parents.iter().map(|parent| format!("parent {parent}\n")).collect();
        let text = format!("tree {tree}\n{parents}author {who}\ncommitter {who}\n\n{time}\n");
        source.git_with_input(["hash-object", "-t", "commit", "-w", "--stdin"], text.as_bytes()).text()
    };
    let tree = source.git_with_input(["mktree"], b"").text();
    let root = commit(&tree, &[], 5000);
    let a = commit(&tree, &[&root], 100);
    let b = commit(&tree, &[&a], 9000);
    let side = commit(&tree, &[&root], 7000);
    let merge = commit(&tree, &[&side, &b], 50);
    let far = (0..50).fold(merge.clone(), |parent, n| commit(&tree, &[&parent], 40 - n / 2));
    let stranger = commit(&tree, &[], 8000);
    let blob_tag = source
        .git_with_input(["mktag"], format!("object {b}\ntype commit\ntag t\ntagger A <a> 1 +0000\n\n").as_bytes())
        .text();
    source.git(["update-ref", "refs/tags/t", &blob_tag]);

    assert_eq!(force(&source, &url, &a).await, None);
    let mut taken = 0;
    for commit in [&root, &side, &b, &side, &stranger, &a, &merge, &b, &side, &root, &far, &merge, &stranger, &far] {
        let git = git_says(&source, &target, commit).status.success();
        let ours = force(&source, &url, commit).await;
        assert_eq!(ours.as_deref(), (!git).then_some("non-fast-forward"), "{commit}");
        taken += usize::from(git);
    }
    assert_eq!(taken, 4, "three steps forward, and one to where it is already");
    target.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_must_not_lose_history_stays_a_commit() {
    let (source, target) = (Arc::new(Repo::work()), Repo::bare());
    let url = ruled(&target, RefRules::new().deny_non_fast_forwards(["refs/heads/"]), true).await;
    source.commit("main", &[("a", b"1\n")]);
    assert_eq!(force(&source, &url, "main").await, None);
    for value in ["main^{tree}", "main:a"] {
        let value = source.rev(value);
        let git = git_says(&source, &target, &value);
        assert_eq!(reason(&git, "main"), Some("bad ref"), "{}", git.stderr);
        assert_eq!(force(&source, &url, &value).await.as_deref(), Some("bad ref"));
    }
    // Nor does one that is none come back by a push.
    target.git(["update-ref", "refs/tags/x", &source.rev("main^{tree}")]);
    let rules = RefRules::new().deny_non_fast_forwards(["refs/tags/"]);
    let url = ruled(&target, rules, true).await;
    let said = try_push(&source, &url, &["--force", "main:refs/tags/x"]).await;
    assert_eq!(reason(&said, "x"), Some("bad ref"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_through_history_has_an_end() {
    let (source, target) = (Arc::new(Repo::work()), Repo::bare());
    let first = source.commit("main", &[("a", b"0\n")]);
    let url = ruled(&target, RefRules::new(), true).await;
    assert_eq!(force(&source, &url, &first).await, None);
    for n in 0..30 {
        source.commit("main", &[("a", format!("{n}\n").as_bytes())]);
    }
    let rules = RefRules::new().protect(["refs/heads/main"]);
    let short = ruled(&target, rules.clone().max_commits(20), true).await;
    let text = "history too long to tell a fast-forward";
    assert_eq!(force(&source, &short, "main").await.as_deref(), Some(text));
    let long = ruled(&target, rules.max_commits(31), true).await;
    assert_eq!(force(&source, &long, "main").await, None);
    assert_eq!(target.rev("main"), source.rev("main"));
}
