//! The memory of a push is bounded by constants, whatever its size. Measured, on processes that do nothing else.

#![cfg(all(feature = "bare-repository", feature = "http"))]

mod support;

use bytes::Bytes;
use futures_util::StreamExt;
use receive_pack::checksum::{Checksummed, Throttle};
use receive_pack::codec::ReceivePackCodec;
use receive_pack::proto::{PackFrame, Payload};
use receive_pack::push::accept;
use receive_pack::store::BareRepository;
use support::format::format;
use support::git::Repo;
use support::io::Script;
use support::memory::{child_task, peak_of_child, report_peak};
use support::pack::{BigPack, Shape};
use support::request::Request;
use support::rng::Rng;
use support::server::{in_time, serve};
use support::slow_store::{Listen, SlowStore, TRANSPORTS};

const MIB: u64 = 1 << 20;

/// The sizes of the packs, in MiB.
const SIZES: [u64; 3] = [5, 50, 500];

/// How much more the largest push may take than the smallest.
const BOUND: u64 = 8 * MIB;

/// The pushes of [`SIZES`] in children of their own: their peaks must lie within [`BOUND`].
#[track_caller]
fn assert_bounded(child: &str, how: &str) {
    let peaks = SIZES.map(|size| peak_of_child(child, &format!("{how} {size}")));
    println!("peaks in KiB for pushes of {SIZES:?} MiB, {how}: {:?}", peaks.map(|peak| peak / 1024));
    let (least, most) = (peaks.iter().min().expect("peaks"), peaks.iter().max().expect("peaks"));
    assert!(most - least < BOUND, "the peaks for packs of {SIZES:?} MiB, {how}: {peaks:?} bytes");
}

/// What a child was asked for: how to take the pack, and the client that sends it in pieces of 4 KiB and stays open.
fn task() -> Option<(String, Script)> {
    let task = child_task()?;
    let (how, size) = task.split_once(' ').expect("how, and how much");
    let pack = BigPack::new(Shape::mib(size.parse().expect("a number of MiB")));
    let head = Bytes::from(Request::new().create("refs/heads/main", pack.tip()).head());
    let chunks = std::iter::once(head).chain(pack.chunks());
    Some((how.to_owned(), Script::new(chunks).pieces(4 << 10).stays_open()))
}

/// The measure itself: a child that keeps 32 MiB must show them.
#[test]
fn memory_that_is_kept_is_seen() {
    let [little, much] = ["0", "32"].map(|mib| peak_of_child("child_keeps_memory", mib));
    assert!(much - little > 31 * MIB, "{little} and {much} bytes");
}

#[test]
#[ignore = "a child of the test above"]
fn child_keeps_memory() {
    let Some(mib) = child_task() else { return };
    let kept = Rng::new(1).bytes(mib.parse::<usize>().expect("a number of MiB") << 20);
    assert_eq!(std::hint::black_box(kept).len() % MIB as usize, 0);
    report_peak();
}

#[test]
fn peak_memory_of_a_push_into_a_bare_repository_does_not_grow_with_it() {
    assert_bounded("child_pushes_into_a_bare_repository", "store");
}

#[test]
#[ignore = "a child of the test above"]
fn child_pushes_into_a_bare_repository() {
    let Some((_, reader)) = task() else { return };
    let repo = Repo::bare();
    let store = BareRepository::open(repo.path()).expect("the repository opens");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let (served, _) = runtime.expect("a runtime").block_on(serve(store, reader));
    assert!(served.expect("the push is served").report().expect("a report").is_ok());
    report_peak();
}

/// What a push into an object store may take: two parts of 8 MiB on their way, each once as it is sent, and what any push
/// takes.
#[cfg(feature = "object-store")]
const UPLOAD: u64 = 56 * MIB;

#[cfg(feature = "object-store")]
#[test]
fn peak_memory_of_a_push_into_an_object_store_does_not_grow_with_it() {
    let Some(s3) = support::s3::S3::seaweedfs() else { return };
    let [less, more] =
        [50, 500].map(|size| peak_of_child("child_pushes_into_an_object_store", &format!("{} {size}", s3.address())));
    println!("peaks in KiB for pushes of 50 and 500 MiB: {} and {}", less / 1024, more / 1024);
    assert!(
        more.abs_diff(less) < BOUND && more < UPLOAD,
        "the peaks for packs of 50 and 500 MiB: {less}, {more} bytes"
    );
}

#[cfg(feature = "object-store")]
#[test]
#[ignore = "a child of the test above"]
fn child_pushes_into_an_object_store() {
    use receive_pack::store::{Bucket, ObjectStoreRepository};

    let Some((address, reader)) = task() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let (served, _) = runtime.expect("a runtime").block_on(async {
        let bucket = Bucket::open(support::s3::store_at(&address)).await.expect("a bucket");
        let path = format!("memory-{}.git", std::process::id());
        let repository = ObjectStoreRepository::init(&bucket, &path, format()).await.expect("a repository");
        serve(repository, reader).await
    });
    assert!(served.expect("the push is served").report().expect("a report").is_ok());
    report_peak();
}

#[test]
fn peak_memory_of_decoding_and_verifying_does_not_grow_with_the_push() {
    assert_bounded("child_decodes_and_verifies", "objects");
    assert_bounded("child_decodes_and_verifies", "opaque");
}

#[test]
#[ignore = "a child of the test above"]
fn child_decodes_and_verifies() {
    let Some((how, reader)) = task() else { return };
    let payload = if how == "opaque" { Payload::Opaque } else { Payload::Objects };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let complete = runtime.block_on(async {
        let codec = ReceivePackCodec::builder().object_format(format()).payload(payload).build();
        let push = accept(codec.framed_read(reader)).await.expect("a sound head").expect("not a probe");
        let (_, _, body) = push.into_parts();
        let mut body = Checksummed::new(body, format(), Throttle::default());
        while let Some(frame) = body.next().await {
            if let PackFrame::Complete(complete) = frame.expect("a sound pack") {
                return Some(complete);
            }
        }
        None
    });
    assert!(complete.expect("a Complete").is_verified());
    report_peak();
}

/// How many clients send at the same time, and how much each has to send.
const CLIENTS: u64 = 12;
const EACH: u64 = 24 * MIB;

/// How much a client may cost that sends faster than the store takes: what it holds itself, and of HTTP/2 the megabyte
/// of hyper's window, are in it.
const PER_CLIENT: u64 = 4 * MIB;

/// What russh keeps beside that for a channel that nobody reads: a hundred messages of 32 KiB.
const RUSSH: u64 = 100 * (32 << 10);

#[test]
fn memory_of_a_connection_is_bounded_while_a_client_sends_faster_than_the_store_takes() {
    for transport in TRANSPORTS {
        let [one, all] = [1, CLIENTS].map(|n| peak_of_child("child_serves_a_slow_store", &format!("{transport} {n}")));
        let each = all.saturating_sub(one) / (CLIENTS - 1);
        println!("{transport}: {} KiB for one client, {} KiB for each more", one / 1024, each / 1024);
        let bound = if transport == "ssh" { PER_CLIENT + RUSSH } else { PER_CLIENT };
        assert!(each < bound, "{transport}: {one} bytes for one client, {all} for {CLIENTS} that send {EACH} each");
    }
}

#[test]
#[ignore = "a child of the test above"]
fn child_serves_a_slow_store() {
    let Some(task) = child_task() else { return };
    let (transport, clients) = task.split_once(' ').expect("a transport, and a number");
    let clients: usize = clients.parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let store = SlowStore::default();
        let listen = Listen::start(transport, store.clone()).await;
        let pushes: Vec<_> = (0..clients).map(|_| tokio::spawn(listen.push(EACH))).collect();
        for push in pushes {
            in_time(push).await.expect("no push fails");
        }
        // All of it went through the store, and the clients were ready long before.
        assert_eq!(store.taken() / EACH, clients as u64);
    });
    report_peak();
}
