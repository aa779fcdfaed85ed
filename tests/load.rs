//! Many pushes at once through one server: none is lost, and what the server takes for them is bounded.

#![cfg(all(feature = "bare-repository", feature = "http"))]

mod support;

use support::forge::Forge;
use support::load::Load;

#[test]
fn no_push_of_many_is_lost() {
    let forge = Forge::start(&["--pushes", "16"]);
    for (count, size) in [(200, 2000), (20, 16 << 20)] {
        let load = Load::run(&forge, count, size);
        for (_, name, tip) in &load.pushes {
            let repo = forge.repository(name);
            assert_eq!(repo.refs(), [("refs/heads/main".to_owned(), tip.clone())], "{name}");
            repo.fsck();
            repo.assert_no_leftovers();
        }
        println!(
            "{count} pushes of {size} bytes: p50 {:.1?}, p99 {:.1?}; peak memory {} MiB, at most {} descriptors",
            load.percentile(50),
            load.percentile(99),
            load.peak >> 20,
            load.descriptors,
        );
        // 16 pushes at a time have their files open; whoever waits has a socket, and no more.
        assert!(load.descriptors < 100 + count + 16 * 8, "{} descriptors", load.descriptors);
    }
    // 16 pushes at a time, and what a waiting connection holds: far below the 320 MiB that were sent.
    let peak = forge.peak_memory();
    assert!(peak < 200 << 20, "{} MiB", peak >> 20);
}
