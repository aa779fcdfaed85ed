//! What is measured in processes of our own, one task each.

use std::hint::black_box;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use receive_pack::checksum::ChecksumLayer;
use receive_pack::proto::ObjectFormat;
use receive_pack::receive::ReceivePack;
use receive_pack::serve::Serve;
use receive_pack::store::{BareRepository, Store};
use receive_pack::transport::DaemonRequest;
use tower::ServiceBuilder;

use crate::client;
use crate::clock::thread_time;
use crate::packs::Pack as PackFile;
use crate::support::forge::Forge;
use crate::support::git::Repo;
use crate::support::load::Load;
use crate::support::pack::Hash;

/// Does one task; prints its figures, one a line.
pub fn run(words: &[String]) {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["prepare"] => crate::prepare(),
        ["index", pack, threads, collisions] => index(Path::new(pack), threads, collisions == "detect"),
        ["gix", pack, threads] => crate::peers::gix(Path::new(pack), threads),
        ["libgit2", pack] => crate::peers::libgit2(Path::new(pack)),
        ["load", count, size] => load(count, size),
        ["polls", repository] => polls(Path::new(repository)),
        _ => panic!("no such task: {words:?}"),
    }
}

/// A pack from a file into files: pack, index and reverse index, all durable.
fn index(pack: &Path, threads: &str, detect_collisions: bool) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
    let threads: NonZeroUsize = threads.parse().expect("a number of threads");
    let pack = std::fs::File::open(pack).expect("a pack");
    let done = receive_pack::bench::index_pack(pack, directory.path(), threads, detect_collisions);
    let (objects, resolving) = done.expect("a sound pack");
    println!("objects={objects}\nresolving={}", resolving.as_secs_f64());
}

/// So many pushes at once into one process of the example `forge`.
fn load(count: &str, size: &str) {
    let forge = Forge::start(&["--pushes", "16"]);
    let load = Load::run(&forge, count.parse().expect("a number"), size.parse().expect("a number of bytes"));
    let seconds = |percent| load.percentile(percent).as_secs_f64();
    println!("p50={}\np99={}\npeak={}\ndescriptors={}", seconds(50), seconds(99), load.peak, load.descriptors);
}

/// How long each poll of a connection takes while a large push streams into a bare repository.
fn polls(repository: &Path) {
    let pack = PackFile::of("pack", repository);
    let target = Repo::bare();
    let store = BareRepository::open(target.path()).expect("the repository opens");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let client = std::thread::spawn(move || {
            let commands: Vec<_> =
                pack.refs.iter().map(|(name, id)| (name.clone(), "0".repeat(40), id.clone())).collect();
            client::push(&address, "demo.git", &commands, client::file(&pack.path));
        });
        let (stream, _) = listener.accept().await.expect("a client");
        let serving = async move {
            let (mut read, write) = stream.into_split();
            DaemonRequest::read(&mut read).await.expect("a request");
            let advertisement = store.advertise().await.expect("an advertisement");
            let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store));
            Serve::new().serve(read, write, advertisement, service).await.expect("a push")
        };
        // A task, as a server would have it: what polls the outermost future takes no part in the work.
        let polls = tokio::spawn(timed(serving)).await.expect("the task ends");
        client.join().expect("the client ends");
        for (name, mut times) in [("cpu", polls.0), ("wall", polls.1)] {
            times.sort_unstable();
            for percent in [50, 99, 100] {
                let at = (times.len() * percent / 100).min(times.len() - 1);
                println!("{name}{percent}={}", times[at].as_secs_f64());
            }
            println!("polls={}", times.len());
        }
    });
}

/// The processor time and the wall time of each poll of a future.
async fn timed<F: Future>(future: F) -> (Vec<Duration>, Vec<Duration>) {
    let mut future = pin!(future);
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    std::future::poll_fn(move |cx| {
        let start = (thread_time(), Instant::now());
        let polled = future.as_mut().poll(cx);
        cpu.push(thread_time() - start.0);
        wall.push(start.1.elapsed());
        polled.map(|_| (std::mem::take(&mut cpu), std::mem::take(&mut wall)))
    })
    .await
}

/// The trailer of what follows no codec: for the floor of the checksum.
pub fn sha1_speed(bytes: usize) -> f64 {
    let piece = vec![7; 256 << 10];
    let mut hash = Hash::new(ObjectFormat::Sha1);
    let start = thread_time();
    for _ in 0..bytes / piece.len() {
        hash.update(&piece);
    }
    black_box(hash.finish());
    bytes as f64 / (thread_time() - start).as_secs_f64()
}
