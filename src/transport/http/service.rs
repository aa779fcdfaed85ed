use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPECT, EXPIRES, HeaderMap, HeaderValue, PRAGMA};
use http::{Request, Response, StatusCode};
use http_body::Body;
use tower_service::Service;

use super::conversation::Conversation;
use super::{HttpRequest, Refusal, ReplyBody, RequestBody, Resolve, Target};
use crate::codec::ReceivePackCodec;
use crate::proto::{Advertisement, Reply, Report, pkt_line};
use crate::push::{Pack, Push, Unread, UpdateRequest};
use crate::serve::{Replies, Serve};
use crate::{BoxError, Error};

/// Takes pushes over smart HTTP; see the [module](super).
///
/// Any path that ends in `/info/refs` or `/git-receive-pack` is its; what stands before is the repository. It is always
/// ready: the readiness of the push's own service, which a concurrency limit may hold back, is waited for within the
/// response, when the head of the push has been read.
///
/// Needs a tokio runtime with time enabled.
#[derive(Clone)]
pub struct HttpReceivePack<R> {
    resolver: R,
    serve: Serve,
    full_duplex: bool,
}

impl<R: Resolve> HttpReceivePack<R> {
    /// Pushes to the repositories that the resolver knows.
    pub fn new(resolver: R) -> Self {
        Self { resolver, serve: Serve::new(), full_duplex: false }
    }

    /// How each push is served: time-outs, keep-alives, limits of the parser, how much is read of a refused push.
    /// Whether it is [stateless](Serve::stateless), as HTTP always is, and how long
    /// [writing](Serve::write_timeout) may take, which is the server's to say, are not looked at.
    #[must_use]
    pub fn serve(mut self, serve: Serve) -> Self {
        self.serve = serve;
        self
    }

    /// Whether answers begin before their requests have ended, so that the pusher reads what is said at once. Default
    /// no. Only for servers that no buffering proxy stands before, and for clients that read while they write: of HTTP/1.1
    /// clients, git does.
    #[must_use]
    pub fn full_duplex(mut self, full_duplex: bool) -> Self {
        self.full_duplex = full_duplex;
        self
    }
}

impl<R, B> Service<Request<B>> for HttpReceivePack<R>
where
    R: Resolve + Sync,
    R::Service: Service<Push<Pack<RequestBody<B>>>, Response = Report> + Send + 'static,
    <R::Service as Service<Push<Pack<RequestBody<B>>>>>::Error: Into<BoxError>,
    <R::Service as Service<Push<Pack<RequestBody<B>>>>>::Future: Send,
    B: Body + Send + 'static,
    B::Data: Unpin + Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ReplyBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let expects = parts.headers.contains_key(EXPECT);
            let body = RequestBody::new(body);
            let refusal = match HttpRequest::new(parts) {
                Err(refusal) => refusal,
                Ok(request) => match this.resolver.resolve(request.clone()).await {
                    Err(refusal) => refusal,
                    Ok(target) if request.is_discovery() => return Ok(discovery(target.advertisement, &request)),
                    Ok(target) => return Ok(this.push(request, target, body).await),
                },
            };
            // A client that waits for `100 Continue` is not sending, and must not be told to.
            if !expects {
                let time = Some(this.serve.patience().time_left());
                let framed = ReceivePackCodec::new().framed_read(body);
                this.serve.linger.discard(Unread { framed, time }).await;
            }
            Ok(refusal.into_response())
        })
    }
}

impl<R> HttpReceivePack<R> {
    async fn push<S, B>(
        &self,
        request: HttpRequest,
        Target { advertisement, service }: Target<S>,
        body: RequestBody<B>,
    ) -> Response<ReplyBody>
    where
        S: Service<Push<Pack<RequestBody<B>>>, Response = Report> + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Unpin + Send,
        B::Error: Into<BoxError>,
    {
        let patience = self.serve.patience();
        let mut framed = self.serve.framed(body, &advertisement);
        let mut head = UpdateRequest::new(advertisement.format());
        match patience.head(&mut framed, &mut head).await {
            Ok(true) => {}
            Ok(false) => return result(ReplyBody::full(Bytes::new())),
            Err(error) => {
                self.serve.linger.discard(patience.unread(framed, &error)).await;
                return malformed_head(&head, &error);
            }
        }
        let negotiated = head.negotiated().clone();
        let mut pack = Pack::new(framed);
        patience.apply(&mut pack);
        let reclaim = pack.reclaim();
        let mut push = Push::new(head, pack);
        push.extensions_mut().insert(request);
        let replies = Replies::new(push, service, self.serve.keep_alive);
        let mut conversation = Conversation::new(replies, negotiated, reclaim, self.serve.linger);
        let held = if self.full_duplex { Bytes::new() } else { conversation.until_request_ends().await };
        let held = Some(held).filter(|held| !held.is_empty());
        result(ReplyBody::streaming(stream::iter(held).chain(conversation)))
    }
}

impl<R> fmt::Debug for HttpReceivePack<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { serve, full_duplex, .. } = self;
        f.debug_struct("HttpReceivePack")
            .field("serve", serve)
            .field("full_duplex", full_duplex)
            .finish_non_exhaustive()
    }
}

fn discovery(advertisement: Advertisement, request: &HttpRequest) -> Response<ReplyBody> {
    let mut bytes = BytesMut::new();
    // The line fits.
    let _ = pkt_line::encode(b"# service=git-receive-pack\n", &mut bytes);
    pkt_line::encode_flush(&mut bytes);
    match advertisement.with_version_1(request.wants_version_1()).encode(&mut bytes) {
        Ok(()) => answer("application/x-git-receive-pack-advertisement", ReplyBody::full(bytes.freeze())),
        Err(error) => Refusal::from(Error::store("the refs cannot be advertised", error)).into_response(),
    }
}

/// A report, or last words on band 3; to a client that asked for neither, status 400 and a text.
fn malformed_head(head: &UpdateRequest, error: &Error) -> Response<ReplyBody> {
    let report = Reply::Report(Report::head_failed(error.reason(), head.commands()));
    let fatal = Reply::Fatal(Bytes::from(error.reason().into_owned()));
    let words = if head.negotiated().report.is_some() { report } else { fatal };
    let mut bytes = BytesMut::new();
    for reply in [words, Reply::Flush] {
        // Only an advertisement can fail to be encoded.
        let _ = reply.encode(head.negotiated(), &mut bytes);
    }
    if bytes.is_empty() {
        return Refusal::new(StatusCode::BAD_REQUEST, error.reason()).into_response();
    }
    result(ReplyBody::full(bytes.freeze()))
}

fn result(body: ReplyBody) -> Response<ReplyBody> {
    answer("application/x-git-receive-pack-result", body)
}

fn answer(content_type: &'static str, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    no_cache(response.headers_mut());
    response
}

/// As `git http-backend` says it.
pub(super) fn no_cache(headers: &mut HeaderMap) {
    headers.insert(EXPIRES, HeaderValue::from_static("Fri, 01 Jan 1980 00:00:00 GMT"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0, must-revalidate"));
}
