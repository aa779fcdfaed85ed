//! What the pusher sees while a push runs, and when: with tokio's clock, which these tests move; and on git's own screen.

#![cfg(feature = "memory")]

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::codec::ReceivePackCodec;
use receive_pack::inspect::InspectLayer;
use receive_pack::proto::{PackFrame, Reply, Report};
use receive_pack::push::{Extensions, Meter, Pack, Progress, Push, UpdateRequest, accept};
use receive_pack::receive::{PreReceive, ReceivePack, Received};
use receive_pack::serve::Replies;
use receive_pack::store::{MemoryStore, Store};
use receive_pack::{BoxError, Error};
use support::format::{format, made_up};
use support::git::{self, Repo};
use support::host::Host;
use support::pack::{BigPack, PackBuilder, Shape};
use support::request::Request;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, service_fn};

/// A push that comes in as many pieces as there are chunks, a pause before each.
async fn push(request: Request, chunks: Vec<Bytes>, pause: Duration) -> Push<Pack<DuplexStream>> {
    let (client, server) = tokio::io::duplex(1 << 20);
    let head = request.head();
    tokio::spawn(async move {
        let mut client = client;
        client.write_all(&head).await.expect("the head");
        for chunk in chunks {
            sleep(pause).await;
            client.write_all(&chunk).await.expect("a chunk");
        }
        // Real clients keep their side open.
        std::future::pending::<()>().await;
    });
    accept(ReceivePackCodec::builder().object_format(format()).build().framed_read(server))
        .await
        .expect("a sound head")
        .expect("not a probe")
}

/// All replies, each with the time at which it came.
async fn replies<S>(push: Push<Pack<DuplexStream>>, service: S) -> Vec<(Duration, Reply)>
where
    S: Service<Push<Pack<DuplexStream>>, Response = Report> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let start = Instant::now();
    let replies = Replies::new(push, service, Some(Duration::from_secs(5)));
    replies.map(|reply| (start.elapsed(), reply)).collect().await
}

fn texts(replies: &[(Duration, Reply)]) -> Vec<(Duration, String)> {
    let text = |(at, reply): &(Duration, Reply)| match reply {
        Reply::Progress(text) => Some((*at, String::from_utf8_lossy(text).into_owned())),
        _ => None,
    };
    replies.iter().filter_map(text).collect()
}

/// A push of some hundred small objects that takes 3 seconds to come in.
async fn slow(capability: &str) -> Push<Pack<DuplexStream>> {
    let pack = BigPack::new(Shape { seed: 3, large: 1, large_size: 2000, small_per_large: 300 });
    let bytes = pack.to_bytes();
    let piece = bytes.len().div_ceil(300);
    let chunks: Vec<_> =
        (0..bytes.len()).step_by(piece).map(|at| bytes.slice(at..bytes.len().min(at + piece))).collect();
    let request = Request::new().capability(capability).create("refs/heads/main", pack.tip());
    push(request, chunks, Duration::from_millis(10)).await
}

fn store() -> impl Service<Push<Pack<DuplexStream>>, Response = Report, Error = Error, Future: Send> + Send + 'static {
    ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(MemoryStore::new(format())))
}

#[tokio::test(start_paused = true)]
async fn a_slow_push_is_told_how_far_it_is_after_a_second_and_then_ten_times_a_second() {
    let said = texts(&replies(slow("").await, store()).await);
    let lines: Vec<_> = said.iter().filter(|(_, text)| text.starts_with("Receiving objects: ")).collect();
    assert!(lines.len() > 10, "{lines:?}");
    assert!(lines[0].0 >= Duration::from_secs(1), "too early: {lines:?}");
    let (last, others) = lines.split_last().expect("some lines");
    for pair in others.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= Duration::from_millis(100), "too often: {pair:?}");
        assert!(pair[0].1.ends_with('\r'));
    }
    assert!(last.1.starts_with("Receiving objects: 100% (") && last.1.ends_with(", done.\n"), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_quiet_is_told_nothing() {
    let replies = replies(slow("quiet").await, store()).await;
    assert_eq!(texts(&replies), []);
    assert!(matches!(&replies[..], [(_, Reply::Report(report)), (_, Reply::Flush)] if report.is_ok()), "{replies:?}");
}

#[tokio::test(start_paused = true)]
async fn a_push_of_less_than_a_second_is_told_nothing() {
    let pack = BigPack::new(Shape { seed: 3, large: 1, large_size: 2000, small_per_large: 300 });
    let request = Request::new().create("refs/heads/main", pack.tip());
    let push = push(request, vec![pack.to_bytes()], Duration::from_millis(900)).await;
    assert_eq!(texts(&replies(push, store()).await), []);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_keeps_the_line_alive_once_the_pack_is_in() {
    let work = service_fn(|push: Push<Pack<DuplexStream>>| async move {
        let progress = push.extensions().get::<Progress>().cloned().expect("a way to the pusher");
        let (request, _, mut pack) = push.into_parts();
        while pack.next().await.is_some() {}
        sleep(Duration::from_secs(12)).await;
        progress.say("deploying\n").await;
        sleep(Duration::from_secs(7)).await;
        Ok::<_, BoxError>(request.report())
    });
    let request = Request::new().create("refs/heads/main", made_up('1'));
    // A client that compresses for a minute: until then nobody waits for the server.
    let push = push(request, vec![PackBuilder::default().finish()], Duration::from_secs(60)).await;
    let replies = replies(push, work).await;
    let kinds: String = replies
        .iter()
        .map(|(_, reply)| match reply {
            Reply::KeepAlive => 'k',
            Reply::Progress(_) => 't',
            Reply::Report(_) => 'r',
            Reply::Flush => 'f',
            _ => '?',
        })
        .collect();
    assert!(replies[0].0 >= Duration::from_secs(60), "{replies:?}");
    // Two in 12 seconds, text, one in 7 seconds; the first may come up to an interval later.
    assert!(["kktkrf", "kkktkrf"].contains(&&*kinds), "{kinds}");
}

#[tokio::test(start_paused = true)]
async fn text_of_the_application_is_no_progress_and_is_said_to_the_quiet_as_well() {
    let talk = service_fn(|push: Push<Pack<DuplexStream>>| async move {
        let progress = push.extensions().get::<Progress>().cloned().expect("a way to the pusher");
        drop(Meter::new(&progress, "Deploying"));
        progress.say("refused by policy 7\n").await;
        Ok::<_, BoxError>(push.request().report())
    });
    let request = Request::new().capability("quiet").create("refs/heads/main", made_up('1'));
    let push = push(request, vec![], Duration::ZERO).await;
    assert_eq!(texts(&replies(push, talk).await)[0].1, "refused by policy 7\n");
}

/// Takes so long over each object that a push of a few takes more than a second.
fn slow_host() -> Host {
    Host::start(|| async {
        let inspect = InspectLayer::new(|_: &UpdateRequest, _: &Extensions| {
            |_: &PackFrame| {
                std::thread::sleep(Duration::from_millis(30));
                Ok(())
            }
        });
        let store = MemoryStore::new(format());
        let advertisement = store.advertise().await.expect("an advertisement");
        let service = ReceivePack::new(store);
        (advertisement, ServiceBuilder::new().layer(inspect).layer(ChecksumLayer::new()).service(service))
    })
}

#[test]
fn git_shows_how_far_a_slow_push_is_unless_it_is_quiet() {
    let source = Repo::bare();
    let files: Vec<_> = (0..60).map(|n| (format!("file{n}"), format!("{n}\n"))).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (&**name, text.as_bytes())).collect();
    source.commit("main", &files);
    let host = slow_host();
    // Without a terminal git asks for silence by itself.
    for (args, is_shown) in [(&["--progress", "main"][..], true), (&["-q", "main"], false), (&["main"], false)] {
        let said = source.push(&host.url(), args);
        let shown: Vec<_> = said.stderr.split(['\r', '\n']).filter(|line| line.contains("Receiving objects")).collect();
        assert_eq!(!shown.is_empty(), is_shown, "{args:?}: {}", said.stderr);
        if is_shown {
            let last = shown.last().expect("some lines").trim_end();
            assert_eq!(last, "remote: Receiving objects: 100% (62/62), done.", "{}", said.stderr);
        }
        assert!(args != ["-q", "main"] || said.stderr.is_empty(), "{}", said.stderr);
    }
}

/// A policy that thinks for longer than it takes proxies and impatient clients to close a silent line.
#[derive(Clone)]
struct Thoughtful;

impl PreReceive for Thoughtful {
    async fn pre_receive(&self, _: &mut Received<'_>) -> Result<(), Error> {
        sleep(Duration::from_millis(10_500)).await;
        Ok(())
    }
}

#[test]
fn git_waits_for_a_slow_policy_on_a_line_that_is_kept_alive() {
    let (source, store) = (Repo::bare(), MemoryStore::new(format()));
    source.commit("main", &[("file", b"1\n")]);
    let target = store.clone();
    let host = Host::start(move || {
        let store = store.clone();
        async move {
            let advertisement = store.advertise().await.expect("an advertisement");
            let service = ReceivePack::new(store).pre_receive(Thoughtful);
            (advertisement, ServiceBuilder::new().layer(ChecksumLayer::new()).service(service))
        }
    });
    // What git's own does with a hook that takes its time, asked for a sign of life each second instead of each fifth.
    let gits = Repo::bare();
    let hook = gits.git_dir().join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().expect("a directory")).expect("the directory of hooks");
    std::fs::write(&hook, "#!/bin/sh\nsleep 2.5\n").expect("a hook");
    std::fs::set_permissions(&hook, Permissions::from_mode(0o755)).expect("a hook that can be run");
    gits.git(["config", "receive.keepAlive", "1"]);
    for url in [&*host.url(), gits.path().to_str().expect("a path of text")] {
        let trace = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut push = git::command(source.path(), ["push", url, "main"]);
        push.env("GIT_TRACE_PACKET", trace.path());
        let said = git::run(push, b"").expect_success("a push that takes its time");
        // Empty packets on the band of the report, of which git has nothing to show.
        let trace = std::fs::read_to_string(trace.path()).expect("a trace");
        let empty = trace.lines().filter(|line| line.trim_end().ends_with("sideband< \\1")).count();
        assert!((1..=2).contains(&empty), "{url}: {trace}");
        assert!(!said.stderr.contains("remote:"), "{}", said.stderr);
    }
    assert_eq!(gits.rev("main"), source.rev("main"));
    let refs: Vec<_> = target.refs().into_iter().map(|(_, id)| id.to_string()).collect();
    assert_eq!(refs, [source.rev("main")]);
}
