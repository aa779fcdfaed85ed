use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;

/// A boxed error, as tower names it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong with a push, whose fault it was, and at which byte.
///
/// `Display` prints one level; [`source`](std::error::Error::source) has the rest. The text of a
/// [remote](Error::is_remote) error is fit to be shown to the pusher; that of a local one is for the server's log,
/// and the pusher is told only `internal error`.
///
/// Cloning is cheap: a decoder keeps its first error and gives it again to everyone who polls on.
#[derive(Clone)]
pub struct Error {
    inner: Arc<Inner>,
}

struct Inner {
    kind: ErrorKind,
    offset: Option<u64>,
    text: Cow<'static, str>,
    source: Option<BoxError>,
}

/// The class of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The head of the request (pkt-lines, commands, options, certificate) is not what gitprotocol-pack allows.
    Protocol,
    /// The stream ended inside the head.
    UnexpectedEof,
    /// The stream ended before the pack did.
    IncompletePack,
    /// The pack is malformed, or one of its objects is.
    InvalidPack,
    /// The pack's trailer is not the hash of the pack.
    ChecksumMismatch,
    /// An object's bytes bear the marks of a known SHA-1 collision attack, or differ from an object with the same id.
    Collision,
    /// A named limit was reached.
    LimitExceeded,
    /// Objects that the push needs are neither in the pack nor in the repository.
    MissingObjects,
    /// A policy of the server refused the push.
    Refused,
    /// The client did not send for too long.
    TimedOut,
    /// Reading from or writing to the client failed.
    Transport,
    /// The server's own trouble: its disk, its repository, its configuration.
    Store,
    /// There is no repository where the server looks for one.
    NotFound,
}

impl Error {
    /// An error of `kind` with a text of one line that begins in lower case and has no full stop.
    pub fn new(kind: ErrorKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self { inner: Arc::new(Inner { kind, offset: None, text: text.into(), source: None }) }
    }

    /// The server's own trouble, with its cause.
    pub fn store(text: impl Into<Cow<'static, str>>, source: impl Into<BoxError>) -> Self {
        Self::new(ErrorKind::Store, text).with_source(source)
    }

    /// A refusal by policy; `text` is what the pusher reads.
    pub fn refused(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Refused, text)
    }

    /// Names the byte at which the error was found: counted from the first byte of the request for errors of the
    /// head, from the first byte of the pack for errors of the pack.
    #[must_use]
    pub fn with_offset(self, offset: u64) -> Self {
        self.rebuild(|inner| inner.offset = Some(offset))
    }

    /// Attaches the cause, in place of one that was there.
    #[must_use]
    pub fn with_source(self, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        self.rebuild(|inner| inner.source = Some(source))
    }

    fn rebuild(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = match Arc::try_unwrap(self.inner) {
            Ok(inner) => inner,
            // Somebody else holds this error already: theirs stays as it is. It is the source of ours, unless that is
            // what changes.
            Err(shared) => Inner {
                kind: shared.kind,
                offset: shared.offset,
                text: shared.text.clone(),
                source: Some(Box::new(Self { inner: shared })),
            },
        };
        change(&mut inner);
        Self { inner: Arc::new(inner) }
    }

    /// As said by somebody who does not read from the client: a connection that failed is the server's own trouble there.
    pub(crate) fn of_the_server(self) -> Self {
        match self.kind() {
            ErrorKind::Transport => Self::store("reading or writing failed", self),
            _ => self,
        }
    }

    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The byte at which it was found, if it has one: in the pack for errors of the pack, in the request otherwise.
    pub fn offset(&self) -> Option<u64> {
        self.inner.offset
    }

    /// Whether the client, or the line to it, caused the error.
    pub fn is_remote(&self) -> bool {
        !self.is_local()
    }

    /// Whether the server caused the error.
    pub fn is_local(&self) -> bool {
        matches!(self.inner.kind, ErrorKind::Store | ErrorKind::NotFound)
    }

    /// What the pusher may read: the error itself if it is remote, `internal error` if it is local.
    pub fn reason(&self) -> Cow<'static, str> {
        if self.is_local() { Cow::Borrowed("internal error") } else { Cow::Owned(self.to_string()) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.text)?;
        match self.inner.offset {
            Some(offset) => write!(f, " (at byte {offset})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.inner.kind).field("text", &self.inner.text);
        if let Some(offset) = &self.inner.offset {
            debug.field("offset", offset);
        }
        if let Some(source) = &self.inner.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

/// Errors of reading and writing are the transport's: the codec's `io::Error`s all come from there. Those of a policy, of
/// whoever looks at objects or verifies a signature, and of a store become the server's own trouble where they come out.
impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self::new(ErrorKind::Transport, "the connection failed").with_source(source)
    }
}

/// The error of any layer: one of ours that was boxed on its way is what it was, any other is the server's own trouble.
impl From<BoxError> for Error {
    fn from(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(error) => Self::store("the push failed", error),
        }
    }
}
