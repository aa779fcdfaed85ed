use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::body::WORK_PER_POLL;
use crate::checksum::{Checksummed, Throttle};
use crate::push::Push;

/// Verifies the body of each push on its way to the inner service, which takes `Push<Checksummed<B>>`.
///
/// ```
/// use receive_pack::checksum::{ChecksumLayer, Throttle};
///
/// let layer = ChecksumLayer::new().throttle(Throttle::window(1 << 20));
/// # drop(layer);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ChecksumLayer {
    throttle: Throttle,
    work_per_poll: usize,
}

impl Default for ChecksumLayer {
    fn default() -> Self {
        Self { throttle: Throttle::default(), work_per_poll: WORK_PER_POLL }
    }
}

impl ChecksumLayer {
    /// A layer with the default throttle: a window of 4 MiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how often an opaque body is checked for being complete.
    #[must_use]
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.throttle = throttle;
        self
    }

    /// Sets after how many bytes, on the wire and inflated, a body yields to the runtime. Default 128 KiB: half a
    /// millisecond.
    #[must_use]
    pub fn work_per_poll(mut self, bytes: usize) -> Self {
        self.work_per_poll = bytes;
        self
    }
}

impl<S> Layer<S> for ChecksumLayer {
    type Service = Checksum<S>;

    fn layer(&self, inner: S) -> Checksum<S> {
        Checksum { inner, layer: *self }
    }
}

/// The service of [`ChecksumLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Checksum<S> {
    inner: S,
    layer: ChecksumLayer,
}

impl<S, B> Service<Push<B>> for Checksum<S>
where
    S: Service<Push<Checksummed<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, push: Push<B>) -> S::Future {
        let format = push.request().format();
        let ChecksumLayer { throttle, work_per_poll } = self.layer;
        self.inner.call(push.map(|body| Checksummed::new(body, format, throttle).work_per_poll(work_per_poll)))
    }
}
