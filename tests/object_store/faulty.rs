//! An object store in which operations fail.

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Notify;

/// What happens to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not done, and an error says so.
    NotDone,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is done when somebody [lets it](Faulty::let_go).
    Held,
}

/// Which operations: those from a place in their order on, so many of them.
#[derive(Clone, Debug)]
struct Plan {
    fault: Fault,
    places: Range<usize>,
}

/// A store in memory; the operations upon it are counted, reads and writes.
#[derive(Debug, Default)]
pub(crate) struct Faulty {
    store: InMemory,
    plan: Mutex<Option<Plan>>,
    operations: Mutex<Vec<String>>,
    reached: Notify,
    go_on: Notify,
}

impl Faulty {
    /// From now on: the operation at `place`, counted from now, and `count - 1` after it.
    pub(crate) fn plan(&self, fault: Fault, place: usize, count: usize) {
        self.operations.lock().expect("no panic").clear();
        *self.plan.lock().expect("no panic") = Some(Plan { fault, places: place..place.saturating_add(count) });
    }

    /// Nothing fails any more; gives the operations since the plan was made, as `put head`.
    pub(crate) fn no_plan(&self) -> Vec<String> {
        *self.plan.lock().expect("no panic") = None;
        self.operations.lock().expect("no panic").clone()
    }

    /// Waits until an operation is held.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets the operation that is held go on.
    pub(crate) fn let_go(&self) {
        self.go_on.notify_one();
    }

    fn next(&self, what: &str, path: &Path) -> Option<Fault> {
        let mut operations = self.operations.lock().expect("no panic");
        let place = operations.len();
        operations.push(format!("{what} {}", path.filename().unwrap_or_default()));
        let plan = self.plan.lock().expect("no panic");
        plan.as_ref().filter(|plan| plan.places.contains(&place)).map(|plan| plan.fault)
    }

    async fn run<T>(&self, what: &str, path: &Path, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let lost = || Error::Generic { store: "faulty", source: format!("{what} {path} was planned to fail").into() };
        match self.next(what, path) {
            None => operation.await,
            Some(Fault::NotDone) => Err(lost()),
            Some(Fault::AnswerLost) => operation.await.and(Err(lost())),
            Some(Fault::Held) => {
                self.reached.notify_one();
                self.go_on.notified().await;
                operation.await
            }
        }
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.run("put", location, self.store.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.run("put_multipart", location, self.store.put_multipart_opts(location, opts)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.run("get", location, self.store.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.run("get", location, self.store.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // A stream cannot borrow from us, and to fail here is of no interest: nobody relies on a removal.
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
