use std::ops::ControlFlow;

use futures_util::StreamExt;
use tokio::io::AsyncRead;
use tokio_util::codec::FramedRead;

use crate::Error;
use crate::codec::ReceivePackCodec;
use crate::proto::Frame;
use crate::push::{Pack, Push, UpdateRequest};

/// Reads the head of a push; the pack stays in the connection, as the body of what comes back. `None` if the client has
/// nothing to push: it sent a lone flush-pkt, or closed at once.
///
/// # Errors
///
/// Those of the head, and of the connection. A server that answers malformed heads with a report, which needs the
/// commands that were read before the error, uses [`read_head`].
///
/// # Cancel safety
///
/// None: what was read of the head is lost, and so is the connection.
pub async fn accept<R>(mut framed: FramedRead<R, ReceivePackCodec>) -> Result<Option<Push<Pack<R>>>, Error>
where
    R: AsyncRead + Unpin,
{
    let mut request = UpdateRequest::new(framed.decoder().object_format());
    if read_head(&mut framed, &mut request).await? { Ok(Some(Push::new(request, Pack::new(framed)))) } else { Ok(None) }
}

/// Reads the head of a push into `request`; false if the client has nothing to push.
///
/// # Errors
///
/// Those of the head, and of the connection; `request` then has what was read before.
///
/// # Cancel safety
///
/// Full: called again with the same arguments, it goes on where it was.
pub async fn read_head<R>(
    framed: &mut FramedRead<R, ReceivePackCodec>,
    request: &mut UpdateRequest,
) -> Result<bool, Error>
where
    R: AsyncRead + Unpin,
{
    let result = loop {
        let item = framed.next().await;
        if let ControlFlow::Break(result) = take_head_item(request, item) {
            break result;
        }
    };
    request.set_negotiated(framed.decoder().negotiated().clone());
    result
}

/// Adds what the codec gave to the head; breaks when that is the end of it.
pub(crate) fn take_head_item(
    request: &mut UpdateRequest,
    item: Option<Result<Frame, Error>>,
) -> ControlFlow<Result<bool, Error>> {
    match item {
        None => ControlFlow::Break(Ok(false)),
        Some(Ok(Frame::Flush)) => {
            request.judge_signed_options();
            ControlFlow::Break(Ok(!request.commands().is_empty()))
        }
        // The codec gives no other frame before the flush-pkt, so whatever comes belongs to the head.
        Some(Ok(frame)) => {
            request.extend(frame);
            ControlFlow::Continue(())
        }
        Some(Err(error)) => ControlFlow::Break(Err(error)),
    }
}
