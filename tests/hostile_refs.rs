//! Heads and refs that no client of good will sends: refused by name, one by one, and nothing moves.

#![cfg(feature = "bare-repository")]

mod support;

use bytes::Bytes;
use receive_pack::proto::{ObjectId, ObjectKind};
use receive_pack::store::BareRepository;
use receive_pack::{Error, ErrorKind};
use support::format::{format, is_sha1, made_up, oid, zero};
use support::git::{Repo, command};
use support::io::Script;
use support::pack::{self, PackBuilder, blob_id};
use support::request::{Reply, Request, capabilities, pkt};
use support::server::{heard, serve};

/// A repository with the branches `main` and `topic/one`.
struct World {
    repo: Repo,
    main: String,
    refs: Vec<(String, String)>,
}

impl World {
    fn new() -> Self {
        let repo = Repo::bare();
        let main = repo.commit("main", &[("file", b"text\n")]);
        repo.git(["update-ref", "refs/heads/topic/one", &main]);
        let refs = repo.refs();
        Self { repo, main, refs }
    }

    async fn serve(&self, bytes: impl Into<Bytes>) -> (Option<Error>, Vec<u8>) {
        let store = BareRepository::open(self.repo.path()).expect("the repository opens");
        let (served, said) = serve(store, Script::of(bytes)).await;
        (served.err(), said)
    }

    async fn push(&self, request: Request) -> Reply {
        let (error, said) = self.serve(request.bytes()).await;
        assert!(error.is_none(), "{error:?}");
        heard(&said).1
    }

    #[track_caller]
    fn assert_untouched(&self, what: &str) {
        assert_eq!(self.repo.refs(), self.refs, "{what}");
        self.repo.assert_no_leftovers();
        self.repo.fsck();
    }
}

fn empty() -> Bytes {
    PackBuilder::default().finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_git_forbids() {
    let world = World::new();
    let dir = tempfile::tempdir().expect("a directory");
    let mut names: Vec<Vec<u8>> = [
        "main",
        "HEAD",
        "refs",
        "refs/",
        "refs/x",
        "refs//heads/x",
        "/refs/heads/x",
        "refs/heads/",
        "refs/heads/x/",
        "refs/heads/.x",
        "refs/.x/y",
        "refs/heads/x/.y",
        "refs/heads/x.lock",
        "refs/x.lock/y",
        "refs/heads/x..y",
        "refs/heads/x.",
        "refs/heads/x@{y",
        "refs/heads/../x",
        "refs/heads/../../config",
        "refs/../HEAD",
        "config",
        "../refs/heads/x",
        "refs/heads/x y",
        "refs/heads/\\x",
        "objects/info/alternates",
        "",
        " ",
        "refs/heads/x\ny",
        "REFS/heads/x",
    ]
    .map(|name| name.as_bytes().to_vec())
    .into();
    names.extend((1..=0x7f).map(|byte| [&b"refs/heads/a"[..], &[byte], b"b"].concat()));
    let mut forbidden = 0;
    for name in names {
        // A name that ends in LF would lose it: what is sent is the line.
        let mut check = command(dir.path(), ["check-ref-format"]);
        check.arg(std::ffi::OsStr::new(std::str::from_utf8(&name).expect("text")));
        let allowed = check.status().expect("git runs").success() && name.starts_with(b"refs/");
        if allowed {
            continue;
        }
        forbidden += 1;
        let ids = format!("{} {} ", zero(), world.main);
        let line = [ids.as_bytes(), &name, b"\0", capabilities(format().name()).as_bytes()].concat();
        let other = format!("{} {} refs/heads/topic", zero(), made_up('1'));
        let bytes = [&pkt(line)[..], &pkt(other), b"0000", &empty()].concat();
        let (error, said) = world.serve(bytes).await;
        assert!(error.is_none(), "{name:?}: {error:?}");
        let reply = heard(&said).1;
        assert_eq!(reply.refs.len(), 2, "{name:?}: {reply:?}");
        // What is behind the first space of a name is a part of the reason to whoever reads the report.
        assert!(reply.refs[0].1.as_ref().is_err_and(|why| why.ends_with("funny refname")), "{name:?}: {reply:?}");
    }
    assert!(forbidden > 60, "{forbidden}");
    world.assert_untouched("names");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_no_file_can_have() {
    let world = World::new();
    let long = |len: usize| format!("refs/heads/{}", "x".repeat(len));
    // 250 is the longest whose lock file has a name; git's bound is the same.
    for (name, fits) in
        [(long(250), true), (long(251), false), (long(255), false), (long(256), false), (long(4000), false)]
    {
        let reply = world.push(Request::new().create(&name, &world.main).pack(empty())).await;
        assert_eq!(reply.refs[0].1.is_ok(), fits, "{} bytes: {reply:?}", name.len());
        if fits {
            let reply = world.push(Request::new().delete(&name, &world.main)).await;
            reply.assert_ok();
        }
    }
    // As deep as a name may be long.
    let deep = format!("refs/heads/{}z", "a/".repeat(2042));
    assert_eq!(deep.len(), 4096);
    let reply = world.push(Request::new().create(&deep, &world.main).pack(empty())).await;
    assert!(reply.refs[0].1.is_err(), "{reply:?}");
    world.assert_untouched("long names");
    let beyond = format!("{deep}z");
    let (error, said) = world.serve(Request::new().create(&beyond, &world.main).pack(empty()).bytes()).await;
    assert!(error.is_some_and(|error| error.kind() == ErrorKind::LimitExceeded && error.offset() == Some(0)));
    drop(said);
    world.assert_untouched("a name beyond the limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_where_directories_are() {
    let world = World::new();
    for name in ["refs/heads/main/x", "refs/heads/main/x/y", "refs/heads/topic", "refs/heads/topic/one/two"] {
        for atomic in [false, true] {
            let mut request = Request::new().create(name, &world.main).pack(empty());
            if atomic {
                request = request.capability("atomic");
            }
            let reply = world.push(request).await;
            let expected = if atomic { "atomic transaction failed" } else { "refname conflict" };
            assert_eq!(reply.refs[0].1, Err(expected.to_owned()), "{name}: {reply:?}");
            assert!(reply.progress.contains("exists; cannot create"), "{reply:?}");
        }
    }
    world.assert_untouched("a directory that is a ref");
    // Both in one push: the first in the order of names gets its way, as with git.
    let (a, b) = ("refs/heads/new", "refs/heads/new/below");
    let request = Request::new().create(b, &world.main).create(a, &world.main).pack(empty());
    let reply = world.push(request).await;
    let refused = reply.refs.iter().filter(|(_, result)| result.is_err()).count();
    assert_eq!(refused, 1, "{reply:?}");
    world.repo.fsck();
    world.repo.assert_no_leftovers();
}

#[tokio::test(flavor = "multi_thread")]
async fn old_values_that_are_not_so() {
    let world = World::new();
    let other = made_up('1');
    for (request, why) in [
        (Request::new().create("refs/heads/main", &world.main).pack(empty()), "reference already exists"),
        (Request::new().update("refs/heads/main", &other, &world.main).pack(empty()), "incorrect old value provided"),
        (Request::new().update("refs/heads/gone", &other, &world.main).pack(empty()), "reference does not exist"),
        (Request::new().delete("refs/heads/topic/one", &other), "incorrect old value provided"),
        (Request::new().delete("refs/heads/gone", &other), "reference does not exist"),
        (Request::new().delete("refs/heads/main", &world.main), "deletion of the current branch prohibited"),
    ] {
        let reply = world.push(request).await;
        assert_eq!(reply.refs[0].1, Err(why.to_owned()), "{reply:?}");
        world.assert_untouched(why);
    }
    let twice = Request::new().create("refs/heads/x", &world.main).create("refs/heads/x", &world.main).pack(empty());
    let reply = world.push(twice).await;
    assert!(reply.refs.iter().all(|(_, result)| result.is_err()), "{reply:?}");
    world.assert_untouched("twice");
}

/// What a ref may not become: a pack of these objects, the id, and what is said of it.
#[tokio::test(flavor = "multi_thread")]
async fn new_values_that_cannot_be() {
    let world = World::new();
    let known_tree = world.repo.rev("main^{tree}");
    let known_blob = world.repo.rev("main:file");
    let missing = made_up('1');
    let object = |kind: ObjectKind, data: &[u8]| pack::object_id(format(), kind, data);
    let commit_of = |tree: &str| pack::commit(&oid(tree), &[]);
    let tree_of = |mode: &str, id: &str| {
        let id = oid(id);
        [format!("{mode} f\0").as_bytes(), id.as_bytes()].concat()
    };
    let main = oid(&world.main);
    let lost_parent = pack::commit(&oid(&known_tree), &[main, oid(&missing)]);
    let tag_of = |id: &str, kind: &str| {
        let who = "tagger A Tester <tester@example.org> 1700000000 +0000";
        format!("object {id}\ntype {kind}\ntag x\n{who}\n\na tag\n").into_bytes()
    };
    // Each is the object that the ref is to be, and those beside it in the pack.
    type Objects = Vec<(ObjectKind, Vec<u8>)>;
    let trees: [(&str, Vec<u8>, Objects); 8] = [
        ("a tree that is not there", commit_of(&missing), vec![]),
        ("a blob for a tree", commit_of(&known_blob), vec![]),
        ("a commit for a tree", commit_of(&world.main), vec![]),
        ("a missing file", vec![], vec![(ObjectKind::Tree, tree_of("100644", &missing))]),
        ("a missing directory", vec![], vec![(ObjectKind::Tree, tree_of("40000", &missing))]),
        ("a tree for a file", vec![], vec![(ObjectKind::Tree, tree_of("100644", &known_tree))]),
        ("a blob for a directory", vec![], vec![(ObjectKind::Tree, tree_of("40000", &known_blob))]),
        ("a tree cut short", vec![], vec![(ObjectKind::Tree, tree_of("100644", &known_blob)[..20].to_vec())]),
    ];
    let mut cases: Vec<(&str, ObjectId, Objects)> = Vec::new();
    for (what, mut tip, mut objects) in trees {
        if let Some((kind, tree)) = objects.first() {
            tip = commit_of(&object(*kind, tree).to_string());
        }
        let id = object(ObjectKind::Commit, &tip);
        objects.push((ObjectKind::Commit, tip));
        cases.push((what, id, objects));
    }
    for (what, kind, data) in [
        ("a missing parent", ObjectKind::Commit, lost_parent),
        ("a commit of nothing", ObjectKind::Commit, b"".to_vec()),
        ("a commit without a tree", ObjectKind::Commit, b"author x\n".to_vec()),
        ("a commit with half an id", ObjectKind::Commit, commit_of(&known_tree)[..30].to_vec()),
        ("a tag of nothing", ObjectKind::Tag, b"".to_vec()),
        ("a tag of what is not there", ObjectKind::Tag, tag_of(&missing, "commit")),
        ("a tag that lies about the kind", ObjectKind::Tag, tag_of(&known_blob, "commit")),
        ("a tag of an unknown kind", ObjectKind::Tag, tag_of(&world.main, "branch")),
    ] {
        cases.push((what, object(kind, &data), vec![(kind, data)]));
    }
    cases.push(("what nobody has", oid(&missing), vec![]));
    for (what, id, objects) in &cases {
        let mut builder = PackBuilder::default();
        for (kind, data) in objects {
            builder.object(*kind, data);
        }
        // Another ref in the same push moves, and is moved back.
        let request = Request::new().create("refs/tags/bad", id).create("refs/heads/good", &world.main);
        let reply = world.push(request.pack(builder.finish())).await;
        assert_eq!(reply.unpack, "ok", "{what}: {reply:?}");
        assert_eq!(reply.refs[0].1, Err("missing necessary objects".to_owned()), "{what}: {reply:?}");
        assert_eq!(reply.refs[1].1, Ok(()), "{what}: {reply:?}");
        assert!(reply.progress.starts_with("error: "), "{what}: {reply:?}");
        world.push(Request::new().delete("refs/heads/good", &world.main)).await.assert_ok();
        assert_eq!(world.repo.refs(), world.refs, "{what}");
        world.repo.assert_no_leftovers();
    }
    // With atomic, the good one stays where it was, and the pack is not kept.
    let stored = world.repo.stored();
    for (what, id, objects) in &cases {
        let mut builder = PackBuilder::default();
        for (kind, data) in objects.iter().chain(&[(ObjectKind::Blob, b"beside".to_vec())]) {
            builder.object(*kind, data);
        }
        let request = Request::new().create("refs/tags/bad", id).create("refs/heads/good", &world.main);
        let reply = world.push(request.capability("atomic").pack(builder.finish())).await;
        assert!(reply.refs.iter().all(|(_, result)| result.is_err()), "{what}: {reply:?}");
        assert_eq!((world.repo.refs(), world.repo.stored()), (world.refs.clone(), stored.clone()), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_that_are_no_commits() {
    let world = World::new();
    let mut builder = PackBuilder::default();
    let blob = builder.blob(b"not a commit");
    for value in [blob.to_string(), world.repo.rev("main:file"), world.repo.rev("main^{tree}")] {
        let request = Request::new().create("refs/heads/blob", &value).pack(builder.finish());
        let reply = world.push(request).await;
        assert_eq!(reply.refs[0].1, Err("invalid new value provided".to_owned()), "{reply:?}");
        assert!(reply.progress.contains(&format!("non-commit object {value}")), "{reply:?}");
        assert_eq!(world.repo.refs(), world.refs);
        world.repo.assert_no_leftovers();
    }
    // Anywhere else it may be anything.
    let request = Request::new().create("refs/tags/blob", blob_id(b"not a commit")).pack(builder.finish());
    world.push(request).await.assert_ok();
    world.repo.fsck();
}

/// Heads that are no heads: the offset of the line that is wrong, and nothing done for the lines before it.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_heads() {
    let world = World::new();
    let good = Request::new().create("refs/heads/good", &world.main).head();
    let good = &good[..good.len() - 4];
    let at = good.len() as u64;
    let id = &world.main;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("length 3", b"0003".to_vec()),
        ("no length", b"zzzz".to_vec()),
        ("too long", b"fff4".to_vec()),
        ("a sign", b"+010".to_vec()),
        ("an empty line", b"0004".to_vec()),
        ("no ids", pkt("refs/heads/x")),
        ("one id", pkt(format!("{id} refs/heads/x"))),
        ("short ids", pkt(format!("{} {} refs/heads/x", &id[1..], &id[1..]))),
        ("long ids", pkt(format!("{id}0 {id}0 refs/heads/x"))),
        ("no hex", pkt(format!("{} {id} refs/heads/x", "g".repeat(id.len())))),
        ("tabs", pkt(format!("{id}\t{id}\trefs/heads/x"))),
        ("half a shallow", pkt("shallow 1234")),
        ("an error", pkt("ERR I give up")),
    ];
    for (what, line) in cases {
        let bytes = [good, &line, b"0000", &empty()].concat();
        let (error, said) = world.serve(bytes).await;
        let error = error.unwrap_or_else(|| panic!("{what} is taken"));
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Protocol, Some(at)), "{what}: {error}");
        let reply = heard(&said).1;
        assert!(reply.unpack.contains(&format!("at byte {at}")), "{what}: {reply:?}");
        assert_eq!(reply.refs[0].1, Err(reply.unpack.clone()), "{what}: each ref that was named has the reason");
        world.assert_untouched(what);
    }
    let other = if is_sha1() { "sha256" } else { "sha1" };
    let request = Request::new_in(other).create("refs/heads/x", id).pack(empty());
    let (error, _) = world.serve(request.bytes()).await;
    assert!(error.is_some_and(|error| error.to_string().contains(&format!("unsupported object format '{other}'"))));
    world.assert_untouched("another hash");
}
