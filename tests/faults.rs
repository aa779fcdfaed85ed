//! Faults on the line: whatever becomes of a client, the server frees what it held, and the repository is as before.

#![cfg(all(feature = "bare-repository", feature = "http", feature = "memory"))]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use receive_pack::ErrorKind;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::receive::ReceivePack;
use receive_pack::serve::Serve;
use receive_pack::store::{MemoryStore, Store};
use support::fast_import::Shape;
use support::forge::Forge;
use support::format::{format, made_up};
use support::git::{self, Repo, assert_same_repository};
use support::io::{NeverReads, Script};
use support::pack::PackBuilder;
use support::request::{Request, pkt};
use support::rng::Rng;
use support::server::in_time;
use tower::ServiceBuilder;

/// Waits for what must come in the end; how long a slow machine takes for it is no matter.
#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

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
fn begin(forge: &Forge, transport: &str, sent: &[u8]) -> TcpStream {
    let address = if transport == "git" { forge.git() } else { forge.http() };
    let mut stream = TcpStream::connect(address).expect("the forge listens");
    let hello = match transport {
        "git" => pkt("git-receive-pack /demo.git\0host=x\0"),
        _ => b"POST /demo.git/git-receive-pack HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999\r\n\
               content-type: application/x-git-receive-pack-request\r\n\r\n"
            .to_vec(),
    };
    stream.write_all(&hello).and_then(|()| stream.write_all(sent)).expect("the forge reads");
    stream
}

#[test]
fn a_line_that_is_cut_anywhere_leaves_nothing() {
    let (forge, source, target, idle) = forge(&[]);
    for transport in ["git", "http"] {
        for sent in cuts(&doomed()) {
            drop(begin(&forge, transport, &sent));
        }
    }
    eventually("all descriptors are freed", || forge.open_files() <= idle);
    eventually("all quarantines are gone", || target.leftovers().is_empty());
    assert_same_repository(&source, &target);
}

#[test]
fn a_client_that_stalls_is_let_go_and_others_are_not_held_up() {
    // As many stalled clients as may push at once, and more.
    let (forge, source, target, idle) = forge(&["--idle", "2", "--pushes", "4"]);
    let request = doomed();
    let stalled: Vec<_> = ["git", "http"]
        .into_iter()
        .flat_map(|transport| cuts(&request).into_iter().map(move |sent| (transport, sent)))
        .map(|(transport, sent)| begin(&forge, transport, &sent))
        .collect();
    source.commit("main", &[("new.txt", b"new\n")]);
    source.push(&forge.url("git", "demo.git"), &["main", "-q"]);
    for mut stream in stalled {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        // To the end of what the server says, though this side stays open.
        let _ = stream.read(&mut [0; 1 << 16]).expect("the server speaks");
    }
    eventually("all descriptors are freed", || forge.open_files() <= idle);
    assert_same_repository(&source, &target);
}

#[test]
fn a_client_that_dribbles_meets_the_deadline() {
    let (forge, source, target, idle) = forge(&["--deadline", "2"]);
    let request = doomed();
    let (head, bytes) = (request.head().len(), request.bytes());
    let mut stream = begin(&forge, "git", &bytes[..head]);
    // For longer than the deadline, never silent.
    for byte in bytes[head..].iter().take(200) {
        stream.write_all(&[*byte]).expect("the server reads on, so that its report arrives");
        std::thread::sleep(Duration::from_millis(20));
    }
    stream.shutdown(std::net::Shutdown::Write).ok();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("the server closes");
    let said = String::from_utf8_lossy(&said);
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
    let request = Request::new().create("refs/heads/last", source.rev("main")).pack(PackBuilder::default().finish());
    let bytes = request.bytes();
    let mut stream = begin(&forge, "git", &bytes[..bytes.len() - 5]);
    eventually("the push has begun", || !target.leftovers().is_empty());
    forge.terminate();
    eventually("no connection is accepted", || TcpStream::connect(forge.git()).is_err());
    stream.write_all(&bytes[bytes.len() - 5..]).expect("the push goes on");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("the server closes");
    assert!(String::from_utf8_lossy(&said).contains("ok refs/heads/last"));
    drop(stream);
    assert!(forge.wait().success());
    assert_eq!(target.rev("last"), source.rev("main"));
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
