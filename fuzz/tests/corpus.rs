//! The corpus without a fuzzer, each input once: for Miri, which is too slow for more. `fuzz/miri` makes the corpus first.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use receive_pack::fuzzing::{TARGETS, Target};

/// Runs one target over its corpus, and over what was found before: the shortest inputs first, and as many as there is
/// time for if `RECEIVE_PACK_SECONDS` says how much.
fn replay(name: &str) {
    let seconds = std::env::var("RECEIVE_PACK_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    let (_, run): Target = *TARGETS.iter().find(|(target, _)| *target == name).expect("a target");
    let mut inputs: Vec<_> = inputs(name).iter().map(|path| std::fs::read(path).expect("its bytes")).collect();
    inputs.sort_by_key(Vec::len);
    let (begin, mut count) = (Instant::now(), 0);
    for input in &inputs {
        if seconds.is_some_and(|seconds| begin.elapsed() > Duration::from_secs(seconds)) {
            break;
        }
        run(input);
        count += 1;
    }
    println!("{name}: {count} of {} inputs", inputs.len());
    assert!(count > 0, "no input for {name}");
}

fn inputs(name: &str) -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seeds = std::fs::read_dir(here.join("corpus").join(name)).expect("fuzz/miri has made the corpus");
    let found = std::fs::read_dir(here.join("../tests/transcripts").join(name)).into_iter().flatten();
    // Fuzzers add thousands of files of their own.
    let is_seed = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seed-"));
    let seeds = seeds.map(|file| file.expect("a file").path()).filter(is_seed);
    seeds.chain(found.map(|file| file.expect("a file").path())).collect()
}

macro_rules! replays {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })*

        #[test]
        fn none_is_left_out() {
            assert_eq!([$(stringify!($target)),*], TARGETS.map(|(name, _)| name));
        }
    };
}

replays!(pkt_line head entry_header receive delta index);
