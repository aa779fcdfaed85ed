//! What is measured in processes of our own, one task each.

use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use futures_util::StreamExt;
use receive_pack::checksum::{ChecksumLayer, Checksummed, Throttle};
use receive_pack::codec::ReceivePackCodec;
use receive_pack::proto::{ObjectFormat, PackFrame, Payload};
use receive_pack::push::{Pack, accept};
use receive_pack::receive::ReceivePack;
use receive_pack::serve::Serve;
use receive_pack::store::{BareRepository, Store};
use receive_pack::transport::DaemonRequest;
use tokio::io::{AsyncRead, ReadBuf};
use tower::ServiceBuilder;

use crate::client;
use crate::measure::thread_time;
use crate::packs::Pack as PackFile;
use crate::support::forge::Forge;
use crate::support::git::Repo;
use crate::support::load::Load;
use crate::support::pack::Hash;
use crate::support::request::Request;

/// Does one task; prints its figures, one a line.
pub fn run(words: &[String]) {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["prepare"] => crate::prepare(),
        ["inflate", pack] => inflate(Path::new(pack)),
        ["decode", pack] => decode(Path::new(pack), Payload::Objects, false),
        ["verify", pack] => decode(Path::new(pack), Payload::Objects, true),
        ["opaque", pack] => decode(Path::new(pack), Payload::Opaque, true),
        ["index", pack, threads, collisions] => index(Path::new(pack), threads, collisions == "detect"),
        ["gix", pack, threads] => crate::peers::gix(Path::new(pack), threads),
        ["libgit2", pack] => crate::peers::libgit2(Path::new(pack)),
        ["load", count, size] => load(count, size),
        ["polls", repository] => polls(Path::new(repository)),
        _ => panic!("no such task: {words:?}"),
    }
}

/// Bytes in memory, given as a fast socket would: as many as there is room for.
struct Memory {
    bytes: Bytes,
    at: usize,
}

impl AsyncRead for Memory {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let rest = &self.bytes[self.at..];
        let len = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..len]);
        self.at += len;
        Poll::Ready(Ok(()))
    }
}

/// A request that creates a ref with this pack.
fn request(pack: &Path) -> Memory {
    let mut bytes = Request::new().create("refs/heads/main", "1".repeat(40)).head();
    bytes.extend_from_slice(&std::fs::read(pack).expect("a pack"));
    Memory { bytes: bytes.into(), at: 0 }
}

async fn body(memory: Memory, payload: Payload) -> Pack<Memory> {
    let codec = ReceivePackCodec::builder().payload(payload).build();
    let push = accept(codec.framed_read(memory)).await.expect("a sound head").expect("not a probe");
    push.into_parts().2
}

/// Through the codec, and perhaps the checksum: frames are looked at and dropped.
fn decode(pack: &Path, payload: Payload, verify: bool) {
    let memory = request(pack);
    // A body that has ended lets go of its stream, and to free all this would be measured as well.
    let _kept = memory.bytes.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut body = body(memory, payload).await;
        let start = thread_time();
        let frames = if verify {
            let mut body = Checksummed::new(body, ObjectFormat::Sha1, Throttle::default());
            count(&mut body).await
        } else {
            count(&mut body).await
        };
        println!("cpu={}\nframes={frames}", (thread_time() - start).as_secs_f64());
    });
}

async fn count(body: &mut (impl futures_util::Stream<Item = Result<PackFrame, receive_pack::Error>> + Unpin)) -> u64 {
    let mut frames = 0;
    while let Some(frame) = body.next().await {
        black_box(frame.expect("a sound pack"));
        frames += 1;
    }
    frames
}

/// The floor under decoding: every entry is inflated by the inflater that the crate uses, which is given all of the
/// pack and room to spare, and nothing else is done. The lengths and places of the entries are found out before.
fn inflate(pack: &Path) {
    let bytes = std::fs::read(pack).expect("a pack");
    let mut inflater = Decompress::new(true);
    let mut out = vec![0; (64 << 10) + 512];
    let entries = entries(&bytes, &mut inflater, &mut out);
    let start = thread_time();
    for &at in &entries {
        inflater.reset(true);
        black_box(inflate_one(&mut inflater, &bytes[at..], &mut out));
    }
    println!("cpu={}\nframes={}", (thread_time() - start).as_secs_f64(), entries.len());
}

/// Inflates a whole zlib stream, piece by piece if it is large; gives its length.
fn inflate_one(inflater: &mut Decompress, input: &[u8], out: &mut [u8]) -> usize {
    loop {
        let done = usize::try_from(inflater.total_in()).expect("in memory");
        match inflater.decompress(&input[done..], out, FlushDecompress::None).expect("a sound pack") {
            Status::StreamEnd => return usize::try_from(inflater.total_in()).expect("in memory"),
            _ => black_box(&out),
        };
    }
}

/// Where the zlib stream of each entry begins.
fn entries(bytes: &[u8], inflater: &mut Decompress, out: &mut [u8]) -> Vec<usize> {
    let count = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    let mut at = 12;
    let skip_varint = |mut at: usize| {
        while bytes[at] & 0x80 != 0 {
            at += 1;
        }
        at + 1
    };
    (0..count)
        .map(|_| {
            let kind = bytes[at] >> 4 & 7;
            let mut begin = skip_varint(at);
            match kind {
                6 => begin = skip_varint(begin),
                7 => begin += 20,
                _ => {}
            }
            inflater.reset(true);
            at = begin + inflate_one(inflater, &bytes[begin..], out);
            begin
        })
        .collect()
}

/// A pack from a file into files: pack, index and reverse index, all durable.
fn index(pack: &Path, threads: &str, detect_collisions: bool) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
    let threads: NonZeroUsize = threads.parse().expect("a number of threads");
    let pack = std::fs::File::open(pack).expect("a pack");
    let objects = receive_pack::bench::index_pack(pack, directory.path(), threads, detect_collisions);
    println!("objects={}", objects.expect("a sound pack"));
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
