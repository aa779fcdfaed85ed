//! The push that took a server down: a repository of its size, pushed by the real git.

mod support;

use support::fast_import::Shape;

#[test]
fn the_repository_is_of_the_size_of_the_outage() {
    let source = Shape::OUTAGE.repository();
    assert_eq!(source.reachable().len(), 134_000);
    let stored = source.git(["count-objects", "-v"]).text();
    let kib = stored.lines().find_map(|line| line.strip_prefix("size-pack: ")).expect("the size of the packs");
    assert!(kib.parse::<u64>().expect("a number") > 100 * 1024, "{stored}");
}
