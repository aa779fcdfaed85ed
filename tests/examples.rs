//! Real git pushes to the examples that decide about pushes.

#![cfg(feature = "bare-repository")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::path::Path;

use support::fast_import::Shape;
use support::format::{format, made_up, zero};
use support::git::{self, Repo, assert_same_repository};
use support::line::{Line, eventually, hello};
use support::request::{FLUSH, Request, capabilities, pkt};
use support::rng::Rng;
use support::server::{Daemon, Server, cargo, example};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// The line in which git says that a ref was refused.
#[track_caller]
fn rejected(stderr: &str) -> &str {
    let line = stderr.lines().find(|line| line.contains("[remote rejected]"));
    line.unwrap_or_else(|| panic!("no refusal that git understands: {stderr}"))
}

/// The server's own trouble comes to stand in its log, once, with its cause and the name of the repository.
#[track_caller]
fn assert_logged(log: impl Fn() -> String, name: &str) {
    // A line is written piece by piece.
    let is_whole = |log: String| log.contains(name) && log.ends_with('\n');
    eventually("it is logged", || is_whole(log()));
    let log = log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(name)).collect();
    assert!(lines.len() == 1 && lines[0].contains("Os {"), "{log}");
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
fn what_is_too_long_to_be_looked_at_does_not_pass_the_gate() {
    let (target, source) = (Repo::bare(), Repo::work());
    let server = Server::start("secret_gate", ["--repository", text(target.path())]);
    let longest = Rng::new(5).bytes(4 << 20);
    source.commit("main", &[("data", &longest)]);
    source.push(server.url(), &["-q", "main"]);
    assert_eq!(target.refs(), source.refs());
    let (refs, stored) = (target.refs(), target.stored());

    let key = format!("AKIA{}", "Q7".repeat(8)).into_bytes();
    let changed = [&longest[..], &key].concat();
    let other = [Rng::new(6).bytes((4 << 20) + 1 - key.len()), key].concat();
    for (content, reason) in [
        (changed, "unpack failed: the length of the object that a delta makes exceeds the limit of 4194304"),
        (other, "leak -> leak (object of 4194305 bytes exceeds the limit of 4194304"),
    ] {
        source.git(["update-ref", "refs/heads/leak", "refs/heads/main"]);
        source.commit("leak", &[("data", &content)]);
        let said = source.try_push(server.url(), &["leak"]);
        rejected(&said.stderr);
        assert!(said.stderr.contains(reason), "{}", said.stderr);
        assert_eq!((target.refs(), target.stored()), (refs.clone(), stored.clone()));
        target.assert_no_leftovers();
    }
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
        assert_logged(|| server.log(), text(target.path()));
    }
}

#[test]
fn what_the_pusher_is_not_told_stands_in_the_log() {
    let source = Repo::work();
    let id = source.commit("main", &[("file", b"text")]);
    // An object cannot be stored, a ref cannot be moved.
    for obstacle in [format!("objects/{}", &id[..2]), "refs/heads/main.lock".to_owned()] {
        let obstruct = |repository: &Repo| std::fs::write(repository.path().join(&obstacle), b"").expect("a file");
        for (program, arguments) in [("secret_gate", &[][..]), ("deploy_gateway", &["--", "true"])] {
            let target = Repo::bare();
            let server = Server::start(program, [&["--repository", text(target.path())], arguments].concat());
            obstruct(&target);
            let said = source.try_push(server.url(), &["main"]);
            assert!(!said.status.success() && !said.stderr.contains("os error"), "{program}: {}", said.stderr);
            assert_logged(|| server.log(), text(target.path()));
        }
        let daemon = Daemon::start();
        daemon.repository("").git(["init", "-q", "--bare", "demo.git"]);
        obstruct(&daemon.repository("demo.git"));
        source.try_push(&daemon.url("demo.git"), &["main"]);
        assert_logged(|| daemon.log(), "/demo.git");
        // Over a pipe the log is before the pusher's eyes, in between what git says.
        let target = Repo::bare();
        obstruct(&target);
        let program = format!("--receive-pack={}", example("receive_pack").display());
        let said = source.try_push(text(target.path()), &[&program, "main"]);
        assert_eq!(said.stderr.matches("(os error ").count(), 1, "{}", said.stderr);
    }
}

#[test]
fn who_wants_to_fetch_where_only_pushes_are_taken_is_told_so() {
    for (program, arguments) in [("secret_gate", &[][..]), ("deploy_gateway", &["--", "true"])] {
        let target = Repo::bare();
        let server = Server::start(program, [&["--repository", text(target.path())], arguments].concat());
        let said = Repo::bare().try_git(["fetch", server.url()]);
        assert!(said.stderr.contains("remote error: only pushes are taken here"), "{program}: {}", said.stderr);
    }
}

/// The examples that listen, but for those whose own tests see to it that they go on.
fn servers(target: &Repo, upstream: &Daemon) -> [Server; 3] {
    let repository = ["--repository", text(target.path())];
    [
        Server::start("secret_gate", repository),
        Server::start("deploy_gateway", [&repository[..], &["--", "true"]].concat()),
        Server::start("proxy", ["--upstream", upstream.address()]),
    ]
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let (target, upstream) = (Repo::bare(), Daemon::start());
    let servers = servers(&target, &upstream);
    let mut silent = servers.each_ref().map(|server| Line::connect(server.address()));
    for line in &mut silent {
        assert_eq!(line.read_to_end(), "");
    }
}

#[test]
fn a_server_that_cannot_accept_goes_on_when_it_can() {
    let (target, upstream, source) = (Repo::bare(), Daemon::start(), Repo::bare());
    source.commit("main", &[("file", b"text")]);
    for server in servers(&target, &upstream) {
        server.limit_files(0);
        let early = Line::connect(server.address());
        eventually("it cannot accept", || server.log().contains("no connection can be accepted"));
        server.limit_files(1024);
        source.push(server.url(), &["-q", "main"]);
        drop(early);
    }
}

#[test]
fn no_repository_is_made_within_another() {
    let (daemon, source) = (Daemon::start(), Repo::bare());
    source.commit("main", &[("file", b"text")]);
    source.push(&daemon.url("group/demo.git"), &["-q", "main"]);
    for place in ["refs/heads/x", "objects/x", "x.git", "x/y/z.git", "objects"] {
        let said = source.try_push(&daemon.url(&format!("group/demo.git/{place}")), &["main"]);
        let is_refused = said.stderr.contains("remote error: access denied or repository not exported");
        assert!(is_refused, "{place}: {}", said.stderr);
    }
    // What a push brings into a work tree may look like a repository.
    daemon.repository("").git(["init", "-q", "site"]);
    daemon.repository("").git(["init", "-q", "--bare", "site/planted"]);
    for place in ["planted", "new.git", ".git/x"] {
        let said = source.try_push(&daemon.url(&format!("site/{place}")), &["main"]);
        let is_refused = said.stderr.contains("remote error: access denied or repository not exported");
        assert!(is_refused, "{place}: {}", said.stderr);
    }
    source.push(&daemon.url("site"), &["-q", "main:other"]);
    source.push(&daemon.url("group/other.git"), &["-q", "main"]);
    for name in ["group/demo.git", "group/other.git"] {
        assert_same_repository(&source, &daemon.repository(name));
    }
}

#[test]
fn the_readme_shows_the_example() {
    let example = include_str!("../examples/quick_start.rs");
    let (_, code) = example.split_once("\n\n").expect("documentation, and the code");
    assert!(include_str!("../README.md").contains(&format!("```rust\n{code}```\n")));
}

#[test]
fn what_the_readme_links_to_is_in_the_package() {
    let mut package = cargo("package");
    package.args(["--list", "--allow-dirty"]);
    let package = git::run(package, b"").expect_success("cargo package").text();
    let links: Vec<_> =
        include_str!("../README.md").split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let links: Vec<_> = links.into_iter().filter(|link| !link.starts_with("http")).collect();
    assert!(links.len() > 5, "{links:?}");
    for link in links {
        let is_there = |file: &str| file == link || file.strip_prefix(link).is_some_and(|rest| rest.starts_with('/'));
        assert!(package.lines().any(is_there), "{link} is not in the package");
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
    let noise: Vec<_> = (0..12).map(|seed| (format!("noise-{seed}"), Rng::new(seed).bytes(7 << 19))).collect();
    let noise = noise.iter().map(|(name, bytes)| (&name[..], &bytes[..]));
    source.commit("leak", &[("a", secret.as_bytes())].into_iter().chain(noise).collect::<Vec<_>>());
    let said = source.try_push(proxy.url(), &["leak"]);
    assert!(rejected(&said.stderr).contains("an AWS access key is in blob"), "{}", said.stderr);
    assert!(target.stored().is_empty());
}

/// The upstream server refuses, and is gone while the client still sends: the client can send all before it reads why.
#[test]
fn a_proxy_reads_on_when_the_upstream_server_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let proxy = Server::start("proxy", ["--upstream", &address]);
    let mut line = Line::connect(proxy.address());
    line.send(&hello("git", "demo.git"));
    let (mut upstream, _) = listener.accept().expect("the proxy connects");
    let refs = pkt(format!("{} capabilities^{{}}\0{}\n", zero(), capabilities(format().name())));
    upstream.write_all(&[&refs, FLUSH].concat()).expect("the proxy reads");
    assert!(line.read().contains("capabilities^{}"));

    let pack = [b"PACK\0\0\0\x02\0\0\0\x01", &Rng::new(8).bytes(64 << 10)[..]].concat();
    line.send(&Request::new().create("refs/heads/x", made_up('1')).pack(pack).bytes());
    upstream.read_exact(&mut [0; 32 << 10]).expect("the proxy forwards");
    upstream.write_all(b"no room").expect("the proxy reads");
    upstream.shutdown(Shutdown::Write).expect("an end");
    assert_eq!(line.read(), "no room");
    drop(upstream);
    (0..20).for_each(|seed| line.send(&Rng::new(seed).bytes(1 << 20)));
    line.finish();
    assert_eq!(line.read_to_end(), "");
}

#[test]
fn a_server_that_cannot_be_reached_is_said_to_be() {
    let source = Shape::SMALL.repository().borrow();
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let proxy = Server::start("proxy", ["--upstream".to_owned(), port.to_string()]);
    let said = source.try_push(proxy.url(), &["main"]);
    assert!(said.stderr.contains("remote error: the server behind this proxy cannot be reached"), "{}", said.stderr);
}

#[test]
fn a_proxy_lets_go_of_a_client_that_sends_no_more() {
    let daemon = Daemon::start();
    daemon.repository("").git(["init", "-q", "--bare", "demo.git"]);
    let proxy = Server::start("proxy", ["--upstream", daemon.address(), "--idle", "1"]);
    let whole = Request::new().create("refs/heads/x", made_up('1')).pack(b"PACK\0\0\0\x02\0\0\0\x01".to_vec()).bytes();
    // After the advertisement, in the middle of the commands, and in the middle of the pack.
    for sent in [0, 30, whole.len()] {
        let mut line = Line::connect(proxy.address());
        line.send(&hello("git", "demo.git"));
        line.send(&whole[..sent]);
        assert!(line.read_to_end().contains("capabilities^{}"));
    }
    eventually("it is logged", || proxy.log().lines().count() == 3);
}

#[test]
fn a_client_that_dribbles_does_not_keep_its_place_for_ever() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let args = ["--root", text(root.path()), "--auto-init", "--pushes", "1", "--deadline", "3"];
    let (server, source) = (Server::start("git_daemon", args), Repo::bare());
    source.commit("main", &[("file", b"text")]);
    let mut line = Line::connect(server.address());
    line.send(&hello("git", "held.git"));
    line.send(&Request::new().create("refs/heads/x", made_up('1')).pack(b"PACK\0\0\0\x02\0\0\x0f\0".to_vec()).bytes());
    let held = Repo::at(root.path().join("held.git"));
    eventually("the push has begun", || held.path().is_dir());
    let said = source.push(server.url(), &["main"]);
    assert!(
        line.read_to_end().contains("the client did not send its push in the time that the server allows"),
        "{}",
        said.stderr
    );
    assert_same_repository(&source, &Repo::at(root.path().join("demo.git")));
}
