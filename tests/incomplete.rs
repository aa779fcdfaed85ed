//! Pushes that lack something: each ref is judged by itself, with each store as with git.

#![cfg(all(feature = "memory", feature = "bare-repository", feature = "object-store"))]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use receive_pack::proto::{ObjectId, ObjectKind};
use receive_pack::store::{BareRepository, Bucket, MemoryStore, ObjectStoreRepository, Store};
use support::format::{format, made_up, oid};
use support::git::{self, Repo};
use support::io::Script;
use support::pack::{self, PackBuilder, blob_id, object_id};
use support::request::{Advertised, Reply, Request};
use support::server::{heard, serve};

const MISSING: &str = "missing necessary objects";

type Refs = Vec<(String, Result<(), String>)>;

/// Four servers that are pushed the same.
struct Servers {
    git: Repo,
    bare: Repo,
    memory: MemoryStore,
    bucket: Bucket,
}

impl Servers {
    async fn new() -> Self {
        let bucket = Bucket::open(Arc::new(InMemory::new())).await.expect("a bucket");
        Self { git: Repo::bare(), bare: Repo::bare(), memory: MemoryStore::new(format()), bucket }
    }

    /// What each of them says of each ref: the same, and then they have the same refs.
    async fn push(&self, request: Request) -> Refs {
        let request = request.bytes();
        let output = git::run(git::command(self.git.path(), ["receive-pack", "."]), &request);
        let mut said = &output.stdout[..];
        Advertised::take(&mut said);
        let git = Reply::side_band(said);
        let bare = BareRepository::open(self.bare.path()).expect("it opens");
        // Opened for each push: what it knows it has read.
        let remote = ObjectStoreRepository::init(&self.bucket, "any.git", format()).await.expect("it opens");
        for reply in [
            take(bare, request.clone()).await,
            take(self.memory.clone(), request.clone()).await,
            take(remote.clone(), request).await,
        ] {
            assert_eq!((&reply.unpack, &reply.refs), (&git.unpack, &git.refs), "{reply:?}");
            let incomplete = reply.refs.iter().any(|(_, result)| result == &Err(MISSING.to_owned()));
            assert_eq!(reply.progress.starts_with("error: "), incomplete, "{reply:?}");
        }
        let refs = self.git.refs();
        assert_eq!(self.bare.refs(), refs);
        let text = |(name, id): (Bytes, ObjectId)| (String::from_utf8_lossy(&name).into_owned(), id.to_string());
        assert_eq!(self.memory.refs().into_iter().map(text).collect::<Vec<_>>(), refs);
        let manifest = remote.manifest().await.expect("a manifest");
        assert_eq!(manifest.refs().map(|(name, id)| text((name.clone(), *id))).collect::<Vec<_>>(), refs);
        self.bare.assert_no_leftovers();
        git.refs
    }
}

async fn take(store: impl Store, request: Bytes) -> Reply {
    let (served, said) = serve(store, Script::of(request)).await;
    served.expect("the push is served");
    heard(&said).1
}

/// A commit of one file.
struct Change {
    blob: Vec<u8>,
    tree: Vec<u8>,
    commit: Vec<u8>,
}

impl Change {
    fn new(text: &str, parents: &[ObjectId]) -> Self {
        let tree = pack::tree([("file", &blob_id(text.as_bytes()))]);
        let commit = pack::commit(&object_id(format(), ObjectKind::Tree, &tree), parents);
        Self { blob: text.into(), tree, commit }
    }

    fn id(&self) -> ObjectId {
        object_id(format(), ObjectKind::Commit, &self.commit)
    }

    fn commit(&self) -> (ObjectKind, &[u8]) {
        (ObjectKind::Commit, &self.commit)
    }

    fn tree(&self) -> (ObjectKind, &[u8]) {
        (ObjectKind::Tree, &self.tree)
    }

    fn blob(&self) -> (ObjectKind, &[u8]) {
        (ObjectKind::Blob, &self.blob)
    }

    fn all(&self) -> [(ObjectKind, &[u8]); 3] {
        [self.commit(), self.tree(), self.blob()]
    }
}

fn pack_of<'a>(objects: impl IntoIterator<Item = (ObjectKind, &'a [u8])>) -> Bytes {
    let mut builder = PackBuilder::default();
    for (kind, data) in objects {
        builder.object(kind, data);
    }
    builder.finish()
}

fn told<const N: usize>(refs: [(&str, Result<(), &str>); N]) -> Refs {
    refs.map(|(name, result)| (format!("refs/heads/{name}"), result.map_err(str::to_owned))).into()
}

fn create<const N: usize>(refs: [(&str, &Change); N]) -> Request {
    let create =
        |request: Request, (name, change): (&str, &Change)| request.create(&format!("refs/heads/{name}"), change.id());
    refs.into_iter().fold(Request::new(), create)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_ref_that_needs_what_is_missing_is_refused() {
    let (whole, lost) = (Change::new("whole\n", &[]), Change::new("lost\n", &[]));
    // Without its tree; without its blob; below a commit that is whole itself.
    let above = Change::new("above\n", &[lost.id()]);
    for lacking in [vec![lost.commit()], vec![lost.commit(), lost.tree()], vec![lost.commit(), lost.blob()]] {
        let objects = whole.all().into_iter().chain(above.all()).chain(lacking);
        let request = create([("lost", &lost), ("whole", &whole), ("above", &above)]).pack(pack_of(objects));
        let expected = told([("lost", Err(MISSING)), ("whole", Ok(())), ("above", Err(MISSING))]);
        assert_eq!(Servers::new().await.push(request).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_ref_needs_may_be_missing_or_malformed() {
    let servers = Servers::new().await;
    let (whole, lost) = (Change::new("whole\n", &[]), Change::new("lost\n", &[]));
    let nonsense: (ObjectKind, &[u8]) = (ObjectKind::Commit, b"nonsense\n");
    let objects = whole.all().into_iter().chain([lost.commit(), nonsense]);
    let request = create([("whole", &whole)]).pack(pack_of(objects));
    assert_eq!(servers.push(request).await, told([("whole", Ok(()))]));

    // It is there now, but that does not make it complete: not for a ref of its own, not for one that builds upon it.
    assert_eq!(servers.push(create([("lost", &lost)]).pack(pack_of([]))).await, told([("lost", Err(MISSING))]));
    let above = Change::new("above\n", &[lost.id()]);
    let request = || create([("above", &above)]);
    assert_eq!(servers.push(request().pack(pack_of(above.all()))).await, told([("above", Err(MISSING))]));
    // What it lacked makes it so.
    let objects = above.all().into_iter().chain([lost.tree(), lost.blob()]);
    assert_eq!(servers.push(request().pack(pack_of(objects))).await, told([("above", Ok(()))]));
    assert_eq!(servers.push(create([("lost", &lost)]).pack(pack_of([]))).await, told([("lost", Ok(()))]));
}

/// A mirror with bitmaps does not send it, and nobody has it who began with `git commit-tree`.
#[tokio::test(flavor = "multi_thread")]
async fn the_empty_tree_is_there_without_being_sent() {
    let servers = Servers::new().await;
    let empty = Change { tree: Vec::new(), ..Change::new("", &[]) };
    let tree = object_id(format(), ObjectKind::Tree, &empty.tree);
    let first = Change { commit: pack::commit(&tree, &[]), ..empty };
    assert_eq!(
        servers.push(create([("first", &first)]).pack(pack_of([first.commit()]))).await,
        told([("first", Ok(()))])
    );
    // Below another directory, among other objects, and as what a ref holds.
    let outer = [b"40000 empty\0", tree.as_bytes()].concat();
    let commit = pack::commit(&object_id(format(), ObjectKind::Tree, &outer), &[first.id()]);
    let second = Change { tree: outer, commit, blob: Vec::new() };
    let request = create([("second", &second)]).create("refs/tags/empty", tree);
    let refs = servers.push(request.pack(pack_of([second.commit(), second.tree()]))).await;
    assert!(refs.iter().all(|(_, result)| result.is_ok()), "{refs:?}");
    // It may be sent all the same, and then `git fsck` finds it, too.
    let third = Change { commit: pack::commit(&tree, &[second.id()]), tree: Vec::new(), blob: Vec::new() };
    let request = create([("third", &third)]).pack(pack_of([third.commit(), third.tree()]));
    assert_eq!(servers.push(request).await, told([("third", Ok(()))]));
    servers.bare.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_an_object_of_another_kind_leads_nowhere() {
    let servers = Servers::new().await;
    let whole = Change::new("whole\n", &[]);
    // Its tree is a blob: one of the push, and one that is there already.
    let wrong = Change { commit: pack::commit(&blob_id(b"whole\n"), &[]), ..Change::new("", &[]) };
    for objects in [[whole.all().to_vec(), vec![wrong.commit()]].concat(), vec![wrong.commit()]] {
        let refs = servers.push(create([("wrong", &wrong), ("same", &whole)]).pack(pack_of(objects))).await;
        assert_eq!(refs, told([("wrong", Err(MISSING)), ("same", Ok(()))]));
        servers.push(Request::new().delete("refs/heads/same", whole.id())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_git_cannot_walk_through_is_refused_and_nothing_else() {
    let servers = Servers::new().await;
    let whole = Change::new("whole\n", &[]);
    let (commit, tree) = (whole.id(), object_id(format(), ObjectKind::Tree, &whole.tree));
    let (blob, upper) = (blob_id(b"whole\n"), commit.to_string().to_uppercase());
    let tag = pack::object_id(format(), ObjectKind::Tag, &tag_of(&commit, "commit\ntag first\n"));
    let text = |text: &str| format!("tree {tree}\n{text}").into_bytes();
    let commits = [
        format!("tree {tree}").into_bytes(),
        format!("tree {tree}x").into_bytes(),
        format!("tree {}\nx", &tree.to_string()[1..]).into_bytes(),
        text(""),
        text("\n"),
        text("x"),
        text("parent abc\n"),
        // The line of a parent without its LF, with it, and with one byte more.
        text(&format!("parent {commit}")),
        text(&format!("parent {commit}\n")),
        text(&format!("parent {commit}\n\n")),
        text(&format!("parent {commit}x\n")),
        text(&format!("parent {upper}\nparent {commit}\n")),
        text(&format!("parent {upper}\nparent {commit}\n\n")),
        text(&format!("parent {upper}\nparent {commit}")),
        text(&format!("parent {upper}\nparent x\n")),
    ];
    let tags = [
        tag_of(&commit, "commit\ntag first\n"),
        tag_of(&upper, "commit\ntag x\n"),
        tag_of(&upper, "commit\ntag \n"),
        tag_of(&upper, "commit\ntag x"),
        tag_of(&upper, "commit\ntag "),
        tag_of(&upper, "commit\ntag"),
        tag_of(&upper, "commit\n"),
        tag_of(&upper, "commit\n\nsaid more than it needs to be long enough\n"),
        tag_of(&upper, "commit"),
        tag_of(&upper, "commit x\ntag x\n"),
        tag_of(&upper, " commit\ntag x\n"),
        tag_of(&upper, "commit\0x\ntag x\n"),
        tag_of(&upper, &format!("commit\0{}\ntag x\n", "x".repeat(12))),
        tag_of(&upper, &format!("commit\0{}\ntag x\n", "x".repeat(13))),
        // As short as a tag may be, and shorter.
        tag_of(&blob, "blob\ntag x\n"),
        tag_of(&blob, "blob\ntag \n"),
        tag_of(&tag, "tag\ntag ab\n"),
        tag_of(&tag, "tag\ntag a\n"),
        tag_of(&tag, "tag\ntag \n"),
    ];
    let odd: Vec<_> = commits.iter().map(|data| (ObjectKind::Commit, &data[..])).collect();
    let odd: Vec<_> = odd.into_iter().chain(tags.iter().map(|data| (ObjectKind::Tag, &data[..]))).collect();
    let name = |number: usize| format!("refs/odd/{number}");
    let request = odd.iter().enumerate().fold(Request::new(), |request, (number, (kind, data))| {
        request.create(&name(number), object_id(format(), *kind, data))
    });
    let said = servers.push(request.pack(pack_of(whole.all().into_iter().chain(odd.iter().copied())))).await;
    // The numbers of those that git takes.
    let taken: Vec<_> = (0..odd.len()).filter(|number| said.contains(&(name(*number), Ok(())))).collect();
    assert_eq!(taken, [4, 5, 6, 7, 9, 12, 13, 14, 15, 16, 17, 26, 27, 29, 31]);
    servers.bare.git(["rev-list", "--objects", "--all"]);
    servers.bare.git(["clone", "-q", ".", "clone"]);
}

/// A tag that says `object`, and `rest` of its type and its name.
fn tag_of(object: &dyn std::fmt::Display, rest: &str) -> Vec<u8> {
    format!("object {object}\ntype {rest}").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_ref_that_brings_a_new_root_is_refused_to_a_shallow_client() {
    let servers = Servers::new().await;
    let root = Change::new("root\n", &[]);
    let (cut, whole) = (Change::new("cut\n", &[root.id()]), Change::new("whole\n", &[]));
    let tip = Change::new("tip\n", &[cut.id()]);
    let objects = || whole.all().into_iter().chain(tip.all()).chain(cut.all());
    let request = create([("tip", &tip), ("whole", &whole)]).shallow(cut.id());
    let shallow = Err("shallow update not allowed");
    assert_eq!(servers.push(request.pack(pack_of(objects()))).await, told([("tip", shallow), ("whole", Ok(()))]));

    // Where another ref lacks something else, git takes what is cut off for missing, too: its two checks are one then.
    // Beside the commit at which the history is cut off stands another with the same parent, which is missing there.
    let (lost, beside) = (Change::new("lost\n", &[]), Change::new("beside\n", &[root.id()]));
    let request = create([("beside", &beside), ("tip", &tip), ("cut", &cut), ("whole", &whole), ("lost", &lost)]);
    let request = request.shallow(cut.id()).shallow(cut.id());
    let request = request.pack(pack_of(objects().chain(beside.all()).chain([lost.commit()]))).bytes();
    let repo = Repo::bare();
    let bare = BareRepository::open(repo.path()).expect("it opens");
    for reply in [take(bare, request.clone()).await, take(MemoryStore::new(format()), request).await] {
        let missing = Err(MISSING);
        let expected = [("beside", missing), ("tip", shallow), ("cut", shallow), ("whole", Ok(())), ("lost", missing)];
        assert_eq!(reply.refs, told(expected));
    }

    // Where the server has what the client has not, nothing is cut off; git refuses that as well.
    let (repo, memory) = (Repo::bare(), MemoryStore::new(format()));
    for request in [
        create([("root", &root)]).pack(pack_of(root.all())),
        create([("tip", &tip)]).shallow(cut.id()).pack(pack_of(tip.all().into_iter().chain(cut.all()))),
    ] {
        take(BareRepository::open(repo.path()).expect("it opens"), request.bytes()).await.assert_ok();
        take(memory.clone(), request.bytes()).await.assert_ok();
    }
    repo.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shallow_line_costs_nothing_however_long_its_commit_is() {
    // If somebody read it for each of the lines, this would take hours.
    let parents = (16 << 20) / (format().hex_len() + 8) - 10;
    let long = Change::new("long\n", &vec![oid(&made_up('1')); parents]);
    let lines = vec![long.id(); 100_000];
    let request = lines.iter().fold(create([("long", &long)]), |request, id| request.shallow(id));
    let request = request.pack(pack_of(long.all())).bytes();
    let repo = Repo::bare();
    let bare = BareRepository::open(repo.path()).expect("it opens");
    for reply in [take(bare, request.clone()).await, take(MemoryStore::new(format()), request).await] {
        assert_eq!(reply.refs, told([("long", Err("shallow update not allowed"))]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_push_that_lacks_something_brings_nothing() {
    // git leaves the ref out that it refused before the transaction, and moves the other: that we do not copy.
    let (whole, lost) = (Change::new("whole\n", &[]), Change::new("lost\n", &[]));
    let request = create([("whole", &whole), ("lost", &lost)]).capability("atomic");
    let request = request.pack(pack_of(whole.all().into_iter().chain([lost.commit()]))).bytes();
    let (repo, memory) = (Repo::bare(), MemoryStore::new(format()));
    let bare = BareRepository::open(repo.path()).expect("it opens");
    for reply in [take(bare, request.clone()).await, take(memory.clone(), request).await] {
        assert_eq!(reply.refs, told([("whole", Err("atomic push failure")), ("lost", Err(MISSING))]));
    }
    assert!(repo.refs().is_empty() && repo.stored().is_empty());
    assert!(memory.refs().is_empty() && memory.object_ids().is_empty());
}
