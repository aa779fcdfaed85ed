use std::future::poll_fn;
use std::mem;
use std::task::Poll;

/// Lets other tasks have the thread once. Tokio's own needs its runtime, which the core does without.
pub(crate) async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
