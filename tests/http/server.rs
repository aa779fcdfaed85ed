//! The rules that show on a connection: behind hyper, to clients by hand and to real git.

use std::io::Write;
use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use receive_pack::serve::{Linger, Serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_http::decompression::RequestDecompressionLayer;

use super::support::format::zero;
use super::support::git::Repo;
use super::support::rng::Rng;
use super::support::server::try_push;
use super::support::stall::stalling;
use super::*;

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

/// Refused by its head, and in the middle of its pack; silent for longer than it is waited for behind a push.
#[tokio::test(flavor = "multi_thread")]
async fn git_that_falls_silent_in_a_refused_push_shows_the_refusal() {
    let mut linger = Linger::default();
    linger.idle = Duration::from_millis(50);
    let address = listen_with(MemoryStore::new(format()), Serve::new().linger(linger)).await;
    let address = stalling(address, 256 << 10, Duration::from_secs(2));
    let source = Arc::new(Repo::bare());
    source.commit("main", &[("large.bin", &Rng::new(8).bytes(4 << 20))]);
    for (name, reason) in [("busy", "the server is busy"), ("demo", "pack exceeds maximum allowed size of 4096 bytes")]
    {
        let said = try_push(&source, &format!("http://{address}/{name}.git"), &["main"]).await;
        let refusal = format!("! [remote rejected] main -> main ({reason}");
        assert!(said.stderr.contains(&refusal), "{name}: {}", said.stderr);
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
