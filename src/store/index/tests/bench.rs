//! The whole of `git index-pack`, to be measured from outside:
//!
//! `PACK=some.pack cargo test --release --features bare-repository -- --ignored --exact …::index_a_pack`

use std::fs::File;
use std::num::NonZeroUsize;
use std::time::Instant;

use super::super::{IndexOptions, Indexer};
use super::decode::decode;
use crate::proto::ObjectFormat;

#[test]
#[ignore = "measures; wants PACK=path"]
fn index_a_pack() {
    let path = std::env::var("PACK").expect("PACK names a pack");
    let threads = std::env::var("THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(NonZeroUsize::MIN);
    let mut options = IndexOptions::new(ObjectFormat::Sha1);
    #[cfg(feature = "collision-detection")]
    {
        options.detect_collisions = std::env::var("PLAIN").is_err();
    }
    options.spool = Some(std::env::temp_dir());
    let begin = Instant::now();
    let mut indexer = Indexer::new(options);
    let checksum = decode(File::open(&path).unwrap(), ObjectFormat::Sha1, |object| {
        indexer.write(&object, &mut ()).unwrap();
    });
    let decoded = begin.elapsed();
    let index =
        indexer.resolve(&File::open(&path).unwrap(), &super::pack::NoBases, &(), threads, |_, _| Ok(())).unwrap();
    let resolved = begin.elapsed();
    let out = std::env::var("OUT").unwrap_or_else(|_| "/dev/null".into());
    index.write_idx(&checksum, File::create(&out).unwrap()).unwrap();
    let rev = if out == "/dev/null" { out } else { format!("{out}.rev") };
    index.write_rev(&checksum, File::create(rev).unwrap()).unwrap();
    let written = begin.elapsed();
    println!(
        "{} objects: write {decoded:.2?}, resolve {:.2?}, files {:.2?}",
        index.len(),
        resolved - decoded,
        written - resolved
    );
}
