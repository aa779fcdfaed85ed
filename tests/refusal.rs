//! A refusal reaches the pusher as git prints it, however early it is made, and not as a broken connection.

#![cfg(feature = "memory")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use receive_pack::checksum::ChecksumLayer;
use receive_pack::codec::ReceivePackCodec;
use receive_pack::fsck::{Checks, Message, Severity};
use receive_pack::limit::LimitLayer;
use receive_pack::proto::{Limits, ObjectKind, Report};
use receive_pack::push::{Pack, Progress, Push};
use receive_pack::receive::{PreReceive, ReceivePack, Received};
use receive_pack::serve::{self, Serve};
use receive_pack::store::{MemoryStore, Store};
use receive_pack::transport::DaemonRequest;
use receive_pack::{BoxError, Error};
use support::format::{format, made_up};
use support::git::{Output, Repo};
use support::io::Script;
use support::pack;
use support::request::{Request, pkt};
use support::rng::Rng;
use support::server::{heard, in_time, serve_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tower::{Service, ServiceBuilder};

/// Serves git:// on a free port for as long as the runtime lives: each connection gets a service of its own.
async fn listen<S>(serve: Serve, store: MemoryStore, service: impl Fn(MemoryStore) -> S + Send + 'static) -> SocketAddr
where
    S: Service<Push<Pack<OwnedReadHalf>>, Response = Report> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let (serve, store, service) = (serve.clone(), store.clone(), service(store.clone()));
            tokio::spawn(async move {
                let (mut read, write) = stream.into_split();
                DaemonRequest::read(&mut read).await?;
                serve.serve(read, write, store.advertise().await?, service).await
            });
        }
    });
    address
}

/// `git push` from a thread that may wait, while the server runs on this runtime.
async fn push(source: &std::sync::Arc<Repo>, address: SocketAddr, refs: &'static [&'static str]) -> Output {
    let source = source.clone();
    let push = move || source.try_push(&format!("git://{address}/x.git"), refs);
    in_time(tokio::task::spawn_blocking(push)).await.expect("git runs")
}

/// A repository with one incompressible file of this many MiB.
fn source_of(mib: usize) -> std::sync::Arc<Repo> {
    let source = Repo::bare();
    source.commit("main", &[("large.bin", &Rng::new(8).bytes(mib << 20))]);
    source.git(["branch", "other", "main"]);
    source.into()
}

/// What a client is told that reads only when it has sent all, over a connection that holds `room` bytes.
async fn read_at_the_end(serve: Serve, store: MemoryStore, room: usize, request: &[u8]) -> Vec<u8> {
    let (mut client, server) = tokio::io::duplex(room);
    let (read, write) = tokio::io::split(server);
    let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store.clone()));
    let advertisement = store.advertise().await.expect("an advertisement");
    tokio::spawn(async move { serve.serve(read, write, advertisement, service).await });
    in_time(async {
        client.write_all(request).await.expect("all is taken");
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.expect("an answer");
        said
    })
    .await
}

#[tokio::test]
async fn a_long_report_reaches_a_client_that_reads_nothing_until_it_has_sent_all() {
    let noise = Rng::new(9).bytes(1 << 20);
    let mut builder = pack::PackBuilder::new(format());
    builder.blob(&noise);
    let pack = builder.finish();
    let head = |name: fn(u32) -> String| {
        (0..10_000).fold(Request::new(), |request, n| request.create(&name(n), made_up('1'))).pack(pack.clone()).bytes()
    };
    // Each name is refused; and the head breaks off, at a limit.
    for (request, limit) in [(head(|n| format!("funny/{n}")), 20_000), (head(|n| format!("refs/heads/{n}")), 9_999)] {
        let mut limits = Limits::default();
        limits.commands = limit;
        let serve = Serve::new().codec(ReceivePackCodec::builder().limits(limits));
        let said = read_at_the_end(serve, MemoryStore::new(format()), 64 << 10, &request).await;
        let reply = heard(&said).1;
        assert!(reply.refs.len() >= 9_999 && reply.refs.iter().all(|(_, result)| result.is_err()), "{reply:?}");
    }
}

/// Warnings by the thousand while the pack comes in: no more of them than some buffers hold, and nobody reads them yet.
#[tokio::test]
async fn what_is_said_keeps_no_client_from_sending() {
    let mut builder = pack::PackBuilder::new(format());
    let file = builder.blob(b"text");
    for number in 0..5_000 {
        builder.object(ObjectKind::Tree, &[format!("0100644 {number}\0").as_bytes(), file.as_bytes()].concat());
    }
    let request = Request::new().create("refs/tags/file", file).pack(builder.finish()).bytes();
    let store =
        MemoryStore::new(format()).check_objects(Checks::new().set(Message::ZeroPaddedFilemode, Severity::Warning));
    let reply = heard(&read_at_the_end(Serve::new(), store, 4 << 10, &request).await).1;
    assert!(reply.refs[0].1.is_ok(), "{reply:?}");
    assert!(reply.progress.contains("zeroPaddedFilemode"), "{reply:?}");
    assert!(reply.progress.contains(" lines more\n"), "what is beyond 64 KiB is counted: {reply:?}");
}

/// A client that sends for longer than it may be silent as a reader, and reads only then.
#[tokio::test(start_paused = true)]
async fn a_client_that_still_sends_need_not_read() {
    let pack = pack::BigPack::new(pack::Shape { seed: 5, large: 1, large_size: 2_000, small_per_large: 100 });
    let request = Request::new().create("refs/heads/main", pack.tip()).pack(pack.to_bytes()).bytes();
    let store = MemoryStore::new(format());
    let advertisement = store.advertise().await.expect("an advertisement");
    let (mut client, server) = tokio::io::duplex(4 << 10);
    let (read, write) = tokio::io::split(server);
    let talk = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store.clone()));
    let talk = ServiceBuilder::new()
        .map_request(|push: Push<Pack<_>>| {
            push.extensions().get::<Progress>().expect("a way to the pusher").note("x".repeat(32 << 10));
            push
        })
        .service(talk);
    let serve = Serve::new().write_timeout(Duration::from_secs(5));
    let served = tokio::spawn(async move { serve.serve(read, write, advertisement, talk).await });
    for piece in request.chunks(request.len().div_ceil(30)) {
        client.write_all(piece).await.expect("all is taken");
        sleep(Duration::from_secs(1)).await;
    }
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.expect("an answer");
    assert!(heard(&said).1.refs[0].1.is_ok());
    assert!(served.await.expect("it is served").expect("no error").report().is_some());
}

/// A push that waits for its turn has all its time before it.
#[tokio::test(start_paused = true)]
async fn the_deadline_does_not_run_while_the_service_is_not_ready() {
    let pack = pack::BigPack::new(pack::Shape { seed: 5, large: 1, large_size: 2_000, small_per_large: 1 });
    let request = Request::new().create("refs/heads/main", pack.tip()).pack(pack.to_bytes()).bytes();
    let store = MemoryStore::new(format());
    let advertisement = store.advertise().await.expect("an advertisement");
    let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store.clone()));
    let turn = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
    let others = turn.clone().acquire_owned().await.expect("a turn");
    let service = tower::limit::ConcurrencyLimit::with_semaphore(service, turn);
    let (mut client, server) = tokio::io::duplex(4 << 10);
    let (read, write) = tokio::io::split(server);
    let serve = Serve::new().deadline(Duration::from_secs(3));
    tokio::spawn(async move { serve.serve(read, write, advertisement, service).await });
    tokio::spawn(async move {
        sleep(Duration::from_secs(60)).await;
        drop(others);
    });
    let (head, rest) = request.split_at(request.len() - 1);
    client.write_all(head).await.expect("all is taken");
    sleep(Duration::from_secs(61)).await;
    client.write_all(rest).await.expect("all is taken");
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.expect("an answer");
    let reply = heard(&said).1;
    assert!(reply.refs[0].1.is_ok(), "{reply:?}");
}

/// What a policy reads is no connection to the client.
#[tokio::test]
async fn the_trouble_of_a_policy_is_the_servers_own() {
    #[derive(Clone)]
    struct Broken;
    impl PreReceive for Broken {
        async fn pre_receive(&self, _: &mut Received<'_>) -> Result<(), Error> {
            std::fs::read("/there/is/no/list/of/rules")?;
            Ok(())
        }
    }
    let pack = pack::BigPack::new(pack::Shape { seed: 5, large: 1, large_size: 2_000, small_per_large: 1 });
    let request = Request::new().create("refs/heads/main", pack.tip()).pack(pack.to_bytes());
    let (served, said) = serve_with(MemoryStore::new(format()), Broken, Script::of(request.bytes())).await;
    assert_eq!(heard(&said).1.unpack, "internal error");
    let served = served.expect("the client was told");
    assert_eq!(served.error().expect("it is for the log").to_string(), "reading or writing failed");
}

#[tokio::test]
async fn refs_that_could_be_no_files_are_refused_in_memory_as_well() {
    let store = MemoryStore::new(format());
    let first = pack::BigPack::new(pack::Shape { seed: 5, large: 1, large_size: 2_000, small_per_large: 1 });
    let push = async |request: Request| {
        let (_, said) = support::server::serve(store.clone(), Script::of(request.bytes())).await;
        heard(&said).1.refs.into_iter().map(|(_, result)| result.err().unwrap_or_default()).collect::<Vec<_>>()
    };
    let create = |name: &str| Request::new().create(name, first.tip());
    let empty = || pack::PackBuilder::new(format()).finish();
    let conflict = "refname conflict";
    assert_eq!(push(create("refs/heads/a").pack(first.to_bytes())).await, [""]);
    assert_eq!(push(create("refs/heads/a/b").pack(empty())).await, [conflict]);
    assert_eq!(push(create("refs/heads/c/d").create("refs/heads/c", first.tip()).pack(empty())).await, ["", conflict]);
    // One that goes makes room, unless all is one.
    let swap = || create("refs/heads/a/b").delete("refs/heads/a", first.tip()).pack(empty());
    assert_eq!(push(swap().capability("atomic")).await, [conflict, "atomic push failure"]);
    assert_eq!(push(swap()).await, ["", ""]);
    let names: Vec<_> = store.refs().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["refs/heads/a/b", "refs/heads/c/d"]);
    // What no ref took is not kept.
    let objects = store.object_ids().len();
    let second = pack::BigPack::new(pack::Shape { seed: 6, large: 1, large_size: 2_000, small_per_large: 1 });
    let late = Request::new().update("refs/heads/c/d", made_up('1'), second.tip()).pack(second.to_bytes());
    assert_eq!(push(late).await, ["incorrect old value provided"]);
    assert_eq!(store.object_ids().len(), objects);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_refused_early_is_told_why_each_time() {
    let (source, store) = (source_of(8), MemoryStore::new(format()));
    let address = listen(Serve::new(), store.clone(), |store| {
        let layers = ServiceBuilder::new().layer(LimitLayer::new().pack_bytes(1 << 20)).layer(ChecksumLayer::new());
        layers.service(ReceivePack::new(store))
    });
    let address = address.await;
    // Once would prove little: whether unread data resets the connection is a matter of timing.
    for _ in 0..5 {
        let said = push(&source, address, &["main"]).await;
        assert!(!said.status.success());
        let refusal = said.stderr.lines().find(|line| line.contains("! [remote rejected] main -> main"));
        assert!(refusal.is_some_and(|line| line.contains("1048576")), "git said: {}", said.stderr);
        assert!(store.refs().is_empty() && store.object_ids().is_empty());
    }
}

/// git reads while it sends. Others do not: if the server closed at its report, their next write would reset the
/// connection, and take the report with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_only_when_all_is_sent_still_gets_its_report() {
    let address = listen(Serve::new(), MemoryStore::new(format()), |store| {
        let layers = ServiceBuilder::new().layer(LimitLayer::new().objects(1)).layer(ChecksumLayer::new());
        layers.service(ReceivePack::new(store))
    });
    let mut stream = TcpStream::connect(address.await).await.expect("the server listens");
    let head = Request::new().create("refs/heads/main", made_up('1')).head();
    let request = [&pkt(b"git-receive-pack /x.git\0host=localhost\0")[..], &head, &pack::header(2, 2)].concat();
    stream.write_all(&request).await.expect("the server reads");
    // More than the sockets of both sides hold.
    let rest = vec![0; 1 << 20];
    for mib in 0..64 {
        stream
            .write_all(&rest)
            .await
            .unwrap_or_else(|error| panic!("the server stopped reading at {mib} MiB: {error}"));
    }
    stream.shutdown().await.expect("our side closes");
    let mut said = Vec::new();
    in_time(stream.read_to_end(&mut said)).await.expect("the report arrives");
    let (_, reply) = heard(&said);
    assert!(reply.refs[0].1.as_ref().is_err_and(|reason| reason.contains("2 objects")), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_refuses_one_ref_and_lets_the_other_through() {
    let (source, store) = (source_of(1), MemoryStore::new(format()));
    let address = listen(Serve::new(), store.clone(), |store| {
        let policy = |mut push: Push<Pack<OwnedReadHalf>>| {
            let is_main = |name: &[u8]| name == b"refs/heads/main";
            push.request_mut().refuse_where(|command| is_main(&command.name).then_some("main is frozen"));
            push
        };
        let layers = ServiceBuilder::new().map_request(policy).layer(ChecksumLayer::new());
        layers.service(ReceivePack::new(store))
    });
    let said = push(&source, address.await, &["main", "other"]).await;
    assert!(said.stderr.contains("! [remote rejected] main -> main (main is frozen)"), "git said: {}", said.stderr);
    assert!(said.stderr.contains("* [new branch]      other -> other"), "git said: {}", said.stderr);
    let names: Vec<_> = store.refs().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["refs/heads/other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_push_with_one_refused_ref_lands_not_at_all() {
    let (source, store) = (source_of(1), MemoryStore::new(format()));
    let address = listen(Serve::new(), store.clone(), |store| {
        let policy = |mut push: Push<Pack<OwnedReadHalf>>| {
            push.request_mut().refuse(0, "main is frozen");
            push
        };
        let layers = ServiceBuilder::new().map_request(policy).layer(ChecksumLayer::new());
        layers.service(ReceivePack::new(store))
    });
    let said = push(&source, address.await, &["--atomic", "main", "other"]).await;
    assert!(said.stderr.contains("(main is frozen)"), "git said: {}", said.stderr);
    assert!(said.stderr.contains("(atomic push failure)"), "git said: {}", said.stderr);
    assert!(store.refs().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_trouble_is_told_without_its_details() {
    let source = source_of(8);
    let address = listen(Serve::new(), MemoryStore::new(format()), |_| {
        tower::service_fn(|push: Push<Pack<OwnedReadHalf>>| async move {
            drop(push);
            Err::<Report, _>(Error::store("the disk of rack 7 is full", "ENOSPC"))
        })
    });
    let said = push(&source, address.await, &["main"]).await;
    assert!(said.stderr.contains("remote unpack failed: internal error"), "git said: {}", said.stderr);
    assert!(said.stderr.contains("[remote rejected] main -> main"), "git said: {}", said.stderr);
    assert!(!said.stderr.contains("rack 7"), "git said: {}", said.stderr);
}

/// What is wrong with a head is the reason of each ref that was read before it went wrong, in the middle of a large
/// upload as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_beyond_a_limit_is_refused_ref_by_ref() {
    let (source, store) = (source_of(52), MemoryStore::new(format()));
    source.git(["branch", "third", "main"]);
    let mut limits = Limits::default();
    limits.commands = 2;
    let serve = Serve::new().codec(ReceivePackCodec::builder().limits(limits));
    let address = listen(serve, store.clone(), |store| {
        ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store))
    });
    let said = push(&source, address.await, &["main", "other", "third"]).await;
    assert!(said.stderr.contains("error: remote unpack failed: more than 2 commands (at byte "), "{}", said.stderr);
    for refused in ["main -> main", "other -> other"] {
        let refused = format!("! [remote rejected] {refused} (more than 2 commands (at byte ");
        let shown = said.stderr.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(shown.filter(|line| line.starts_with(&refused)).count(), 1, "{}", said.stderr);
    }
    assert!(said.stderr.contains("(remote failed to report status)"), "{}", said.stderr);
    assert!(store.refs().is_empty() && store.object_ids().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_turned_away_at_the_door_reads_the_reason() {
    let source = source_of(1);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        let (mut read, write) = stream.into_split();
        DaemonRequest::read(&mut read).await?;
        serve::refuse(write, "this repository is archived").await
    });
    let said = push(&source, address, &["main"]).await;
    assert!(said.stderr.contains("fatal: remote error: this repository is archived"), "git said: {}", said.stderr);
}
