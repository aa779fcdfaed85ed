//! A policy looks at a push when all of it is there and nobody sees it: the same with each store.

#![cfg(all(feature = "memory", feature = "bare-repository"))]

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::proto::{ObjectId, ObjectKind, Report};
use receive_pack::push::{Pack, Push};
use receive_pack::receive::{PreReceive, ReceivePack, Received};
use receive_pack::serve::Serve;
use receive_pack::store::{BareRepository, MemoryStore, Store};
use receive_pack::{Error, ErrorKind};
use support::format::{format, oid};
use support::git::Repo;
use support::io::Script;
use support::pack::{self, Delta, PackBuilder, blob_id};
use support::request::{Reply, Request};
use support::server::{heard, in_time, serve, serve_with};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::{Service, ServiceBuilder, service_fn};

const OLD: &[u8] = b"a text that the server has\n";
const NEW: &[u8] = b"a text that the server HAS\n";

/// A repository with one text, and a push of another one as a delta against it: a thin pack.
struct Thin {
    repo: Repo,
    old: ObjectId,
    blob: ObjectId,
    tree: ObjectId,
    tip: ObjectId,
    pack: PackBuilder,
}

impl Thin {
    fn new() -> Self {
        let repo = Repo::bare();
        let old = oid(&repo.commit("main", &[("text", OLD)]));
        let blob = blob_id(NEW);
        let mut pack = PackBuilder::default();
        pack.ref_delta(&blob_id(OLD), &Delta::between(OLD, NEW));
        let tree = pack::tree([("text", &blob)]);
        pack.object(ObjectKind::Tree, &tree);
        let tree = pack::object_id(format(), ObjectKind::Tree, &tree);
        let commit = pack::commit(&tree, &[old]);
        pack.object(ObjectKind::Commit, &commit);
        let tip = pack::object_id(format(), ObjectKind::Commit, &commit);
        Self { repo, old, blob, tree, tip, pack }
    }

    fn request(&self) -> Request {
        let update = Request::new().update("refs/heads/main", self.old, self.tip);
        update.create("refs/heads/new", self.tip).pack(self.pack.finish())
    }

    fn bare(&self) -> BareRepository {
        BareRepository::open(self.repo.path()).expect("the repository opens")
    }

    /// The same repository in memory.
    async fn memory(&self) -> MemoryStore {
        let store = MemoryStore::new(format());
        let pack = self.repo.git_with_input(["pack-objects", "--all", "--stdout", "-q"], b"").stdout;
        let request = Request::new().create("refs/heads/main", self.old).pack(pack);
        let (served, _) = serve(store.clone(), Script::of(request.bytes())).await;
        assert!(served.expect("served").report().expect("a report").is_ok());
        store
    }
}

type Objects = BTreeSet<(ObjectId, ObjectKind)>;

/// What a policy of a test is.
type Verdict = dyn Fn(&mut Received<'_>) -> Result<(), Error> + Send + Sync;

/// Looks at everything, notes what it sees, and then judges.
#[derive(Clone)]
struct Look {
    thin: Arc<Thin>,
    judge: Arc<Verdict>,
    seen: Arc<Mutex<Vec<Objects>>>,
}

impl Look {
    fn new(thin: &Arc<Thin>, judge: impl Fn(&mut Received<'_>) -> Result<(), Error> + Send + Sync + 'static) -> Self {
        Self { thin: Arc::clone(thin), judge: Arc::new(judge), seen: Arc::default() }
    }

    #[track_caller]
    fn times(&self) -> usize {
        self.seen.lock().expect("nobody panicked").len()
    }
}

impl PreReceive for Look {
    async fn pre_receive(&self, push: &mut Received<'_>) -> Result<(), Error> {
        let thin = &*self.thin;
        let new: Vec<_> = push.new_objects().collect();
        assert_eq!(new.len(), 3, "each once, and not the base that the repository has: {new:?}");
        self.seen.lock().expect("nobody panicked").push(new.into_iter().collect());

        assert_eq!(push.kind(&thin.tip).await?, Some(ObjectKind::Commit));
        assert_eq!(push.kind(&thin.old).await?, Some(ObjectKind::Commit));
        assert_eq!(push.kind(&blob_id(b"nobody has it")).await?, None);
        for (text, id) in [(NEW, thin.blob), (OLD, blob_id(OLD))] {
            let (kind, data) = push.object(&id, text.len() as u64).await?.expect("it is there");
            assert_eq!((kind, &data[..]), (ObjectKind::Blob, text));
            let error = push.object(&id, text.len() as u64 - 1).await.expect_err("it is too long");
            assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        }
        assert_eq!(push.object(&blob_id(b"nobody has it"), 100).await?, None);

        // Nobody else sees it.
        assert!(!thin.repo.try_git(["cat-file", "-e", &thin.tip.to_string()]).status.success());
        (self.judge)(push)
    }
}

async fn push(store: impl Store, policy: impl PreReceive + Clone, request: &Request) -> Reply {
    let (served, said) = serve_with(store, policy, Script::of(request.bytes()).stays_open()).await;
    served.expect("the push is served");
    heard(&said).1
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_push_brought_can_be_read_before_anybody_else_sees_it() {
    let thin = Arc::new(Thin::new());
    let look = Look::new(&thin, |_| Ok(()));
    push(thin.memory().await, look.clone(), &thin.request()).await.assert_ok();
    push(thin.bare(), look.clone(), &thin.request()).await.assert_ok();
    let expected =
        BTreeSet::from([(thin.blob, ObjectKind::Blob), (thin.tree, ObjectKind::Tree), (thin.tip, ObjectKind::Commit)]);
    assert_eq!(*look.seen.lock().expect("nobody panicked"), [expected.clone(), expected]);
    assert_eq!(thin.repo.rev("main"), thin.tip.to_string());
    thin.repo.fsck();
    thin.repo.assert_no_leftovers();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_ref_is_refused_and_the_other_moves() {
    let thin = Arc::new(Thin::new());
    let look = Look::new(&thin, |push| {
        push.request_mut().refuse_where(|command| command.name.ends_with(b"/new").then_some("no new branches"));
        Ok(())
    });
    let memory = thin.memory().await;
    for reply in [
        push(memory.clone(), look.clone(), &thin.request()).await,
        push(thin.bare(), look.clone(), &thin.request()).await,
    ] {
        let expected = [("refs/heads/main", Ok(())), ("refs/heads/new", Err("no new branches".to_owned()))];
        assert_eq!(reply.unpack, "ok");
        assert_eq!(reply.refs, expected.map(|(name, result)| (name.to_owned(), result)));
    }
    let main = ("refs/heads/main".to_owned(), thin.tip.to_string());
    assert_eq!(thin.repo.refs(), std::slice::from_ref(&main));
    let refs: Vec<_> = memory.refs().into_iter().map(|(name, id)| (name, id.to_string())).collect();
    assert_eq!(refs, [(main.0.into(), main.1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_push_with_one_refused_ref_leaves_nothing() {
    let thin = Arc::new(Thin::new());
    let look = Look::new(&thin, |push| {
        push.request_mut().refuse(0, "not today");
        Ok(())
    });
    let (memory, stored) = (thin.memory().await, thin.repo.stored());
    let request = thin.request().capability("atomic");
    for reply in [push(memory.clone(), look.clone(), &request).await, push(thin.bare(), look.clone(), &request).await] {
        let reasons: Vec<_> = reply.refs.into_iter().map(|(_, result)| result.unwrap_err()).collect();
        assert_eq!(reasons, ["not today", "atomic push failure"]);
    }
    assert_eq!(memory.refs(), [("refs/heads/main".into(), thin.old)]);
    assert_eq!(memory.object(&thin.tip).expect("it can be read"), None);
    assert_eq!(thin.repo.rev("main"), thin.old.to_string());
    assert_eq!(thin.repo.stored(), stored);
    thin.repo.assert_no_leftovers();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_refuses_all_of_it() {
    let thin = Arc::new(Thin::new());
    let (memory, stored) = (thin.memory().await, thin.repo.stored());
    // Refused in its words, as an unpack error, as the server's own trouble.
    for (error, unpack, reason) in [
        (Error::refused("there is a secret in it"), "ok", "there is a secret in it"),
        (Error::new(ErrorKind::LimitExceeded, "too long"), "too long", "unpacker error"),
        (Error::new(ErrorKind::Store, "the database is down"), "internal error", "unpacker error"),
    ] {
        let look = Look::new(&thin, move |_| Err(error.clone()));
        for reply in [
            push(memory.clone(), look.clone(), &thin.request()).await,
            push(thin.bare(), look.clone(), &thin.request()).await,
        ] {
            assert_eq!(reply.unpack, unpack);
            assert!(reply.refs.iter().all(|(_, result)| *result == Err(reason.to_owned())), "{reply:?}");
        }
        assert_eq!(look.times(), 2);
    }
    assert_eq!(memory.refs(), [("refs/heads/main".into(), thin.old)]);
    assert_eq!(thin.repo.stored(), stored);
    thin.repo.assert_no_leftovers();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_all_leaves_the_reasons_that_refs_have() {
    let thin = Arc::new(Thin::new());
    let stored = thin.repo.stored();
    let look = Look::new(&thin, |push| {
        push.request_mut().refuse(0, "not this one");
        Err(Error::refused("none of them"))
    });
    let reply = push(thin.bare(), look, &thin.request()).await;
    let reasons: Vec<_> = reply.refs.into_iter().map(|(_, result)| result.unwrap_err()).collect();
    assert_eq!((reply.unpack.as_str(), reasons), ("ok", vec!["not this one".to_owned(), "none of them".to_owned()]));
    assert_eq!(thin.repo.stored(), stored);
    thin.repo.assert_no_leftovers();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_policy_is_not_asked_when_the_first_left_nothing() {
    let thin = Arc::new(Thin::new());
    let first = Look::new(&thin, |push| {
        push.request_mut().refuse(0, "not this");
        Ok(())
    });
    let second = Look::new(&thin, |_| Ok(()));
    let both = (Arc::new(first.clone()), second.clone());
    push(thin.bare(), both.clone(), &thin.request().capability("atomic")).await;
    assert_eq!((first.times(), second.times()), (1, 0));
    let reply = push(thin.bare(), both, &thin.request()).await;
    assert_eq!((first.times(), second.times()), (2, 1));
    assert!(reply.refs[0].1.is_err() && reply.refs[1].1.is_ok(), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_not_asked_about_what_is_not_whole() {
    let thin = Arc::new(Thin::new());
    let look = Look::new(&thin, |_| Ok(()));
    let lost = pack::commit(&blob_id(b"a tree that nobody has"), &[]);
    let mut builder = PackBuilder::default();
    builder.object(ObjectKind::Commit, &lost);
    let id = pack::object_id(format(), ObjectKind::Commit, &lost);
    let request = Request::new().create("refs/heads/lost", id).pack(builder.finish());
    let reply = push(thin.bare(), look.clone(), &request).await;
    assert_eq!(reply.refs[0].1, Err("missing necessary objects".to_owned()));
    let unknown = Request::new().create("refs/heads/lost", id).pack(PackBuilder::default().finish());
    for reply in
        [push(thin.bare(), look.clone(), &unknown).await, push(thin.memory().await, look.clone(), &unknown).await]
    {
        assert_eq!(reply.refs[0].1, Err("missing necessary objects".to_owned()));
    }
    assert_eq!(look.times(), 0);
}

/// Never comes to an end; says when it was asked, and when it was dropped.
#[derive(Clone)]
struct Forever(UnboundedSender<&'static str>);

impl Forever {
    async fn wait(&self) {
        struct Dropped<'a>(&'a Forever);
        impl Drop for Dropped<'_> {
            fn drop(&mut self) {
                let _ = self.0.0.send("dropped");
            }
        }
        let _dropped = Dropped(self);
        self.0.send("asked").expect("somebody listens");
        std::future::pending().await
    }
}

impl PreReceive for Forever {
    async fn pre_receive(&self, _: &mut Received<'_>) -> Result<(), Error> {
        self.wait().await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_dropped_while_the_policy_thinks_is_rolled_back() {
    let thin = Thin::new();
    let stored = thin.repo.stored();
    let (sender, mut said) = unbounded_channel();
    // Loose objects would wait in memory.
    let (store, request) = (thin.bare().unpack_limit(0), thin.request());
    let task = tokio::spawn(async move { push(store, Forever(sender), &request).await });
    assert_eq!(said.recv().await, Some("asked"));
    assert!(!thin.repo.leftovers().is_empty(), "the quarantine is there");
    task.abort();
    assert_eq!(said.recv().await, Some("dropped"));
    // The files are removed on a thread of their own, which nobody waits for.
    for _ in 0..1000 {
        if thin.repo.leftovers().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    thin.repo.assert_no_leftovers();
    assert_eq!(thin.repo.stored(), stored);
    assert_eq!(thin.repo.refs(), [("refs/heads/main".to_owned(), thin.old.to_string())]);
}

/// A client resets the connection while a service works that never comes to an end, and that says so.
async fn resets<S>(store: MemoryStore, request: &Request, service: S, mut said: UnboundedReceiver<&'static str>)
where
    S: Service<Push<Pack<OwnedReadHalf>>, Response = Report, Error = Error, Future: Send> + Send + 'static,
{
    let (refs, advertisement) = (store.refs(), store.advertise().await.expect("an advertisement"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("it listens");
    let (read, write) = listener.accept().await.expect("a connection").0.into_split();
    // Without keep-alives nothing is written to it meanwhile.
    let serve = Serve::new().keep_alive(None);
    let served = tokio::spawn(async move { serve.serve(read, write, advertisement, service).await });
    client.write_all(&request.bytes()).await.expect("it is read");
    assert_eq!(said.recv().await, Some("asked"));
    client.readable().await.expect("the advertisement");
    // Nobody has read what came: so it is a reset.
    drop(client);
    assert_eq!(in_time(said.recv()).await, Some("dropped"));
    in_time(served).await.expect("no panic").expect_err("the client is gone");
    assert_eq!(store.refs(), refs);
}

#[tokio::test]
async fn a_push_whose_client_resets_the_connection_is_rolled_back_while_somebody_thinks() {
    let thin = Thin::new();
    let store = thin.memory().await;
    let (sender, said) = unbounded_channel();
    let service = ReceivePack::new(store.clone()).pre_receive(Forever(sender));
    let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(service);
    resets(store.clone(), &thin.request(), service, said).await;

    // One that keeps the pack when it has read it.
    let (sender, said) = unbounded_channel();
    let service = service_fn(move |mut push: Push<Pack<OwnedReadHalf>>| {
        let forever = Forever(sender.clone());
        async move {
            while push.body_mut().next().await.is_some() {}
            forever.wait().await;
            Ok(push.request().report())
        }
    });
    resets(store, &thin.request(), service, said).await;
}
