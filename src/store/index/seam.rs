use std::fmt::Debug;
use std::io;

use super::content::Budget;
use crate::Error;
use crate::proto::{ObjectId, ObjectKind};

/// A pack that can be read at any place by several threads: a file, or memory.
pub(crate) trait ReadAt: Sync {
    /// Fills `buf` with the bytes from `offset` on; an error if there are not as many.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
}

/// What is in memory.
impl ReadAt for [u8] {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.get(start..).and_then(|rest| rest.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// What several share.
#[cfg(feature = "object-store")]
impl<F: ReadAt + Send> ReadAt for std::sync::Arc<F> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }
}

#[cfg(unix)]
impl ReadAt for std::fs::File {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buf, offset)
    }
}

/// Where files are for what is too much for the memory.
pub(crate) trait Aside: Debug + Send + Sync {
    /// A new file that nobody else sees, gone when it is dropped.
    fn file(&self) -> io::Result<Box<dyn AsideFile>>;
}

/// A file that is written and read by several threads.
pub(crate) trait AsideFile: ReadAt + Debug + Send {
    /// Writes all of `bytes` from `offset` on. There may be a gap before them, which nobody reads.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Gives back what lies behind `len`, if there is anything.
    fn set_len(&self, len: u64) -> io::Result<()>;
}

#[cfg(unix)]
impl AsideFile for std::fs::File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        std::fs::File::set_len(self, len)
    }
}

/// Where the bases of a thin pack come from.
pub(crate) trait Bases: Sync {
    /// The object with this id, `None` if there is none; an error if it is longer than `max_len` bytes.
    ///
    /// What it takes to read it goes out of the budget: the bytes of all that it is made of, for it may be the last of a
    /// long chain of deltas, that a push before brought.
    fn base(&self, id: &ObjectId, max_len: u64, reading: &Budget) -> Result<Option<(ObjectKind, Vec<u8>)>, Error>;
}

/// Who looks into the objects of a pack while they are resolved: each commit, tree and tag passes once, and of the blobs
/// those that it wants to see.
pub(crate) trait Visit: Sync {
    /// One thread's share of the work.
    type Worker<'a>: Worker + Send
    where
        Self: 'a;

    /// A worker for one more thread.
    fn worker(&self) -> Self::Worker<'_>;
}

/// One thread's share of a [`Visit`].
pub(crate) trait Worker {
    /// The longest blob that it wants to see, in bytes; none if it wants to see no blobs. Those that go through a
    /// file ([`PackLimits::in_memory`](super::PackLimits::in_memory)) it is never shown.
    fn max_blob(&self) -> Option<u64> {
        None
    }

    /// Sees a commit, a tree or a tag, or a blob that it wants to see, its deltas resolved.
    fn object(&mut self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<(), Error>;

    /// The thread has seen its last object.
    fn finish(self) -> Result<(), Error>;
}

/// Two who look, one after the other.
impl<A: Visit, B: Visit> Visit for (&A, &B) {
    type Worker<'a>
        = (A::Worker<'a>, B::Worker<'a>)
    where
        Self: 'a;

    fn worker(&self) -> Self::Worker<'_> {
        (self.0.worker(), self.1.worker())
    }
}

impl<A: Worker, B: Worker> Worker for (A, B) {
    fn max_blob(&self) -> Option<u64> {
        self.0.max_blob().max(self.1.max_blob())
    }

    fn object(&mut self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<(), Error> {
        if wants(&self.0, kind, data.len() as u64) {
            self.0.object(kind, id, data)?;
        }
        if wants(&self.1, kind, data.len() as u64) { self.1.object(kind, id, data) } else { Ok(()) }
    }

    fn finish(self) -> Result<(), Error> {
        self.0.finish()?;
        self.1.finish()
    }
}

/// Whether a worker wants to see an object of this kind and length.
pub(super) fn wants(worker: &impl Worker, kind: ObjectKind, len: u64) -> bool {
    kind != ObjectKind::Blob || worker.max_blob().is_some_and(|max| len <= max)
}

/// For those who do not look.
impl Visit for () {
    type Worker<'a> = ();

    fn worker(&self) {}
}

impl Worker for () {
    fn object(&mut self, _: ObjectKind, _: &ObjectId, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn finish(self) -> Result<(), Error> {
        Ok(())
    }
}
