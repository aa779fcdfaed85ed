use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

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
#[derive(Clone, Copy, Debug, Default)]
pub struct ChecksumLayer {
    throttle: Throttle,
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
}

impl<S> Layer<S> for ChecksumLayer {
    type Service = Checksum<S>;

    fn layer(&self, inner: S) -> Checksum<S> {
        Checksum { inner, throttle: self.throttle }
    }
}

/// The service of [`ChecksumLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Checksum<S> {
    inner: S,
    throttle: Throttle,
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
        self.inner.call(push.map(|body| Checksummed::new(body, format, self.throttle)))
    }
}
