//! Servers that are told to stop while the refs of a push move: git's receive-pack removes its locks then.

#![cfg(feature = "bare-repository")]

mod support;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::git::{self, Repo};
use support::line::{Line, hello};
use support::pack::PackBuilder;
use support::request::Request;
use support::server::example;

const SIGNALS: [&str; 3] = ["TERM", "INT", "HUP"];

/// Refs that one push makes: so many that their locks are there for long enough to be seen.
const REFS: usize = 400;

/// A server, killed when it is dropped.
struct Process(Child);

impl Process {
    fn spawn(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the example starts"))
    }

    /// Tells it to stop as soon as refs move, and waits for its end.
    fn stop_when_refs_move(&mut self, signal: &str, target: &Repo) {
        let end = Instant::now() + Duration::from_secs(60);
        while locks(target) == 0 {
            assert!(Instant::now() < end, "no ref moves");
        }
        let mut kill = Command::new("kill");
        kill.args([&format!("-{signal}"), &self.0.id().to_string()]);
        git::run(kill, b"").expect_success("kill");
        self.0.wait().expect("it can be waited for");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many refs are locked.
fn locks(target: &Repo) -> usize {
    let files = std::fs::read_dir(target.git_dir().join("refs/heads")).into_iter().flatten().flatten();
    files.filter(|file| Path::new(&file.file_name()).extension() == Some(OsStr::new("lock"))).count()
}

/// A repository with one commit, and a push that makes many branches of it.
fn many_refs(target: &Repo) -> Request {
    let source = Repo::work();
    let tip = source.commit("main", &[("file", b"text")]);
    let url = target.path().to_str().expect("a path of text").to_owned();
    source.push(&url, &["-q", "main"]);
    let names = (0..REFS).map(|number| format!("refs/heads/{number}"));
    names.fold(Request::new(), |request, name| request.create(&name, &tip)).pack(PackBuilder::default().finish())
}

#[track_caller]
fn assert_landed_whole(target: &Repo) {
    assert_eq!(locks(target), 0, "locks are left");
    assert_eq!(target.refs().len(), REFS + 1, "once refs move, all of them do");
    target.fsck();
    target.assert_no_leftovers();
}

#[test]
fn a_daemon_that_is_told_to_stop_leaves_no_locks() {
    for signal in SIGNALS {
        let root = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(example("git_daemon"));
        command.arg("--root").arg(root.path()).args(["--listen", "127.0.0.1:0"]);
        let mut daemon = Process::spawn(&mut command);
        Repo::at(root.path()).git(["init", "-q", "--bare", "demo.git"]);
        let target = Repo::at(root.path().join("demo.git"));
        let request = many_refs(&target).bytes();
        let address = address(&mut daemon.0);
        let mut line = Line::connect(&address);
        line.send(&hello("git", "demo.git"));
        line.send(&request);
        daemon.stop_when_refs_move(signal, &target);
        assert_landed_whole(&target);
        drop(line);
    }
}

/// Where a server says that it listens.
fn address(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let ready = lines.next().expect("a line that says where it listens").expect("a line of text");
    std::thread::spawn(move || lines.for_each(drop));
    let address = ready.split_once("git://").and_then(|(_, url)| url.split_once('/')).map(|(address, _)| address);
    address.unwrap_or_else(|| panic!("no URL in: {ready}")).to_owned()
}

#[test]
fn a_receive_pack_that_is_told_to_stop_leaves_no_locks() {
    for signal in SIGNALS {
        let target = Repo::bare();
        let request = many_refs(&target).bytes();
        let mut command = Command::new(example("receive_pack"));
        let mut process = Process::spawn(command.arg(target.path()));
        // It stays open, and so does the other side.
        let mut stdin = process.0.stdin.take().expect("a pipe");
        stdin.write_all(&request).expect("it reads");
        let started = Instant::now();
        process.stop_when_refs_move(signal, &target);
        assert!(started.elapsed() < Duration::from_secs(50), "a read of standard input was waited for");
        assert_landed_whole(&target);
        drop(stdin);
    }
}
