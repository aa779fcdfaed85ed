use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{io, mem};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::codec::FramedRead;
use tower_service::Service;

use crate::codec::{self, ReceivePackCodec};
use crate::proto::{Advertisement, Negotiated, Reply, Report};
use crate::push::{Pack, Push, Reclaim, Unread, UpdateRequest};
use crate::serve::patience::Patience;
use crate::serve::{Linger, Replies};
use crate::{BoxError, Error, ErrorKind};

/// Takes one push with the defaults of [`Serve`].
///
/// # Errors
///
/// Those of [`Serve::serve`].
pub async fn serve<R, W, S>(read: R, write: W, advertisement: Advertisement, service: S) -> Result<Served, Error>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
    S: Service<Push<Pack<R>>, Response = Report> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    Serve::new().serve(read, write, advertisement, service).await
}

/// Refuses a client before the advertisement: it shows `fatal: remote error: <text>`. For authorization, archived
/// repositories and the like.
///
/// # Errors
///
/// [`ErrorKind::Transport`] if the text could not be written.
pub async fn refuse(mut write: impl AsyncWrite + Unpin, text: impl Into<Bytes>) -> Result<(), Error> {
    let mut bytes = BytesMut::new();
    Reply::Error(text.into()).encode(&Negotiated::default(), &mut bytes)?;
    write.write_all(&bytes).await?;
    write.shutdown().await?;
    Ok(())
}

/// How a push is served.
///
/// ```
/// use std::time::Duration;
/// use receive_pack::serve::Serve;
///
/// let serve = Serve::new().head_timeout(Duration::from_secs(10));
/// # drop(serve);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Serve {
    codec: codec::Builder,
    stateless: bool,
    head_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    deadline: Option<Duration>,
    write_timeout: Option<Duration>,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) linger: Linger,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            codec: codec::Builder::default(),
            stateless: false,
            head_timeout: Some(Duration::from_secs(60)),
            idle_timeout: Some(Duration::from_secs(1800)),
            deadline: None,
            write_timeout: Some(Duration::from_secs(300)),
            keep_alive: Some(Duration::from_secs(5)),
            linger: Linger::default(),
        }
    }
}

/// What became of a connection.
#[derive(Debug)]
pub struct Served {
    report: Option<Report>,
    error: Option<BoxError>,
    discarded: u64,
}

impl Served {
    /// The report that the client was sent; `None` if it had nothing to push.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// What the server's log should have. The service's error, if it gave one instead of a report: the client was told
    /// `internal error`, unless it was a [remote](Error::is_remote) one, a refusal for example. Or that
    /// [of the report](Report::error).
    pub fn error(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        let of_report = || self.report.as_ref().and_then(Report::error);
        self.error.as_deref().or_else(|| of_report().map(|error| error as _))
    }

    /// Bytes that the client sent and nobody wanted.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }
}

impl Serve {
    /// The defaults, which each setting names.
    pub fn new() -> Self {
        Self::default()
    }

    /// How the pack is taken, and what a client may make us hold. The object format and the capabilities are those of
    /// the advertisement, whatever this says.
    pub fn codec(mut self, codec: codec::Builder) -> Self {
        self.codec = codec;
        self
    }

    /// Whether the advertisement was sent before, in an answer of its own (`--stateless-rpc`). Default no.
    pub fn stateless(mut self, stateless: bool) -> Self {
        self.stateless = stateless;
        self
    }

    /// How long the client may take for the head, from its first byte on. Default 60 seconds.
    ///
    /// Before the first byte it may be as silent as [anywhere else](Self::idle_timeout): git runs a `pre-push` hook there,
    /// and libgit2 compresses its whole pack before it says a word.
    pub fn head_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.head_timeout = timeout.into();
        self
    }

    /// How long the client may send nothing that completes an object, or no first byte of the head. Default 30 minutes:
    /// before its commands, or between them and its pack, a client compresses in silence, for minutes if the repository is
    /// large. A push that was refused is no exception, for its client does not know that yet.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// How long the client may take to send the whole push, from the advertisement to the last byte of the pack. A
    /// client that dribbles, and so never falls silent, ends here. The time in which the service is not
    /// [ready](Service::poll_ready) for the push does not count, nor what the server does with the pack afterwards; a store
    /// that takes the pack more slowly than the client sends it does. Not limited unless set.
    pub fn deadline(mut self, deadline: impl Into<Option<Duration>>) -> Self {
        self.deadline = deadline.into();
        self
    }

    /// How long the client may take nothing of what it is told and send nothing either: some read only when they have sent
    /// all. Default 5 minutes. The connection is then given up, and the push rolled back if its refs have not moved yet.
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.write_timeout = timeout.into();
        self
    }

    /// The silence after which an empty packet keeps the line alive, once the pack is in. Default 5 seconds, git's
    /// `receive.keepAlive`.
    pub fn keep_alive(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.keep_alive = interval.into();
        self
    }

    /// How much is read and discarded of a push that was refused, and how long the client is read from behind its end.
    pub fn linger(mut self, linger: Linger) -> Self {
        self.linger = linger;
        self
    }

    /// Takes one push: advertisement, head, pack, report; then closes the connection in the right order. Needs a tokio
    /// runtime with time enabled.
    ///
    /// # Errors
    ///
    /// Those that could not be told to the client, or that are the client's fault and end the connection: a head that
    /// broke off or is malformed (which the client is told as well, as far as it can read), and a connection that
    /// fails. A push that is refused, or fails inside the service, is not an error here; see [`Served`].
    ///
    /// A connection may fail when the refs have moved already: an error does not say that the push has not landed. What
    /// became of each push is known in a layer around the service.
    pub async fn serve<R, W, S>(
        &self,
        read: R,
        mut write: W,
        advertisement: Advertisement,
        service: S,
    ) -> Result<Served, Error>
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin,
        S: Service<Push<Pack<R>>, Response = Report> + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        let patience = self.patience();
        let mut out = Writer {
            write: &mut write,
            negotiated: Negotiated::default(),
            buffer: BytesMut::new(),
            timeout: self.write_timeout,
            heard: Arc::default(),
        };
        let mut framed = self.framed(read, &advertisement);
        let mut request = UpdateRequest::new(advertisement.format());
        if !self.stateless {
            out.say(&Reply::Advertisement(advertisement)).await?;
        }
        let head = patience.head(&mut framed, &mut request).await;
        out.negotiated = request.negotiated().clone();
        match head {
            Ok(true) => {}
            Ok(false) => {
                let rest = Reclaim::ready(Unread { framed, time: None }, Arc::clone(&out.heard));
                let discarded = self.linger.discard_beside(rest, out.close()).await?;
                return Ok(Served { report: None, error: None, discarded });
            }
            Err(error) => {
                let rest = Reclaim::ready(patience.unread(framed, &error), Arc::clone(&out.heard));
                let _ = self.answer_malformed_head(&mut out, rest, &request, &error).await;
                return Err(error);
            }
        }

        let mut pack = Pack::new(framed);
        patience.apply(&mut pack);
        let reclaim = pack.reclaim();
        out.heard = pack.given();
        let mut replies = Replies::new(Push::new(request, pack), service, self.keep_alive);
        let writing = async {
            while let Some(reply) = replies.next().await {
                replies.beside(out.say(&reply)).await?;
            }
            out.close().await
        };
        let discarded = self.linger.discard_beside(reclaim, writing).await?;
        Ok(match replies.into_outcome() {
            Some(Ok(report)) => Served { report: Some(report), error: None, discarded },
            Some(Err(error)) => Served { report: None, error: Some(error), discarded },
            None => Served { report: None, error: None, discarded },
        })
    }

    /// How long the client of a push that begins now is waited for.
    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.head_timeout, self.idle_timeout, self.deadline)
    }

    pub(crate) fn framed<R: AsyncRead>(
        &self,
        read: R,
        advertisement: &Advertisement,
    ) -> FramedRead<R, ReceivePackCodec> {
        let codec = self.codec.clone().object_format(advertisement.format());
        codec.advertised(advertisement.capabilities().clone()).build().framed_read(read)
    }

    /// git's own receive-pack dies here without a word. We say what we can: a report, if the client told us that it
    /// reads one, or last words on band 3.
    async fn answer_malformed_head<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        out: &mut Writer<'_, W>,
        rest: Reclaim<R>,
        request: &UpdateRequest,
        error: &Error,
    ) -> Result<(), Error> {
        let last_words = match out.negotiated.report {
            Some(_) => Reply::Report(Report::head_failed(error.reason(), request.commands())),
            None => Reply::Fatal(Bytes::from(error.reason().into_owned())),
        };
        let writing = async {
            out.say(&last_words).await?;
            out.say(&Reply::Flush).await?;
            out.close().await
        };
        self.linger.discard_beside(rest, writing).await?;
        Ok(())
    }
}

/// The writing side.
struct Writer<'a, W> {
    write: &'a mut W,
    negotiated: Negotiated,
    buffer: BytesMut,
    timeout: Option<Duration>,
    /// Changes as long as the client sends.
    heard: Arc<AtomicU64>,
}

/// A buffer beyond this is not kept: that of an advertisement may be large.
const BUFFER: usize = 64 << 10;

impl<W: AsyncWrite + Unpin> Writer<'_, W> {
    async fn say(&mut self, reply: &Reply) -> Result<(), Error> {
        reply.encode(&self.negotiated, &mut self.buffer)?;
        // A flush-pkt follows at once. In a packet of its own it would wait for the client's acknowledgement of the
        // report, which TCP delays by 40 milliseconds.
        if matches!(reply, Reply::Report(_)) {
            return Ok(());
        }
        self.write().await?;
        self.in_time(async |write| write.flush().await).await
    }

    async fn write(&mut self) -> Result<(), Error> {
        let mut buffer = mem::take(&mut self.buffer);
        let is_kept = buffer.capacity() <= BUFFER;
        while !buffer.is_empty() {
            let written = self.in_time(async |write| write.write(&buffer).await).await?;
            if written == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            buffer.advance(written);
        }
        if is_kept {
            self.buffer = buffer;
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.write().await?;
        self.in_time(async |write| write.shutdown().await).await
    }

    /// The output of a step of writing, unless the client does not let it happen.
    async fn in_time<T>(&mut self, step: impl AsyncFnOnce(&mut W) -> io::Result<T>) -> Result<T, Error> {
        let mut step = pin!(step(self.write));
        let Some(limit) = self.timeout else { return Ok(step.await?) };
        loop {
            let heard = self.heard.load(Ordering::Relaxed);
            match timeout(limit, step.as_mut()).await {
                Ok(result) => return Ok(result?),
                Err(_) if heard != self.heard.load(Ordering::Relaxed) => {}
                Err(_) => {
                    let text = format!("the client read nothing for {} seconds", limit.as_secs());
                    return Err(Error::new(ErrorKind::TimedOut, text));
                }
            }
        }
    }
}
