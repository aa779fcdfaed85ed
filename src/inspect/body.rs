use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::Error;
use crate::proto::PackFrame;

/// Looks at the frames of one pack; a closure does, too.
pub trait Inspector {
    /// Sees the next frame, before anybody further in does. It holds up the push for as long as it takes, and so should
    /// not block.
    ///
    /// # Errors
    ///
    /// Whatever is to end the push.
    fn frame(&mut self, frame: &PackFrame) -> Result<(), Error>;
}

impl<F> Inspector for F
where
    F: FnMut(&PackFrame) -> Result<(), Error>,
{
    fn frame(&mut self, frame: &PackFrame) -> Result<(), Error> {
        self(frame)
    }
}

pin_project! {
    /// A body whose frames an [`Inspector`] sees first. It ends in the first error.
    pub struct Inspected<B, I> {
        #[pin]
        body: B,
        inspector: I,
        ended: bool,
    }
}

impl<B, I> Inspected<B, I> {
    /// Shows the frames of `body` to `inspector`.
    pub fn new(body: B, inspector: I) -> Self {
        Self { body, inspector, ended: false }
    }
}

impl<B, I> Stream for Inspected<B, I>
where
    B: Stream<Item = Result<PackFrame, Error>>,
    I: Inspector,
{
    type Item = Result<PackFrame, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        if *this.ended {
            return Poll::Ready(None);
        }
        let item = ready!(this.body.poll_next(cx));
        let item = item.map(|item| {
            item.and_then(|frame| this.inspector.frame(&frame).map(|()| frame).map_err(Error::of_the_server))
        });
        *this.ended = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

impl<B, I> fmt::Debug for Inspected<B, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspected").field("ended", &self.ended).finish_non_exhaustive()
    }
}
