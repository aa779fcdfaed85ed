use std::sync::Arc;

use object_store::ObjectStore;

use super::blocks::Blocks;
use super::probe::probe;
use crate::Error;

/// An object store that repositories can be kept in, and what was read of it lately.
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
}

/// How many bytes are held of what was read, unless somebody says otherwise.
const CACHE: usize = 64 << 20;

impl Bucket {
    /// Takes an object store into use, after some requests that show whether it keeps what it promises: some answer a
    /// conditional put with a success and do not look at the condition, and then of two pushes at the same time one is lost.
    ///
    /// Holds up to 64 MiB of what is read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`](crate::ErrorKind::Store) if it cannot be read and written, or does not keep to the conditions of a
    /// put (`If-Match` and `If-None-Match`; [`PutMode::Create`](object_store::PutMode::Create) and
    /// [`Update`](object_store::PutMode::Update)).
    ///
    /// # Cancel safety
    ///
    /// What it wrote, an object of some bytes below `receive-pack-probe/`, may stay.
    pub async fn open(store: Arc<dyn ObjectStore>) -> Result<Self, Error> {
        Self::with_cache(store, CACHE).await
    }

    /// The same, with room for so many bytes of what is read: above all the indexes of the packs, some 30 bytes for each
    /// object that a repository has, and manifests.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub async fn with_cache(store: Arc<dyn ObjectStore>, bytes: usize) -> Result<Self, Error> {
        probe(&*store).await?;
        Ok(Self { blocks: Arc::new(Blocks::new(Arc::clone(&store), bytes)), store })
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
