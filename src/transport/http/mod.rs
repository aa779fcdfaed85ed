//! Smart HTTP (gitprotocol-http): [`HttpReceivePack`], a tower service for the two requests of a push.
//!
//! | request | answer |
//! |---|---|
//! | `GET …/info/refs?service=git-receive-pack` | the advertisement |
//! | `POST …/git-receive-pack` | the report; nothing for the probe `0000` that precedes a large push |
//!
//! It knows no server: hyper, axum (`Router::new().fallback_service(service)`) and whatever else speaks `http::Request` and
//! [`http_body::Body`] can hold it. Which repository a request means, and whether it may push, is the [`Resolve`]r's to say.
//!
#![cfg_attr(feature = "memory", doc = "```")]
#![cfg_attr(not(feature = "memory"), doc = "```ignore")]
//! use receive_pack::checksum::ChecksumLayer;
//! use receive_pack::receive::ReceivePack;
//! use receive_pack::store::{MemoryStore, Store};
//! use receive_pack::transport::http::{HttpReceivePack, HttpRequest, Refusal, Target};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let store = MemoryStore::default();
//! let service = HttpReceivePack::new(move |request: HttpRequest| {
//!     let store = store.clone();
//!     async move {
//!         if request.path() != "/demo.git" {
//!             return Err(Refusal::not_found());
//!         }
//!         let advertisement = store.advertise().await?;
//!         let stack = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store));
//!         Ok(Target::new(advertisement, stack))
//!     }
//! });
//!
//! let request = http::Request::get("/demo.git/info/refs?service=git-receive-pack").body(String::new()).unwrap();
//! let response = service.oneshot(request).await.unwrap();
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.headers()["content-type"], "application/x-git-receive-pack-advertisement");
//! # });
//! ```
//!
//! # When the answer begins
//!
//! When the request has ended, unless [told otherwise](HttpReceivePack::full_duplex): behind a proxy that buffers, an
//! answer that begins earlier stalls the upload for good. What is said to the pusher meanwhile is kept, up to 64 KiB. From
//! the end of the request on, text and keep-alives go out as they come, while deltas are resolved and refs move.
//!
//! A push that is refused is status 200 and a report, after the rest of the request was read: of any other status git
//! shows the number and nothing more, and of an answer that overtakes its request, nothing at all. So middleware that
//! limits the request's body is the wrong tool here; a quota belongs into a [`LimitLayer`](crate::limit::LimitLayer)
//! before the [`Target`]'s service.
//!
//! # Layers of tower
//!
//! Here a stack is made for each request, so a limit that all of them share is made once and cloned in: tower's
//! `GlobalConcurrencyLimitLayer`. Of the errors of time-outs and load shedding the pusher reads `internal error`, unless
//! they are made [refusals](crate::Error::refused); and nobody else reads of the server's own trouble, unless it is logged
//! on its way out. Where the stack is boxed, its errors must have a name, that of [`Error`](crate::Error), or rustc does
//! not find that the task of a connection is `Send`:
//!
#![cfg_attr(feature = "memory", doc = "```")]
#![cfg_attr(not(feature = "memory"), doc = "```ignore")]
//! # use std::time::Duration;
//! # use hyper::body::Incoming;
//! # use hyper_util::rt::{TokioExecutor, TokioIo};
//! # use hyper_util::server::conn::auto::Builder;
//! # use hyper_util::service::TowerToHyperService;
//! # use receive_pack::{BoxError, Error};
//! # use receive_pack::checksum::ChecksumLayer;
//! # use receive_pack::proto::Report;
//! # use receive_pack::push::{Pack, Push};
//! # use receive_pack::receive::ReceivePack;
//! # use receive_pack::store::{MemoryStore, Store};
//! # use receive_pack::transport::http::{HttpReceivePack, HttpRequest, Refusal, RequestBody, Target};
//! # use tokio::net::TcpStream;
//! # use tower::ServiceBuilder;
//! # use tower::limit::GlobalConcurrencyLimitLayer;
//! # use tower::load_shed::error::Overloaded;
//! # use tower::timeout::error::Elapsed;
//! # use tower::util::BoxService;
//! type PushService = BoxService<Push<Pack<RequestBody<Incoming>>>, Report, Error>;
//!
//! fn stack(store: MemoryStore, limit: GlobalConcurrencyLimitLayer) -> PushService {
//!     let stack = ServiceBuilder::new()
//!         .map_err(named)
//!         .load_shed()
//!         .layer(limit)
//!         .timeout(Duration::from_secs(3600))
//!         .layer(ChecksumLayer::new())
//!         .service(ReceivePack::new(store));
//!     BoxService::new(stack)
//! }
//!
//! fn named(error: BoxError) -> Error {
//!     if error.is::<Overloaded>() {
//!         return Error::refused("the server is busy, try again later");
//!     }
//!     if error.is::<Elapsed>() {
//!         // Its refs may be moving at this moment.
//!         return Error::refused("the push took too long; look before you push again");
//!     }
//!     eprintln!("a push failed: {error:?}");
//!     Error::from(error)
//! }
//!
//! async fn connection(stream: TcpStream, store: MemoryStore, limit: GlobalConcurrencyLimitLayer) {
//!     let service = HttpReceivePack::new(move |_: HttpRequest| {
//!         let (store, limit) = (store.clone(), limit.clone());
//!         async move { Ok::<_, Refusal>(Target::new(store.advertise().await?, stack(store, limit))) }
//!     });
//!     let builder = Builder::new(TokioExecutor::new());
//!     let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
//! # let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
//! # let (stream, _) = listener.accept().await.unwrap();
//! # let (store, limit) = (MemoryStore::default(), GlobalConcurrencyLimitLayer::new(16));
//! tokio::spawn(connection(stream, store, limit));
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! # let request = "GET /x.git/info/refs?service=git-receive-pack HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
//! # client.write_all(request.as_bytes()).await.unwrap();
//! # let mut answer = String::new();
//! # client.read_to_string(&mut answer).await.unwrap();
//! # assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
//! # });
//! ```
//!
//! # Compressed requests
//!
//! JGit sends its pushes with `Content-Encoding: gzip`. `RequestDecompressionLayer` of tower-http in front of this
//! service undoes that; without it such requests are answered with status 415. So are, with it, those that say `GZIP`
//! or `x-gzip`, which mean the same: it knows `gzip` alone, so they are given that name before.
//!
#![cfg_attr(feature = "memory", doc = "```")]
#![cfg_attr(not(feature = "memory"), doc = "```ignore")]
//! # use std::io::Write;
//! # use receive_pack::checksum::ChecksumLayer;
//! # use receive_pack::receive::ReceivePack;
//! # use receive_pack::store::{MemoryStore, Store};
//! # use receive_pack::transport::http::{HttpReceivePack, HttpRequest, Refusal, Target};
//! # use tower::ServiceExt;
//! use http::Request;
//! use http::header::{CONTENT_ENCODING, HeaderValue};
//! use tower::ServiceBuilder;
//! use tower_http::decompression::RequestDecompressionLayer;
//!
//! fn name_gzip<B>(mut request: Request<B>) -> Request<B> {
//!     if let Some(coding) = request.headers_mut().get_mut(CONTENT_ENCODING)
//!         && ["gzip", "x-gzip"].iter().any(|name| coding.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
//!     {
//!         *coding = HeaderValue::from_static("gzip");
//!     }
//!     request
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! # let store = MemoryStore::default();
//! # let service = HttpReceivePack::new(move |_: HttpRequest| {
//! #     let store = store.clone();
//! #     async move {
//! #         let advertisement = store.advertise().await?;
//! #         let stack = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store));
//! #         Ok::<_, Refusal>(Target::new(advertisement, stack))
//! #     }
//! # });
//! let service = ServiceBuilder::new()
//!     .map_request(name_gzip)
//!     .layer(RequestDecompressionLayer::new().gzip(true))
//!     .service(service);
//! # let mut body = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
//! # body.write_all(b"0000").unwrap();
//! # let request = Request::post("/demo.git/git-receive-pack")
//! #     .header("content-type", "application/x-git-receive-pack-request")
//! #     .header("content-encoding", "X-Gzip")
//! #     .body(http_body_util::Full::new(bytes::Bytes::from(body.finish().unwrap())))
//! #     .unwrap();
//! # assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
//! # });
//! ```
//!
//! All limits here count what came out of the decompression: [`proto::Limits`](crate::proto::Limits), those of a
//! `LimitLayer`, and those of [`Linger`](crate::serve::Linger) on what is read of a refused push.
//!
//! # Errors
//!
//! None: what goes wrong is a response. The error of a resolver is in its extensions; that of the service that takes the
//! push, and that [of its report](crate::proto::Report::error), go no further, so log them in the stack.
//!
//! # Cancel safety
//!
//! A dropped future, or a dropped body of a response, drops the future of the service: the push is rolled back, unless its
//! refs are about to move. A server drops them when the client goes away.

mod conversation;
mod refusal;
mod reply;
mod request;
mod request_body;
mod resolve;
mod service;

pub use refusal::Refusal;
pub use reply::ReplyBody;
pub use request::HttpRequest;
pub use request_body::RequestBody;
pub use resolve::{Resolve, Target};
pub use service::HttpReceivePack;
