//! A store that is slower than any client, servers before it, and clients that send as fast as they can.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use receive_pack::Error;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::proto::{Advertisement, Complete, ObjectId, ObjectKind, PackFrame, Report};
use receive_pack::push::{Progress, UpdateRequest};
use receive_pack::receive::ReceivePack;
use receive_pack::serve::serve;
use receive_pack::store::{Quarantine, Store};
use receive_pack::transport::DaemonRequest;
use receive_pack::transport::http::{HttpReceivePack, HttpRequest, Refusal, Target};
use russh::client;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;

use super::format::{format, made_up};
use super::pack::{BLOB, Hash, entry_header, header, zlib};
use super::request::{Request, pkt};
use super::rng::Rng;
use super::ssh::Trusting;
use super::ssh_host;

/// Takes a frame every few milliseconds, keeps nothing, and refuses every ref.
#[derive(Clone, Debug, Default)]
pub struct SlowStore {
    taken: Arc<AtomicU64>,
}

impl SlowStore {
    /// The bytes that all pushes have brought.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Store for SlowStore {
    type Quarantine = Self;

    async fn advertise(&self) -> Result<Advertisement, Error> {
        Ok(Advertisement::new(format()))
    }

    async fn quarantine(&self, _: &UpdateRequest, _: Progress) -> Result<Self, Error> {
        Ok(self.clone())
    }
}

impl Quarantine for SlowStore {
    async fn write(&mut self, frame: PackFrame) -> Result<(), Error> {
        if let PackFrame::Object(object) = frame {
            self.taken.fetch_add(object.data().len() as u64, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn seal(&mut self, _: &mut UpdateRequest, _: &Complete) -> Result<(), Error> {
        Ok(())
    }

    fn new_objects(&self) -> impl Iterator<Item = (ObjectId, ObjectKind)> + Send {
        std::iter::empty()
    }

    async fn kind(&self, _: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        Ok(None)
    }

    async fn object(&self, _: &ObjectId, _: u64) -> Result<Option<(ObjectKind, Bytes)>, Error> {
        Ok(None)
    }

    async fn commit(self, request: UpdateRequest) -> Result<Report, Error> {
        Ok(Report::refused("nothing is kept", request.commands()))
    }

    async fn abort(self) {}
}

/// What it can be served over.
pub const TRANSPORTS: [&str; 4] = ["git", "http", "h2", "ssh"];

/// A server on a free port.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    address: SocketAddr,
    transport: &'static str,
}

impl Listen {
    /// Serves a store over `git`, `http`, `h2` or `ssh`.
    pub async fn start(transport: &str, store: SlowStore) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let transport = TRANSPORTS.into_iter().find(|name| *name == transport).expect("a transport");
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let store = store.clone();
                match transport {
                    "git" => drop(tokio::spawn(serve_git(stream, store))),
                    "ssh" => drop(tokio::spawn(serve_ssh(stream, store))),
                    _ => drop(tokio::spawn(serve_http(stream, store))),
                }
            }
        });
        Self { address, transport }
    }

    /// A push of one incompressible object, as fast as the line takes it.
    pub async fn push(self, bytes: u64) {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        let said = match self.transport {
            "git" => push_git(stream, bytes).await,
            "http" => push_http(stream, bytes).await,
            "ssh" => push_ssh(stream, bytes).await,
            _ => push_h2(stream, bytes).await,
        };
        assert!(said.contains("nothing is kept"), "{said}");
    }
}

async fn serve_git(stream: TcpStream, store: SlowStore) -> Result<(), Error> {
    let (mut read, write) = stream.into_split();
    DaemonRequest::read(&mut read).await?;
    take(read, write, store).await
}

async fn serve_ssh(stream: TcpStream, store: SlowStore) {
    let run = |channel| async {
        let (read, write) = tokio::io::split(channel);
        // The client's side tells of errors.
        let _ = take(read, write, store).await;
    };
    ssh_host::serve(stream, run).await;
}

async fn take<R>(read: R, write: impl AsyncWrite + Unpin, store: SlowStore) -> Result<(), Error>
where
    R: AsyncRead + Unpin + Send + 'static,
{
    let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store.clone()));
    serve(read, write, store.advertise().await?, service).await.map(drop)
}

async fn serve_http(stream: TcpStream, store: SlowStore) {
    let service = HttpReceivePack::new(move |_: HttpRequest| {
        let store = store.clone();
        async move {
            let advertisement = store.advertise().await.map_err(Refusal::from)?;
            Ok(Target::new(
                advertisement,
                ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store)),
            ))
        }
    });
    let builder = Builder::new(TokioExecutor::new());
    // The client's side tells of errors.
    let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
}

/// The pieces of a push, made as they are sent: the client must not hold what the server is measured by.
fn pieces(size: u64) -> impl Iterator<Item = Bytes> + Send {
    const PIECE: usize = 64 << 10;
    let count = size.div_ceil(PIECE as u64);
    let mut rng = Rng::new(1);
    let mut hash = Hash::new(format());
    let head = Request::new().create("refs/heads/main", made_up('1')).head();
    let pack_header = header(2, count as u32).to_vec();
    let entries = (0..count).map(move |_| {
        let data = rng.bytes(PIECE);
        let mut entry = entry_header(BLOB, data.len() as u64);
        entry.extend_from_slice(&zlib(&data, 0));
        entry
    });
    let mut pack = std::iter::once(pack_header).chain(entries);
    let mut trailer = false;
    let body = std::iter::from_fn(move || match pack.next() {
        Some(piece) => {
            hash.update(&piece);
            Some(Bytes::from(piece))
        }
        None if !std::mem::replace(&mut trailer, true) => {
            Some(Bytes::copy_from_slice(hash.clone().finish().as_bytes()))
        }
        None => None,
    });
    std::iter::once(Bytes::from(head)).chain(body)
}

async fn push_git(mut stream: TcpStream, size: u64) -> String {
    stream.write_all(&pkt("git-receive-pack /demo.git\0host=x\0")).await.expect("it reads");
    for piece in pieces(size) {
        stream.write_all(&piece).await.expect("it reads");
    }
    heard(stream).await
}

async fn push_http(mut stream: TcpStream, size: u64) -> String {
    let head = "POST /demo.git/git-receive-pack HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                transfer-encoding: chunked\r\ncontent-type: application/x-git-receive-pack-request\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("it reads");
    for piece in pieces(size) {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.expect("it reads");
        stream.write_all(&piece).await.expect("it reads");
        stream.write_all(b"\r\n").await.expect("it reads");
    }
    stream.write_all(b"0\r\n\r\n").await.expect("it reads");
    heard(stream).await
}

async fn push_h2(stream: TcpStream, size: u64) -> String {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let body =
        StreamBody::new(stream::iter(pieces(size).map(|piece| Ok::<_, Infallible>(http_body::Frame::data(piece)))));
    let call = http::Request::post("http://x/demo.git/git-receive-pack")
        .header("content-type", "application/x-git-receive-pack-request")
        .body(body)
        .expect("a request");
    let response = sender.send_request(call).await.expect("an answer");
    let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

async fn push_ssh(stream: TcpStream, size: u64) -> String {
    let mut session = client::connect_stream(Arc::default(), stream, Trusting).await.expect("it speaks SSH");
    assert!(session.authenticate_none("git").await.expect("an answer").success());
    let channel = session.channel_open_session().await.expect("a channel");
    channel.exec(true, "git-receive-pack '/demo.git'").await.expect("it reads");
    let mut stream = channel.into_stream();
    for piece in pieces(size) {
        stream.write_all(&piece).await.expect("it reads");
    }
    heard(stream).await
}

async fn heard(mut stream: impl AsyncRead + Unpin) -> String {
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.expect("it closes");
    String::from_utf8_lossy(&said).into_owned()
}
