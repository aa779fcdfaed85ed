use std::future::Future;
use std::sync::Arc;

use crate::Error;
use crate::receive::Received;

/// What a server decides about a push when all of it is there and nobody sees it yet: git's `pre-receive` hook, in Rust.
///
/// It is asked after the store has found that the push is whole, and only if a command is left to carry out. It may
/// [refuse](crate::push::UpdateRequest::refuse) single refs, [read](Received::object) what the push brought, and
/// [speak](Received::progress) to the pusher.
///
/// A tuple of two asks the second if the first has left something; `()` has nothing to say; an `Arc` shares one policy.
///
#[cfg_attr(feature = "memory", doc = "```")]
#[cfg_attr(not(feature = "memory"), doc = "```ignore")]
/// use receive_pack::Error;
/// use receive_pack::proto::ObjectKind;
/// use receive_pack::receive::{PreReceive, ReceivePack, Received};
/// use receive_pack::store::MemoryStore;
///
/// /// Tags must be annotated.
/// #[derive(Clone, Debug)]
/// struct AnnotatedTags;
///
/// impl PreReceive for AnnotatedTags {
///     async fn pre_receive(&self, push: &mut Received<'_>) -> Result<(), Error> {
///         for (index, command) in push.request().commands().to_vec().into_iter().enumerate() {
///             let is_tag = command.name.starts_with(b"refs/tags/") && !command.is_delete();
///             if is_tag && push.kind(&command.new).await? != Some(ObjectKind::Tag) {
///                 push.request_mut().refuse(index, "tags must be annotated");
///             }
///         }
///         Ok(())
///     }
/// }
///
/// let service = ReceivePack::new(MemoryStore::default()).pre_receive(AnnotatedTags);
/// # drop(service);
/// ```
///
/// # Cancel safety
///
/// The future is dropped when the client is [seen to hang up](crate::serve#when-a-client-hangs-up): the push is rolled back,
/// for no ref moves before it has answered. What the policy itself has begun elsewhere it must be able to leave at any
/// `await`. A client may also be gone unseen, and nobody else ends a policy that never answers: one that waits for others
/// needs a time-out, its own or that of a layer around the service.
pub trait PreReceive: Send + Sync + 'static {
    /// Judges a push.
    ///
    /// # Errors
    ///
    /// A [refusal](Error::refused) refuses all of the push, in its words where a ref has no reason yet; any other remote
    /// error makes it an unpack error. A local one is the server's own trouble.
    fn pre_receive(&self, push: &mut Received<'_>) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Has nothing to say.
impl PreReceive for () {
    async fn pre_receive(&self, _: &mut Received<'_>) -> Result<(), Error> {
        Ok(())
    }
}

/// One after the other, as long as something is left.
impl<A: PreReceive, B: PreReceive> PreReceive for (A, B) {
    async fn pre_receive(&self, push: &mut Received<'_>) -> Result<(), Error> {
        self.0.pre_receive(push).await?;
        push.request_mut().settle_atomic();
        if push.request().is_refused() {
            return Ok(());
        }
        self.1.pre_receive(push).await
    }
}

/// The same for all.
impl<P: PreReceive> PreReceive for Arc<P> {
    async fn pre_receive(&self, push: &mut Received<'_>) -> Result<(), Error> {
        P::pre_receive(self, push).await
    }
}
