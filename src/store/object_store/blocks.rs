use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio::runtime::Handle;

use super::bucket::Bucket;
use crate::store::index::ReadAt;

/// How much is read of an object at once, and held: as long as a request takes anyway, so much more costs nothing.
pub(super) const BLOCK: u64 = 256 << 10;

/// What is known of objects that are never written again, in blocks; those that nobody asked for go first.
#[derive(Debug)]
pub(super) struct Blocks {
    store: Arc<dyn ObjectStore>,
    max_bytes: usize,
    held: Mutex<Held>,
}

/// A block of an object: its path, and the number of the block.
type Key = (Arc<Path>, u64);

#[derive(Debug, Default)]
struct Held {
    /// With the moment when somebody asked for it.
    blocks: HashMap<Key, (Bytes, u64)>,
    asked: BTreeMap<u64, Key>,
    now: u64,
    bytes: usize,
}

/// What a block takes beside its bytes.
const EACH: usize = 256;

impl Blocks {
    /// Nothing yet, and never more than so many bytes.
    pub(super) fn new(store: Arc<dyn ObjectStore>, max_bytes: usize) -> Self {
        Self { store, max_bytes, held: Mutex::default() }
    }

    /// A block of an object that is `len` bytes long.
    pub(super) async fn get(&self, path: &Arc<Path>, len: u64, block: u64) -> object_store::Result<Bytes> {
        if let Some(bytes) = self.held().ask(&(Arc::clone(path), block)) {
            return Ok(bytes);
        }
        let range = span(block, len);
        let bytes = self.store.get_range(path, range.clone()).await?;
        if bytes.len() as u64 != range.end.saturating_sub(range.start) {
            let source = format!("{path} has {} bytes in place of those at {range:?}", bytes.len()).into();
            return Err(object_store::Error::Generic { store: "object store", source });
        }
        // A slice of a larger answer would hold all of it.
        let bytes = Bytes::copy_from_slice(&bytes);
        self.held().hold((Arc::clone(path), block), bytes.clone(), self.max_bytes);
        Ok(bytes)
    }

    /// All of an object that is `len` bytes long. A long one is not held: others would have to go for it.
    pub(super) async fn whole(&self, path: Path, len: u64) -> object_store::Result<Bytes> {
        if len <= BLOCK {
            return self.get(&Arc::new(path), len, 0).await;
        }
        self.store.get(&path).await?.bytes().await
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn ask(&mut self, key: &Key) -> Option<Bytes> {
        let (bytes, asked) = self.blocks.get_mut(key)?;
        self.now = self.now.saturating_add(1);
        let before = std::mem::replace(asked, self.now);
        if let Some(key) = self.asked.remove(&before) {
            self.asked.insert(self.now, key);
        }
        Some(bytes.clone())
    }

    fn hold(&mut self, key: Key, bytes: Bytes, max_bytes: usize) {
        self.now = self.now.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes.len()).saturating_add(EACH);
        self.asked.insert(self.now, key.clone());
        if let Some((twice, asked)) = self.blocks.insert(key, (bytes, self.now)) {
            self.asked.remove(&asked);
            self.bytes = self.bytes.saturating_sub(twice.len().saturating_add(EACH));
        }
        while self.bytes > max_bytes
            && let Some((bytes, _)) = self.asked.pop_first().and_then(|(_, oldest)| self.blocks.remove(&oldest))
        {
            self.bytes = self.bytes.saturating_sub(bytes.len().saturating_add(EACH));
        }
    }
}

/// The bytes of a block.
fn span(block: u64, len: u64) -> Range<u64> {
    let start = block.saturating_mul(BLOCK);
    start..start.saturating_add(BLOCK).min(len)
}

/// An object that is never written again, read where it may block: by threads of their own, never by a worker of the
/// runtime.
pub(super) struct RemoteFile {
    bucket: Bucket,
    runtime: Handle,
    path: Arc<Path>,
    len: u64,
}

impl RemoteFile {
    pub(super) fn new(bucket: &Bucket, runtime: &Handle, path: Path, len: u64) -> Self {
        Self { bucket: bucket.clone(), runtime: runtime.clone(), path: Arc::new(path), len }
    }

    /// Its first block, by those who may wait for it.
    pub(super) async fn front(&self) -> object_store::Result<Bytes> {
        self.bucket.blocks().get(&self.path, self.len, 0).await
    }

    fn block(&self, block: u64) -> io::Result<Bytes> {
        let read = self.bucket.blocks().get(&self.path, self.len, block);
        self.runtime.block_on(read).map_err(io::Error::other)
    }
}

impl ReadAt for RemoteFile {
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            if offset >= self.len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let block = self.block(offset / BLOCK)?;
            let from = usize::try_from(offset % BLOCK).ok().and_then(|at| block.get(at..)).unwrap_or_default();
            let (now, later) = buf.split_at_mut(from.len().min(buf.len()));
            let Some(from) = from.get(..now.len()).filter(|from| !from.is_empty()) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            now.copy_from_slice(from);
            buf = later;
            offset = offset.saturating_add(from.len() as u64);
        }
        Ok(())
    }
}

impl std::fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteFile").field("path", &self.path).field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn what_was_not_asked_for_goes_first() {
        let store = Arc::new(InMemory::new());
        let body: Vec<u8> = (0..5 * BLOCK / 2).map(|n| (n / 7) as u8).collect();
        store.put(&Path::from("a/b"), body.clone().into()).await.unwrap();
        let blocks = Blocks::new(Arc::clone(&store) as _, 2 * (BLOCK as usize + EACH));
        let (name, len) = (Arc::new(Path::from("a/b")), body.len() as u64);
        for block in 0..3 {
            let end = body.len().min((block as usize + 1) * BLOCK as usize);
            assert!(blocks.get(&name, len, block).await.unwrap() == body[block as usize * BLOCK as usize..end]);
        }
        // Of the three the first is gone, and the others do not need the store any more.
        store.delete(&Path::from("a/b")).await.unwrap();
        assert!(blocks.get(&name, len, 1).await.unwrap() == body[BLOCK as usize..2 * BLOCK as usize]);
        assert!(blocks.get(&name, len, 2).await.unwrap() == body[2 * BLOCK as usize..]);
        assert!(blocks.get(&name, len, 0).await.is_err());
    }

    #[tokio::test]
    async fn an_object_that_is_shorter_than_it_should_be_is_an_error() {
        let store = Arc::new(InMemory::new());
        store.put(&Path::from("a"), vec![0; 10].into()).await.unwrap();
        let blocks = Blocks::new(store, 1 << 20);
        assert!(blocks.whole(Path::from("a"), 11).await.is_err());
    }
}
