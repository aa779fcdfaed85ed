use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::Body;
use tokio::io::{AsyncRead, ReadBuf};

use crate::BoxError;

/// The body of a request as a byte stream. It ends with the body; trailers are not looked at.
pub struct RequestBody<B: Body> {
    body: Pin<Box<B>>,
    data: Option<B::Data>,
    ended: bool,
}

impl<B: Body> RequestBody<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body: Box::pin(body), data: None, ended: false }
    }
}

impl<B> AsyncRead for RequestBody<B>
where
    B: Body,
    B::Data: Unpin,
    B::Error: Into<BoxError>,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some(data) = this.data.as_mut().filter(|data| data.has_remaining()) {
                let chunk = data.chunk();
                let piece = chunk.get(..buf.remaining()).unwrap_or(chunk);
                let len = piece.len();
                buf.put_slice(piece);
                data.advance(len);
                return Poll::Ready(Ok(()));
            }
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => this.data = frame.into_data().ok(),
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Err(io::Error::other(error)));
                }
                None => this.ended = true,
            }
        }
    }
}

impl<B: Body> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("ended", &self.ended).finish_non_exhaustive()
    }
}
