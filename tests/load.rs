//! Many pushes at once through one server: none is lost, and what the server takes for them is bounded.

#![cfg(all(feature = "bare-repository", feature = "http"))]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use receive_pack::proto::{ObjectFormat, ObjectKind};
use support::forge::Forge;
use support::pack::{self, PackBuilder, blob_id};
use support::request::{Request, pkt};
use support::rng::Rng;

/// A push of one commit with `size` incompressible bytes; gives the request and the commit.
fn push_of(seed: u64, size: usize) -> (Vec<u8>, String) {
    let blob = Rng::new(seed).bytes(size);
    let mut builder = PackBuilder::default();
    builder.object(ObjectKind::Blob, &blob);
    let tree = pack::tree([("file", &blob_id(&blob))]);
    builder.object(ObjectKind::Tree, &tree);
    let commit = pack::commit(&pack::object_id(ObjectFormat::Sha1, ObjectKind::Tree, &tree), &[]);
    builder.object(ObjectKind::Commit, &commit);
    let tip = pack::object_id(ObjectFormat::Sha1, ObjectKind::Commit, &commit);
    (Request::new().create("refs/heads/main", tip).pack(builder.finish()).bytes().to_vec(), tip.to_string())
}

/// Pushes over one of the two, and gives what the server said; it closes, or the answer would have no end.
fn push(forge: &Forge, over_http: bool, name: &str, request: &[u8]) -> String {
    let address = if over_http { forge.http() } else { forge.git() };
    let mut stream = TcpStream::connect(address).expect("the forge listens");
    stream.set_read_timeout(Some(Duration::from_secs(240))).expect("a timeout");
    let hello = if over_http {
        let len = request.len();
        format!(
            "POST /{name}/git-receive-pack HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len}\r\n\
             content-type: application/x-git-receive-pack-request\r\n\r\n"
        )
        .into_bytes()
    } else {
        pkt(format!("git-receive-pack /{name}\0host=x\0"))
    };
    stream.write_all(&hello).and_then(|()| stream.write_all(request)).expect("the forge reads");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("the forge answers");
    String::from_utf8_lossy(&said).into_owned()
}

/// So many pushes of this size at once, each into a repository of its own; prints how long they took.
fn load(forge: &Forge, kind: &str, count: usize, size: usize) {
    let files = AtomicUsize::new(0);
    let mut took: Vec<_> = std::thread::scope(|scope| {
        let pushes: Vec<_> = (0..count)
            .map(|index| {
                let files = &files;
                scope.spawn(move || {
                    let (request, tip) = push_of(index as u64, size);
                    let (name, start) = (format!("{kind}-{index}.git"), Instant::now());
                    let said = push(forge, index % 2 == 0, &name, &request);
                    assert!(said.contains("ok refs/heads/main"), "{name}: {said}");
                    files.fetch_max(forge.open_files(), Ordering::Relaxed);
                    (start.elapsed(), name, tip)
                })
            })
            .collect();
        pushes.into_iter().map(|push| push.join().expect("no push fails")).collect()
    });
    for (_, name, tip) in &took {
        let repo = forge.repository(name);
        assert_eq!(repo.refs(), [("refs/heads/main".to_owned(), tip.clone())], "{name}");
        repo.fsck();
        repo.assert_no_leftovers();
    }
    took.sort();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].0;
    println!(
        "{count} {kind} pushes: p50 {:.1?}, p99 {:.1?}; peak memory {} MiB, at most {} descriptors",
        at(50),
        at(99),
        forge.peak_memory() >> 20,
        files.into_inner()
    );
}

#[test]
fn no_push_of_many_is_lost() {
    let forge = Forge::start(&["--pushes", "16"]);
    load(&forge, "small", 200, 2000);
    load(&forge, "large", 20, 16 << 20);
    // 16 pushes at a time, and what a waiting connection holds: far below the 320 MiB that were sent.
    let peak = forge.peak_memory();
    assert!(peak < 200 << 20, "{} MiB", peak >> 20);
}
