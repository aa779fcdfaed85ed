use std::future::Future;

use bytes::Bytes;

use crate::Error;
use crate::proto::{Advertisement, Complete, ObjectId, ObjectKind, PackFrame, Report};
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

/// A push on its way into a [`Store`]. Dropping it, or any of its futures, rolls the push back; that of
/// [`commit`](Self::commit) only as long as no ref has begun to move.
///
/// ```text
/// write* ─▶ seal ─▶ (new_objects, kind, object)* ─▶ commit
///   └──────── abort, or drop: at any time ────────────┘
/// ```
///
/// Between [`seal`](Self::seal) and [`commit`](Self::commit) a policy may look at the push: its objects can be read,
/// deltas resolved, and nobody else sees them.
pub trait Quarantine: Send + Sync + 'static {
    /// Takes a frame of the pack: each one but [`PackFrame::Complete`], in order. A store that is slow makes the client
    /// wait, so it needs no queue.
    ///
    /// # Errors
    ///
    /// A remote error says what is wrong with the pack; the push is refused. A local one is the store's own trouble.
    fn write(&mut self, frame: PackFrame) -> impl Future<Output = Result<(), Error>> + Send;

    /// The pack is in and [verified](Complete::is_verified): resolves its deltas, makes its objects durable within the
    /// quarantine, and refuses each command of `request` whose new value needs objects that are nowhere. Called once,
    /// also for a push without a pack.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write). Refusals of single refs are no errors; they stand in the request.
    fn seal(
        &mut self,
        request: &mut UpdateRequest,
        complete: &Complete,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The objects that the push brought, each once, in no order. None before [`seal`](Self::seal).
    ///
    /// Not the bases that a thin pack was completed with. The repository has those, and one that such a pack makes again
    /// out of its own deltas is left out with them.
    fn new_objects(&self) -> impl Iterator<Item = (ObjectId, ObjectKind)> + Send;

    /// What kind of object this is, one of the push (once it is sealed) or of the repository; `None` if there is no such
    /// object.
    ///
    /// # Errors
    ///
    /// The store's own trouble.
    ///
    /// # Cancel safety
    ///
    /// Full.
    fn kind(&self, id: &ObjectId) -> impl Future<Output = Result<Option<ObjectKind>, Error>> + Send;

    /// The object itself, one of the push (once it is sealed) or of the repository; `None` if there is no such object.
    /// At most `max_len` bytes are read into memory for it, and as many again for an object that it is made from.
    ///
    /// Each call resolves the deltas of one object from the start, so whoever wants to see all objects of a push rather
    /// looks at them as they are resolved.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) if the object, or one that it is made from, is
    /// longer than `max_len` bytes; the store's own trouble.
    ///
    /// # Cancel safety
    ///
    /// Full.
    fn object(
        &self,
        id: &ObjectId,
        max_len: u64,
    ) -> impl Future<Output = Result<Option<(ObjectKind, Bytes)>, Error>> + Send;

    /// Makes the objects of a sealed push part of the repository, durably, then moves the refs whose commands are not
    /// refused, each by compare-and-swap on its old id, all or none if the push is atomic.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write), and a local one if the push was not sealed. Refusals of single refs are no errors;
    /// they stand in the report.
    fn commit(self, request: UpdateRequest) -> impl Future<Output = Result<Report, Error>> + Send;

    /// Rolls back, and waits until that is done. What dropping does, for those who want to know when.
    fn abort(self) -> impl Future<Output = ()> + Send;
}
