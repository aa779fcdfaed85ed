//! Others that make an index of a pack, as libraries in a process of their own.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix_utils::progress::Discard;

/// gix-pack, told to verify everything and to do it on so many threads.
pub fn gix(pack: &Path, threads: &str) {
    let directory = directory();
    let options = gix_pack::bundle::write::Options {
        thread_limit: Some(threads.parse().expect("a number of threads")),
        ..gix_pack::bundle::write::Options::default()
    };
    let outcome = gix_pack::Bundle::write_to_directory(
        &mut BufReader::with_capacity(256 << 10, File::open(pack).expect("a pack")),
        Some(directory.path()),
        &mut Discard,
        &AtomicBool::new(false),
        None::<gix_object::find::Never>,
        gix_hash::Kind::Sha1,
        options,
    );
    println!("objects={}", outcome.expect("a sound pack").index.num_objects);
}

/// libgit2, which has one thread.
pub fn libgit2(pack: &Path) {
    let directory = directory();
    let mut indexer = git2::Indexer::new(None, directory.path(), 0, true).expect("an indexer");
    let mut file = File::open(pack).expect("a pack");
    let mut piece = vec![0; 256 << 10];
    loop {
        match file.read(&mut piece).expect("a file that can be read") {
            0 => break,
            len => indexer.write_all(&piece[..len]).expect("a sound pack"),
        }
    }
    println!("name={}", indexer.commit().expect("a sound pack"));
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}
