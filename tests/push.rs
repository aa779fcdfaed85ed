//! Real git pushes to the crate's examples: everything that a small push can be.

#![cfg(feature = "bare-repository")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use receive_pack::proto::{ObjectFormat, ObjectKind};
use support::fast_import::Shape;
use support::git::{self, Repo, assert_same_repository};
use support::pack::{self, PackBuilder};
use support::request::{Advertised, Reply, Request, pkt};
use support::server::{Daemon, example};

/// Runs each test in every object format that there is.
macro_rules! in_each_format {
    ($($name:ident)*) => {
        mod sha1 { $(#[test] fn $name() { super::$name("sha1"); })* }
        #[cfg(feature = "sha256")]
        mod sha256 { $(#[test] fn $name() { super::$name("sha256"); })* }
    };
}

in_each_format! {
    a_first_push_makes_the_repository
    a_clone_of_what_was_pushed_is_the_source
    a_second_push_brings_what_is_new
    a_push_of_nothing_new_says_so
    a_push_of_deletions_needs_no_pack
    a_new_branch_at_a_known_commit_sends_an_empty_pack
    a_forced_push_moves_a_branch_back
    an_atomic_push_lands_wholly
    a_push_goes_through_a_pipe
    a_push_goes_to_a_server_whose_directory_is_gone
    deletions_are_carried_out_on_a_connection_that_stays_open
    nothing_to_push_ends_a_connection_that_stays_open
    a_pack_is_taken_on_a_connection_that_stays_open
    a_stale_old_id_refuses_its_ref_and_no_other
    an_atomic_push_with_one_stale_old_id_changes_nothing
    a_push_that_lacks_objects_is_refused_and_leaves_nothing
    git_shows_why_a_push_was_refused
    what_is_not_below_the_root_is_not_there
    git_http_backend_can_use_it
}

fn object_format(name: &str) -> ObjectFormat {
    ObjectFormat::from_name(name.as_bytes()).expect("an object format")
}

/// A client that writes by hand and never closes its side.
struct Client(TcpStream);

impl Client {
    fn connect(daemon: &Daemon, name: &str) -> Self {
        let mut stream = TcpStream::connect(daemon.address()).expect("the daemon listens");
        // A server that waits for our end would have us wait for ever.
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream.write_all(&pkt(format!("git-receive-pack /{name}\0host=localhost\0"))).expect("a request line");
        Self(stream)
    }

    /// Sends a request, and reads all that the server says until it closes its side.
    #[track_caller]
    fn send(mut self, request: &[u8]) -> (Advertised, Vec<u8>) {
        self.0.write_all(request).expect("the server takes the request");
        let mut said = Vec::new();
        self.0.read_to_end(&mut said).expect("the server answers and closes its side");
        let mut said = &said[..];
        (Advertised::take(&mut said), said.to_vec())
    }
}

/// A source, and a daemon that it was pushed to.
fn pushed(format: &str) -> (Repo, Daemon, String, Repo) {
    let (source, daemon) = (Shape::SMALL.repository_in(format).borrow(), Daemon::start_with(format));
    let (url, target) = (daemon.url("demo.git"), daemon.repository("demo.git"));
    source.push(&url, &["--mirror", "-q"]);
    (source, daemon, url, target)
}

fn a_first_push_makes_the_repository(format: &str) {
    let (source, _daemon, _, target) = pushed(format);
    assert_same_repository(&source, &target);
    assert_eq!(target.git(["rev-parse", "--is-bare-repository"]).text(), "true");
}

fn a_clone_of_what_was_pushed_is_the_source(format: &str) {
    let (source, _daemon, _, target) = pushed(format);
    let clone = target.borrow();
    assert_eq!(clone.refs(), source.refs());
    let log = |repo: &Repo| repo.git(["log", "--format=%H %s", "main"]).text();
    assert_eq!(log(&clone), log(&source));
}

fn a_second_push_brings_what_is_new(format: &str) {
    let (source, _daemon, url, target) = pushed(format);
    source.commit("main", &[("new.txt", b"new\n"), ("d001/text1.c", b"int main;\n")]);
    source.push(&url, &["main", "-q"]);
    assert_same_repository(&source, &target);
}

fn a_push_of_nothing_new_says_so(format: &str) {
    let (source, _daemon, url, target) = pushed(format);
    let said = source.push(&url, &["main"]);
    assert!(said.stderr.contains("Everything up-to-date"), "{}", said.stderr);
    assert_same_repository(&source, &target);
}

fn a_push_of_deletions_needs_no_pack(format: &str) {
    let (source, _daemon, url, target) = pushed(format);
    source.git(["tag", "-d", "v1", "v2"]);
    source.git(["branch", "-q", "-D", "next"]);
    source.push(&url, &["-q", "--delete", "v1", "v2", "next"]);
    assert_same_repository(&source, &target);
}

fn a_new_branch_at_a_known_commit_sends_an_empty_pack(format: &str) {
    let (source, _daemon, url, target) = pushed(format);
    source.git(["branch", "-q", "release", "main~7"]);
    source.push(&url, &["-q", "release"]);
    assert_same_repository(&source, &target);
}

fn a_forced_push_moves_a_branch_back(format: &str) {
    let (source, _daemon, url, target) = pushed(format);
    source.git(["update-ref", "refs/heads/main", "main~3"]);
    source.commit("main", &[("other.txt", b"another history\n")]);
    source.push(&url, &["-q", "--force", "main"]);
    assert_eq!(target.rev("main"), source.rev("main"));
    target.fsck();
    target.assert_no_leftovers();
}

fn an_atomic_push_lands_wholly(format: &str) {
    let (source, _daemon, url, target) = pushed(format);
    source.commit("main", &[("a.txt", b"a\n")]);
    source.commit("next", &[("b.txt", b"b\n")]);
    source.push(&url, &["-q", "--atomic", "main", "next"]);
    assert_same_repository(&source, &target);
}

fn a_push_goes_through_a_pipe(format: &str) {
    let (source, target) = (Shape::SMALL.repository_in(format).borrow(), Repo::bare_in(format));
    let program = format!("--receive-pack={}", example("receive_pack").display());
    let url = target.path().to_str().expect("a path of text");
    source.push(url, &["-q", "--mirror", &program]);
    assert_same_repository(&source, &target);
    source.git(["tag", "-d", "v3"]);
    source.push(url, &["-q", "--delete", &program, "v3"]);
    source.push(url, &["--mirror", &program]);
    assert_same_repository(&source, &target);
}

/// Nobody needs the directory that a server was started in.
fn a_push_goes_to_a_server_whose_directory_is_gone(format: &str) {
    let (source, target) = (Shape::SMALL.repository_in(format).borrow(), Repo::bare_in(format));
    let program = format!(
        "--receive-pack=gone=$(mktemp -d) && cd $gone && rmdir $gone && exec {}",
        example("receive_pack").display()
    );
    let url = target.path().to_str().expect("a path of text");
    source.push(url, &["-q", "--mirror", &program]);
    assert_same_repository(&source, &target);
}

fn deletions_are_carried_out_on_a_connection_that_stays_open(format: &str) {
    let (source, daemon, _, target) = pushed(format);
    let request = Request::new_in(format).delete("refs/tags/v1", source.rev("refs/tags/v1"));
    let (advertised, said) = Client::connect(&daemon, "demo.git").send(&request.bytes());
    assert_eq!(advertised.refs, source.refs());
    Reply::side_band(&said).assert_ok();
    source.git(["tag", "-d", "v1"]);
    assert_same_repository(&source, &target);
}

fn nothing_to_push_ends_a_connection_that_stays_open(format: &str) {
    let (source, daemon, _, target) = pushed(format);
    let (advertised, said) = Client::connect(&daemon, "demo.git").send(b"0000");
    assert_eq!(advertised.refs, source.refs());
    assert!(said.is_empty(), "there is nothing to say: {:?}", String::from_utf8_lossy(&said));
    assert_same_repository(&source, &target);
}

fn a_pack_is_taken_on_a_connection_that_stays_open(format: &str) {
    let (source, daemon, _, target) = pushed(format);
    let pack = PackBuilder::new(object_format(format)).finish();
    let request = Request::new_in(format).create("refs/heads/again", source.rev("main")).pack(pack);
    let (_, said) = Client::connect(&daemon, "demo.git").send(&request.bytes());
    Reply::side_band(&said).assert_ok();
    assert_eq!(target.rev("again"), source.rev("main"));
}

fn a_stale_old_id_refuses_its_ref_and_no_other(format: &str) {
    let (source, daemon, _, target) = pushed(format);
    let (main, older) = (source.rev("main"), source.rev("main~1"));
    let request = Request::new_in(format)
        .update("refs/heads/main", &older, &main)
        .create("refs/heads/beside", &main)
        .pack(PackBuilder::new(object_format(format)).finish());
    let (_, said) = Client::connect(&daemon, "demo.git").send(&request.bytes());
    let reply = Reply::side_band(&said);
    assert_eq!(reply.unpack, "ok");
    assert!(reply.refs[0].1.is_err() && reply.refs[1].1.is_ok(), "{reply:?}");
    assert_eq!((target.rev("main"), target.rev("beside")), (main.clone(), main));
    target.assert_no_leftovers();
}

fn an_atomic_push_with_one_stale_old_id_changes_nothing(format: &str) {
    let (source, daemon, _, target) = pushed(format);
    let (main, older) = (source.rev("main"), source.rev("main~1"));
    let request = Request::new_in(format)
        .capability("atomic")
        .create("refs/heads/beside", &main)
        .update("refs/heads/main", &older, &main)
        .pack(PackBuilder::new(object_format(format)).finish());
    let (_, said) = Client::connect(&daemon, "demo.git").send(&request.bytes());
    let reply = Reply::side_band(&said);
    assert!(reply.refs.iter().all(|(_, result)| result.is_err()), "{reply:?}");
    assert_same_repository(&source, &target);
}

fn a_push_that_lacks_objects_is_refused_and_leaves_nothing(format: &str) {
    let (_, daemon, _, target) = pushed(format);
    let before = target.stored();
    let lost = pack::commit(&pack::object_id(object_format(format), ObjectKind::Blob, b"a tree that nobody has"), &[]);
    let mut builder = PackBuilder::new(object_format(format));
    builder.object(ObjectKind::Commit, &lost);
    let id = pack::object_id(object_format(format), ObjectKind::Commit, &lost);
    let request = Request::new_in(format).create("refs/heads/lost", id).pack(builder.finish());
    let (_, said) = Client::connect(&daemon, "demo.git").send(&request.bytes());
    let reply = Reply::side_band(&said);
    assert!(reply.refs[0].1.is_err(), "{reply:?}");
    assert_eq!(target.stored(), before);
    target.assert_no_leftovers();
}

fn git_shows_why_a_push_was_refused(format: &str) {
    let (source, _daemon, url, _) = pushed(format);
    // HEAD of the target names main.
    let said = source.try_push(&url, &["--delete", "main"]);
    assert!(!said.status.success());
    let line = said.stderr.lines().find(|line| line.contains("[remote rejected]"));
    let line = line.unwrap_or_else(|| panic!("no refusal that git understands: {}", said.stderr));
    assert!(line.contains("main") && line.contains("deletion of the current branch prohibited"), "{line}");
}

fn what_is_not_below_the_root_is_not_there(format: &str) {
    let (source, daemon) = (Shape::SMALL.repository_in(format).borrow(), Daemon::start_with(format));
    for name in ["../demo.git", "a/../../demo.git"] {
        let said = source.try_push(&daemon.url(name), &["main"]);
        assert!(said.stderr.contains("remote error: access denied or repository not exported"), "{}", said.stderr);
    }
}

/// Runs git's CGI program with a `git` in front that hands `git receive-pack` to our example; gives the body of its
/// answer.
fn http_backend(target: &Repo, variables: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let front = tempfile::tempdir().expect("a temporary directory");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = receive-pack ] || exit 99\nshift\nexec '{}' \"$@\"\n",
        example("receive_pack").display()
    );
    let path = front.path().join("git");
    std::fs::write(&path, script).expect("a script");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a program");

    let exec_path = target.git(["--exec-path"]).text();
    let mut backend = Command::new(format!("{exec_path}/git-http-backend"));
    backend.env_clear().env("PATH", format!("{}:/usr/bin:/bin", front.path().display()));
    backend.env("GIT_PROJECT_ROOT", target.path()).env("GIT_HTTP_EXPORT_ALL", "1").env("REMOTE_USER", "ada");
    backend.envs(variables.iter().copied());
    let answer = git::run(backend, body).expect_success("git http-backend").stdout;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("the end of the header");
    let header = String::from_utf8_lossy(&answer[..end]).into_owned();
    assert!(header.contains("application/x-git-receive-pack-") && !header.contains("Status:"), "{header}");
    answer[end + 4..].to_vec()
}

fn git_http_backend_can_use_it(format: &str) {
    let (source, target) = (Shape::SMALL.repository_in(format), Repo::bare_in(format));
    let get = [("REQUEST_METHOD", "GET"), ("PATH_INFO", "/info/refs"), ("QUERY_STRING", "service=git-receive-pack")];
    let said = http_backend(&target, &get, b"");
    let mut advertisement = said.strip_prefix(b"001f# service=git-receive-pack\n0000").expect("the line of smart HTTP");
    assert!(Advertised::take(&mut advertisement).refs.is_empty());
    assert!(advertisement.is_empty());

    let pack = source.git_with_input(["pack-objects", "--all", "--stdout", "-q"], b"").stdout;
    let request =
        source.refs().into_iter().fold(Request::new_in(format), |request, (name, id)| request.create(&name, id));
    let body = request.pack(pack).bytes();
    let len = body.len().to_string();
    let post = |len| {
        let kind = ("CONTENT_TYPE", "application/x-git-receive-pack-request");
        [("REQUEST_METHOD", "POST"), ("PATH_INFO", "/git-receive-pack"), kind, ("CONTENT_LENGTH", len)]
    };
    // The probe of a client with a large push, and then the push.
    assert!(http_backend(&target, &post("4"), b"0000").is_empty());
    Reply::side_band(&http_backend(&target, &post(&len), &body)).assert_ok();
    assert_same_repository(&source, &target);
}
