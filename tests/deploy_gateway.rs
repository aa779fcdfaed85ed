//! The example `deploy_gateway`: what lands in main is deployed, in order, once, and to the end.

#![cfg(feature = "bare-repository")]

mod support;

use support::format::format;
use support::git::{Output, Repo};
use support::line::{Line, eventually, hello};
use support::request::Request;
use support::rng::Rng;
use support::server::Server;

/// A gateway that runs this script in the repository.
#[track_caller]
fn gateway(target: &Repo, script: &str) -> Server {
    let path = target.path().to_str().expect("a path of text");
    Server::start("deploy_gateway", ["--repository", path, "--", "sh", "-c", script])
}

/// Says that it has begun, goes on when it may, and notes what it has deployed.
const WAITS: &str = "touch begun; until test -e go; do sleep 0.05; echo waiting; done; git show $NEW:app >>deployed";

/// What the pusher reads of the deployment.
fn remote(said: &Output) -> Vec<&str> {
    said.stderr.lines().filter_map(|line| line.strip_prefix("remote: ")).map(str::trim_end).collect()
}

/// The line in which git says that a ref was refused.
#[track_caller]
fn rejected(stderr: &str) -> &str {
    let line = stderr.lines().find(|line| line.contains("[remote rejected]"));
    line.unwrap_or_else(|| panic!("no refusal that git understands: {stderr}"))
}

#[test]
fn what_is_pushed_is_deployed_before_the_pushers_eyes() {
    let (target, source) = (Repo::bare(), Repo::work());
    let script = "echo deploying $NEW; git show $NEW:app > deployed; ls nonsense; exit ${#OLD}";
    let server = gateway(&target, script);
    let tip = source.commit("main", &[("app", b"version 1\n")]);
    let said = source.push(server.url(), &["main"]);
    let lines = remote(&said);
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
fn one_deployment_runs_at_a_time_and_what_was_overtaken_is_left_out() {
    let (target, source) = (Repo::bare(), Repo::work());
    let server = gateway(&target, WAITS);
    let push = |version: &str| {
        let content = format!("{version}\n");
        let tip = source.commit("main", &[("app", content.as_bytes())]);
        let (url, source) = (server.url().to_owned(), source.path().to_owned());
        let push = std::thread::spawn(move || Repo::at(source).push(&url, &["main"]));
        eventually("it lands", || target.try_git(["rev-parse", "-q", "--verify", "main"]).text() == tip);
        push
    };
    let first = push("one");
    eventually("the first is being deployed", || target.path().join("begun").exists());
    let pushes = [first, push("two"), push("three")];
    std::fs::write(target.path().join("go"), b"").expect("a file");
    let [first, second, third] = pushes.map(|push| push.join().expect("git pushes"));
    assert_eq!(remote(&first).last(), Some(&"deployed"), "{}", first.stderr);
    assert_eq!(remote(&second), ["not deployed: overtaken by another push"], "{}", second.stderr);
    assert_eq!(remote(&third), ["deployed"], "{}", third.stderr);
    assert_eq!(std::fs::read(target.path().join("deployed")).expect("it ran"), b"one\nthree\n");
}

#[test]
fn what_has_landed_is_deployed_though_the_pusher_hangs_up() {
    let (target, source) = (Repo::bare(), Repo::work());
    let server = gateway(&target, WAITS);
    let tip = source.commit("main", &[("app", b"one\n")]);
    let pack = source.git_with_input(["pack-objects", "-q", "--revs", "--stdout"], tip.as_bytes()).stdout;
    let mut line = Line::connect(server.address());
    line.send(&hello("git", "app.git"));
    line.send(&Request::new().create("refs/heads/main", &tip).pack(pack).bytes());
    eventually("it is being deployed", || target.path().join("begun").exists());
    drop(line);
    // The server knows when it has said something more, which is soon.
    std::thread::sleep(std::time::Duration::from_secs(1));
    std::fs::write(target.path().join("go"), b"").expect("a file");
    eventually("it is deployed", || {
        std::fs::read(target.path().join("deployed")).is_ok_and(|deployed| deployed == b"one\n")
    });
}
