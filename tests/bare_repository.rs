//! Pushes into a bare repository, byte by byte, looked at by the real git.

#![cfg(feature = "bare-repository")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use receive_pack::proto::ObjectKind;
use receive_pack::store::BareRepository;
use support::format::{format, oid};
use support::git::Repo;
use support::io::{READ_SIZES, Script};
use support::pack::{self, BigPack, Delta, PackBuilder, Shape, blob_id};
use support::request::{Reply, Request};
use support::server::{heard, serve};

/// Pushes into `repo` and gives what the client was told.
async fn push_into(repo: &Repo, reader: Script) -> Reply {
    let store = BareRepository::open(repo.path()).expect("the repository opens");
    let (served, said) = serve(store, reader).await;
    served.expect("the push is served");
    heard(&said).1
}

/// A client that sends a push in pieces of 4 KiB, and then waits with its side open.
fn client(pack: &BigPack) -> Script {
    let head = Request::new().create("refs/heads/main", pack.tip()).head();
    Script::new(std::iter::once(Bytes::from(head)).chain(pack.chunks())).pieces(4 << 10).stays_open()
}

fn small() -> BigPack {
    BigPack::new(Shape { seed: 1, large: 2, large_size: 20_000, small_per_large: 5 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_of_5_mib_in_chunks_of_4_kib_lands_byte_for_byte() {
    let (pack, repo) = (BigPack::new(Shape::mib(5)), Repo::bare());
    push_into(&repo, client(&pack)).await.assert_ok();
    assert_eq!(repo.rev("refs/heads/main"), pack.tip().to_string());
    assert_eq!(repo.reachable().len(), pack.entries() as usize);
    for (index, id) in pack.blob_ids().iter().enumerate() {
        assert!(repo.object("blob", &id.to_string()) == pack.blob(index), "blob {index} differs");
    }
    repo.fsck();
    repo.assert_no_leftovers();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_cut_anywhere_leaves_nothing() {
    let pack = small();
    let request = Request::new().create("refs/heads/main", pack.tip());
    let (head, bytes) = (request.head().len() as u64, request.clone().pack(pack.to_bytes()).bytes());
    let repo = Repo::bare();
    for cut in (head..bytes.len() as u64).step_by(997).chain([head + 11, head + 12, bytes.len() as u64 - 1]) {
        let reply = push_into(&repo, Script::of(bytes.clone()).ends_at(cut)).await;
        assert!(reply.unpack.contains("incomplete"), "cut at {cut}: {reply:?}");
        assert_eq!(reply.refs, [("refs/heads/main".to_owned(), Err("unpacker error".to_owned()))]);
        assert!(repo.refs().is_empty() && repo.stored().is_empty(), "cut at {cut}");
        repo.assert_no_leftovers();
    }
    // And the repository is as good as before.
    push_into(&repo, Script::of(bytes)).await.assert_ok();
    repo.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_push_lands_for_reads_of_every_size() {
    let pack = small();
    for size in READ_SIZES {
        let repo = Repo::bare();
        push_into(&repo, client(&pack).pieces(size).pauses(3)).await.assert_ok();
        assert_eq!(repo.reachable().len(), pack.entries() as usize, "reads of {size} bytes");
        repo.fsck();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_of_every_kind_are_resolved() {
    let repo = Repo::bare();
    let known = repo.commit("main", &[("known.txt", b"a text that the server has\n")]);
    let known_blob = repo.rev(&format!("{known}:known.txt"));
    let texts: [&[u8]; 4] =
        [b"first\n", b"first, and second\n", b"first, and second, and third\n", b"a text that the server HAS\n"];
    let mut builder = PackBuilder::default();
    // A ref-delta before its base, an ofs-delta on a delta, and a delta on what only the repository has.
    builder.ref_delta(&blob_id(texts[0]), &Delta::between(texts[0], texts[1]));
    let base = builder.object(ObjectKind::Blob, texts[0]);
    builder.ref_delta(&blob_id(texts[1]), &Delta::between(texts[1], texts[2]));
    builder.ofs_delta(base, &Delta::between(texts[0], b"by offset\n"));
    let known_blob = oid(&known_blob);
    builder.ref_delta(&known_blob, &Delta::between(b"a text that the server has\n", texts[3]));
    let ids = texts.map(blob_id);
    let offset_id = blob_id(b"by offset\n");
    let names = ["a", "b", "c", "d", "e"];
    let tree = pack::tree(names.into_iter().zip(ids.iter().chain([&offset_id])));
    let tree_id = pack::object_id(format(), ObjectKind::Tree, &tree);
    let commit = pack::commit(&tree_id, &[]);
    builder.object(ObjectKind::Tree, &tree);
    builder.object(ObjectKind::Commit, &commit);
    let tip = pack::object_id(format(), ObjectKind::Commit, &commit);

    let request = Request::new().create("refs/heads/deltas", tip).pack(builder.finish());
    push_into(&repo, Script::of(request.bytes()).stays_open()).await.assert_ok();
    for (name, text) in names.iter().zip(texts.iter().copied().chain([&b"by offset\n"[..]])) {
        assert_eq!(repo.object("blob", &format!("deltas:{name}")), text);
    }
    repo.fsck();
    repo.assert_no_leftovers();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_without_a_base_refuses_the_push() {
    let (pack, repo) = (small(), Repo::bare());
    push_into(&repo, client(&pack)).await.assert_ok();
    let (before, refs) = (repo.stored(), repo.refs());
    let mut builder = PackBuilder::default();
    builder.ref_delta(&blob_id(b"nobody has it"), &Delta::between(b"nobody has it", b"nor this"));
    let request = Request::new().create("refs/heads/broken", pack.tip()).pack(builder.finish());
    let reply = push_into(&repo, Script::of(request.bytes())).await;
    assert!(reply.refs[0].1.is_err(), "{reply:?}");
    assert_eq!((repo.stored(), repo.refs()), (before, refs));
    repo.assert_no_leftovers();
}

#[tokio::test]
async fn what_kept_a_ref_from_moving_is_for_the_log() {
    let repo = Repo::bare();
    std::fs::write(repo.path().join("refs/heads/main.lock"), b"").expect("somebody else's lock");
    let (served, said) = serve(BareRepository::open(repo.path()).expect("it opens"), client(&small())).await;
    let served = served.expect("the push is served");
    assert!(served.report().is_some_and(|report| !report.is_ok()), "{served:?}");
    let error = served.error().expect("the log has it").to_string();
    assert!(error.contains("'refs/heads/main.lock' is held by another"), "{error}");
    assert_eq!(heard(&said).1.unpack, "ok");
}

#[tokio::test]
async fn objects_that_cannot_be_migrated_are_no_fault_of_the_pack() {
    let repo = Repo::bare();
    repo.git(["config", "receive.unpackLimit", "100"]);
    for first in 0..=u8::MAX {
        let path = repo.path().join(format!("objects/{first:02x}"));
        std::fs::write(path, b"").expect("a file where a directory is to be");
    }
    let (served, said) = serve(BareRepository::open(repo.path()).expect("it opens"), client(&small())).await;
    let (served, reply) = (served.expect("the push is served"), heard(&said).1);
    let reason = "unable to migrate objects to permanent storage";
    assert_eq!(
        (reply.unpack.as_str(), served.error().map(ToString::to_string).unwrap_or_default().contains(reason)),
        ("ok", true)
    );
    assert_eq!(reply.refs, [("refs/heads/main".to_owned(), Err(reason.to_owned()))]);
    assert!(repo.refs().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_tell_who_pushed() {
    let (pack, repo) = (small(), Repo::bare());
    repo.git(["config", "core.logAllRefUpdates", "true"]);
    let store = BareRepository::open(repo.path()).expect("the repository opens");
    for (name, committer, told) in [
        ("main", None, "receive-pack|receive-pack@localhost"),
        ("other", Some(("Ann Other", "ann@example.org")), "Ann Other|ann@example.org"),
        ("odd", Some((" <An>\nn", "a>b\t@c ")), "Ann|ab@c"),
        ("nobody", Some(("", "")), "|"),
    ] {
        let store = committer.into_iter().fold(store.clone(), |store, (name, email)| store.committer(name, email));
        let request = Request::new().create(&format!("refs/heads/{name}"), pack.tip()).pack(pack.to_bytes());
        let (served, said) = serve(store, Script::of(request.bytes())).await;
        served.expect("the push is served");
        heard(&said).1.assert_ok();
        let shown = repo.git(["reflog", "show", "--format=%gn|%ge|%gs", &format!("refs/heads/{name}")]);
        assert_eq!(shown.text(), format!("{told}|push"));
    }
}

/// Waits for what is to happen soon; a minute is a hang.
async fn wait_until(happened: impl Fn() -> bool) {
    for _ in 0..1200 {
        if happened() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not happen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_dropped_half_way_leaves_nothing() {
    let (pack, repo) = (BigPack::new(Shape::mib(3)), Repo::bare());
    let head = Request::new().create("refs/heads/main", pack.tip()).head();
    // The client stops in the middle of the pack and keeps its side open: without a timeout of somebody's, for ever.
    let chunks = std::iter::once(Bytes::from(head)).chain(pack.chunks().take(12));
    let store = BareRepository::open(repo.path()).expect("the repository opens");
    let push = tokio::spawn(serve(store, Script::new(chunks).stays_open()));
    wait_until(|| !repo.leftovers().is_empty()).await;
    push.abort();
    assert!(push.await.is_err_and(|error| error.is_cancelled()), "half a push was served");
    // What the drop began may be at work on another thread for a moment.
    wait_until(|| repo.leftovers().is_empty()).await;
    repo.assert_no_leftovers();
    assert!(repo.refs().is_empty() && repo.stored().is_empty());
    push_into(&repo, client(&pack)).await.assert_ok();
    repo.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_pushes_to_one_ref_exactly_one_wins() {
    let repo = Arc::new(Repo::bare());
    let pushes = (0..8).map(|seed| {
        let repo = repo.clone();
        tokio::spawn(async move {
            let pack = BigPack::new(Shape { seed, large: 1, large_size: 30_000, small_per_large: 3 });
            (pack.tip(), push_into(&repo, client(&pack)).await)
        })
    });
    let mut winners = Vec::new();
    for push in pushes.collect::<Vec<_>>() {
        let (tip, reply) = push.await.expect("no panic");
        assert_eq!(reply.unpack, "ok", "{reply:?}");
        if reply.refs[0].1.is_ok() {
            winners.push(tip.to_string());
        }
    }
    assert_eq!(winners, [repo.rev("refs/heads/main")]);
    repo.fsck();
    repo.assert_no_leftovers();
}
