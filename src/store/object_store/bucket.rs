use std::sync::Arc;

use object_store::ObjectStore;
use tokio::sync::watch;

use super::blocks::Blocks;
use super::probe::probe;
use crate::Error;

/// An object store that repositories can be kept in, and a cache of what never changes there.
///
/// One for each object store, made when a server starts: all repositories share it. Cheap to clone; clones are the same.
///
/// ```
/// use std::sync::Arc;
///
/// use object_store::memory::InMemory;
/// use receive_pack::store::Bucket;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), receive_pack::Error> {
/// let bucket = Bucket::open(Arc::new(InMemory::new())).await?;
/// # let _ = bucket;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    blocks: Arc<Blocks>,
    /// How many are landing, or merging packs.
    landings: Arc<watch::Sender<usize>>,
}

/// As long as this lives, somebody is landing.
#[derive(Debug)]
pub(super) struct Landing(Arc<watch::Sender<usize>>);

impl Drop for Landing {
    fn drop(&mut self) {
        self.0.send_modify(|landings| *landings = landings.saturating_sub(1));
    }
}

/// How many bytes are held of what was read, unless somebody says otherwise.
const CACHE: usize = 64 << 20;

impl Bucket {
    /// Takes an object store into use, after some requests that show whether it keeps what it promises: some answer a
    /// conditional put with a success and do not look at the condition, and then of two pushes at the same time one is lost.
    ///
    /// Holds up to 64 MiB of what is read, for all repositories together.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`](crate::ErrorKind::Store) if it cannot be read and written, or does not keep to the conditions of a
    /// put (`If-Match` and `If-None-Match`; [`PutMode::Create`](object_store::PutMode::Create) and
    /// [`Update`](object_store::PutMode::Update)).
    ///
    /// # Cancel safety
    ///
    /// What it wrote, an object of some bytes below `receive-pack-probe/`, may stay. It may be deleted at any time.
    pub async fn open(store: Arc<dyn ObjectStore>) -> Result<Self, Error> {
        Self::with_cache(store, CACHE).await
    }

    /// The same, with room for so many bytes of what is read: above all the indexes of the packs, some 30 bytes for each
    /// object that a repository has (45 with SHA-256) and 2 KiB for each pack. Where they do not fit, each push reads
    /// again what it looks up in them.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub async fn with_cache(store: Arc<dyn ObjectStore>, bytes: usize) -> Result<Self, Error> {
        probe(&*store).await?;
        Ok(Self::unchecked(store, bytes))
    }

    /// The same without the requests at the beginning, for those who only read: they need not be allowed to write. What is
    /// pushed by way of it may be lost.
    pub fn unchecked(store: Arc<dyn ObjectStore>, bytes: usize) -> Self {
        Self {
            blocks: Arc::new(Blocks::new(Arc::clone(&store), bytes)),
            store,
            landings: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Waits until no push is landing and no packs are merged: before a process ends, once it takes no more pushes. A runtime
    /// that is shut down ends them where they are. Each has then landed wholly or not at all, but its client may not know
    /// which, and what it has uploaded stays until it is [pruned](super::ObjectStoreRepository::prune). To merge packs may
    /// take long: drop the future of [`repack`](super::ObjectStoreRepository::repack) before.
    ///
    /// # Cancel safety
    ///
    /// Full.
    pub async fn idle(&self) {
        // It is an error if nobody could say it any more; we could.
        let _ = self.landings.subscribe().wait_for(|landings| *landings == 0).await;
    }

    /// Somebody is landing from now on.
    pub(super) fn landing(&self) -> Landing {
        self.landings.send_modify(|landings| *landings = landings.saturating_add(1));
        Landing(Arc::clone(&self.landings))
    }

    /// Where objects are written, and read that are written again.
    pub(super) fn store(&self) -> &dyn ObjectStore {
        &*self.store
    }

    /// Where objects are read that are not.
    pub(super) fn blocks(&self) -> &Blocks {
        &self.blocks
    }
}
