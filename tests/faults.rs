//! Faults on the line: whatever becomes of a client, the server frees what it held, and the repository is as before.

#![cfg(all(feature = "bare-repository", feature = "http", feature = "memory"))]

mod support;

use std::io::{ErrorKind as IoErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use receive_pack::ErrorKind;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::push::{Pack, Progress, Push};
use receive_pack::receive::ReceivePack;
use receive_pack::serve::{Linger, Serve};
use receive_pack::store::{MemoryStore, Store};
use support::fast_import::Shape;
use support::forge::Forge;
use support::format::{format, made_up};
use support::git::{self, Repo, assert_same_repository};
use support::io::{NeverReads, Script};
use support::line::{Line, eventually, hello};
use support::pack::PackBuilder;
use support::request::Request;
use support::rng::Rng;
use support::server::in_time;
use support::ssh;
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// A forge with a repository in it, and the file descriptors that it holds when nobody is connected.
fn forge(options: &[&str]) -> (Forge, Repo, Repo, usize) {
    let (forge, source) = (Forge::start(options), Shape::SMALL.repository().borrow());
    let idle = forge.open_files();
    source.push(&forge.url("git", "demo.git"), &["--mirror", "-q"]);
    let target = forge.repository("demo.git");
    eventually("the connection is closed", || forge.open_files() <= idle);
    (forge, source, target, idle)
}

/// A push that cannot land, for its pack has a blob too few: whether or not all of it arrives, nothing may change.
fn doomed() -> Request {
    let mut builder = PackBuilder::default();
    builder.blob(&Rng::new(1).bytes(300_000));
    Request::new().create("refs/heads/doomed", made_up('1')).pack(builder.finish())
}

/// Where a line may be cut: in the head, between head and pack, in the pack, before its last byte, before the report.
fn cuts(request: &Request) -> Vec<Bytes> {
    let (head, all) = (request.head().len(), request.bytes());
    [0, head / 2, head, head + 6, head + 1000, all.len() - 1, all.len()].map(|cut| all.slice(..cut)).into()
}

/// Connects over a transport and sends the beginning of a push, of which more seems to come.
#[track_caller]
fn begin(forge: &Forge, transport: &str, sent: &[u8]) -> Line {
    let mut line = Line::open(forge, transport, "demo.git");
    line.send(sent);
    line
}

/// After all that has happened there is room for a push over each transport, for no permit is lost.
#[track_caller]
fn assert_takes_pushes(forge: &Forge, source: &Repo, target: &Repo) {
    for transport in ["git", "http", "ssh"] {
        source.commit("main", &[(transport, transport.as_bytes())]);
        let mut push = git::command(source.path(), ["push", "-q", &forge.url(transport, "demo.git"), "main"]);
        push.env("GIT_SSH_COMMAND", forge.ssh_command());
        git::run(push, b"").expect_success("git push");
    }
    assert_same_repository(source, target);
}

#[test]
fn a_line_that_is_cut_anywhere_leaves_nothing() {
    let (forge, source, target, idle) = forge(&["--pushes", "2"]);
    for transport in ["git", "http", "ssh"] {
        for sent in cuts(&doomed()) {
            let mut line = Line::open(&forge, transport, "demo.git");
            if transport == "ssh" {
                // Killed before it has connected, or before it has passed on what it was given, it would cut nothing.
                line.read();
                line.send(&sent);
                std::thread::sleep(Duration::from_millis(200));
            } else {
                line.send(&sent);
            }
        }
    }
    // An ssh that is told of no more input says so, and lives on.
    for sent in cuts(&doomed()) {
        let mut line = begin(&forge, "ssh", &sent);
        line.finish();
        line.read_to_end();
    }
    for transport in ["git", "http"] {
        let hello = hello(transport, "demo.git");
        Line::connect(if transport == "git" { forge.git() } else { forge.http() }).send(&hello[..20]);
    }
    eventually("all descriptors are freed", || forge.open_files() <= idle);
    eventually("all quarantines are gone", || target.leftovers().is_empty());
    assert_same_repository(&source, &target);
    assert_takes_pushes(&forge, &source, &target);
}

/// Whatever it is that cannot be opened, also by what reads the objects that are there: a push is refused in words, or
/// done, and neither half.
#[test]
fn a_forge_that_runs_out_of_file_descriptors_refuses_pushes() {
    let (forge, source, target, idle) = forge(&[]);
    let mut taken = Vec::new();
    for (free, transport) in (1..=12).flat_map(|free| ["git", "http"].map(|transport| (free, transport))) {
        let name = format!("refs/heads/{transport}-with-{free}");
        source.commit("main", &[("file", name.as_bytes())]);
        eventually("the last push is over", || forge.open_files() <= idle);
        forge.leave_files(free);
        let push = source.try_push(&forge.url(transport, "demo.git"), &["-q", &format!("main:{name}")]);
        forge.free_files();
        let moved = target.refs().into_iter().any(|(there, _)| there == name);
        assert_eq!(push.status.success(), moved, "{name}: {}", push.stderr);
        let words =
            ["[remote rejected]", "fatal: remote error: internal error", "The requested URL returned error: 500"];
        let refused = words.iter().any(|words| push.stderr.contains(words));
        assert!(moved || refused, "{name}: {}", push.stderr);
        assert!(!push.stderr.contains("os error"), "{name}: {}", push.stderr);
        target.fsck();
        taken.extend(moved.then_some(name));
    }
    for transport in ["git", "http"] {
        let over = taken.iter().filter(|name| name.contains(transport)).count();
        assert!((1..12).contains(&over), "{transport}: {taken:?}");
    }
    let gone: Vec<_> = ["-q", "--delete"].into_iter().chain(taken.iter().map(String::as_str)).collect();
    source.push(&forge.url("git", "demo.git"), &gone);
    assert_takes_pushes(&forge, &source, &target);
    target.assert_no_leftovers();
}

#[test]
fn a_client_that_stalls_is_let_go_and_others_are_not_held_up() {
    // More stalled clients than may push at once.
    let (forge, source, target, idle) = forge(&["--idle", "2", "--login-timeout", "2", "--pushes", "2"]);
    let request = doomed();
    let mut stalled: Vec<_> = ["git", "http", "ssh"]
        .into_iter()
        .flat_map(|transport| cuts(&request).into_iter().map(move |sent| (transport, sent)))
        .map(|(transport, sent)| begin(&forge, transport, &sent))
        .collect();
    // Also before the push: without a word, and within the request line, the preface of HTTP/2, the headers.
    for (transport, len) in [("git", 0), ("git", 2), ("git", 20), ("http", 0), ("http", 1), ("http", 40)] {
        let mut line = Line::connect(if transport == "git" { forge.git() } else { forge.http() });
        line.send(&hello(transport, "demo.git")[..len]);
        stalled.push(line);
    }
    source.commit("main", &[("new.txt", b"new\n")]);
    source.push(&forge.url("git", "demo.git"), &["main", "-q"]);
    // The server closes, though this side stays open until it has let go of everything.
    for line in &mut stalled {
        line.read_to_end();
    }
    eventually("all descriptors are freed", || forge.open_files() <= idle);
    drop(stalled);
    assert_same_repository(&source, &target);
    assert_takes_pushes(&forge, &source, &target);
}

#[test]
fn a_client_that_dribbles_meets_the_deadline() {
    let (forge, source, target, idle) = forge(&["--deadline", "2"]);
    let request = doomed();
    let (head, bytes) = (request.head().len(), request.bytes());
    let mut line = begin(&forge, "git", &bytes[..head]);
    // For longer than the deadline, never silent. The server reads on, so that its report arrives.
    for byte in bytes[head..].iter().take(200) {
        line.send(&[*byte]);
        std::thread::sleep(Duration::from_millis(20));
    }
    line.finish();
    let said = line.read_to_end();
    assert!(said.contains("did not send its push in the time"), "{said}");
    eventually("all descriptors are freed", || forge.open_files() <= idle);
    assert_same_repository(&source, &target);
}

#[test]
fn a_killed_ssh_leaves_nothing() {
    let (forge, _, target, idle) = forge(&[]);
    let before = target.refs();
    let big = Repo::bare();
    big.commit("big", &[("big", &Rng::new(9).bytes(64 << 20))]);
    // An ssh that passes a part of the pack, and then stalls until it is killed.
    let dir = tempfile::tempdir().expect("a temporary directory");
    let script = dir.path().join("ssh");
    let ssh = forge.ssh_command();
    let text = format!("#!/bin/sh\n(head -c 9000000; sleep 600) | exec {ssh} \"$@\"\n");
    std::fs::write(&script, text).expect("a script");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("a program");
    let mut push = git::command(big.path(), ["push", &forge.url("ssh", "demo.git"), "big"]);
    // A process group of its own, so that all of it can be killed.
    std::os::unix::process::CommandExt::process_group(&mut push, 0);
    let mut push = push.env("GIT_SSH_COMMAND", &script).spawn().expect("git starts");
    eventually("the pack is on its way", || !target.leftovers().is_empty());
    let mut kill = Command::new("kill");
    kill.args(["-KILL", "--", &format!("-{}", push.id())]);
    git::run(kill, b"").expect_success("kill");
    push.wait().expect("git is dead");
    eventually("all descriptors are freed", || forge.open_files() <= idle);
    eventually("the quarantine is gone", || target.leftovers().is_empty());
    assert_eq!(target.refs(), before);
    target.fsck();
}

#[test]
fn a_forge_that_is_told_to_stop_finishes_what_runs() {
    let (mut forge, source, target, _) = forge(&[]);
    let mut builder = PackBuilder::default();
    builder.blob(&Rng::new(1).bytes(1 << 20));
    let request = Request::new().create("refs/heads/last", source.rev("main")).pack(builder.finish());
    let bytes = request.bytes();
    let mut line = begin(&forge, "git", &bytes[..bytes.len() - 5]);
    eventually("the push has begun", || !target.leftovers().is_empty());
    forge.terminate();
    eventually("no connection is accepted", || TcpStream::connect(forge.git()).is_err());
    line.send(&bytes[bytes.len() - 5..]);
    assert!(line.read_to_end().contains("ok refs/heads/last"));
    drop(line);
    assert!(forge.wait().success());
    assert_eq!(target.rev("last"), source.rev("main"));
}

#[test]
fn a_forge_that_is_told_to_stop_rolls_back_what_does_not_end() {
    for transport in ["git", "http", "ssh"] {
        let (mut forge, source, target, _) = forge(&["--grace", "2"]);
        let bytes = doomed().bytes();
        let line = begin(&forge, transport, &bytes[..bytes.len() - 5]);
        eventually("the push has begun", || !target.leftovers().is_empty());
        forge.terminate();
        eventually("it ends", || forge.has_ended());
        drop(line);
        assert!(forge.wait().success());
        assert_same_repository(&source, &target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_is_told_to_stop_does_not_wait_for_idle_clients() {
    let (mut forge, .., idle) = forge(&["--grace", "600", "--login-timeout", "600"]);
    // Each after something that it wanted, and without.
    let mut http = Line::connect(forge.http());
    http.send(b"GET /none.git/info/refs?service=git-upload-pack HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(http.read().starts_with("HTTP/1.1 404 "));
    let silent = [forge.http(), forge.ssh()].map(Line::connect);
    let mut guest = ssh::connect(forge.ssh()).await;
    assert!(ssh::log_in(&mut guest, &forge.key()).await);
    ssh::exec(&guest, b"git-upload-pack '/demo.git'", b"0000").await;
    eventually("all are accepted", || forge.open_files() >= idle + 4);
    forge.terminate();
    http.read_to_end();
    eventually("it ends", || forge.has_ended());
    assert!(forge.wait().success());
    drop((silent, guest));
}

/// A push of many refs, each refused with a reason: a thousand make a report of more than a hundred kilobytes.
fn refused_at_length(refs: usize) -> Request {
    let id = made_up('1');
    let names = (0..refs).map(|n| format!("refs/heads/locked/a-name-of-some-length-{n:060}"));
    let request = names.fold(Request::new(), |request, name| request.create(&name, &id));
    request.pack(PackBuilder::default().finish())
}

#[test]
fn a_client_that_reads_nothing_over_http_is_let_go() {
    let (forge, source, target, idle) = forge(&["--write-timeout", "2", "--idle", "2", "--pushes", "2"]);
    let bytes = refused_at_length(1000).bytes();
    let head = format!(
        "POST /demo.git/git-receive-pack HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\
         content-type: application/x-git-receive-pack-request\r\n\r\n",
        bytes.len()
    );
    let push = [head.as_bytes(), &bytes].concat();
    // Push after push, until the server can say no more and so reads no more.
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(forge.http()).expect("the forge listens");
        stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        let pushes = (0..1000).take_while(|_| stream.write_all(&push).is_ok()).count();
        assert!(pushes < 1000, "the server reads on, and keeps its answers");
        stalled.push(stream);
    }
    eventually("all descriptors are freed", || forge.open_files() <= idle);
    // It was the server that ended it: the line is cut, with answers unread.
    for mut stream in stalled {
        stream.set_nonblocking(true).expect("a socket");
        let end = std::iter::repeat_with(|| stream.read(&mut [0; 1 << 16])).find(|read| !matches!(read, Ok(1..)));
        let is_open = matches!(&end, Some(Err(error)) if error.kind() == IoErrorKind::WouldBlock);
        assert!(!is_open, "the line is open still");
    }
    assert_same_repository(&source, &target);
    assert_takes_pushes(&forge, &source, &target);
}

#[test]
fn a_client_that_reads_nothing_over_ssh_is_let_go() {
    let (forge, source, target, idle) = forge(&["--write-timeout", "2", "--login-timeout", "2", "--pushes", "2"]);
    // The report is larger than the window of a channel and what lies between it and the reader.
    let bytes = refused_at_length(30_000).bytes();
    let stalled: Vec<_> = (0..3)
        .map(|_| {
            let mut line = Line::open(&forge, "ssh", "demo.git");
            line.read();
            line.send(&bytes);
            line
        })
        .collect();
    assert!(forge.open_files() > idle);
    eventually("all descriptors are freed", || forge.open_files() <= idle);
    drop(stalled);
    assert_takes_pushes(&forge, &source, &target);
}

#[tokio::test]
async fn a_client_that_reads_nothing_over_http_2_is_let_go() {
    let (forge, source, target, idle) = forge(&["--write-timeout", "2", "--idle", "2", "--pushes", "2"]);
    let bytes = refused_at_length(1000).bytes();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let stream = tokio::net::TcpStream::connect(forge.http()).await.expect("the forge listens");
        let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        // Room for half of the report.
        client.initial_stream_window_size(50_000);
        let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        let call = http::Request::post("http://x/demo.git/git-receive-pack")
            .header("content-type", "application/x-git-receive-pack-request")
            .body(Full::new(bytes.clone()))
            .expect("a request");
        let response = in_time(sender.send_request(call)).await.expect("an answer");
        // The body is kept, and not read: what the server sends of it fills the window.
        answers.push((sender, response));
    }
    assert!(forge.open_files() >= idle + 3);
    let freed = async {
        while forge.open_files() > idle {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    in_time(freed).await;
    drop(answers);
    tokio::task::spawn_blocking(move || {
        assert_same_repository(&source, &target);
        assert_takes_pushes(&forge, &source, &target);
    })
    .await
    .expect("no panic");
}

#[tokio::test]
async fn a_client_that_never_reads_is_given_up() {
    let store = MemoryStore::new(format());
    let advertisement = store.advertise().await.expect("an advertisement");
    // It takes the first bytes of the advertisement, or all of that and a little of the report.
    let mut bytes = BytesMut::new();
    advertisement.encode(&mut bytes).expect("it fits");
    for left in [10, bytes.len() + 10] {
        let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store.clone()));
        let read = Script::of(doomed().bytes()).stays_open();
        let serve = Serve::new().write_timeout(Duration::from_secs(1));
        let served = in_time(serve.serve(read, NeverReads { left }, advertisement.clone(), service)).await;
        assert_eq!(served.expect_err("nobody reads").kind(), ErrorKind::TimedOut);
    }
}

#[tokio::test]
async fn no_time_is_too_long() {
    let store = MemoryStore::new(format());
    let advertisement = store.advertise().await.expect("an advertisement");
    let forever = Duration::MAX;
    let mut linger = Linger::default();
    (linger.idle, linger.total) = (forever, forever);
    let serve = Serve::new().head_timeout(forever).idle_timeout(forever).deadline(forever);
    let serve = serve.write_timeout(forever).keep_alive(forever).linger(linger);
    let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store));
    // Says something, after which the keep-alive counts anew.
    let service = service_fn(move |push: Push<Pack<Script>>| {
        let (progress, service) = (push.extensions().get::<Progress>().cloned(), service.clone());
        async move {
            progress.expect("a way to the pusher").say("welcome\n").await;
            service.oneshot(push).await
        }
    });
    // What comes after the pack is for the linger.
    let read = Script::new([doomed().bytes(), Bytes::from_static(b"0000")]).pieces(1000);
    let mut said = Vec::new();
    let served = in_time(serve.serve(read, &mut said, advertisement, service)).await.expect("a report is given");
    assert!(String::from_utf8_lossy(&said).contains("welcome"));
    assert!(served.report().is_some());
}
