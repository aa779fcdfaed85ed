//! Smart HTTP by hand: each rule of `transport::http`, on the service itself; through hyper in `server.rs`.

#![cfg(all(feature = "http", feature = "memory"))]

mod server;
#[path = "../support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request as HttpCall, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use receive_pack::checksum::ChecksumLayer;
use receive_pack::limit::LimitLayer;
use receive_pack::proto::{Advertisement, ObjectKind, Report};
use receive_pack::push::{Pack, Progress, Push};
use receive_pack::receive::{PreReceive, ReceivePack, Received};
use receive_pack::store::{MemoryStore, Store};
use receive_pack::transport::http::{HttpReceivePack, HttpRequest, Refusal, ReplyBody, RequestBody, Target};
use receive_pack::{BoxError, Error, ErrorKind};
use support::format::{format, made_up};
use support::pack::{self, PackBuilder, blob_id};
use support::request::{Advertised, FLUSH, Reply, Request, pkt};
use support::server::in_time;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tower::util::BoxService;
use tower::{Service, ServiceBuilder, ServiceExt};

const RESULT: &str = "application/x-git-receive-pack-result";
const REQUEST: &str = "application/x-git-receive-pack-request";

type PushService<B> = BoxService<Push<Pack<RequestBody<B>>>, Report, Error>;

/// Takes pushes to `/demo.git` into a store; what is larger than 4 KiB is refused.
async fn resolve<B>(request: HttpRequest, store: MemoryStore) -> Result<Target<PushService<B>>, Refusal>
where
    B: http_body::Body + Send + 'static,
    B::Data: Unpin + Send,
    B::Error: Into<BoxError>,
{
    match request.path() {
        "/demo.git" => {}
        "/private.git" => return Err(Refusal::unauthorized("demo")),
        "/archived.git" => return Err(Refusal::new(StatusCode::FORBIDDEN, "the repository is archived")),
        "/busy.git" => {
            let busy = tower::service_fn(|_| async { Err(Error::refused("the server is busy")) });
            return Ok(Target::new(store.advertise().await?, BoxService::new(busy)));
        }
        "/elsewhere.git" => {
            let elsewhere = tower::service_fn(|push: Push<Pack<RequestBody<B>>>| async move {
                let mut pack = push.into_parts().2;
                tokio::spawn(async move { while pack.next().await.is_some() {} });
                Err(Error::refused("somebody else reads it"))
            });
            return Ok(Target::new(store.advertise().await?, BoxService::new(elsewhere)));
        }
        "/gone.git" => return Err(Error::new(ErrorKind::NotFound, "this is not a Git repository").into()),
        "/broken.git" => return Err(Error::store("the disk is gone", std::io::Error::other("EIO")).into()),
        _ => return Err(Refusal::not_found()),
    }
    let advertisement = store.advertise().await?;
    let stack = ServiceBuilder::new()
        .layer(LimitLayer::new().pack_bytes(4 << 10))
        .layer(ChecksumLayer::new())
        .service(ReceivePack::new(store));
    // Says something before it reads, as a policy may.
    let stack = tower::service_fn(move |push: Push<Pack<RequestBody<B>>>| {
        let (progress, stack) = (push.extensions().get::<Progress>().cloned(), stack.clone());
        assert!(push.extensions().get::<HttpRequest>().is_some(), "layers see the request");
        async move {
            progress.expect("a way to the pusher").say("welcome\n").await;
            stack.oneshot(push).await
        }
    });
    Ok(Target::new(advertisement, BoxService::new(stack)))
}

/// The service around a store, in front of a body of any kind.
macro_rules! service {
    ($store:expr) => {{
        let store = $store.clone();
        HttpReceivePack::new(move |request| resolve(request, store.clone()))
    }};
}
use service;

async fn call<S, B>(service: S, request: HttpCall<B>) -> (StatusCode, HeaderMap, Bytes)
where
    S: Service<HttpCall<B>, Response = Response<ReplyBody>, Error = Infallible>,
{
    let Ok(response) = in_time(service.oneshot(request)).await;
    let (parts, body) = response.into_parts();
    let Ok(body) = in_time(body.collect()).await;
    (parts.status, parts.headers, body.to_bytes())
}

fn get(uri: &str) -> HttpCall<Full<Bytes>> {
    HttpCall::get(uri).body(Full::default()).expect("a request")
}

fn post(body: impl Into<Bytes>) -> HttpCall<Full<Bytes>> {
    let call = HttpCall::post("/demo.git/git-receive-pack").header("content-type", REQUEST);
    call.body(Full::new(body.into())).expect("a request")
}

/// A push of one commit, with `filler` incompressible bytes beside it; gives the request and the commit.
fn push(filler: usize) -> (Bytes, String) {
    let blob = support::rng::Rng::new(1).bytes(filler);
    let mut builder = PackBuilder::default();
    builder.object(ObjectKind::Blob, &blob);
    let tree = pack::tree([("file", &blob_id(&blob))]);
    let id = |kind, data: &[u8]| pack::object_id(format(), kind, data);
    builder.object(ObjectKind::Tree, &tree);
    let commit = pack::commit(&id(ObjectKind::Tree, &tree), &[]);
    builder.object(ObjectKind::Commit, &commit);
    let tip = id(ObjectKind::Commit, &commit);
    (Request::new().create("refs/heads/main", tip).pack(builder.finish()).bytes(), tip.to_string())
}

fn assert_not_cached(headers: &HeaderMap) {
    assert_eq!(headers["cache-control"], "no-cache, max-age=0, must-revalidate");
    assert_eq!(headers["pragma"], "no-cache");
    assert_eq!(headers["expires"], "Fri, 01 Jan 1980 00:00:00 GMT");
}

#[tokio::test]
async fn the_advertisement_follows_the_line_of_the_service() {
    let store = MemoryStore::new(format());
    let (status, headers, body) = call(service!(store), get("/demo.git/info/refs?service=git-receive-pack")).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::OK, &"application/x-git-receive-pack-advertisement".parse().unwrap())
    );
    assert_not_cached(&headers);
    let mut rest = body.strip_prefix(b"001f# service=git-receive-pack\n0000").expect("the line");
    assert!(Advertised::take(&mut rest).refs.is_empty() && rest.is_empty());

    let mut asked = get("/demo.git/info/refs?service=git-receive-pack");
    asked.headers_mut().insert("git-protocol", "version=1".parse().unwrap());
    let (_, _, body) = call(service!(store), asked).await;
    assert!(body.starts_with(b"001f# service=git-receive-pack\n0000000eversion 1\n"), "{body:?}");
}

#[tokio::test]
async fn the_probe_is_answered_with_nothing() {
    let (status, headers, body) = call(service!(MemoryStore::new(format())), post("0000")).await;
    assert_eq!((status, &headers["content-type"], &body[..]), (StatusCode::OK, &RESULT.parse().unwrap(), &b""[..]));
    assert_not_cached(&headers);
}

#[tokio::test]
async fn a_push_lands_and_is_reported() {
    let (store, (request, tip)) = (MemoryStore::new(format()), push(100));
    let (status, headers, body) = call(service!(store), post(request)).await;
    assert_eq!((status, &headers["content-type"]), (StatusCode::OK, &RESULT.parse().unwrap()));
    let reply = Reply::side_band(&body);
    reply.assert_ok();
    assert!(reply.progress.contains("welcome\n"), "{reply:?}");
    assert_eq!(store.refs()[0].1.to_string(), tip);
}

#[tokio::test]
async fn what_is_no_push_has_a_status_and_a_text() {
    let service = service!(MemoryStore::new(format()));
    let body = |request: http::request::Builder| request.body(Full::default()).expect("a request");
    let push = |path: &str| HttpCall::post(path).header("content-type", REQUEST);
    let discovery = "/info/refs?service=git-receive-pack";
    let cases = [
        (get("/demo.git/info/refs?service=git-upload-pack"), 403, "not enabled"),
        (get("/demo.git/info/refs"), 403, "dumb HTTP"),
        (get("/demo.git/HEAD"), 404, "not found"),
        (get(&format!("/other.git{discovery}")), 404, "not found"),
        (get(&format!("/gone.git{discovery}")), 404, "repository not found"),
        (get(&format!("//demo.git{discovery}")), 404, "not found"),
        (get(&format!("/private.git{discovery}")), 401, "authentication required"),
        (get(&format!("/archived.git{discovery}")), 403, "the repository is archived"),
        (get(&format!("/broken.git{discovery}")), 500, "internal error"),
        (body(push("/private.git/git-receive-pack")), 401, "authentication required"),
        (body(HttpCall::post(format!("/demo.git{discovery}"))), 405, "not allowed"),
        (body(HttpCall::get("/demo.git/git-receive-pack")), 405, "not allowed"),
        (body(HttpCall::post("/demo.git/git-receive-pack").header("content-type", "text/plain")), 415, REQUEST),
        (body(push("/demo.git/git-receive-pack").header("content-encoding", "br")), 415, "'br' is not supported"),
    ];
    for (request, status, text) in cases {
        let what = format!("{} {}", request.method(), request.uri());
        let (got, headers, body) = call(service.clone(), request).await;
        let said = String::from_utf8_lossy(&body).into_owned();
        assert!(got == status && said.contains(text) && !said.contains("EIO"), "{what}: {got} {said}");
        assert_eq!(headers["content-type"], "text/plain; charset=utf-8", "{what}");
        assert_not_cached(&headers);
        assert_eq!(headers.contains_key("www-authenticate"), status == 401, "{what}");
        assert_eq!(headers.contains_key("allow"), status == 405, "{what}");
    }
}

/// As a layer may that sheds load: the service has no report of its own.
#[tokio::test]
async fn a_refusal_that_is_an_error_is_the_reason_of_each_ref() {
    let (request, _) = push(0);
    let call_of = HttpCall::post("/busy.git/git-receive-pack").header("content-type", REQUEST);
    let call_of = call_of.body(Full::new(request)).expect("a request");
    let (status, _, body) = call(service!(MemoryStore::new(format())), call_of).await;
    let reply = Reply::side_band(&body);
    assert_eq!((status, reply.unpack.as_str()), (StatusCode::OK, "ok"), "{reply:?}");
    assert_eq!(reply.refs[0].1, Err("the server is busy".to_owned()));
}

#[tokio::test]
async fn a_refused_push_is_read_to_its_end_and_answered_with_200() {
    let (store, (request, _)) = (MemoryStore::new(format()), push(100_000));
    let (sender, mut pieces) = mpsc::channel(1);
    let body = StreamBody::new(stream::poll_fn(move |cx| pieces.poll_recv(cx)).map(Ok::<_, Infallible>));
    let call = HttpCall::post("/demo.git/git-receive-pack").header("content-type", REQUEST).body(body).unwrap();
    let answer = tokio::spawn(service!(store).oneshot(call));
    // Far beyond what is accepted; the channel holds one piece, so all but the last were read.
    for piece in request.chunks(1000) {
        if in_time(sender.send(http_body::Frame::data(Bytes::copy_from_slice(piece)))).await.is_err() {
            let Ok(response) = in_time(answer).await.expect("no panic");
            let Ok(body) = in_time(response.into_body().collect()).await;
            panic!("not read to its end, and answered {:?}", body.to_bytes());
        }
    }
    assert!(!answer.is_finished(), "no answer overtakes its request");
    drop(sender);
    let Ok(response) = in_time(answer).await.expect("no panic");
    assert_eq!(response.status(), StatusCode::OK);
    let Ok(body) = in_time(response.into_body().collect()).await;
    let reply = Reply::side_band(&body.to_bytes());
    assert!(reply.refs[0].1.is_err(), "{reply:?}");
    assert!(format!("{reply:?}").contains("exceeds maximum allowed size"), "{reply:?}");
    assert!(store.refs().is_empty());
}

/// Whoever refuses it: the resolver, a layer before the pack or in it, one that leaves the pack to somebody, the parser.
#[tokio::test(start_paused = true)]
async fn a_refused_client_may_be_as_silent_as_any_other() {
    let (request, _) = push(100_000);
    let malformed = [&pkt("nonsense"), &request[..]].concat();
    for (name, request, status, reason) in [
        ("archived", request.clone(), StatusCode::FORBIDDEN, "the repository is archived"),
        ("busy", request.clone(), StatusCode::OK, "the server is busy"),
        ("elsewhere", request.clone(), StatusCode::OK, "somebody else reads it"),
        ("demo", request, StatusCode::OK, "exceeds maximum allowed size"),
        ("demo", malformed.into(), StatusCode::BAD_REQUEST, "protocol error"),
    ] {
        let (sender, mut pieces) = mpsc::channel(1);
        let body = StreamBody::new(stream::poll_fn(move |cx| pieces.poll_recv(cx)).map(Ok::<_, Infallible>));
        let call = HttpCall::post(format!("/{name}.git/git-receive-pack")).header("content-type", REQUEST);
        let answer = tokio::spawn(service!(MemoryStore::new(format())).oneshot(call.body(body).unwrap()));
        for piece in request.chunks(40_000) {
            sleep(Duration::from_secs(20 * 60)).await;
            let piece = http_body::Frame::data(Bytes::copy_from_slice(piece));
            sender.send(piece).await.unwrap_or_else(|_| panic!("{name}: not read to its end"));
        }
        assert!(!answer.is_finished(), "{name}: no answer overtakes its request");
        drop(sender);
        let Ok(response) = answer.await.expect("no panic");
        assert_eq!(response.status(), status, "{name}");
        let Ok(body) = response.into_body().collect().await;
        let said = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        assert!(said.contains(reason), "{name}: {said}");
    }
}

#[tokio::test]
async fn a_report_of_any_length_comes_whole() {
    let id = made_up('1');
    let names = (1..=3000).map(|n| format!("refs/heads/a-name-of-some-length-{n:060}"));
    let request = names.fold(Request::new(), |request, name| request.create(&name, &id));
    let request = request.pack(PackBuilder::default().finish()).bytes();
    // Refused by the head alone, the report is there in the moment in which the request ends; else it comes later.
    let at_once = HttpReceivePack::new(|_: HttpRequest| async {
        let refuse = tower::service_fn(|push: Push<Pack<RequestBody<Full<Bytes>>>>| async move {
            Ok::<_, BoxError>(Report::refused("not on a Friday", push.request().commands()))
        });
        Ok(Target::new(Advertisement::new(format()), refuse))
    });
    for full_duplex in [false, true] {
        let later = service!(MemoryStore::new(format())).full_duplex(full_duplex);
        for answer in [
            call(at_once.clone().full_duplex(full_duplex), post(request.clone())).await,
            call(later, post(request.clone())).await,
        ] {
            assert_eq!(answer.0, StatusCode::OK);
            assert_eq!(Reply::side_band(&answer.2).refs.len(), 3000, "full duplex: {full_duplex}");
        }
    }
}

#[tokio::test]
async fn full_duplex_speaks_before_the_request_has_ended() {
    let (store, (request, _)) = (MemoryStore::new(format()), push(100));
    let (sender, mut pieces) = mpsc::channel(1);
    let body = StreamBody::new(stream::poll_fn(move |cx| pieces.poll_recv(cx)).map(Ok::<_, Infallible>));
    let call = HttpCall::post("/demo.git/git-receive-pack").header("content-type", REQUEST).body(body).unwrap();
    let head = request.len() - 200;
    sender.send(http_body::Frame::data(request.slice(..head))).await.expect("there is room");
    let Ok(response) = in_time(service!(store).full_duplex(true).oneshot(call)).await;
    let mut body = response.into_body();
    let first = in_time(body.frame()).await.expect("a frame").expect("no error").into_data().expect("data");
    assert!(first.ends_with(b"\x02welcome\n"), "{first:?}");
    sender.send(http_body::Frame::data(request.slice(head..))).await.expect("it is read");
    drop(sender);
    let Ok(rest) = in_time(body.collect()).await;
    Reply::side_band(&rest.to_bytes()).assert_ok();
}

/// A policy that says a word when the pack is in.
#[derive(Clone)]
struct Talks;

impl PreReceive for Talks {
    async fn pre_receive(&self, push: &mut Received<'_>) -> Result<(), Error> {
        push.progress().note("welcome");
        Ok(())
    }
}

/// Nothing is said before the request has ended, and what a meter says until then is more than is held.
#[tokio::test(start_paused = true)]
async fn the_meter_of_a_long_upload_leaves_room_for_what_is_said_at_its_end() {
    let pack = pack::BigPack::new(pack::Shape { seed: 3, large: 1, large_size: 2000, small_per_large: 3_000 });
    let request = Request::new().create("refs/heads/main", pack.tip()).pack(pack.to_bytes()).bytes();
    let pieces: Vec<_> = request.chunks(request.len().div_ceil(2_500)).map(Bytes::copy_from_slice).collect();
    let body = stream::iter(pieces).then(|piece| async {
        sleep(Duration::from_millis(100)).await;
        Ok::<_, Infallible>(http_body::Frame::data(piece))
    });
    let body = StreamBody::new(Box::pin(body));
    let call = HttpCall::post("/demo.git/git-receive-pack").header("content-type", REQUEST).body(body).unwrap();
    let store = MemoryStore::new(format());
    let service = HttpReceivePack::new(move |_: HttpRequest| {
        let store = store.clone();
        async move {
            let advertisement = store.advertise().await?;
            let service = ReceivePack::new(store).pre_receive(Talks);
            Ok::<_, Refusal>(Target::new(
                advertisement,
                ServiceBuilder::new().layer(ChecksumLayer::new()).service(service),
            ))
        }
    });
    let Ok(response) = service.oneshot(call).await;
    let Ok(said) = response.into_body().collect().await;
    let reply = Reply::side_band(&said.to_bytes());
    reply.assert_ok();
    assert!(reply.progress.contains("Receiving objects: 100% ("), "{reply:?}");
    assert!(reply.progress.contains("welcome\n"), "{reply:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_head_is_the_reason_of_each_ref_before_it() {
    let mut request = Request::new().create("refs/heads/main", made_up('1')).head();
    request.truncate(request.len() - FLUSH.len());
    request.extend_from_slice(&pkt("nonsense"));
    let (status, _, body) = call(service!(MemoryStore::new(format())), post(request)).await;
    assert_eq!(status, StatusCode::OK);
    let reply = Reply::side_band(&body);
    let reason = reply.unpack;
    assert!(reason.starts_with("protocol error: expected old/new/ref, got 'nonsense'"), "{reason}");
    assert_eq!(reply.refs, [("refs/heads/main".to_owned(), Err(reason))]);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_reported_and_leaves_nothing() {
    let (request, _) = push(100);
    for cut in [4, 60, 150, request.len() - 30, request.len() - 1] {
        let store = MemoryStore::new(format());
        let (status, _, body) = call(service!(store), post(request.slice(..cut))).await;
        let said = String::from_utf8_lossy(&body).into_owned();
        assert!(!said.contains("unpack ok"), "cut at {cut}: {said}");
        assert!(status == StatusCode::OK || status == StatusCode::BAD_REQUEST, "cut at {cut}: {status}");
        assert!(!said.is_empty() && store.refs().is_empty(), "cut at {cut}");
    }
}
