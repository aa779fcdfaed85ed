//! HTTP, with axum: HTTP/1.1, and HTTP/2 for clients that know beforehand.

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::error_handling::HandleErrorLayer;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use percent_encoding::percent_decode_str;
use receive_pack::BoxError;
use receive_pack::transport::http::{HttpReceivePack, HttpRequest, Refusal, RequestBody, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{ServiceBuilder, ServiceExt};
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::trace::TraceLayer;

use crate::activity::{Activity, Patience, Running};
use crate::fetch;
use crate::repositories::{PushService, Repositories};
use crate::shutdown::Tasks;

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct HttpArgs {
    /// Begin HTTP answers before the requests have ended: not behind a proxy that buffers.
    #[arg(long)]
    full_duplex: bool,
    /// HTTP requests that are answered at the same time, until each answer begins: any more get status 503. What goes on
    /// in an answer, such as a push that is full-duplex, is bounded by `--pushes`.
    #[arg(long, default_value_t = 1024)]
    requests: usize,
}

pub(crate) async fn serve(
    listener: TcpListener,
    repositories: Repositories,
    args: HttpArgs,
    tasks: Tasks,
) -> Result<(), BoxError> {
    let patience = repositories.patience();
    let front = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(HandleErrorLayer::new(unavailable))
        .load_shed()
        .concurrency_limit(args.requests)
        .timeout(Duration::from_secs(2 * 3600))
        .map_request(name_gzip)
        .layer(RequestDecompressionLayer::new().gzip(true));
    let answer = move |request: Request| answer(request, repositories.clone(), args.full_duplex);
    // Its state is given at once. Without one axum makes the layers anew for each request, each with limits of its own.
    let router = Router::new().fallback(answer).layer(front).with_state(());
    let handle = |stream, slot| {
        let connection = connection(stream, router.clone(), patience, tasks.clone());
        async move {
            let result = connection.await;
            drop(slot);
            result
        }
    };
    tasks.accept(listener, handle).await
}

/// Gives gzip the name by which the decompression knows it: in any case of letters, and as `x-gzip`, it is the same.
fn name_gzip(mut request: Request) -> Request {
    if let Some(coding) = request.headers_mut().get_mut(header::CONTENT_ENCODING)
        && ["gzip", "x-gzip"].iter().any(|name| coding.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
    {
        *coding = HeaderValue::from_static("gzip");
    }
    request
}

async fn connection(stream: TcpStream, router: Router, patience: Patience, tasks: Tasks) -> Result<(), BoxError> {
    let activity = Activity::default();
    let mut stands_still = std::pin::pin!(activity.clone().stands_still(patience, tasks.stopping()));
    let service = TowerToHyperService::new(tower::service_fn(move |request: axum::http::Request<Incoming>| {
        let (mut running, response) = (activity.begin(), router.clone().oneshot(request));
        async move {
            let Ok(response) = response.await;
            running.set_unread(true);
            Ok::<_, Infallible>(response.map(|inner| Answer { inner, running }))
        }
    }));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience.next);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => return result,
            () = stands_still.as_mut() => return Err("a client that stood still is let go".into()),
            () = tasks.stopping(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The body of an answer, and a part of the connection's activity. Whenever nobody asks for more of it, the client has
/// not taken what there is.
struct Answer {
    inner: Body,
    running: Running,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.running.set_unread(false);
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        self.running.set_unread(true);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

async fn unavailable(error: BoxError) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("the server is too busy: {error}\n")).into_response()
}

async fn answer(request: Request, repositories: Repositories, full_duplex: bool) -> Response {
    let path = request.uri().path();
    let is_discovery = request.uri().query().is_some_and(|query| query.contains("service=git-upload-pack"));
    if let Some(name) = path.strip_suffix("/info/refs").filter(|_| is_discovery) {
        let repository = found(name, &repositories);
        let options = ["--stateless-rpc", "--http-backend-info-refs"];
        return fetched(repositories, repository, &options, request, "advertisement").await;
    }
    if let Some(name) = path.strip_suffix("/git-upload-pack") {
        let repository = found(name, &repositories);
        return fetched(repositories, repository, &["--stateless-rpc"], request, "result").await;
    }
    let serve = repositories.serve(true);
    let resolver = move |request| target(request, repositories.clone());
    let service = HttpReceivePack::new(resolver).serve(serve).full_duplex(full_duplex);
    match service.oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// Which repository a push means; who is asked for here could be looked up here, too.
async fn target(request: HttpRequest, repositories: Repositories) -> Result<Target<HttpPush>, Refusal> {
    let Some(opened) = repositories.open(request.path()).await else { return Err(Refusal::not_found()) };
    let (repository, advertisement) = opened?;
    Ok(Target::new(advertisement, repositories.stack(repository, request.path().to_owned())))
}

/// The repository to fetch from; of pushes the service decodes the path.
fn found(name: &str, repositories: &Repositories) -> Option<PathBuf> {
    repositories.find(&percent_decode_str(name).decode_utf8().ok()?)
}

type HttpPush = PushService<RequestBody<Body>>;

/// Hands a request of a fetch to `git upload-pack`, which counts as one that runs until all of the answer is out.
async fn fetched(
    repositories: Repositories,
    repository: Option<PathBuf>,
    options: &[&str],
    request: Request,
    answer: &str,
) -> Response {
    let Some(repository) = repository else { return (StatusCode::NOT_FOUND, "repository not found\n").into_response() };
    let protocol = protocol(request.headers());
    let is_discovery = answer == "advertisement";
    let started = fetch::start(&repositories, &repository, options, protocol.as_deref()).await;
    let Ok((fetch, mut stdin, stdout)) = started else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let mut body = request.into_body().into_data_stream();
    tokio::spawn(async move {
        while let Ok(Some(data)) = body.try_next().await {
            if stdin.write_all(&data).await.is_err() {
                break;
            }
        }
    });
    let line = "001e# service=git-upload-pack\n0000";
    // git leaves the line out for version 2.
    let line = (is_discovery && !protocol.is_some_and(|words| words.contains("version=2"))).then_some(line);
    let said = stream::unfold((fetch, stdout), |(fetch, mut stdout)| async {
        let mut data = bytes::BytesMut::with_capacity(64 << 10);
        match stdout.read_buf(&mut data).await {
            Ok(0) => None,
            read => Some((read.map(|_| data.freeze()), (fetch, stdout))),
        }
    });
    let said = stream::iter(line).map(|line| Ok(line.into())).chain(said);
    let content_type = format!("application/x-git-upload-pack-{answer}");
    let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache".to_owned())];
    (headers, Body::from_stream(said)).into_response()
}

fn protocol(headers: &HeaderMap) -> Option<String> {
    headers.get("git-protocol")?.to_str().ok().map(str::to_owned)
}
