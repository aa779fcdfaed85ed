use std::future::Future;

use crate::Error;
use crate::proto::{Advertisement, Complete, PackFrame, Report};
use crate::push::{Progress, UpdateRequest};

/// Something that takes pushes: one repository.
///
/// Cheap to clone; clones are the same repository.
pub trait Store: Clone + Send + Sync + 'static {
    /// What holds a push until it lands.
    type Quarantine: Quarantine;

    /// What the repository has, and what it can do.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`](crate::ErrorKind::Store).
    fn advertise(&self) -> impl Future<Output = Result<Advertisement, Error>> + Send;

    /// Makes ready for the pack of this push. `progress` is for what takes long: resolving deltas, checking
    /// connectivity.
    ///
    /// # Errors
    ///
    /// A [remote](Error::is_remote) error refuses the push, a local one is the server's own trouble.
    fn quarantine(
        &self,
        request: &UpdateRequest,
        progress: Progress,
    ) -> impl Future<Output = Result<Self::Quarantine, Error>> + Send;
}

/// A push on its way into a [`Store`]. Dropping it, or any of its futures, rolls the push back.
pub trait Quarantine: Send + 'static {
    /// Takes a frame of the pack: each one but [`PackFrame::Complete`], in order. A store that is slow makes the client
    /// wait, so it needs no queue.
    ///
    /// # Errors
    ///
    /// A remote error says what is wrong with the pack; the push is refused. A local one is the store's own trouble.
    fn write(&mut self, frame: PackFrame) -> impl Future<Output = Result<(), Error>> + Send;

    /// The pack is in and [verified](Complete::is_verified): makes its objects durable, then moves the refs whose
    /// commands are not refused, each by compare-and-swap on its old id, all or none if the push is atomic.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write). Refusals of single refs are no errors; they stand in the report.
    fn commit(self, request: UpdateRequest, complete: Complete) -> impl Future<Output = Result<Report, Error>> + Send;

    /// Rolls back, and waits until that is done. What dropping does, for those who want to know when.
    fn abort(self) -> impl Future<Output = ()> + Send;
}
