//! The forge as its users have it: what was pushed comes back, and its limits hold.

#![cfg(all(feature = "bare-repository", feature = "http"))]

mod support;

use std::io::Write;
use std::time::Duration;

use support::fast_import::Shape;
use support::forge::Forge;
use support::format::made_up;
use support::git::{self, Output, Repo, assert_same_repository};
use support::line::{Line, eventually};
use support::pack::PackBuilder;
use support::request::Request;
use support::rng::Rng;

const TRANSPORTS: [&str; 3] = ["http", "git", "ssh"];

/// Real git in a repository, over any transport of the forge.
#[track_caller]
fn try_git(forge: &Forge, repo: &Repo, args: &[&str]) -> Output {
    let mut command = git::command(repo.path(), args);
    command.env("GIT_SSH_COMMAND", forge.ssh_command()).env("GIT_TRACE_PACKET", "1");
    git::run(command, b"")
}

#[track_caller]
fn git(forge: &Forge, repo: &Repo, args: &[&str]) -> Output {
    try_git(forge, repo, args).expect_success(&args.join(" "))
}

#[test]
fn what_was_pushed_is_cloned_and_fetched_back() {
    let forge = Forge::start(&[]);
    for transport in TRANSPORTS {
        let (source, name) = (Shape::SMALL.repository().borrow(), format!("{transport}.git"));
        let url = forge.url(transport, &name);
        git(&forge, &source, &["push", "-q", "--mirror", &url]);
        let mut clones = Vec::new();
        for version in ["0", "2"] {
            let clone = Repo::bare();
            clone.git(["remote", "add", "--mirror=fetch", "origin", &url]);
            let option = format!("protocol.version={version}");
            let said = git(&forge, &clone, &["-c", &option, "fetch", "-q", "origin"]);
            let asked = said.stderr.contains("version 2");
            assert_eq!(asked, version == "2", "{transport}, version {version}: {}", said.stderr);
            assert_same_repository(&source, &clone);
            clones.push((option, clone));
        }
        // What comes later is fetched by those who have the rest.
        source.commit("main", &[("later", b"later\n")]);
        git(&forge, &source, &["push", "-q", &url, "main"]);
        for (option, clone) in &clones {
            git(&forge, clone, &["-c", option, "fetch", "-q", "origin"]);
            assert_same_repository(&source, clone);
        }
        // A clone with a work tree, of the whole and of its end.
        for depth in [None, Some("--depth=1")] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let target = dir.path().join("clone");
            let target = target.to_str().expect("a path of text");
            let args: Vec<_> = ["clone", "-q", "-b", "main"].into_iter().chain(depth).chain([&*url, target]).collect();
            git(&forge, &source, &args);
            assert_eq!(Repo::at(target).rev("HEAD"), source.rev("main"), "{transport}");
            Repo::at(target).fsck();
        }
    }
    // What is not there is said to be so.
    for (transport, text) in [("http", "not found"), ("git", "not exported"), ("ssh", "not appear to be")] {
        let said = try_git(&forge, &Repo::bare(), &["ls-remote", &forge.url(transport, "none.git")]);
        assert!(!said.status.success() && said.stderr.contains(text), "{transport}: {}", said.stderr);
    }
}

#[test]
fn no_repository_is_made_within_another() {
    let (forge, source) = (Forge::start(&[]), Repo::bare());
    source.commit("main", &[("a", b"a\n")]);
    for transport in TRANSPORTS {
        let name = format!("group/{transport}.git");
        git(&forge, &source, &["push", "-q", &forge.url(transport, &name), "main"]);
        for place in ["refs/heads/locked/x", "objects/x", "x/y.git", "objects"] {
            let url = forge.url(transport, &format!("{name}/{place}"));
            for args in [&["push", &url, "main"][..], &["ls-remote", &url]] {
                let said = try_git(&forge, &source, args);
                let refused = ["not found", "not exported", "not appear to be"];
                let is_refused = refused.iter().any(|text| said.stderr.contains(text));
                assert!(!said.status.success() && is_refused, "{args:?}: {}", said.stderr);
            }
        }
        assert_same_repository(&source, &forge.repository(&name));
    }
}

#[test]
fn what_the_pusher_is_not_told_stands_in_the_log() {
    let (forge, source) = (Forge::start(&[]), Repo::bare());
    let id = source.commit("main", &[("a", b"a\n")]);
    // The refs cannot be read, an object cannot be stored, a ref cannot be moved.
    let obstacles = [
        ("packed-refs/x".to_owned(), ["internal error", "The requested URL returned error: 500"]),
        (format!("objects/{}", &id[..2]), ["unable to migrate objects to permanent storage"; 2]),
        ("refs/heads/main.lock".to_owned(), ["failed to update ref"; 2]),
    ];
    for (number, (obstacle, told)) in obstacles.iter().enumerate() {
        for transport in TRANSPORTS {
            let name = format!("{transport}-{number}.git");
            git::run(git::command(&forge.path(""), ["init", "-q", "--bare", &name]), b"").expect_success("git init");
            let place = forge.path(&name).join(obstacle);
            std::fs::create_dir_all(place.parent().expect("a directory")).expect("a directory");
            std::fs::write(place, b"").expect("a file");
            let said = try_git(&forge, &source, &["push", &forge.url(transport, &name), "main"]);
            let is_told = told.iter().any(|text| said.stderr.contains(text));
            assert!(is_told && !said.stderr.contains("os error"), "{name}: {}", said.stderr);
            let log = forge.log();
            let lines: Vec<_> = log.lines().filter(|line| line.contains(&name)).collect();
            assert!(lines.len() == 1 && lines[0].contains("Os {"), "{name}: {lines:?}");
        }
    }
}

#[test]
fn gzip_is_known_by_all_its_names() {
    let (forge, source) = (Forge::start(&[]), Repo::bare());
    let tip = source.commit("main", &[("a", b"a\n")]);
    git(&forge, &source, &["push", "-q", &forge.url("http", "demo.git"), "main"]);
    for (number, coding) in ["gzip", "x-gzip", "GZIP", "X-Gzip"].into_iter().enumerate() {
        let name = format!("refs/heads/{number}");
        let request = Request::new().create(&name, &tip).pack(PackBuilder::default().finish()).bytes();
        let mut body = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let body = body.write_all(&request).and_then(|()| body.finish()).expect("memory takes it");
        let mut line = Line::connect(forge.http());
        line.send(
            format!(
                "POST /demo.git/git-receive-pack HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                 content-type: application/x-git-receive-pack-request\r\n\
                 content-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )
            .as_bytes(),
        );
        line.send(&body);
        let said = line.read_to_end();
        assert!(said.starts_with("HTTP/1.1 200 ") && said.contains(&format!("ok {name}")), "{coding}: {said}");
    }
}

#[test]
fn any_name_of_a_repository_is_pushed_to_and_fetched_from() {
    let (forge, source) = (Forge::start(&[]), Repo::bare());
    source.commit("main", &[("a", b"a\n")]);
    for transport in TRANSPORTS {
        let url = forge.url(transport, &format!("{transport}/it%27s%20a%20d%C3%A9mo,%20100%25%20%2b%20x.git"));
        git(&forge, &source, &["push", "-q", &url, "main"]);
        let target = forge.repository(&format!("{transport}/it's a d\u{e9}mo, 100% + x.git"));
        assert_same_repository(&source, &target);
        let clone = Repo::bare();
        git(&forge, &clone, &["fetch", "-q", &url, "refs/*:refs/*"]);
        assert_same_repository(&source, &clone);
    }
    // A name that leads elsewhere is none.
    for name in ["%2e%2e/key", "http%2f..%2f..%2fkey", "%00", "%ff"] {
        let said = try_git(&forge, &source, &["ls-remote", &forge.url("http", name)]);
        assert!(!said.status.success() && said.stderr.contains("not found"), "{name}: {}", said.stderr);
    }
}

/// A push that has begun to write, and that does not end.
#[track_caller]
fn stalled(forge: &Forge, transport: &str, name: &str) -> Line {
    let mut builder = PackBuilder::default();
    builder.blob(&Rng::new(1).bytes(3 << 20));
    let request = Request::new().create("refs/heads/never", made_up('1')).pack(builder.finish());
    let mut line = Line::open(forge, transport, name);
    line.send(&request.bytes()[..2 << 20]);
    eventually("the push has begun", || forge.path(name).is_dir() && !forge.repository(name).leftovers().is_empty());
    line
}

/// Something that git does must wait for another to end, and succeeds once this has happened.
#[track_caller]
fn assert_waits(forge: &Forge, source: &Repo, args: &[&str], held: Line) {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| git(forge, source, args));
        // If it waited for nothing, it would most likely be done by now.
        std::thread::sleep(Duration::from_millis(500));
        assert!(!waiting.is_finished(), "{args:?} did not wait");
        drop(held);
        waiting.join().expect("it succeeds");
    });
}

#[test]
fn pushes_beyond_the_limit_wait_for_one_to_end() {
    let source = Repo::bare();
    source.commit("main", &[("a", b"a\n")]);
    for options in [&["--pushes", "1"][..], &["--pushes", "1", "--full-duplex"]] {
        let forge = Forge::start(options);
        for (first, second) in [("http", "http"), ("git", "http"), ("http", "ssh"), ("ssh", "git")] {
            let held = stalled(&forge, first, "held.git");
            let name = format!("{first}-{second}.git");
            assert_waits(&forge, &source, &["push", "-q", &forge.url(second, &name), "main"], held);
            assert_same_repository(&source, &forge.repository(&name));
        }
    }
}

#[test]
fn fetches_beyond_the_limit_wait_for_one_to_end() {
    let (forge, source) = (Forge::start(&["--fetches", "1"]), Repo::bare());
    source.commit("main", &[("a", b"a\n")]);
    git(&forge, &source, &["push", "-q", &forge.url("http", "demo.git"), "main"]);
    for transport in TRANSPORTS {
        let idle = forge.open_files();
        // The answer has begun when the client has yet to say what it wants.
        let mut held = Line::connect(forge.http());
        let head = "POST /demo.git/git-upload-pack HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n";
        held.send(head.as_bytes());
        eventually("git runs", || forge.open_files() >= idle + 3);
        assert_waits(&forge, &source, &["ls-remote", &forge.url(transport, "demo.git")], held);
        eventually("all are let go", || forge.open_files() <= idle);
    }
}

#[test]
fn http_requests_beyond_the_limit_are_turned_away() {
    let (forge, source) = (Forge::start(&["--requests", "1"]), Repo::bare());
    source.commit("main", &[("a", b"a\n")]);
    let url = forge.url("http", "demo.git");
    let held = stalled(&forge, "http", "held.git");
    let said = try_git(&forge, &source, &["push", &url, "main"]);
    assert!(!said.status.success() && said.stderr.contains("503"), "{}", said.stderr);
    // It is not for the other transports, and not for ever.
    git(&forge, &source, &["push", "-q", &forge.url("git", "other.git"), "main"]);
    drop(held);
    eventually("the next is taken", || try_git(&forge, &source, &["push", "-q", &url, "main"]).status.success());
    assert_same_repository(&source, &forge.repository("demo.git"));
}

#[test]
fn connections_beyond_the_limit_wait_to_be_accepted() {
    let (forge, source) = (Forge::start(&["--connections", "1"]), Repo::bare());
    source.commit("main", &[("a", b"a\n")]);
    for (transport, address) in [("http", forge.http()), ("git", forge.git()), ("ssh", forge.ssh())] {
        let idle = forge.open_files();
        let held = Line::connect(address);
        eventually("the first is accepted", || forge.open_files() > idle);
        let name = format!("{transport}.git");
        assert_waits(&forge, &source, &["push", "-q", &forge.url(transport, &name), "main"], held);
        assert_same_repository(&source, &forge.repository(&name));
        eventually("the connection is closed", || forge.open_files() <= idle);
    }
}

#[test]
fn git_pushes_to_a_server_that_is_full_duplex() {
    let (forge, source) = (Forge::start(&["--full-duplex"]), Repo::bare());
    let url = forge.url("http", "demo.git");
    // With a Content-Length; in chunks after a probe; a deletion; a refusal.
    source.commit("main", &[("a", b"a\n")]);
    git(&forge, &source, &["push", "-q", &url, "main", "main:refs/heads/doomed"]);
    source.commit("main", &[("b", &Rng::new(1).bytes(20 << 20))]);
    let said = git(&forge, &source, &["push", "--progress", &url, "main"]);
    assert!(said.stderr.contains("main -> main"), "{}", said.stderr);
    git(&forge, &source, &["push", "-q", &url, ":doomed"]);
    let said = try_git(&forge, &source, &["push", &url, "main:refs/heads/locked/x"]);
    assert!(said.stderr.contains("(this branch is locked)"), "{}", said.stderr);
    assert_same_repository(&source, &forge.repository("demo.git"));
}
