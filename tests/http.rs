//! Smart HTTP by hand: each rule of `transport::http`, on the service itself and through hyper.

#![cfg(all(feature = "http", feature = "memory"))]

mod support;

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request as HttpCall, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::limit::LimitLayer;
use receive_pack::proto::{Advertisement, ObjectKind, Report};
use receive_pack::push::{Pack, Progress, Push};
use receive_pack::receive::ReceivePack;
use receive_pack::serve::{Linger, Serve};
use receive_pack::store::{MemoryStore, Store};
use receive_pack::transport::http::{HttpReceivePack, HttpRequest, Refusal, ReplyBody, RequestBody, Target};
use receive_pack::{BoxError, Error};
use support::format::{format, made_up, zero};
use support::git::Repo;
use support::pack::{self, PackBuilder, blob_id};
use support::request::{Advertised, Reply, Request, pkt};
use support::server::{in_time, try_push};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::util::BoxService;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_http::decompression::RequestDecompressionLayer;

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

/// Serves HTTP/1.1 and h2c on a free port, with the decompression of tower-http in front.
async fn listen(store: MemoryStore) -> std::net::SocketAddr {
    listen_with(store, Serve::new()).await
}

async fn listen_with(store: MemoryStore, serve: Serve) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let service =
        ServiceBuilder::new().layer(RequestDecompressionLayer::new().gzip(true)).service(service!(store).serve(serve));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                builder.serve_connection(TokioIo::new(stream), service).await
            });
        }
    });
    address
}

/// What a server answers to these bytes, on a connection that it closes or that the answer ends.
async fn exchange(address: std::net::SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    stream.write_all(body).await.expect("it reads");
    let mut said = Vec::new();
    in_time(stream.read_to_end(&mut said)).await.expect("it closes");
    String::from_utf8_lossy(&said).into_owned()
}

fn head(extra: &str) -> String {
    format!(
        "POST /demo.git/git-receive-pack HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {REQUEST}\r\n{extra}\r\n"
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).expect("memory takes it");
    gzip.finish().expect("memory takes it")
}

#[tokio::test]
async fn a_client_that_expects_to_be_told_to_go_on_is_told() {
    let (store, (request, _)) = (MemoryStore::new(format()), push(100));
    let address = listen(store.clone()).await;
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let extra = format!("expect: 100-continue\r\ncontent-length: {}\r\n", request.len());
    stream.write_all(head(&extra).as_bytes()).await.expect("it reads");
    let mut told = [0; 25];
    in_time(stream.read_exact(&mut told)).await.expect("an answer");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&request).await.expect("it reads");
    let mut said = Vec::new();
    in_time(stream.read_to_end(&mut said)).await.expect("it closes");
    assert!(String::from_utf8_lossy(&said).contains("ok refs/heads/main"));
    // One that may not push is not told to send.
    let refused = head(&extra).replace("/demo.git/", "/private.git/");
    let said = exchange(address, &refused, b"").await;
    assert!(said.starts_with("HTTP/1.1 401 ") && !said.contains("100 Continue"), "{said}");
}

#[tokio::test]
async fn a_gzipped_push_is_taken_and_limited_by_what_comes_out() {
    let (store, (request, _)) = (MemoryStore::new(format()), push(100));
    let address = listen(store.clone()).await;
    let body = gzip(&request);
    let chunked = format!("{:x}\r\n", body.len()).into_bytes().into_iter().chain(body.iter().copied());
    let chunked: Vec<_> = chunked.chain(*b"\r\n0\r\n\r\n").collect();
    let said = exchange(address, &head("content-encoding: gzip\r\ntransfer-encoding: chunked\r\n"), &chunked).await;
    assert!(said.contains("ok refs/heads/main"), "{said}");
    assert_eq!(store.refs().len(), 1);

    // A sound pack that is too large only when it is inflated.
    let mut builder = PackBuilder::default();
    for _ in 0..1000 {
        builder.blob(b"the same thing, again and again");
    }
    let large = Request::new().create("refs/heads/large", made_up('1')).pack(builder.finish()).bytes();
    let body = gzip(&large);
    assert!(body.len() < 4 << 10 && large.len() > 32 << 10, "{} bytes of {}", body.len(), large.len());
    let extra = format!("content-encoding: gzip\r\ncontent-length: {}\r\n", body.len());
    let said = exchange(address, &head(&extra), &body).await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    assert!(said.contains("ng refs/heads/large pack exceeds maximum allowed size of 4096 bytes"), "{said}");
    assert_eq!(store.refs().len(), 1);
}

#[tokio::test]
async fn gzipped_commands_without_end_are_not_taken_without_end() {
    let store = MemoryStore::new(format());
    let mut linger = Linger::default();
    linger.bytes = 32 << 20;
    let address = listen_with(store.clone(), Serve::new().linger(linger)).await;
    let (mut read, mut write) = TcpStream::connect(address).await.expect("it listens").into_split();
    write
        .write_all(head("content-encoding: gzip\r\ntransfer-encoding: chunked\r\n").as_bytes())
        .await
        .expect("it reads");
    let id = made_up('1');
    let capabilities = format!(" side-band-64k object-format={}", format().name());
    let first = Request::new().capabilities(&capabilities).delete("refs/heads/first", &id).head();
    let zero = zero();
    let more: Vec<u8> = (0..1000).flat_map(|n| pkt(format!("{id} {zero} refs/heads/{n:01000}"))).collect();
    // A gigabyte, if the server takes so much; it ends this before.
    let sent = tokio::spawn(async move {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        // Without the flush-pkt.
        encoder.write_all(&first[..first.len() - 4]).expect("memory takes it");
        for sent in 0..1000 {
            encoder.write_all(&more).expect("memory takes it");
            let out = std::mem::take(encoder.get_mut());
            let chunk = [format!("{:x}\r\n", out.len()).as_bytes(), &out, b"\r\n"].concat();
            if !out.is_empty() && write.write_all(&chunk).await.is_err() {
                return sent;
            }
            // The server has the cores, too.
            tokio::task::yield_now().await;
        }
        1000
    });
    let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
    // The end of the line may be a reset, for the client goes on sending.
    while let Ok(len @ 1..) = in_time(read.read(&mut buffer)).await {
        said.extend_from_slice(&buffer[..len]);
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    assert!(said.contains("\x03more than 16777216 bytes before the pack"), "{said}");
    assert!(in_time(sent).await.expect("no panic") < 1000, "it takes all that comes");
    assert!(store.refs().is_empty());
}

#[tokio::test]
async fn git_shows_the_text_of_a_refusal() {
    let address = listen(MemoryStore::new(format())).await;
    let source = Arc::new(Repo::bare());
    source.commit("main", &[("a", b"a\n")]);
    for (name, text) in [("archived", "remote: the repository is archived"), ("other", "remote: repository not found")]
    {
        let said = try_push(&source, &format!("http://{address}/{name}.git"), &["main"]).await;
        assert!(!said.status.success(), "{name}");
        assert!(said.stderr.lines().any(|line| line.trim_end() == text), "no {text:?} in: {}", said.stderr);
    }
}

#[tokio::test]
async fn http_2_without_tls_is_spoken() {
    let (store, (request, _)) = (MemoryStore::new(format()), push(100));
    let stream = TcpStream::connect(listen(store.clone()).await).await.expect("it listens");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let call = HttpCall::post("http://x/demo.git/git-receive-pack").header("content-type", REQUEST);
    let response = in_time(sender.send_request(call.body(Full::new(request)).unwrap())).await.expect("an answer");
    assert_eq!(response.version(), http::Version::HTTP_2);
    let body = in_time(response.into_body().collect()).await.expect("a whole answer").to_bytes();
    Reply::side_band(&body).assert_ok();
    assert_eq!(store.refs().len(), 1);
}

#[tokio::test]
async fn a_client_that_stalls_is_let_go_wherever_it_stalls() {
    let (request, _) = push(100);
    for sent in [0, 10, request.len() - 100, request.len() - 1] {
        let store = MemoryStore::new(format());
        let (sender, mut pieces) = mpsc::channel(1);
        let body = StreamBody::new(stream::poll_fn(move |cx| pieces.poll_recv(cx)).map(Ok::<_, Infallible>));
        let call = HttpCall::post("/demo.git/git-receive-pack").header("content-type", REQUEST).body(body).unwrap();
        sender.send(http_body::Frame::data(request.slice(..sent))).await.expect("there is room");
        let limits = Serve::new()
            .head_timeout(Duration::from_secs(1))
            .idle_timeout(Duration::from_secs(1))
            .linger(Linger::none());
        let Ok(response) = in_time(service!(store).serve(limits).oneshot(call)).await;
        let Ok(body) = in_time(response.into_body().collect()).await;
        let said = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        assert!(said.contains("1 seconds"), "after {sent} bytes: {said}");
        assert!(sender.is_closed() && store.refs().is_empty(), "the body is gone, and nothing moved");
    }
}
