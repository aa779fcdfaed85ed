use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::layer::Limits;
use crate::Error;
use crate::proto::PackFrame;

pin_project! {
    /// A body that ends in an error of kind [`Refused`](crate::ErrorKind::Refused) as soon as it goes past a limit.
    ///
    /// What is declared is judged before what it declares is read: a count of objects at the header, a size at the
    /// first chunk.
    pub struct Limited<B> {
        #[pin]
        body: B,
        limits: Limits,
        pack_bytes: u64,
        inflated_bytes: u64,
        ended: bool,
    }
}

impl<B> Limited<B> {
    pub(super) fn new(body: B, limits: Limits) -> Self {
        Self { body, limits, pack_bytes: 0, inflated_bytes: 0, ended: false }
    }
}

impl<B> Stream for Limited<B>
where
    B: Stream<Item = Result<PackFrame, Error>>,
{
    type Item = Result<PackFrame, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        if *this.ended {
            return Poll::Ready(None);
        }
        let Some(item) = ready!(this.body.poll_next(cx)) else {
            *this.ended = true;
            return Poll::Ready(None);
        };
        let item = item.and_then(|frame| {
            let mut count = Count { pack: this.pack_bytes, inflated: this.inflated_bytes };
            count.add(&frame, this.limits).map(|()| frame)
        });
        *this.ended = item.is_err();
        Poll::Ready(Some(item))
    }
}

struct Count<'a> {
    pack: &'a mut u64,
    inflated: &'a mut u64,
}

impl Count<'_> {
    fn add(&mut self, frame: &PackFrame, limits: &Limits) -> Result<(), Error> {
        *self.pack = self.pack.saturating_add(frame.wire_len() as u64);
        match frame {
            PackFrame::Header(header) => {
                if let Some(limit) = limits.objects.filter(|limit| header.objects > *limit) {
                    return Err(Error::refused(format!(
                        "pack of {} objects exceeds the limit of {limit}",
                        header.objects
                    )));
                }
            }
            PackFrame::Object(object) => {
                let size = object.entry().size;
                if let Some(limit) = limits.object_size.filter(|limit| size > *limit) {
                    let text = format!("object of {size} bytes exceeds the limit of {limit}");
                    return Err(Error::refused(text).with_offset(object.entry().offset));
                }
                *self.inflated = self.inflated.saturating_add(object.data().len() as u64);
                if let Some(limit) = limits.inflated_bytes.filter(|limit| *self.inflated > *limit) {
                    return Err(Error::refused(format!("pack inflates to more than {limit} bytes")));
                }
            }
            PackFrame::Data(_) => {}
            PackFrame::Complete(complete) => *self.pack = complete.pack_len(),
        }
        match limits.pack_bytes.filter(|limit| *self.pack > *limit) {
            Some(limit) => Err(Error::refused(format!("pack exceeds maximum allowed size of {limit} bytes"))),
            None => Ok(()),
        }
    }
}

impl<B> fmt::Debug for Limited<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited").field("pack_bytes", &self.pack_bytes).finish_non_exhaustive()
    }
}
