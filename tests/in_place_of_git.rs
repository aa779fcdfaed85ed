//! The example `receive_pack` where `git receive-pack` would stand, beside it.

#![cfg(all(unix, feature = "bare-repository"))]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use support::git::{self, Output, Repo};
use support::request::Request;
use support::rng::Rng;
use support::server::example;

/// Our program, brought up to date once.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| example("receive_pack"));

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// A repository with one commit.
fn source() -> Repo {
    let source = Repo::work();
    source.commit("main", &[("file", b"text")]);
    source
}

/// The option that has a push taken by our program, in an environment with these variables.
fn program(environment: &str) -> String {
    format!("--receive-pack=env {environment} {}", PROGRAM.display())
}

#[test]
fn no_namespace_shares_its_refs_with_the_others() {
    let (source, target) = (source(), Repo::bare());
    let said = source.try_push(text(target.path()), &[&program("GIT_NAMESPACE=tenant"), "main"]);
    assert!(!said.status.success());
    for line in ["fatal: ", "fatal: remote error: "] {
        let line = format!("{line}GIT_NAMESPACE is set, and this program knows no namespaces");
        assert!(said.stderr.lines().any(|said| said == line), "{}", said.stderr);
    }
    assert!(target.refs().is_empty() && target.stored().is_empty());
    // To git an empty one is none.
    source.push(text(target.path()), &[&program("GIT_NAMESPACE="), "main"]);
    assert_eq!(target.refs(), source.refs());
}

/// The repository lacks what a thin pack is made from. git fetches it; here the client is asked for a pack that is whole.
#[test]
fn a_partial_clone_takes_pushes() {
    let source = Repo::work();
    let lines = |last: usize| (0..last).map(|line| format!("{line}\n")).collect::<String>();
    source.commit("main", &[("large", lines(3000).as_bytes())]);
    source.git(["config", "uploadpack.allowFilter", "true"]);
    let dir = tempfile::tempdir().expect("a directory");
    let target = dir.path().join("partial.git");
    let url = format!("file://{}", text(source.path()));
    source.git(["clone", "-q", "--bare", "--filter=blob:none", &url, text(&target)]);
    let target = Repo::at(target);
    let stored = target.stored().len();
    source.commit("main", &[("large", lines(3001).as_bytes())]);
    source.push(text(target.path()), &[&program(""), "main:refs/heads/other"]);
    assert_eq!(target.rev("refs/heads/other"), source.rev("main"));
    assert_eq!(target.stored().len(), stored + 3);
    target.fsck();
}

/// What git's and ours make of the same request, whatever comes of it.
fn both(targets: [&Repo; 2], options: &[&str], request: &[u8]) -> [Output; 2] {
    let [gits, ours] = targets;
    let mut git = git::command(gits.path(), ["receive-pack", "--stateless-rpc"]);
    git.arg(gits.path());
    let mut program = Command::new(&*PROGRAM);
    program.arg("--stateless-rpc").args(options).arg(ours.path());
    [git::run(git, request), git::run(program, request)]
}

#[test]
fn a_pack_is_as_long_as_the_configuration_allows() {
    let source = Repo::work();
    let id = source.commit("main", &[("file", &Rng::new(9).bytes(3000))]);
    let pack = source.git_with_input(["pack-objects", "--all", "--stdout", "-q"], b"").stdout;
    let len = pack.len();
    let request = Request::new().create("refs/heads/main", &id).pack(pack).bytes();
    let [less, exact] = [len - 1, len].map(|len| len.to_string());
    for (value, lands) in [
        (less.as_str(), false),
        (exact.as_str(), true),
        ("1", false),
        ("1k", false),
        ("1m", true),
        ("5g", true),
        ("0", true),
        ("-1", false),
        ("", false),
        ("lots", false),
        ("99999999999999999999", false),
    ] {
        for unpack_limit in ["1", "100"] {
            let targets = [Repo::bare(), Repo::bare()];
            for target in &targets {
                target.git(["config", "receive.maxInputSize", value]);
                target.git(["config", "receive.unpackLimit", unpack_limit]);
            }
            let [gits, ours] = &targets;
            let said = both([gits, ours], &[], &request);
            let context = format!("{value:?}, {unpack_limit}: {said:?}");
            assert_eq!([gits.refs().is_empty(), ours.refs().is_empty()], [!lands; 2], "{context}");
            assert_eq!(ours.stored().is_empty(), !lands, "{context}");
            ours.assert_no_leftovers();
        }
    }
    // The option has the last word.
    for (value, option, lands) in [(&less, "0", true), (&less, &exact, true), (&exact, &less, false)] {
        let target = Repo::bare();
        target.git(["config", "receive.maxInputSize", value]);
        let [_, said] = both([&Repo::bare(), &target], &["--max-input-size", option], &request);
        assert_eq!(!target.refs().is_empty(), lands, "{value}, {option}: {said:?}");
        let text = format!("pack exceeds maximum allowed size of {option} bytes");
        assert_eq!(said.text().contains(&text), !lands, "{said:?}");
    }
}

/// Pushes to this name by git's own program and by ours, in this home; gives the errors, which are the same.
fn push_by_both(source: &Repo, home: &Path, name: &str, branch: &str) -> [Option<String>; 2] {
    ["git receive-pack".to_owned(), PROGRAM.display().to_string()].map(|program| {
        // Its commands run where the pusher is, and the name is to be seen from there.
        let program = format!("--receive-pack=cd {} && HOME={0} {program}", home.display());
        // The client itself must not look for it.
        let mut push = git::command(source.path(), ["push", "-q", &program]);
        push.arg(format!("host:{name}")).arg(format!("main:{branch}")).env("GIT_SSH_VARIANT", "simple");
        push.env("GIT_SSH_COMMAND", "sh -c 'eval \"$2\"' ssh");
        let said = git::run(push, b"");
        let fatal = said.stderr.lines().find(|line| line.starts_with("fatal: ")).map(str::to_owned);
        (!said.status.success()).then(|| fatal.unwrap_or(said.stderr))
    })
}

#[test]
fn the_repository_is_found_by_the_names_that_git_knows() {
    let (source, home) = (source(), tempfile::tempdir().expect("a temporary directory"));
    let home = home.path();
    let make = |name: &str, options: &[&str]| {
        let dir = home.join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        Repo::at(dir).git(["init", "-q"].iter().chain(options));
    };
    for (name, options) in [
        ("bare.git", &["--bare"][..]),
        ("both", &["--bare"]),
        ("both.git", &["--bare"]),
        ("work", &[]),
        ("tree.git", &[]),
        ("~", &["--bare"]),
    ] {
        make(name, options);
    }
    std::fs::create_dir(home.join("plain")).expect("a directory");
    make("plain.git", &["--bare"]);
    let count = |name: &str| Repo::at(home.join(name)).refs().len();
    for (number, (name, place)) in [
        ("bare", "bare.git"),
        ("bare/", "bare.git"),
        ("bare//", "bare.git"),
        ("bare.git", "bare.git"),
        ("both", "both"),
        ("both.git", "both.git"),
        ("plain", "plain.git"),
        ("work", "work"),
        ("work/", "work"),
        ("work/.git", "work"),
        ("tree", "tree.git"),
        ("~/bare", "bare.git"),
        ("~/work/", "work"),
        ("./~", "~"),
    ]
    .into_iter()
    .enumerate()
    {
        let before = count(place);
        assert_eq!(push_by_both(&source, home, name, &format!("refs/heads/{number}")), [None, None], "{name}");
        assert_eq!(count(place), before + 1, "{name}");
        // The second of two pushes found the first one's branch, or its repository has it now as well.
        let all = ["bare.git", "both", "both.git", "plain.git", "work", "tree.git", "~"];
        let found = all.iter().filter(|place| {
            let names = Repo::at(home.join(place)).refs();
            names.iter().any(|(name, _)| *name == format!("refs/heads/{number}"))
        });
        assert_eq!(found.collect::<Vec<_>>(), [&place], "{name}");
    }
    for name in ["none", "none.git", "bare.git/refs", "~/none", "~", "~/", "plai", "."] {
        let words = format!("fatal: '{name}' does not appear to be a git repository");
        assert_eq!(push_by_both(&source, home, name, "refs/heads/x"), [Some(words.clone()), Some(words)], "{name}");
    }
}

/// The home directory is that of whoever runs the server.
#[test]
fn what_a_configuration_includes_may_lie_below_the_home_directory() {
    let (source, target) = (source(), Repo::bare());
    let home = tempfile::tempdir().expect("a temporary directory");
    target.git(["config", "include.path", "~/rules"]);
    let push =
        |refspec| source.try_push(text(target.path()), &[&program(&format!("HOME={}", text(home.path()))), refspec]);
    push("main").expect_success("a push");
    push("main:refs/heads/old").expect_success("a push");
    std::fs::write(home.path().join("rules"), "[receive]\n\tdenyDeletes\n").expect("a file");
    assert!(push(":old").stderr.contains("! [remote rejected] old (deletion prohibited)"));
    std::fs::remove_file(home.path().join("rules")).expect("it was there");
    push(":old").expect_success("a deletion");
}
