//! Many pushes at once through one forge.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use receive_pack::proto::ObjectKind;

use super::forge::Forge;
use super::format::format;
use super::pack::{self, PackBuilder, blob_id};
use super::request::{Request, pkt};
use super::rng::Rng;

/// What came of many pushes at once.
#[derive(Debug)]
pub struct Load {
    /// How long each took, the repository it went to, and its tip; the quickest first.
    pub pushes: Vec<(Duration, String, String)>,
    /// The most memory that the forge has had, in bytes.
    pub peak: u64,
    /// The most file descriptors that a push saw the forge have when it was done.
    pub descriptors: usize,
}

impl Load {
    /// So many pushes of one commit with a file of `size` incompressible bytes, each into a repository of its own, half
    /// of them over HTTP, half over git://.
    #[track_caller]
    pub fn run(forge: &Forge, count: usize, size: usize) -> Self {
        let descriptors = AtomicUsize::new(0);
        let mut pushes: Vec<_> = std::thread::scope(|scope| {
            let pushes: Vec<_> = (0..count)
                .map(|index| {
                    let descriptors = &descriptors;
                    scope.spawn(move || {
                        let (request, tip) = push_of(index as u64, size);
                        let (name, start) = (format!("{size}-{index}.git"), Instant::now());
                        let said = push(forge, index % 2 == 0, &name, &request);
                        assert!(said.contains("ok refs/heads/main"), "{name}: {said}");
                        descriptors.fetch_max(forge.open_files(), Ordering::Relaxed);
                        (start.elapsed(), name, tip)
                    })
                })
                .collect();
            pushes.into_iter().map(|push| push.join().expect("no push fails")).collect()
        });
        pushes.sort();
        Self { pushes, peak: forge.peak_memory(), descriptors: descriptors.into_inner() }
    }

    /// What so many per cent of the pushes took at most.
    pub fn percentile(&self, percent: usize) -> Duration {
        self.pushes[(self.pushes.len() - 1) * percent / 100].0
    }
}

/// A push of one commit with `size` incompressible bytes; gives the request and the commit.
fn push_of(seed: u64, size: usize) -> (Vec<u8>, String) {
    let blob = Rng::new(seed).bytes(size);
    let mut builder = PackBuilder::default();
    builder.object(ObjectKind::Blob, &blob);
    let tree = pack::tree([("file", &blob_id(&blob))]);
    builder.object(ObjectKind::Tree, &tree);
    let commit = pack::commit(&pack::object_id(format(), ObjectKind::Tree, &tree), &[]);
    builder.object(ObjectKind::Commit, &commit);
    let tip = pack::object_id(format(), ObjectKind::Commit, &commit);
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
