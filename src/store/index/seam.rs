use std::io;

use crate::Error;
use crate::proto::{ObjectId, ObjectKind};

/// A pack that can be read at any place by several threads: a file, or memory.
pub(crate) trait ReadAt: Sync {
    /// Fills `buf` with the bytes from `offset` on; an error if there are not as many.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
}

#[cfg(unix)]
impl ReadAt for std::fs::File {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buf, offset)
    }
}

/// Where the bases of a thin pack come from.
pub(crate) trait Bases: Sync {
    /// The object with this id, `None` if there is none; an error if it is longer than `max_len` bytes.
    fn base(&self, id: &ObjectId, max_len: u64) -> Result<Option<(ObjectKind, Vec<u8>)>, Error>;
}

/// Who looks into the objects of a pack while they are resolved: each commit, tree and tag passes once.
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
    /// Sees a commit, a tree or a tag, its deltas resolved.
    fn object(&mut self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<(), Error>;

    /// The thread has seen its last object.
    fn finish(self) -> Result<(), Error>;
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
