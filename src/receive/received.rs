use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::push::{Extensions, Progress, UpdateRequest};
use crate::store::Quarantine;

/// A push that is whole and that nobody sees yet: what a [`PreReceive`](crate::receive::PreReceive) looks at.
pub struct Received<'a> {
    request: &'a mut UpdateRequest,
    extensions: &'a Extensions,
    progress: &'a Progress,
    objects: &'a dyn Objects,
}

impl<'a> Received<'a> {
    pub(super) fn new(
        request: &'a mut UpdateRequest,
        extensions: &'a Extensions,
        progress: &'a Progress,
        quarantine: &'a impl Quarantine,
    ) -> Self {
        Self { request, extensions, progress, objects: quarantine }
    }

    /// The head of the push, and what was decided about each command so far.
    pub fn request(&self) -> &UpdateRequest {
        self.request
    }

    /// The head, to refuse some of its commands.
    pub fn request_mut(&mut self) -> &mut UpdateRequest {
        self.request
    }

    /// What layers have learned about the push.
    pub fn extensions(&self) -> &Extensions {
        self.extensions
    }

    /// The way to the pusher's screen.
    pub fn progress(&self) -> &Progress {
        self.progress
    }

    /// The objects that the push brought, each once, in no order.
    ///
    /// A policy that judges these refuses all of the push, not single refs: what a refused ref would have pointed at lands
    /// with what the other refs need, and is new to no later push.
    pub fn new_objects(&self) -> impl Iterator<Item = (ObjectId, ObjectKind)> + Send {
        self.objects.new_objects()
    }

    /// What kind of object this is, one of the push or of the repository; `None` if there is no such object.
    ///
    /// # Errors
    ///
    /// The store's own trouble.
    pub async fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        self.objects.kind(id).await
    }

    /// The object itself, one of the push or of the repository, its deltas resolved; `None` if there is no such object.
    ///
    /// Each call resolves one object from the start, so whoever wants to see all objects of a push rather looks at them
    /// as they are resolved.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) if the object, or one that it is made from, is
    /// longer than `max_len` bytes; passed on, it refuses the push. The store's own trouble.
    pub async fn object(&self, id: &ObjectId, max_len: u64) -> Result<Option<(ObjectKind, Bytes)>, Error> {
        self.objects.object(id, max_len).await
    }
}

impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("request", &self.request).finish_non_exhaustive()
    }
}

type Found<'a, T> = Pin<Box<dyn Future<Output = Result<Option<T>, Error>> + Send + 'a>>;

/// The reading side of any quarantine, so that a policy need not know the store.
trait Objects: Sync {
    fn new_objects(&self) -> Box<dyn Iterator<Item = (ObjectId, ObjectKind)> + Send + '_>;
    fn kind<'a>(&'a self, id: &'a ObjectId) -> Found<'a, ObjectKind>;
    fn object<'a>(&'a self, id: &'a ObjectId, max_len: u64) -> Found<'a, (ObjectKind, Bytes)>;
}

impl<Q: Quarantine> Objects for Q {
    fn new_objects(&self) -> Box<dyn Iterator<Item = (ObjectId, ObjectKind)> + Send + '_> {
        Box::new(Quarantine::new_objects(self))
    }

    fn kind<'a>(&'a self, id: &'a ObjectId) -> Found<'a, ObjectKind> {
        Box::pin(Quarantine::kind(self, id))
    }

    fn object<'a>(&'a self, id: &'a ObjectId, max_len: u64) -> Found<'a, (ObjectKind, Bytes)> {
        Box::pin(Quarantine::object(self, id, max_len))
    }
}
