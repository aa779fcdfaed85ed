use std::fmt;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use crate::inspect::{Inspected, Inspector};
use crate::push::{Extensions, Push, UpdateRequest};

/// Gives each push an [`Inspector`] of its own, made by a closure that sees the head.
#[derive(Clone)]
pub struct InspectLayer<M> {
    make: M,
}

impl<M> InspectLayer<M> {
    /// `make` makes the inspector of one push.
    pub fn new<I>(make: M) -> Self
    where
        M: FnMut(&UpdateRequest, &Extensions) -> I,
        I: Inspector,
    {
        Self { make }
    }
}

impl<S, M: Clone> Layer<S> for InspectLayer<M> {
    type Service = Inspect<S, M>;

    fn layer(&self, inner: S) -> Inspect<S, M> {
        Inspect { inner, make: self.make.clone() }
    }
}

impl<M> fmt::Debug for InspectLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InspectLayer")
    }
}

/// The service of [`InspectLayer`].
#[derive(Clone)]
pub struct Inspect<S, M> {
    inner: S,
    make: M,
}

impl<S, M, I, B> Service<Push<B>> for Inspect<S, M>
where
    S: Service<Push<Inspected<B, I>>>,
    M: FnMut(&UpdateRequest, &Extensions) -> I,
    I: Inspector,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, push: Push<B>) -> S::Future {
        let inspector = (self.make)(push.request(), push.extensions());
        self.inner.call(push.map(|body| Inspected::new(body, inspector)))
    }
}

impl<S: fmt::Debug, M> fmt::Debug for Inspect<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspect").field("inner", &self.inner).finish_non_exhaustive()
    }
}
