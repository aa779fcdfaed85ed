//! The push that took a server down: a repository of its size, pushed by the real git.

#![cfg(feature = "bare-repository")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use support::fast_import::Shape;
use support::git::{Repo, assert_same_repository};
use support::server::{Daemon, example};

#[test]
fn the_repository_is_of_the_size_of_the_outage() {
    let source = Shape::OUTAGE.repository();
    assert_eq!(source.reachable().len(), 134_000);
    let stored = source.git(["count-objects", "-v"]).text();
    let kib = stored.lines().find_map(|line| line.strip_prefix("size-pack: ")).expect("the size of the packs");
    assert!(kib.parse::<u64>().expect("a number") > 100 * 1024, "{stored}");
}

#[test]
fn real_git_pushes_it_over_tcp_and_then_a_little_more() {
    let (source, daemon) = (Shape::OUTAGE.repository().borrow(), Daemon::start());
    let (url, target) = (daemon.url("ovs.git"), daemon.repository("ovs.git"));
    source.push(&url, &["--mirror", "-q"]);
    assert_same_repository(&source, &target);
    let peak = daemon.peak_memory();
    println!("peak memory of the server: {} KiB", peak / 1024);
    // Not a measurement, which tests/memory.rs makes: the outage's server held ten times the pack.
    assert!(peak < 100 << 20, "a push of more than 100 MB took {peak} bytes of memory");

    push_a_little_more(&source, &url);
    assert_same_repository(&source, &target);
    assert_eq!(packs(&target).len(), 1, "a small push is unpacked, its deltas against what the server has as well");
    keep_packs(&target);
    change_a_text(&source, "d008/text2.c");
    source.push(&url, &["--mirror", "-q"]);
    assert_same_repository(&source, &target);
    assert_a_thin_pack_was_completed(&target);
}

#[test]
fn real_git_pushes_it_over_a_pipe_and_then_a_little_more() {
    let (source, target) = (Shape::OUTAGE.repository().borrow(), Repo::bare());
    let program = format!("--receive-pack={}", example("receive_pack").display());
    let url = target.path().to_str().expect("a path of text").to_owned();
    source.push(&url, &["--mirror", "-q", &program]);
    assert_same_repository(&source, &target);

    keep_packs(&target);
    change_a_text(&source, "d007/text2.c");
    source.push(&url, &["--mirror", "-q", &program]);
    assert_same_repository(&source, &target);
    assert_a_thin_pack_was_completed(&target);
}

/// From now on a small push makes a pack as well.
fn keep_packs(target: &Repo) {
    target.git(["config", "receive.unpackLimit", "1"]);
}

/// A commit that git sends as deltas against what the server has.
fn change_a_text(source: &Repo, path: &str) {
    let mut text = source.object("blob", &format!("main:{path}"));
    text.extend_from_slice(b"/* one more line */\n");
    source.commit("main", &[(path, &text)]);
}

/// An update, a new branch, a new branch at a known commit, and a deletion, in one push.
fn push_a_little_more(source: &Repo, url: &str) {
    change_a_text(source, "d007/text2.c");
    source.git(["branch", "-q", "fresh", "main~100"]);
    source.git(["branch", "-q", "-D", "topic/one"]);
    source.push(url, &["--mirror", "-q"]);
}

/// Some object is in two packs: the base that a thin pack lacked, and that the server added to it.
#[track_caller]
fn assert_a_thin_pack_was_completed(target: &Repo) {
    let packs = packs(target);
    assert_eq!(packs.len(), 2, "two pushes make two packs");
    assert!(!packs[0].is_disjoint(&packs[1]), "the second pack was not thin");
}

/// The ids that each pack has.
fn packs(target: &Repo) -> Vec<BTreeSet<String>> {
    let ids = |index: &Path| {
        let listing = target.git_with_input(["show-index"], &std::fs::read(index).expect("an index")).text();
        listing.lines().filter_map(|line| line.split(' ').nth(1).map(str::to_owned)).collect()
    };
    let files = std::fs::read_dir(target.git_dir().join("objects/pack")).expect("the packs");
    let files = files.map(|entry| entry.expect("a file").path());
    files.filter(|path| path.extension() == Some("idx".as_ref())).map(|index| ids(&index)).collect()
}
