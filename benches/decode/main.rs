//! What decoding costs, beside the inflater that it stands on: one task a process.
//!
//! ```sh
//! cargo bench --bench decode -- decode some.pack
//! cargo bench --bench decode --features sirocco -- inflate some.pack
//! ```
//!
//! The tasks are `inflate`, the floor: the inflater that was chosen, and nothing else; `decode`: frames; `verify`: frames
//! and the checksum; `opaque`: the pack as it is, and the checksum. Each prints the processor seconds of this thread. The
//! bench `push` runs them with either inflater and makes a table of them.

// Nothing here is anybody's public API.
#![allow(unreachable_pub)]

#[path = "../push/clock.rs"]
mod clock;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use clock::thread_time;
use flate2::{Decompress, FlushDecompress, Status};
use futures_util::{Stream, StreamExt};
use receive_pack::Error;
use receive_pack::checksum::{Checksummed, Throttle};
use receive_pack::codec::ReceivePackCodec;
use receive_pack::proto::{ObjectFormat, PackFrame, Payload};
use receive_pack::push::{Pack, accept};
use support::request::Request;
use tokio::io::{AsyncRead, ReadBuf};

fn main() {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let (cpu, frames) = match words[..] {
        ["inflate", pack] => inflate(Path::new(pack)),
        ["decode", pack] => decode(Path::new(pack), Payload::Objects, false),
        ["verify", pack] => decode(Path::new(pack), Payload::Objects, true),
        ["opaque", pack] => decode(Path::new(pack), Payload::Opaque, true),
        _ => return println!("say what to do: inflate, decode, verify or opaque, and a pack"),
    };
    println!("cpu={}\nframes={frames}", cpu.as_secs_f64());
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
fn decode(pack: &Path, payload: Payload, verify: bool) -> (Duration, u64) {
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
        (thread_time() - start, frames)
    })
}

async fn count(body: &mut (impl Stream<Item = Result<PackFrame, Error>> + Unpin)) -> u64 {
    let mut frames = 0;
    while let Some(frame) = body.next().await {
        black_box(frame.expect("a sound pack"));
        frames += 1;
    }
    frames
}

/// The floor under decoding: every entry is inflated by the inflater that the crate uses, which is given all of the
/// pack and room to spare, and nothing else is done. The lengths and places of the entries are found out before.
fn inflate(pack: &Path) -> (Duration, u64) {
    let bytes = std::fs::read(pack).expect("a pack");
    let mut inflater = Decompress::new(true);
    let mut out = vec![0; (64 << 10) + 512];
    let streams = streams(&bytes, &mut inflater, &mut out);
    #[cfg(feature = "sirocco")]
    let mut whole = sirocco::inflate::Decoder::new(sirocco::Format::Zlib);
    let begin = thread_time();
    for stream in &streams {
        let input = &bytes[stream.start..stream.end];
        // As the crate does: at once what fits a chunk, and the rest piece by piece.
        #[cfg(feature = "sirocco")]
        if stream.fits {
            whole.reset();
            black_box(whole.decompress(input, &mut out, true).expect("a sound pack").done);
            continue;
        }
        inflater.reset(true);
        black_box(inflate_one(&mut inflater, input, &mut out));
    }
    (thread_time() - begin, streams.len() as u64)
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

/// The zlib stream of an entry.
struct Zlib {
    start: usize,
    /// How far the inflater may look. What follows the entry lets it run up to the end without fear.
    end: usize,
    /// Whether it makes no more than a chunk.
    #[cfg_attr(not(feature = "sirocco"), expect(dead_code, reason = "zlib-rs takes all of them alike"))]
    fits: bool,
}

fn streams(bytes: &[u8], inflater: &mut Decompress, out: &mut [u8]) -> Vec<Zlib> {
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
            let mut start = skip_varint(at);
            match kind {
                6 => start = skip_varint(start),
                7 => start += 20,
                _ => {}
            }
            inflater.reset(true);
            at = start + inflate_one(inflater, &bytes[start..], out);
            Zlib { start, end: (at + 64).min(bytes.len()), fits: inflater.total_out() <= 64 << 10 }
        })
        .collect()
}
