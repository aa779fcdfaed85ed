//! Pushes over SSH, message by message, and by real git to the example that serves nothing else.

#![cfg(all(feature = "bare-repository", feature = "http"))]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use support::fast_import::Shape;
use support::forge::Forge;
use support::format::{format, made_up};
use support::git::{self, Repo, assert_same_repository};
use support::line::{Line, eventually};
use support::pack::{self, PackBuilder};
use support::request::{Advertised, FLUSH, Request};
use support::rng::Rng;
use support::server::{Log, example, heard};
use support::ssh;

/// A forge, a commit in its repository `demo.git`, and a push that makes a branch of it.
fn forge(options: &[&str]) -> (Forge, Repo, Request) {
    let (forge, source) = (Forge::start(options), Repo::bare());
    let tip = source.commit("main", &[("a", b"a\n")]);
    source.push(&forge.url("git", "demo.git"), &["-q", "main"]);
    let request = Request::new().create("refs/heads/again", tip).pack(PackBuilder::default().finish());
    (forge, source, request)
}

#[tokio::test]
async fn a_channel_ends_in_exit_status_eof_and_close() {
    // The client keeps its side open: were it lingered for, the close would come too late.
    let (forge, source, request) = forge(&["--linger", "600"]);
    let mut session = ssh::connect(forge.ssh()).await;
    assert!(ssh::log_in(&mut session, &forge.key()).await);

    let answer = ssh::exec(&session, b"git-receive-pack '/demo.git'", &request.bytes()).await;
    assert_eq!(answer.order, ["success", "stdout", "exit-status", "eof", "close"]);
    assert_eq!((answer.exit_status, &*answer.stderr), (Some(0), ""));
    heard(&answer.stdout).1.assert_ok();
    assert_eq!(forge.repository("demo.git").rev("again"), source.rev("main"));

    // The same connection again, for refusals, after the push and before its pack, and for nothing to do.
    let refused = Request::new().delete("refs/heads/main", source.rev("main"));
    let mut builder = PackBuilder::default();
    builder.blob(&Rng::new(1).bytes(3 << 20));
    let locked = Request::new().create("refs/heads/locked/x", source.rev("main")).pack(builder.finish());
    for refused in [refused, locked] {
        let answer = ssh::exec(&session, b"git receive-pack /demo.git", &refused.bytes()).await;
        assert_eq!(answer.order, ["success", "stdout", "exit-status", "eof", "close"]);
        assert!(heard(&answer.stdout).1.refs[0].1.is_err(), "{answer:?}");
    }
    let answer = ssh::exec(&session, b"git-receive-pack '/demo.git'", FLUSH).await;
    assert_eq!((answer.exit_status, answer.order.last()), (Some(0), Some(&"close")));

    // A fetch ends in the same way.
    let answer = ssh::exec(&session, b"git-upload-pack '/demo.git'", FLUSH).await;
    assert_eq!(answer.order, ["success", "stdout", "exit-status", "eof", "close"]);
    assert_eq!(Advertised::take(&mut &answer.stdout[..]).refs.len(), 3, "HEAD, again, main");
}

/// A client that writes all of its push before it reads a word. Were the channel closed at the report, it could not.
#[test]
fn a_client_that_sends_a_malformed_pack_may_send_all_of_it() {
    let (forge, ..) = forge(&[]);
    let mut line = Line::open(&forge, "ssh", "demo.git");
    line.send(&Request::new().create("refs/heads/x", made_up('1')).head());
    // An entry of no type that there is.
    line.send(&[&pack::header(2, 1)[..], &[0]].concat());
    let rest = vec![0; 1 << 20];
    (0..64).for_each(|_| line.send(&rest));
    line.finish();
    let said = line.read_to_end();
    assert!(said.contains("unpack ") && said.contains("ng refs/heads/x unpacker error"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_served_is_said_on_stderr() {
    let (forge, ..) = forge(&[]);
    let mut session = ssh::connect(forge.ssh()).await;
    assert!(ssh::log_in(&mut session, &forge.key()).await);
    for (command, text) in [
        ("git-upload-pack '/none.git'", "'/none.git' does not appear to be a git repository"),
        ("git-receive-pack '/../demo.git'", "'/../demo.git' does not appear to be a git repository"),
        ("git-upload-archive '/demo.git'", "only git is served here"),
        ("git-receive-pack '/demo.git' ; id", "only git is served here"),
        ("sh", "only git is served here"),
    ] {
        let answer = ssh::exec(&session, command.as_bytes(), b"").await;
        assert_eq!(answer.order, ["success", "stderr", "exit-status", "eof", "close"], "{command}");
        assert_eq!((answer.exit_status, answer.stderr), (Some(128), format!("fatal: {text}\n")), "{command}");
    }
    // And git shows it.
    let mut command = git::command(std::path::Path::new("/"), ["ls-remote", &forge.url("ssh", "none.git")]);
    command.env("GIT_SSH_COMMAND", forge.ssh_command());
    let said = git::run(command, b"");
    assert!(said.stderr.contains("fatal: '/none.git' does not appear to be a git repository"), "{}", said.stderr);
}

#[tokio::test]
async fn only_authorized_keys_come_in() {
    let (forge, ..) = forge(&[]);
    let other = Forge::start(&[]);
    let mut session = ssh::connect(forge.ssh()).await;
    assert!(!ssh::log_in(&mut session, &other.key()).await);
    assert!(session.channel_open_session().await.is_err(), "nothing is served to a stranger");
    // The same stranger may have the right key as well.
    let mut session = ssh::connect(forge.ssh()).await;
    assert!(!ssh::log_in(&mut session, &other.key()).await);
    assert!(ssh::log_in(&mut session, &forge.key()).await);
}

#[test]
fn a_path_with_a_space_and_a_quote_is_that_repository() {
    let (forge, source, _) = forge(&[]);
    let name = "it's a \"de mo\"\\!.git";
    let mut push = git::command(source.path(), ["push", "-q", &forge.url("ssh", name), "main"]);
    push.env("GIT_SSH_COMMAND", forge.ssh_command());
    git::run(push, b"").expect_success("git push");
    assert_same_repository(&source, &forge.repository(name));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_wants_nothing_is_let_go() {
    let (forge, _, request) = forge(&["--login-timeout", "2"]);
    let idle = forge.open_files();
    // One that says nothing, one that says a little, one that does not log in, one without a command, and one that has
    // had its command.
    let silent = Line::connect(forge.ssh());
    let mut greeting = Line::connect(forge.ssh());
    greeting.send(b"SSH-2.0-nobody\r\n");
    let stranger = ssh::connect(forge.ssh()).await;
    let mut guest = ssh::connect(forge.ssh()).await;
    assert!(ssh::log_in(&mut guest, &forge.key()).await);
    let mut done = ssh::connect(forge.ssh()).await;
    assert!(ssh::log_in(&mut done, &forge.key()).await);
    ssh::exec(&done, b"git-receive-pack '/demo.git'", &request.bytes()).await;
    eventually("all are let go", || forge.open_files() <= idle);
    // They themselves had not ended.
    drop((silent, greeting, stranger, guest, done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_may_take_longer_than_the_login() {
    let (forge, source, _) = forge(&["--login-timeout", "1"]);
    let mut line = Line::open(&forge, "ssh", "demo.git");
    let mut builder = PackBuilder::default();
    builder.blob(&Rng::new(1).bytes(1 << 20));
    let bytes = Request::new().create("refs/heads/again", source.rev("main")).pack(builder.finish()).bytes();
    line.send(&bytes[..bytes.len() - 1]);
    let target = forge.repository("demo.git");
    eventually("the push has begun", || !target.leftovers().is_empty());
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    line.send(&bytes[bytes.len() - 1..]);
    assert!(line.read_to_end().contains("ok refs/heads/again"));
    assert_eq!(target.rev("again"), source.rev("main"));
}

/// The example `ssh_server`, running until it is dropped.
struct SshServer {
    child: Child,
    log: Log,
    url: String,
}

impl SshServer {
    fn start(root: &std::path::Path, authorized_keys: &std::path::Path) -> Self {
        let mut command = Command::new(example("ssh_server"));
        command.args(["--ssh", "127.0.0.1:0", "--auto-init", "--root"]).arg(root);
        command.args(["--object-format", format().name()]);
        let log = Log::new();
        command.arg("--authorized-keys").arg(authorized_keys);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.writer());
        let mut child = command.spawn().expect("the example starts");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("stdout is piped")).read_line(&mut ready).expect("a line of text");
        let url = ready.split(' ').find(|word| word.starts_with("ssh://"));
        Self { child, log, url: url.unwrap_or_else(|| panic!("no URL in: {ready}")).to_owned() }
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        // If it has died already, the test has failed for that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn git_pushes_to_the_example_that_serves_ssh_alone() {
    // For its keys.
    let forge = Forge::start(&[]);
    let root = tempfile::tempdir().expect("a temporary directory");
    let server = SshServer::start(root.path(), &forge.key().with_extension("pub"));
    let source = Shape::SMALL.repository().borrow();
    let git = |args: &[&str]| {
        let mut command = git::command(source.path(), args);
        command.env("GIT_SSH_COMMAND", forge.ssh_command());
        git::run(command, b"")
    };
    git(&["push", "-q", "--mirror", &server.url]).expect_success("git push");
    let target = Repo::at(root.path().join("demo.git"));
    assert_same_repository(&source, &target);
    assert_eq!(git(&["ls-remote", &server.url, "main"]).text(), format!("{}\trefs/heads/main", source.rev("main")));
    let said = git(&["push", &server.url, "main:refs/heads/locked/x"]);
    assert!(said.stderr.contains("(this branch is locked)"), "{}", said.stderr);
}

#[test]
fn a_key_with_options_lets_nobody_in() {
    // For its keys.
    let forge = Forge::start(&[]);
    let root = tempfile::tempdir().expect("a temporary directory");
    let key = std::fs::read_to_string(forge.key().with_extension("pub")).expect("a key");
    let [kind, data, ..] = key.split_whitespace().collect::<Vec<_>>()[..] else { panic!("no key: {key}") };
    let options =
        ["restrict", "command=\"git shell #\"", "from=\"10.0.0.1\"", "expiry-time=\"20200101\"", "cert-authority"];
    // With and without a comment.
    let restricted: String = options.iter().map(|option| format!("{option} {key}{option} {kind} {data}\n")).collect();
    let source = Repo::bare();
    source.commit("main", &[("a", b"a\n")]);
    let push = |authorized: &str| {
        let file = root.path().join("authorized_keys");
        std::fs::write(&file, authorized).expect("a file");
        let server = SshServer::start(root.path(), &file);
        let mut push = git::command(source.path(), ["push", "-q", &server.url, "main"]);
        push.env("GIT_SSH_COMMAND", forge.ssh_command());
        (git::run(push, b""), server.log.text())
    };
    let (said, log) = push(&restricted);
    assert!(!said.status.success() && said.stderr.contains("Permission denied ("), "{}", said.stderr);
    assert!(!root.path().join("demo.git").exists());
    for line in 1..=10 {
        assert!(log.contains(&format!("authorized_keys, line {line}: skipped")), "{log}");
    }
    let (said, log) = push(&format!("# {key}\n{restricted}{key}"));
    said.expect_success("git push");
    assert_eq!(log.lines().count(), 10, "{log}");
    assert_same_repository(&source, &Repo::at(root.path().join("demo.git")));
}
