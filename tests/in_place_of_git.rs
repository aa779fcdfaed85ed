//! The example `receive_pack` where `git receive-pack` would stand, beside it.

#![cfg(all(unix, feature = "bare-repository"))]

mod support;

use support::git::Repo;
use support::server::example;

fn text(path: &std::path::Path) -> &str {
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
    format!("--receive-pack=env {environment} {}", example("receive_pack").display())
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
