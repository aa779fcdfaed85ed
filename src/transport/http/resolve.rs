use std::fmt;
use std::future::Future;

use super::{HttpRequest, Refusal};
use crate::proto::Advertisement;

/// Chooses the repository of a request, and says who may push to it.
///
/// Closures that take an [`HttpRequest`] and give a future are resolvers.
pub trait Resolve: Clone + Send + 'static {
    /// What takes the push: layers around a [`ReceivePack`](crate::receive::ReceivePack).
    type Service;

    /// The repository that the request means.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] that the client is answered with.
    fn resolve(&self, request: HttpRequest) -> impl Future<Output = Result<Target<Self::Service>, Refusal>> + Send;
}

impl<F, Fut, S> Resolve for F
where
    F: Fn(HttpRequest) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Target<S>, Refusal>> + Send,
{
    type Service = S;

    fn resolve(&self, request: HttpRequest) -> impl Future<Output = Result<Target<S>, Refusal>> + Send {
        self(request)
    }
}

/// A repository to push to.
#[derive(Clone)]
pub struct Target<S> {
    pub(super) advertisement: Advertisement,
    pub(super) service: S,
}

impl<S> Target<S> {
    /// What the repository has, and what takes a push into it. The service is asked for readiness only by a push.
    pub fn new(advertisement: Advertisement, service: S) -> Self {
        Self { advertisement, service }
    }
}

impl<S> fmt::Debug for Target<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("refs", &self.advertisement.refs().len()).finish_non_exhaustive()
    }
}
