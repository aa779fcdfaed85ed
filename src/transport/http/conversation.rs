use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use tokio::io::AsyncRead;

use crate::proto::{Negotiated, Reply};
use crate::push::Reclaim;
use crate::serve::{Linger, Replies};

/// The bytes of a push's answer. What ends it, report and flush-pkt, is held back until the request has been read to its
/// end: a client that is still sending would not read it.
pub(super) struct Conversation<R> {
    replies: Replies,
    negotiated: Negotiated,
    linger: Linger,
    request: RequestSide<R>,
    last: BytesMut,
    said_all: bool,
    /// Whether what is said is kept until the request has ended.
    holds: bool,
}

/// How far the request has been read.
enum RequestSide<R> {
    /// The push's service reads it.
    InUse(Reclaim<R>),
    /// The service has let go of it; the rest is read and discarded.
    Draining(Pin<Box<dyn Future<Output = ()> + Send>>),
    Ended,
}

/// Text that is kept until the answer may begin.
const HELD: usize = 64 << 10;

impl<R: AsyncRead + Unpin + Send + 'static> Conversation<R> {
    pub(super) fn new(replies: Replies, negotiated: Negotiated, reclaim: Reclaim<R>, linger: Linger) -> Self {
        let request = RequestSide::InUse(reclaim);
        Self { replies, negotiated, linger, request, last: BytesMut::new(), said_all: false, holds: false }
    }

    /// Drives the push until the request has ended; gives what was said meanwhile. Lines that are to be written over, as
    /// those of a meter but its last, are left out. Text beyond 64 KiB is lost, lest the push waits for a client that waits for the
    /// push; the report never is.
    ///
    /// # Cancel safety
    ///
    /// None: what was said is lost.
    pub(super) async fn until_request_ends(&mut self) -> Bytes {
        let mut held = BytesMut::new();
        self.holds = true;
        std::future::poll_fn(|cx| {
            while !self.request_has_ended() {
                match self.poll_bytes(cx) {
                    Poll::Ready(Some(bytes)) if self.said_all || held.len().saturating_add(bytes.len()) <= HELD => {
                        held.extend_from_slice(&bytes);
                    }
                    Poll::Ready(Some(_)) => {}
                    Poll::Ready(None) => break,
                    Poll::Pending if self.request_has_ended() => break,
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(())
        })
        .await;
        self.holds = false;
        held.freeze()
    }

    fn request_has_ended(&self) -> bool {
        matches!(self.request, RequestSide::Ended)
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if self.said_all {
                self.poll_request(cx);
                if !self.request_has_ended() {
                    return Poll::Pending;
                }
                let last = self.last.split().freeze();
                return Poll::Ready(Some(last).filter(|last| !last.is_empty()));
            }
            let polled = Pin::new(&mut self.replies).poll_next(cx);
            // After the service, which may just have let go of the request.
            self.poll_request(cx);
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    self.said_all = true;
                    self.give_up_on_the_service();
                }
                Poll::Ready(Some(reply)) => {
                    let reply = if self.holds { without_meter(reply) } else { reply };
                    // Only an advertisement can fail to be encoded, and there is none here.
                    let _ = reply.encode(&self.negotiated, &mut self.last);
                    if matches!(reply, Reply::Progress(_) | Reply::KeepAlive) && !self.last.is_empty() {
                        return Poll::Ready(Some(self.last.split().freeze()));
                    }
                }
            }
        }
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) {
        loop {
            self.request = match &mut self.request {
                RequestSide::InUse(reclaim) => match reclaim.poll_unread(cx) {
                    Poll::Ready(Some(unread)) => {
                        let linger = self.linger;
                        RequestSide::Draining(Box::pin(async move {
                            linger.discard(unread).await;
                        }))
                    }
                    Poll::Ready(None) => RequestSide::Ended,
                    Poll::Pending => return,
                },
                RequestSide::Draining(draining) => match draining.as_mut().poll(cx) {
                    Poll::Ready(()) => RequestSide::Ended,
                    Poll::Pending => return,
                },
                RequestSide::Ended => return,
            }
        }
    }

    /// The service is done. If it keeps the body somewhere else it keeps the request, too; it is not waited for without
    /// end.
    fn give_up_on_the_service(&mut self) {
        let linger = self.linger;
        self.request = match std::mem::replace(&mut self.request, RequestSide::Ended) {
            RequestSide::InUse(reclaim) => RequestSide::Draining(Box::pin(async move {
                if let Some(unread) = linger.reclaimed(reclaim).await {
                    linger.discard(unread).await;
                }
            })),
            other => other,
        };
    }
}

/// Text without a last line that is to be written over.
fn without_meter(reply: Reply) -> Reply {
    match reply {
        Reply::Progress(mut text) if text.ends_with(b"\r") => {
            let lines = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end.saturating_add(1));
            text.truncate(lines);
            Reply::Progress(text)
        }
        reply => reply,
    }
}

impl<R: AsyncRead + Unpin + Send + 'static> Stream for Conversation<R> {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.poll_bytes(cx)
    }
}
