//! The three repairs that this crate grew from, and the hole that they left.

#![cfg(feature = "memory")]

mod support;

use bytes::Bytes;
use futures_util::StreamExt;
use receive_pack::checksum::{Checksummed, Throttle};
use receive_pack::codec::ReceivePackCodec;
use receive_pack::proto::{Complete, ObjectKind, PackFrame, Payload};
use receive_pack::push::accept;
use receive_pack::store::MemoryStore;
use receive_pack::{Error, ErrorKind};
use support::format::format;
use support::io::{READ_SIZES, Script};
use support::pack::{BigPack, Shape};
use support::request::Request;
use support::server::{heard, in_time, serve};

/// The push of a pack to a new branch.
fn push(pack: &BigPack) -> Request {
    Request::new().create("refs/heads/main", pack.tip())
}

/// A client that sends a whole push and then waits, its side open.
fn whole(pack: &BigPack) -> Script {
    Script::new(std::iter::once(Bytes::from(push(pack).head())).chain(pack.chunks())).stays_open()
}

/// The bytes of the pack that come out behind the checksum, and how that ends.
async fn through_the_checksum(reader: Script, payload: Payload) -> (Vec<u8>, Result<Complete, Error>) {
    let codec = ReceivePackCodec::builder().object_format(format()).payload(payload).build();
    let push = accept(codec.framed_read(reader)).await.expect("a sound head").expect("not a probe");
    let (_, _, body) = push.into_parts();
    let mut body = Checksummed::new(body, format(), Throttle::default());
    let mut wire = Vec::new();
    while let Some(frame) = body.next().await {
        match frame {
            Ok(PackFrame::Header(header)) => wire.extend_from_slice(&header.wire()),
            Ok(PackFrame::Object(object)) => wire.extend_from_slice(object.wire()),
            Ok(PackFrame::Data(data)) => wire.extend_from_slice(&data),
            Ok(PackFrame::Complete(complete)) => {
                assert!(body.next().await.is_none(), "nothing follows Complete");
                return (wire, Ok(complete));
            }
            Ok(other) => panic!("a frame that has no bytes: {other:?}"),
            Err(error) => {
                assert!(body.next().await.is_none(), "nothing follows an error");
                return (wire, Err(error));
            }
        }
    }
    panic!("the body ended without Complete and without an error");
}

fn small() -> BigPack {
    BigPack::new(Shape { seed: 1, large: 2, large_size: 20_000, small_per_large: 5 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_of_5_mib_in_chunks_of_4_kib_completes_and_every_blob_lands() {
    let pack = BigPack::new(Shape::mib(5));
    let store = MemoryStore::new(format());
    let (served, said) = serve(store.clone(), whole(&pack).pieces(4 << 10)).await;
    assert!(served.expect("the push is served").report().expect("a report").is_ok());

    let (_, reply) = heard(&said);
    reply.assert_ok();
    assert_eq!(reply.refs, [("refs/heads/main".to_owned(), Ok(()))]);
    assert_eq!(store.refs(), [(Bytes::from_static(b"refs/heads/main"), pack.tip())]);
    assert_eq!(store.object_ids().len(), pack.entries() as usize);
    for (index, id) in pack.blob_ids().iter().enumerate() {
        let object = store.object(id).expect("a store that can be read");
        assert!(object == Some((ObjectKind::Blob, pack.blob(index))), "blob {index} differs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_pack_completes_from_its_bytes_alone() {
    let pack = small();
    let bytes = pack.to_bytes();
    for payload in [Payload::Objects, Payload::Opaque] {
        for size in READ_SIZES {
            let reader = whole(&pack).pieces(size);
            let (wire, complete) = in_time(through_the_checksum(reader, payload)).await;
            let complete = complete.unwrap_or_else(|error| panic!("{payload:?}, reads of {size} bytes: {error}"));
            assert!(complete.is_verified(), "{payload:?}, reads of {size} bytes");
            assert_eq!(complete.pack_len(), bytes.len() as u64);
            // An opaque body has the trailer in its data.
            assert!(wire == bytes[..wire.len()] && wire.len() >= bytes.len() - format().len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_push_lands_on_a_connection_that_stays_open() {
    let (pack, store) = (small(), MemoryStore::new(format()));
    let (served, said) = serve(store.clone(), whole(&pack).pauses(7)).await;
    assert!(served.expect("the push is served").report().expect("a report").is_ok());
    heard(&said).1.assert_ok();
    assert_eq!(store.object_ids().len(), pack.entries() as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_on_a_truncated_pack_is_incomplete() {
    let pack = small();
    let (head, len) = (push(&pack).head().len() as u64, pack.to_bytes().len() as u64);
    for payload in [Payload::Objects, Payload::Opaque] {
        let trailer = format().len() as u64;
        for cut in [0, 1, 11, 12, 13, 31, 32, 500, len / 2, len - trailer - 1, len - trailer, len - 1] {
            let (_, complete) = in_time(through_the_checksum(whole_until(&pack, head + cut), payload)).await;
            let error = complete.expect_err("a pack that is cut short is not complete");
            assert_eq!(error.kind(), ErrorKind::IncompletePack, "{payload:?}, cut at {cut}: {error}");
            assert!(error.is_remote());
        }
    }
}

/// A client that hangs up after `end` bytes of its push.
fn whole_until(pack: &BigPack, end: u64) -> Script {
    Script::new(std::iter::once(Bytes::from(push(pack).head())).chain(pack.chunks())).ends_at(end)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_a_truncated_pack_gets_a_report_that_says_so() {
    let pack = small();
    let (head, len) = (push(&pack).head().len() as u64, pack.to_bytes().len() as u64);
    for cut in [0, 12, len / 2, len - format().len() as u64, len - 1] {
        let store = MemoryStore::new(format());
        let (served, said) = serve(store.clone(), whole_until(&pack, head + cut)).await;
        let served = served.expect("a truncated pack is the client's fault, and was answered");
        assert!(served.error().is_none());
        assert!(served.report().is_some_and(|report| report.unpack_error().is_some()), "cut at {cut}: {served:?}");

        let (_, reply) = heard(&said);
        assert!(reply.unpack.contains("incomplete"), "cut at {cut}: {reply:?}");
        assert_eq!(reply.refs, [("refs/heads/main".to_owned(), Err("unpacker error".to_owned()))]);
        assert!(store.refs().is_empty() && store.object_ids().is_empty());
    }
}

/// The hole in the original repair: between two checks, the end of the pack went unseen until more bytes came, and none
/// did.
#[tokio::test(flavor = "multi_thread")]
async fn an_opaque_pack_that_ends_inside_a_window_on_an_open_connection_completes_at_once() {
    // Longer than one window of 4 MiB, shorter than two.
    let pack = BigPack::new(Shape::mib(6));
    for size in [4 << 10, 64 << 10, usize::MAX] {
        let reader = whole(&pack).pieces(size);
        let (wire, complete) = in_time(through_the_checksum(reader, Payload::Opaque)).await;
        let complete = complete.unwrap_or_else(|error| panic!("reads of {size} bytes: {error}"));
        assert!(complete.is_verified());
        assert!(wire == pack.to_bytes(), "reads of {size} bytes: another pack");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_damaged_in_one_bit_is_never_verified() {
    let pack = small();
    let request = push(&pack).pack(pack.to_bytes()).bytes();
    let head = push(&pack).head().len();
    for at in [head + 40, request.len() - 1] {
        for payload in [Payload::Objects, Payload::Opaque] {
            let mut bytes = request.to_vec();
            bytes[at] ^= 1;
            let (_, complete) = in_time(through_the_checksum(Script::of(bytes), payload)).await;
            assert!(complete.is_err(), "{payload:?}, bit of byte {at}");
        }
    }
}
