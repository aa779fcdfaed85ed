//! Streams that are as difficult as real ones: short reads, pauses, early ends, no end, peers that do not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::rng::Rng;

/// The sizes of reads that frames must not depend on; the last stands for all at once.
pub const READ_SIZES: [usize; 5] = [1, 97, 4 << 10, 64 << 10, usize::MAX];

/// A reader of chunks that are made as they are read.
///
/// Unless told otherwise it gives as much as the caller has room for, chunk by chunk, and then ends.
pub struct Script {
    chunks: Box<dyn Iterator<Item = Bytes> + Send>,
    current: Bytes,
    piece: usize,
    left: u64,
    pause: Option<Rng>,
    paused: bool,
    open: bool,
}

impl Script {
    /// A reader of these chunks, one after the other.
    ///
    /// With `RECEIVE_PACK_TEST_SLOW` in the environment it gives one byte a read, with pauses, unless the test says
    /// otherwise: so the same tests run again over the slowest of lines.
    pub fn new(chunks: impl IntoIterator<Item = Bytes, IntoIter: Send + 'static>) -> Self {
        let slow = std::env::var_os("RECEIVE_PACK_TEST_SLOW").is_some();
        Self {
            chunks: Box::new(chunks.into_iter()),
            current: Bytes::new(),
            piece: if slow { 1 } else { usize::MAX },
            left: u64::MAX,
            pause: slow.then(|| Rng::new(1)),
            paused: false,
            open: false,
        }
    }

    /// A reader of some bytes.
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        Self::new([bytes.into()])
    }

    /// Gives at most `len` bytes a read.
    pub fn pieces(mut self, len: usize) -> Self {
        self.piece = len;
        self
    }

    /// Is `Pending` before about half of all reads, and wakes the reader at once.
    pub fn pauses(mut self, seed: u64) -> Self {
        self.pause = Some(Rng::new(seed));
        self
    }

    /// Ends after `len` bytes, whatever there is left.
    pub fn ends_at(mut self, len: u64) -> Self {
        self.left = len;
        self
    }

    /// Does not end after its last byte: it stays `Pending`, as a client does that waits for its report.
    pub fn stays_open(mut self) -> Self {
        self.open = true;
        self
    }

    fn next_piece(&mut self, room: usize) -> Bytes {
        while self.current.is_empty() {
            match self.chunks.next() {
                Some(chunk) => self.current = chunk,
                None => break,
            }
        }
        let len = self.current.len().min(self.piece).min(room).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= len as u64;
        self.current.split_to(len)
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Never two pauses on end: a reader that is woken finds something.
        this.paused = !this.paused && this.pause.as_mut().is_some_and(|rng| rng.below(2) == 0);
        if this.paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = this.next_piece(buf.remaining());
        if piece.is_empty() && this.open && buf.remaining() > 0 {
            // Nobody will ever wake the reader.
            return Poll::Pending;
        }
        buf.put_slice(piece.chunk());
        Poll::Ready(Ok(()))
    }
}

/// A peer that takes `left` more bytes and then does not read on, with its side still open.
#[derive(Debug, Default)]
pub struct NeverReads {
    pub left: usize,
}

impl AsyncWrite for NeverReads {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let len = bytes.len().min(self.left);
        self.left -= len;
        if len == 0 && !bytes.is_empty() { Poll::Pending } else { Poll::Ready(Ok(len)) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A writer that takes at most `piece` bytes a write and is `Pending` before about half of all writes.
#[derive(Debug)]
pub struct Slow<W> {
    inner: W,
    piece: usize,
    rng: Rng,
    paused: bool,
}

impl<W> Slow<W> {
    /// Writes to `inner` in small pieces.
    pub fn new(inner: W, piece: usize, seed: u64) -> Self {
        Self { inner, piece, rng: Rng::new(seed), paused: false }
    }

    /// What the bytes went to.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Slow<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.paused = !this.paused && this.rng.below(2) == 0;
        if this.paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let len = bytes.len().min(this.piece);
        Pin::new(&mut this.inner).poll_write(cx, &bytes[..len])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
