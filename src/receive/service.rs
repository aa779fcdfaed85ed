use std::collections::HashSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt;
use tower_service::Service;

use crate::checksum::Checksummed;
use crate::proto::{Complete, PackFrame, Report};
use crate::push::{Extensions, Meter, Progress, Push, UpdateRequest};
use crate::receive::{PreReceive, Received};
use crate::store::{Quarantine, Store};
use crate::{Error, ErrorKind};

/// Takes pushes into a store.
///
/// Before anything is read of the pack it refuses what no store could carry out: names that git's rules forbid
/// (`funny refname`), and two commands for one ref. When the pack is in, it asks the [policy](Self::pre_receive) that it
/// was given.
#[derive(Clone, Debug)]
pub struct ReceivePack<St, P = ()> {
    store: St,
    policy: P,
}

impl<St: Store> ReceivePack<St> {
    /// Takes pushes into this store.
    pub fn new(store: St) -> Self {
        Self { store, policy: () }
    }
}

impl<St, P> ReceivePack<St, P> {
    /// Asks this policy, after those that were given before, once the pack is in and before any ref moves.
    ///
    /// For the whole to be a service the policy must be [`Clone`], as a policy in an `Arc` is.
    #[must_use]
    pub fn pre_receive<Q>(self, policy: Q) -> ReceivePack<St, (P, Q)> {
        ReceivePack { store: self.store, policy: (self.policy, policy) }
    }
}

impl<St, P, B> Service<Push<Checksummed<B>>> for ReceivePack<St, P>
where
    St: Store,
    P: PreReceive + Clone,
    B: Stream<Item = Result<PackFrame, Error>> + Send + 'static,
{
    type Response = Report;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Report, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, push: Push<Checksummed<B>>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (mut request, extensions, body) = push.into_parts();
            let progress = extensions.get::<Progress>().cloned().unwrap_or_default();
            judge_names(&mut request, &progress);
            request.settle_atomic();
            if request.is_refused() {
                return Ok(request.report());
            }
            let commands = request.commands().to_vec();
            match this.receive(request, &extensions, progress, body).await {
                Err(error) if error.is_remote() => Ok(Report::from_error(&error, &commands)),
                result => result,
            }
        })
    }
}

impl<St: Store, P: PreReceive> ReceivePack<St, P> {
    async fn receive(
        &self,
        mut request: UpdateRequest,
        extensions: &Extensions,
        progress: Progress,
        body: impl Stream<Item = Result<PackFrame, Error>> + Send,
    ) -> Result<Report, Error> {
        let meter = Meter::new(&progress, "Receiving objects");
        let mut quarantine = self.store.quarantine(&request, progress.clone()).await.map_err(Error::of_the_server)?;
        let judged = async {
            let complete = fill(&mut quarantine, body, meter).await?;
            quarantine.seal(&mut request, &complete).await.map_err(Error::of_the_server)?;
            request.settle_atomic();
            if !request.is_refused() {
                let mut received = Received::new(&mut request, extensions, &progress, &quarantine);
                match self.policy.pre_receive(&mut received).await {
                    // Of refs that were refused before, the reason stays.
                    Err(error) if error.kind() == ErrorKind::Refused => {
                        let reason = error.to_string();
                        request.refuse_where(|_| Some(reason.clone()));
                    }
                    result => result.map_err(Error::of_the_server)?,
                }
                // The policy may have named other refs.
                judge_names(&mut request, &progress);
                request.settle_atomic();
            }
            Ok(())
        };
        match judged.await {
            Ok(()) if !request.is_refused() => quarantine.commit(request).await.map_err(Error::of_the_server),
            Ok(()) => {
                quarantine.abort().await;
                Ok(request.report())
            }
            Err(error) => {
                quarantine.abort().await;
                Err(error)
            }
        }
    }
}

/// Writes the body into the quarantine, to its end, and tells the pusher how far it is.
async fn fill(
    quarantine: &mut impl Quarantine,
    body: impl Stream<Item = Result<PackFrame, Error>>,
    meter: Meter,
) -> Result<Complete, Error> {
    let mut body = pin!(body);
    let (mut done, mut total) = (0_u64, 0);
    while let Some(frame) = body.next().await {
        let frame = frame?;
        match &frame {
            PackFrame::Complete(complete) => return Ok(*complete),
            PackFrame::Header(header) => total = u64::from(header.objects),
            PackFrame::Object(object) if object.is_end() => {
                done = done.saturating_add(1);
                meter.update(done, total);
            }
            // What an opaque pack holds is not known.
            PackFrame::Object(_) | PackFrame::Data(_) => {}
        }
        quarantine.write(frame).await.map_err(Error::of_the_server)?;
    }
    Err(Error::new(ErrorKind::IncompletePack, "the pack is incomplete: early EOF"))
}

fn judge_names(request: &mut UpdateRequest, progress: &Progress) {
    request.refuse_where(|command| {
        (!command.has_valid_name()).then(|| {
            let name = String::from_utf8_lossy(&command.name);
            progress.note(format_args!("error: refusing to update funny ref '{name}' remotely"));
            "funny refname"
        })
    });

    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for command in request.planned() {
        if !seen.insert(command.name.clone()) {
            twice.insert(command.name.clone());
        }
    }
    if !twice.is_empty() {
        request.refuse_where(|command| {
            twice.contains(&command.name).then_some("multiple updates for this ref not allowed")
        });
    }
}
