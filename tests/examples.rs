//! Real git pushes to the examples that decide about pushes.

#![cfg(feature = "bare-repository")]

mod support;

use std::path::Path;

use support::fast_import::Shape;
use support::format::format;
use support::git::{Repo, assert_same_repository};
use support::rng::Rng;
use support::server::{Daemon, Server};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// The line in which git says that a ref was refused.
#[track_caller]
fn rejected(stderr: &str) -> &str {
    let line = stderr.lines().find(|line| line.contains("[remote rejected]"));
    line.unwrap_or_else(|| panic!("no refusal that git understands: {stderr}"))
}

#[test]
fn no_secret_passes_the_gate() {
    let (target, source) = (Repo::bare(), Repo::work());
    let server = Server::start("secret_gate", ["--repository", text(target.path())]);
    let config = b"# a long file, so that git sends the next one as a delta\n".repeat(200);
    source.commit("main", &[("config", &config)]);
    source.push(server.url(), &["-q", "main"]);
    assert_eq!(target.refs(), source.refs());
    let (refs, stored) = (target.refs(), target.stored());

    let with = |secret: &str| [&config[..], format!("key = {secret}\n").as_bytes()].concat();
    let key = format!("AKIA{}", "Q7".repeat(8));
    for (content, what) in [
        (with(&key), "an AWS access key"),
        (key.clone().into_bytes(), "an AWS access key"),
        (with(&format!("ghp_{}", "x".repeat(36))), "a GitHub token"),
        ([Rng::new(3).bytes(200_000), with("-----BEGIN OPENSSH PRIVATE KEY-----")].concat(), "a private key"),
    ] {
        source.git(["update-ref", "refs/heads/leak", "refs/heads/main"]);
        source.commit("leak", &[("config", &content)]);
        let blob = source.rev("leak:config");
        let said = source.try_push(server.url(), &["leak"]);
        assert!(!said.status.success());
        let expected = format!("({what} is in blob {blob})");
        assert!(rejected(&said.stderr).ends_with(&expected), "{}", said.stderr);
        assert!(!said.stderr.contains(&key) && !said.stderr.contains("config"), "{}", said.stderr);
        assert_eq!((target.refs(), target.stored()), (refs.clone(), stored.clone()));
        target.assert_no_leftovers();
    }
    // What only looks like one passes.
    source.git(["update-ref", "refs/heads/fine", "refs/heads/main"]);
    source.commit("fine", &[("config", &with("AKIAlowercase0000000"))]);
    source.push(server.url(), &["-q", "fine"]);
    assert_eq!(target.rev("fine"), source.rev("fine"));
}

#[test]
fn what_is_pushed_is_deployed_before_the_pusher_eyes() {
    let (target, source) = (Repo::bare(), Repo::work());
    let script = "echo deploying $NEW; git show $NEW:app > deployed; exec 2>&1; ls nonsense; exit ${#OLD}";
    let args = ["--repository", text(target.path()), "--", "sh", "-c", script];
    let server = Server::start("deploy_gateway", args);
    let tip = source.commit("main", &[("app", b"version 1\n")]);
    let said = source.push(server.url(), &["main"]);
    let lines: Vec<_> =
        said.stderr.lines().filter_map(|line| line.strip_prefix("remote: ")).map(str::trim_end).collect();
    assert_eq!(lines[0], format!("deploying {tip}"));
    assert!(lines[1].contains("nonsense"), "{}", said.stderr);
    assert_eq!(lines[2], format!("the deployment failed: exit status: {}", format().hex_len()));
    assert_eq!(std::fs::read(target.path().join("deployed")).expect("it ran"), b"version 1\n");
    assert_eq!(target.rev("main"), tip);

    // Nothing else is taken, nothing is deployed for it, and what is refused by its head is so in a large upload, too.
    let _ = std::fs::remove_file(target.path().join("deployed"));
    source.git(["update-ref", "refs/heads/other", &tip]);
    source.commit("other", &[("large", &Rng::new(9).bytes(20 << 20))]);
    let said = source.try_push(server.url(), &["other"]);
    assert!(rejected(&said.stderr).ends_with("other -> other (not an allowed ref)"), "{}", said.stderr);
    let said = source.try_push(server.url(), &["--delete", "main"]);
    assert!(rejected(&said.stderr).ends_with("main (deletion prohibited)"), "{}", said.stderr);
    let again = Repo::work();
    again.commit("main", &[("app", b"another history\n")]);
    let said = again.try_push(server.url(), &["--force", "main"]);
    assert!(rejected(&said.stderr).ends_with("main -> main (non-fast-forward)"), "{}", said.stderr);
    assert!(!target.path().join("deployed").exists());
    assert_eq!(target.rev("main"), tip);
    target.assert_no_leftovers();
}

#[test]
fn who_pushes_to_a_repository_that_cannot_be_read_is_told_so() {
    for (program, arguments) in [("secret_gate", &[][..]), ("deploy_gateway", &["--", "true"])] {
        let (target, source) = (Repo::bare(), Repo::work());
        source.commit("main", &[("file", b"text")]);
        let server = Server::start(program, [&["--repository", text(target.path())], arguments].concat());
        std::fs::create_dir(target.path().join("packed-refs")).expect("a directory where a file should be");
        let said = source.try_push(server.url(), &["main"]);
        assert!(said.stderr.contains("fatal: remote error: internal error"), "{program}: {}", said.stderr);
    }
}

#[test]
fn a_push_through_the_proxy_is_a_push() {
    let (daemon, source) = (Daemon::start(), Shape::SMALL.repository().borrow());
    let proxy = Server::start("proxy", ["--upstream", daemon.address()]);
    let url = format!("git://{}/demo.git", proxy.address());
    source.push(&url, &["-q", "--mirror"]);
    let target = daemon.repository("demo.git");
    assert_same_repository(&source, &target);
    // Nothing new, an update larger than what the proxy may have in its buffers, a new branch, deletions.
    assert!(source.push(&url, &["main"]).stderr.contains("Everything up-to-date"));
    source.commit("main", &[("large", &Rng::new(4).bytes(20 << 20))]);
    source.git(["branch", "-q", "again", "main~3"]);
    source.push(&url, &["-q", "main", "again"]);
    assert_same_repository(&source, &target);
    source.git(["tag", "-d", "v1"]);
    source.push(&url, &["-q", "--delete", "v1"]);
    assert_same_repository(&source, &target);
}

#[test]
fn what_the_upstream_server_refuses_reaches_the_pusher() {
    let (daemon, source) = (Daemon::start(), Shape::SMALL.repository().borrow());
    let proxy = Server::start("proxy", ["--upstream", daemon.address()]);
    let url = format!("git://{}/demo.git", proxy.address());
    source.push(&url, &["-q", "--mirror"]);
    let said = source.try_push(&url, &["--delete", "main"]);
    assert!(rejected(&said.stderr).contains("deletion of the current branch prohibited"), "{}", said.stderr);
    // Before the advertisement, and in the middle of a large upload.
    let said = source.try_push(&format!("git://{}/../x.git", proxy.address()), &["main"]);
    assert!(said.stderr.contains("remote error: access denied or repository not exported"), "{}", said.stderr);
    let target = Repo::bare();
    let gate = Server::start("secret_gate", ["--repository", text(target.path())]);
    let proxy = Server::start("proxy", ["--upstream", gate.address()]);
    let secret = format!("AKIA{}", "Z9".repeat(8));
    source.commit("leak", &[("a", secret.as_bytes()), ("large", &Rng::new(7).bytes(40 << 20))]);
    let said = source.try_push(proxy.url(), &["leak"]);
    assert!(rejected(&said.stderr).contains("an AWS access key is in blob"), "{}", said.stderr);
    assert!(target.stored().is_empty());
}

#[test]
fn a_server_that_cannot_be_reached_is_said_to_be() {
    let source = Shape::SMALL.repository().borrow();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let proxy = Server::start("proxy", ["--upstream".to_owned(), port.to_string()]);
    let said = source.try_push(proxy.url(), &["main"]);
    assert!(said.stderr.contains("remote error: the server behind this proxy cannot be reached"), "{}", said.stderr);
}
