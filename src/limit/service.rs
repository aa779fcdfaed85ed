use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::layer::Limits;
use crate::limit::Limited;
use crate::proto::Report;
use crate::push::{Push, UpdateRequest};

/// The service of [`LimitLayer`](crate::limit::LimitLayer).
#[derive(Clone, Copy, Debug)]
pub struct Limit<S> {
    pub(super) inner: S,
    pub(super) limits: Limits,
}

impl<S, B> Service<Push<B>> for Limit<S>
where
    S: Service<Push<Limited<B>>, Response = Report>,
{
    type Response = Report;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, push: Push<B>) -> Self::Future {
        let state = match self.limits.judge(push.request()) {
            None => State::Inner { future: self.inner.call(push.map(|body| Limited::new(body, self.limits))) },
            Some(reason) => State::Refused { report: Some(Report::refused(reason, push.request().commands())) },
        };
        ResponseFuture { state }
    }
}

impl Limits {
    /// Why the head goes past a limit, if it does.
    fn judge(&self, request: &UpdateRequest) -> Option<String> {
        let commands = request.commands();
        if let Some(limit) = self.commands.filter(|limit| commands.len() > *limit) {
            return Some(format!("push of {} refs exceeds the limit of {limit}", commands.len()));
        }
        let limit = self.ref_name_bytes?;
        let longest = commands.iter().map(|command| command.name.len()).max().filter(|len| *len > limit)?;
        Some(format!("ref name of {longest} bytes exceeds the limit of {limit}"))
    }
}

pin_project! {
    /// The future of [`Limit`].
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F> {
        Inner { #[pin] future: F },
        Refused { report: Option<Report> },
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Report, E>>,
{
    type Output = Result<Report, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Inner { future } => future.poll(cx),
            Projected::Refused { report } => match report.take() {
                Some(report) => Poll::Ready(Ok(report)),
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("limit::ResponseFuture")
    }
}
