//! Objects are looked at while a push lands: by git's rules, and by whoever scans them. The same with each store.

#![cfg(all(feature = "memory", feature = "bare-repository"))]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use receive_pack::Error;
use receive_pack::fsck::{Checks, Message, Severity};
use receive_pack::proto::{ObjectId, ObjectKind};
use receive_pack::store::{BareRepository, MemoryStore, Scan, Store};
use support::format::{format, oid};
use support::git::{self, Repo};
use support::io::Script;
use support::pack::{self, Delta, PackBuilder, blob_id};
use support::request::{Advertised, Reply, Request};
use support::rng::Rng;
use support::server::{heard, serve};

async fn push(store: impl Store, request: &Request) -> Reply {
    let (served, said) = serve(store, Script::of(request.bytes()).stays_open()).await;
    served.expect("the push is served");
    heard(&said).1
}

/// What real git says to the same bytes, with these settings.
fn push_to_git(request: &Request, settings: &[&str]) -> Reply {
    let repo = Repo::bare();
    let mut args = vec!["-c", "receive.fsckObjects=true"];
    for setting in settings {
        args.extend(["-c", setting]);
    }
    args.extend(["receive-pack", "."]);
    let output = git::run(git::command(repo.path(), args), &request.bytes());
    let mut said = &output.stdout[..];
    Advertised::take(&mut said);
    Reply::side_band(said)
}

/// A push of one commit whose tree has one entry, and what is in it.
struct OneFile {
    tree: ObjectId,
    blob: ObjectId,
    request: Request,
}

impl OneFile {
    fn new(mode: &str, name: &str, content: &[u8]) -> Self {
        let mut builder = PackBuilder::default();
        // The blob comes as a delta and before its tree, so that it is nobody's file when it arrives.
        let base = builder.object(ObjectKind::Blob, b"another text");
        builder.ofs_delta(base, &Delta::between(b"another text", content));
        let blob = blob_id(content);
        let tree = [format!("{mode} {name}\0").as_bytes(), blob.as_bytes()].concat();
        builder.object(ObjectKind::Tree, &tree);
        let tree = pack::object_id(format(), ObjectKind::Tree, &tree);
        let commit = pack::commit(&tree, &[]);
        builder.object(ObjectKind::Commit, &commit);
        let tip = pack::object_id(format(), ObjectKind::Commit, &commit);
        Self { tree, blob, request: Request::new().create("refs/heads/main", tip).pack(builder.finish()) }
    }
}

/// A push of this file is refused, in these words, by git as well; without checks it is taken.
async fn assert_refused(mode: &str, name: &str, content: &[u8], is_in_tree: bool, text: &str) {
    let file = OneFile::new(mode, name, content);
    let text = format!("object {}: {text}", if is_in_tree { file.tree } else { file.blob });
    let git = push_to_git(&file.request, &[]);
    assert!(git.unpack != "ok" && git.progress.contains(&format!("error: {text}\n")), "{git:?}");

    let repo = Repo::bare();
    let (bare, memory) = (BareRepository::open(repo.path()).expect("it opens"), MemoryStore::new(format()));
    for reply in [
        push(bare.clone().check_objects(Checks::new()), &file.request).await,
        push(memory.clone().check_objects(Checks::new()), &file.request).await,
    ] {
        assert_eq!(reply.refs, git.refs);
        assert!(reply.unpack.starts_with(&text), "{reply:?}");
        assert!(reply.progress.contains(&format!("error: {text}\n")), "{reply:?}");
    }
    assert!(memory.refs().is_empty() && repo.refs().is_empty() && repo.stored().is_empty());
    repo.assert_no_leftovers();

    push(bare.check_objects(None), &file.request).await.assert_ok();
    push(memory.check_objects(None), &file.request).await.assert_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_is_refused() {
    assert_refused("100644", ".git", b"text", true, "hasDotgit: contains '.git'").await;
    assert_refused("0100644", "a", b"text", true, "zeroPaddedFilemode: contains zero-padded file modes").await;
    assert_refused("120000", ".gitmodules", b"a", true, "gitmodulesSymlink: .gitmodules is a symbolic link").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn special_files_are_looked_into_when_all_trees_are_known() {
    let text = "gitmodulesUrl: disallowed submodule url: --upload-pack=x";
    assert_refused("100644", ".gitmodules", b"[submodule \"a\"]\nurl = --upload-pack=x\n", false, text).await;
    let text = "gitattributesLineLength: .gitattributes has too long lines to parse";
    assert_refused("100644", "GITATT~1", &[b'a'; 2048], false, text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_is_told_and_an_exception_is_made() {
    let odd = OneFile::new("100600", "a", b"text");
    let text = format!("warning: object {}: badFilemode: contains bad file modes\n", odd.tree);
    let git = push_to_git(&odd.request, &[]);
    let ours = push(MemoryStore::new(format()).check_objects(Checks::new()), &odd.request).await;
    for reply in [git, ours] {
        reply.assert_ok();
        assert!(reply.progress.contains(&text), "{reply:?}");
    }

    let padded = OneFile::new("0100644", "a", b"text");
    push_to_git(&padded.request, &["receive.fsck.zeroPaddedFilemode=ignore"]).assert_ok();
    let checks = Checks::new().set(Message::ZeroPaddedFilemode, Severity::Ignore);
    push(MemoryStore::new(format()).check_objects(checks), &padded.request).await.assert_ok();
    let checks = Checks::new().skip([padded.tree]);
    push(MemoryStore::new(format()).check_objects(checks), &padded.request).await.assert_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_special_file_of_the_repository_is_looked_into_as_well() {
    let repo = Repo::bare();
    let bad = b"[submodule \"a\"]\nurl = -x\n";
    let old = repo.commit("main", &[("text", bad)]);
    let old = oid(&old);
    let tree = pack::tree([(".gitmodules", &blob_id(bad))]);
    let tree_id = pack::object_id(format(), ObjectKind::Tree, &tree);
    let commit = pack::commit(&tree_id, &[old]);
    let mut builder = PackBuilder::default();
    builder.object(ObjectKind::Tree, &tree);
    builder.object(ObjectKind::Commit, &commit);
    let tip = pack::object_id(format(), ObjectKind::Commit, &commit);
    let request = Request::new().update("refs/heads/main", old, tip).pack(builder.finish());
    let store = BareRepository::open(repo.path()).expect("it opens").check_objects(Checks::new());
    let reply = push(store, &request).await;
    assert!(reply.unpack.contains("gitmodulesUrl: disallowed submodule url: -x"), "{reply:?}");
}

type Seen = BTreeMap<(ObjectKind, ObjectId), Vec<u8>>;

/// Writes down what it sees, and may refuse one object.
#[derive(Clone, Default)]
struct Eyes {
    seen: Arc<Mutex<Seen>>,
    refuses: Option<ObjectId>,
}

impl Scan for Eyes {
    fn max_blob(&self) -> u64 {
        300_000
    }

    fn object(&self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<(), Error> {
        self.seen.lock().expect("nobody panicked").insert((kind, *id), data.to_vec());
        if self.refuses == Some(*id) { Err(Error::refused("I do not like it")) } else { Ok(()) }
    }
}

/// A thin pack with blobs of many lengths, whole and as deltas; what a scan should see of it.
fn assorted(repo: &Repo) -> (Request, Seen) {
    let old = b"what the server has, and a little more";
    let tip = repo.commit("main", &[("old", old)]);
    let mut builder = PackBuilder::default();
    let mut seen = Seen::new();
    let mut rng = Rng::new(5);
    let mut blobs: Vec<Vec<u8>> = vec![Vec::new(), b"small".to_vec()];
    blobs.extend([60_000, 65_536, 65_537, 300_000, 300_001, 9 << 20].map(|len| rng.bytes(len)));
    for blob in &blobs {
        let base = builder.object(ObjectKind::Blob, blob);
        let mut next = blob.clone();
        next.extend_from_slice(b", changed");
        builder.ofs_delta(base, &Delta::between(blob, &next));
        for blob in [blob.clone(), next] {
            if blob.len() <= 300_000 {
                seen.insert((ObjectKind::Blob, blob_id(&blob)), blob);
            }
        }
    }
    let thin = b"what the server has, and a little less";
    builder.ref_delta(&blob_id(old), &Delta::between(old, thin));
    seen.insert((ObjectKind::Blob, blob_id(thin)), thin.to_vec());
    let tree = pack::tree([("a", &blob_id(thin))]);
    builder.object(ObjectKind::Tree, &tree);
    let tree_id = pack::object_id(format(), ObjectKind::Tree, &tree);
    let old_tip = oid(&tip);
    let commit = pack::commit(&tree_id, &[old_tip]);
    builder.object(ObjectKind::Commit, &commit);
    let tip = pack::object_id(format(), ObjectKind::Commit, &commit);
    seen.extend([((ObjectKind::Tree, tree_id), tree), ((ObjectKind::Commit, tip), commit)]);
    (Request::new().update("refs/heads/main", old_tip, tip).pack(builder.finish()), seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_sees_every_object_whole_and_no_blob_that_is_too_long() {
    let repo = Repo::bare();
    let (request, expected) = assorted(&repo);
    let memory = MemoryStore::new(format());
    let pack = repo.git_with_input(["pack-objects", "--all", "--stdout", "-q"], b"").stdout;
    push(memory.clone(), &Request::new().create("refs/heads/main", repo.rev("main")).pack(pack)).await.assert_ok();
    let eyes = [Eyes::default(), Eyes::default()];
    let bare = BareRepository::open(repo.path()).expect("it opens");
    push(bare.scan(eyes[0].clone()), &request).await.assert_ok();
    push(memory.scan(eyes[1].clone()), &request).await.assert_ok();
    for eyes in eyes {
        let seen = eyes.seen.lock().expect("nobody panicked");
        assert!(*seen == expected, "seen {:?}, expected {:?}", seen.keys(), expected.keys());
    }
    repo.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_refuses_a_push_in_its_own_words() {
    let repo = Repo::bare();
    let (request, seen) = assorted(&repo);
    let stored = repo.stored();
    let bare = BareRepository::open(repo.path()).expect("it opens");
    // Whole and small, whole and long, a delta.
    for id in [blob_id(b"small"), blob_id(b"small, changed")]
        .into_iter()
        .chain(seen.iter().filter(|(_, data)| data.len() == 300_000).map(|((_, id), _)| *id))
    {
        let eyes = Eyes { refuses: Some(id), ..Eyes::default() };
        let reply = push(bare.clone().scan(eyes), &request).await;
        assert_eq!(reply.refs[0].1, Err("I do not like it".to_owned()));
        assert_eq!(reply.unpack, "ok");
    }
    assert_eq!(repo.stored(), stored);
    repo.assert_no_leftovers();
}

/// The unpack status of each store that checks objects.
async fn statuses(request: &Request) -> [String; 2] {
    let repo = Repo::bare();
    let bare = BareRepository::open(repo.path()).expect("it opens").check_objects(Checks::new());
    let memory = MemoryStore::new(format()).check_objects(Checks::new());
    let said = [push(bare, request).await.unpack, push(memory, request).await.unpack];
    repo.assert_no_leftovers();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn special_files_are_read_within_bounds() {
    for (name, text) in [
        (".gitmodules", "gitmodulesLarge: .gitmodules too large to parse"),
        (".gitattributes", "gitattributesLarge: .gitattributes too large to parse"),
    ] {
        let file = OneFile::new("100644", name, &vec![b'\n'; (16 << 20) + 1]);
        let text = format!("object {}: {text}", file.blob);
        assert_eq!(statuses(&file.request).await, [text.clone(), text]);
    }
    // Each tree has a file of its own.
    let mut builder = PackBuilder::default();
    for number in 0..=10_000_u32 {
        let blob = blob_id(&number.to_be_bytes());
        builder.object(ObjectKind::Tree, &[b"100644 .gitmodules\0", blob.as_bytes()].concat());
    }
    let request = Request::new().create("refs/heads/main", blob_id(b"")).pack(builder.finish());
    let text = "more than 10000 different .gitmodules and .gitattributes";
    assert_eq!(statuses(&request).await, [text, text]);
}

/// Each warning is told, however many there are at once.
#[tokio::test(flavor = "multi_thread")]
async fn no_warning_is_lost() {
    let mut builder = PackBuilder::default();
    let blob = builder.blob(b"text");
    let mut trees = Vec::new();
    for number in 0..100 {
        let name = format!("100600 file-{number}\0");
        let tree = [name.as_bytes(), blob.as_bytes()].concat();
        builder.object(ObjectKind::Tree, &tree);
        trees.push(pack::object_id(format(), ObjectKind::Tree, &tree));
    }
    let commit = pack::commit(&trees[0], &[]);
    builder.object(ObjectKind::Commit, &commit);
    let tip = pack::object_id(format(), ObjectKind::Commit, &commit);
    let request = Request::new().create("refs/heads/main", tip).pack(builder.finish());
    let git = push_to_git(&request, &[]);
    let repo = Repo::bare();
    let bare = BareRepository::open(repo.path()).expect("it opens").check_objects(Checks::new());
    for reply in
        [push(bare, &request).await, push(MemoryStore::new(format()).check_objects(Checks::new()), &request).await]
    {
        reply.assert_ok();
        for tree in &trees {
            let line = format!("warning: object {tree}: badFilemode: contains bad file modes\n");
            assert!(git.progress.contains(&line), "{git:?}");
            assert!(reply.progress.contains(&line), "{reply:?}");
        }
    }
}
