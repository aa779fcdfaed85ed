use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use crate::push::Push;
use crate::rules::RefRules;

/// Refuses what [`RefRules`] can refuse by the commands alone, before anything of the pack is read. What is left of the
/// push goes on to the inner service, which reports all of it.
#[derive(Clone, Debug)]
pub struct RulesLayer {
    rules: RefRules,
}

impl RulesLayer {
    /// A layer with these rules.
    pub fn new(rules: RefRules) -> Self {
        Self { rules }
    }
}

impl<S> Layer<S> for RulesLayer {
    type Service = Rules<S>;

    fn layer(&self, inner: S) -> Rules<S> {
        Rules { inner, rules: self.rules.clone() }
    }
}

/// The service of [`RulesLayer`].
#[derive(Clone, Debug)]
pub struct Rules<S> {
    inner: S,
    rules: RefRules,
}

impl<S, B> Service<Push<B>> for Rules<S>
where
    S: Service<Push<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut push: Push<B>) -> S::Future {
        self.rules.judge_head(push.request_mut());
        self.inner.call(push)
    }
}
