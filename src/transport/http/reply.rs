use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};

/// The body of a response.
///
/// While it is polled it drives the push: a server that stops polling it, because the client does not read, makes the
/// push wait. What is said is small, so that takes a client that wants it; a server bounds how long it lets a
/// connection stand still.
pub struct ReplyBody {
    inner: Inner,
}

enum Inner {
    Full(Bytes),
    Streaming(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
    Ended,
}

impl ReplyBody {
    pub(super) fn full(bytes: Bytes) -> Self {
        Self { inner: if bytes.is_empty() { Inner::Ended } else { Inner::Full(bytes) } }
    }

    pub(super) fn streaming(stream: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self { inner: Inner::Streaming(Box::pin(stream)) }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut self.inner {
            Inner::Full(bytes) => Some(std::mem::take(bytes)),
            Inner::Streaming(stream) => match stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Poll::Ready(None) => None,
                Poll::Pending => return Poll::Pending,
            },
            Inner::Ended => None,
        };
        self.inner = Inner::Ended;
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.inner, Inner::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Streaming(_) => SizeHint::default(),
            Inner::Ended => SizeHint::with_exact(0),
        }
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyBody").field("size", &self.size_hint().exact()).finish_non_exhaustive()
    }
}
