//! An object store in which operations fail.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use tokio::sync::Notify;
use tokio::time::sleep;

/// What happens to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not done, and an error says so.
    NotDone,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is done when the error has long been there.
    Later,
    /// It is done when somebody [lets it](Faulty::let_go).
    Held,
    /// It is done, and the answer is lost when somebody [lets it](Faulty::let_go).
    AnswerHeld,
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
    store: Arc<InMemory>,
    faults: Arc<Faults>,
    /// Whether all that is listed looks as if it had been there for hours.
    is_aged: AtomicBool,
}

#[derive(Debug, Default)]
struct Faults {
    plan: Mutex<Option<Plan>>,
    /// The next operation that begins with this is held.
    held: Mutex<Option<&'static str>>,
    operations: Mutex<Vec<String>>,
    reached: Notify,
    go_on: Notify,
}

impl Faulty {
    /// From now on: the operation at `place`, counted from now, and `count - 1` after it.
    pub(crate) fn plan(&self, fault: Fault, place: usize, count: usize) {
        self.faults.operations.lock().expect("no panic").clear();
        *self.faults.plan.lock().expect("no panic") = Some(Plan { fault, places: place..place.saturating_add(count) });
    }

    /// Nothing fails any more; gives the operations since the plan was made, as `put head`.
    pub(crate) fn no_plan(&self) -> Vec<String> {
        *self.faults.plan.lock().expect("no panic") = None;
        self.faults.operations.lock().expect("no panic").clone()
    }

    /// The next operation of which this is the beginning is held, as `put head`.
    pub(crate) fn hold(&self, operation: &'static str) {
        *self.faults.held.lock().expect("no panic") = Some(operation);
    }

    /// Waits until an operation is held.
    pub(crate) async fn reached(&self) {
        self.faults.reached.notified().await;
    }

    /// Lets the operation that is held go on, which stands among the operations as `let go`.
    pub(crate) fn let_go(&self) {
        self.faults.operations.lock().expect("no panic").push("let go".to_owned());
        self.faults.go_on.notify_one();
    }

    /// From now on all that is there is old.
    pub(crate) fn age(&self) {
        self.is_aged.store(true, Ordering::Relaxed);
    }
}

impl Faults {
    fn next(&self, what: &str, path: &Path) -> Option<Fault> {
        let mut operations = self.operations.lock().expect("no panic");
        let place = operations.len();
        let operation = format!("{what} {}", path.filename().unwrap_or_default());
        operations.push(operation.clone());
        if self.held.lock().expect("no panic").take_if(|held| operation.starts_with(*held)).is_some() {
            return Some(Fault::Held);
        }
        let plan = self.plan.lock().expect("no panic");
        plan.as_ref().filter(|plan| plan.places.contains(&place)).map(|plan| plan.fault)
    }

    async fn run<T: Send + 'static>(
        &self,
        what: &str,
        path: &Path,
        operation: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let lost = || Error::Generic { store: "faulty", source: format!("{what} {path} was planned to fail").into() };
        match self.next(what, path) {
            None => operation.await,
            Some(Fault::NotDone) => Err(lost()),
            Some(Fault::AnswerLost) => operation.await.and(Err(lost())),
            Some(Fault::Later) => {
                tokio::spawn(async move {
                    sleep(Duration::from_millis(300)).await;
                    operation.await
                });
                Err(lost())
            }
            Some(Fault::Held) => {
                self.reached.notify_one();
                self.go_on.notified().await;
                operation.await
            }
            Some(Fault::AnswerHeld) => {
                let answer = operation.await;
                self.reached.notify_one();
                self.go_on.notified().await;
                answer.and(Err(lost()))
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
        let (store, path) = (Arc::clone(&self.store), location.clone());
        self.faults.run("put", location, async move { store.put_opts(&path, payload, opts).await }).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (store, path) = (Arc::clone(&self.store), location.clone());
        let begin = async move { store.put_multipart_opts(&path, opts).await };
        let upload = self.faults.run("put_multipart", location, begin).await?;
        Ok(Box::new(Parts { upload, path: location.clone(), faults: Arc::clone(&self.faults) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (store, path) = (Arc::clone(&self.store), location.clone());
        self.faults.run("get", location, async move { store.get_opts(&path, options).await }).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (store, path, ranges) = (Arc::clone(&self.store), location.clone(), ranges.to_vec());
        self.faults.run("get", location, async move { store.get_ranges(&path, &ranges).await }).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // To fail here is of no interest: nobody relies on a removal.
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let age = Duration::from_secs(if self.is_aged.load(Ordering::Relaxed) { 3 * 3600 } else { 0 });
        let aged = move |found: Result<ObjectMeta>| {
            found.map(|object| ObjectMeta { last_modified: object.last_modified - age, ..object })
        };
        self.store.list(prefix).map(aged).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

/// An upload in parts.
#[derive(Debug)]
struct Parts {
    upload: Box<dyn MultipartUpload>,
    path: Path,
    faults: Arc<Faults>,
}

#[async_trait::async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, path, faults) = (self.upload.put_part(data), self.path.clone(), Arc::clone(&self.faults));
        Box::pin(async move { faults.run("part", &path, part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let lost = || Error::Generic { store: "faulty", source: "the end was planned to fail".into() };
        match self.faults.next("complete", &self.path) {
            Some(Fault::NotDone) => Err(lost()),
            Some(Fault::AnswerLost) => self.upload.complete().await.and(Err(lost())),
            _ => self.upload.complete().await,
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.faults.next("abort", &self.path);
        self.upload.abort().await
    }
}
