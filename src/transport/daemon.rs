use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::highest_version;
use crate::proto::pkt_line::{self, PktLine};
use crate::{Error, ErrorKind};

/// The first pkt-line of a `git://` connection (gitprotocol-pack, "Git Transport"):
/// `git-receive-pack /path NUL host=... NUL [NUL extra NUL]...`.
///
/// ```
/// use receive_pack::transport::DaemonRequest;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let mut stream = &b"0039git-receive-pack /demo.git\0host=localhost\0\0version=1\0"[..];
/// let request = DaemonRequest::read(&mut stream).await?;
/// assert_eq!(request.service(), "git-receive-pack");
/// assert_eq!(request.path(), b"/demo.git");
/// assert_eq!(request.host(), Some(&b"localhost"[..]));
/// assert!(request.wants_version_1());
/// assert!(request.extra_parameters().eq([b"version=1"]));
/// # Ok::<(), receive_pack::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonRequest {
    service: String,
    path: Bytes,
    host: Option<Bytes>,
    extra: Vec<Bytes>,
}

impl DaemonRequest {
    /// Reads it, and not a byte more, from the beginning of a connection. For a client that says nothing it waits
    /// without end: put a time-out around it, such as `tokio::time::timeout`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if something else comes, [`ErrorKind::Transport`] if the connection fails or ends.
    ///
    /// # Cancel safety
    ///
    /// None.
    pub async fn read(mut stream: impl AsyncRead + Unpin) -> Result<Self, Error> {
        let mut line = BytesMut::zeroed(4);
        stream.read_exact(&mut line).await?;
        let digits = std::str::from_utf8(&line).ok();
        let len = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let len = len.filter(|len| (5..=pkt_line::MAX_LEN).contains(len)).ok_or_else(malformed)?;
        line.resize(len, 0);
        stream.read_exact(line.get_mut(4..).unwrap_or_default()).await?;
        match pkt_line::peek(&line)? {
            Some((PktLine::Data(data), _)) => Self::parse(data).ok_or_else(malformed),
            _ => Err(malformed()),
        }
    }

    fn parse(data: &[u8]) -> Option<Self> {
        let mut words = data.split(|byte| *byte == 0);
        let command = words.next()?;
        let space = command.iter().position(|byte| *byte == b' ')?;
        let (service, path) = (command.get(..space)?, command.get(space.saturating_add(1)..)?);
        let path = path.strip_suffix(b"\n").unwrap_or(path);
        let mut host = None;
        let mut extra = Vec::new();
        for word in words.filter(|word| !word.is_empty()) {
            match word.strip_prefix(b"host=") {
                Some(name) => host = Some(Bytes::copy_from_slice(name)),
                None => extra.push(Bytes::copy_from_slice(word)),
            }
        }
        let service = std::str::from_utf8(service).ok()?.to_owned();
        Some(Self { service, path: Bytes::copy_from_slice(path), host, extra })
    }

    /// The service: `git-receive-pack` for a push.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The path of the repository, as sent. Nothing in it is checked: it may contain `..`.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The host, and perhaps port, that the client believes it talks to.
    pub fn host(&self) -> Option<&[u8]> {
        self.host.as_deref()
    }

    /// What follows the host, word by word: `version=1`. Joined by colons it is what `git upload-pack` expects in the
    /// environment variable `GIT_PROTOCOL`.
    pub fn extra_parameters(&self) -> impl Iterator<Item = &[u8]> {
        self.extra.iter().map(|word| &word[..])
    }

    /// Whether the client asked for version 1 of the protocol. Version 2 is never used for a push.
    pub fn wants_version_1(&self) -> bool {
        highest_version(self.extra_parameters()) == 1
    }
}

fn malformed() -> Error {
    Error::new(ErrorKind::Protocol, "not the request line of git://").with_offset(0)
}
