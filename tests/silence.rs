//! Clients of refused pushes that fall silent: those that still compress, those that keep their side open, those that had
//! their time.

#![cfg(feature = "memory")]

mod support;

use std::time::Duration;

use receive_pack::checksum::ChecksumLayer;
use receive_pack::codec::ReceivePackCodec;
use receive_pack::limit::LimitLayer;
use receive_pack::proto::{Limits, Report};
use receive_pack::push::{Pack, Push};
use receive_pack::receive::ReceivePack;
use receive_pack::serve::{Linger, Serve, Served};
use receive_pack::store::{MemoryStore, Store};
use receive_pack::{BoxError, Error};
use support::format::{format, made_up};
use support::io::Script;
use support::pack;
use support::request::Request;
use support::rng::Rng;
use support::server::heard;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder};

/// A client that is silent for 20 minutes before its pack, in it and behind it, and reads only then: what it is told, what
/// serves it, and its side, which stays open.
async fn silent<S>(
    serve: Serve,
    request: &Request,
    service: S,
) -> (Vec<u8>, JoinHandle<Result<Served, Error>>, DuplexStream)
where
    S: Service<Push<Pack<ReadHalf<DuplexStream>>>, Response = Report> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let (mut client, server) = tokio::io::duplex(64 << 10);
    let (read, write) = tokio::io::split(server);
    let advertisement = MemoryStore::new(format()).advertise().await.expect("an advertisement");
    let served = tokio::spawn(async move { serve.serve(read, write, advertisement, service).await });
    let (head, bytes) = (request.head(), request.bytes());
    let (before, after) = bytes.split_at(bytes.len().min(head.len() + 100));
    for piece in [&head[..], &before[head.len()..], after] {
        client.write_all(piece).await.expect("all is taken");
        sleep(Duration::from_secs(20 * 60)).await;
    }
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.expect("an answer");
    (said, served, client)
}

/// A push of a megabyte.
fn large() -> Request {
    let mut builder = pack::PackBuilder::new(format());
    builder.blob(&Rng::new(9).bytes(1 << 20));
    Request::new().create("refs/heads/main", made_up('1')).pack(builder.finish())
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_may_be_as_silent_as_any_other() {
    let refuse = || tower::service_fn(|_| async { Err::<Report, _>(Error::refused("not on a Friday")) });
    let full = || {
        let layers = ServiceBuilder::new().layer(LimitLayer::new().objects(0)).layer(ChecksumLayer::new());
        layers.service(ReceivePack::new(MemoryStore::new(format())))
    };
    for after_complete in [true, false] {
        let mut linger = Linger::default();
        linger.after_complete = after_complete;
        let serve = Serve::new().linger(linger);
        let (said, served, _client) = silent(serve.clone(), &large(), refuse()).await;
        assert_eq!(heard(&said).1.refs[0].1, Err("not on a Friday".to_owned()));
        assert!(served.is_finished(), "behind the end of the push the client has seconds");
        assert!(served.await.expect("no panic").expect("the client was told").discarded() >= 1 << 20);

        let (said, served, _client) = silent(serve.clone(), &large(), full()).await;
        assert!(served.is_finished(), "behind the end of the push the client has seconds");
        assert!(heard(&said).1.refs[0].1.as_ref().is_err_and(|reason| reason.contains("1 objects")));
    }
}

/// Of what is malformed nobody knows the end but its client.
#[tokio::test(start_paused = true)]
async fn a_client_whose_head_is_refused_may_be_as_silent_as_any_other() {
    let mut limits = Limits::default();
    limits.commands = 0;
    let serve = Serve::new().codec(ReceivePackCodec::builder().limits(limits));
    let service = tower::service_fn(|_| async { Err::<Report, Error>(Error::refused("no head was read")) });
    let (said, served, client) = silent(serve, &large(), service).await;
    assert!(String::from_utf8_lossy(&said).contains("more than 0 commands"), "{said:?}");
    drop(client);
    served.await.expect("no panic").expect_err("a head beyond a limit");
}

#[tokio::test(start_paused = true)]
async fn a_pack_that_somebody_keeps_and_does_not_read_is_not_waited_for_without_end() {
    let kept = std::sync::Arc::new(std::sync::Mutex::new(None));
    let keeps = kept.clone();
    let keeps = tower::service_fn(move |push: Push<Pack<_>>| {
        *keeps.lock().expect("no panic") = Some(push);
        async { Err::<Report, _>(Error::refused("not on a Friday")) }
    });
    let request = Request::new().create("refs/heads/main", made_up('1'));
    let (said, served, _client) = silent(Serve::new(), &request, keeps).await;
    assert_eq!(heard(&said).1.refs[0].1, Err("not on a Friday".to_owned()));
    served.await.expect("no panic").expect("the client was told");
    assert!(kept.lock().expect("no panic").is_some());
}

/// Who has used up the time of a push gets no second one.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_refused_for_its_silence_is_not_waited_for_as_long_again() {
    let store = MemoryStore::new(format());
    let (head, bytes) = (large().head(), large().bytes());
    for sent in [bytes.slice(..head.len() - 4), head.into(), bytes.slice(..10_000)] {
        let advertisement = store.advertise().await.expect("an advertisement");
        let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store.clone()));
        let (read, mut said, begun) = (Script::of(sent).stays_open(), Vec::new(), Instant::now());
        let serve = Serve::new().idle_timeout(Duration::from_secs(600)).head_timeout(Duration::from_secs(600));
        let _ = serve.serve(read, &mut said, advertisement, service).await;
        assert!(String::from_utf8_lossy(&said).contains("600 seconds"), "{said:?}");
        assert!(begun.elapsed() < Duration::from_secs(700), "{:?}", begun.elapsed());
    }
}
