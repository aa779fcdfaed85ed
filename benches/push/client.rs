//! A client that has its pack ready, so that what a push takes is what its server takes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use receive_pack::proto::{ObjectFormat, ObjectId, ObjectKind};

use crate::support::pack::{BLOB, BigPack, COMMIT, Hash, TREE, commit, entry_header, header, object_id, tree, zlib};
use crate::support::request::{Request, pkt};
use crate::support::rng::Rng;

/// How much is sent at once.
const PIECE: usize = 256 << 10;

/// One command: a ref, what it holds, what it shall hold.
pub type Command = (String, String, String);

/// Pushes over git://; `body` writes the pack. Gives how long the client waited for all of it.
#[track_caller]
pub fn push(
    address: &str,
    repository: &str,
    commands: &[Command],
    body: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Duration {
    let start = Instant::now();
    check(&converse(address, repository, commands, body).expect("a conversation"));
    start.elapsed()
}

/// The same over HTTP, in one chunked body; what was advertised is not asked for.
#[track_caller]
pub fn post(
    address: &str,
    repository: &str,
    commands: &[Command],
    body: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Duration {
    let start = Instant::now();
    check(&request_and_response(address, repository, commands, body).expect("a request and its response"));
    start.elapsed()
}

#[track_caller]
fn check(reply: &[u8]) {
    let reply = String::from_utf8_lossy(reply);
    assert!(reply.contains("unpack ok") && !reply.contains("ng refs/"), "the push was refused: {reply}");
}

fn request_and_response(
    address: &str,
    repository: &str,
    commands: &[Command],
    body: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    write!(
        stream,
        "POST /{repository}/git-receive-pack HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/x-git-receive-pack-request\r\ntransfer-encoding: chunked\r\n\r\n"
    )?;
    let mut out = io::BufWriter::with_capacity(PIECE, Chunked(stream));
    out.write_all(&head(commands))?;
    body(&mut out)?;
    let Chunked(mut stream) = out.into_inner()?;
    stream.write_all(b"0\r\n\r\n")?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    Ok(response)
}

/// Each write is a chunk of a body.
struct Chunked(TcpStream);

impl Write for Chunked {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if !data.is_empty() {
            write!(self.0, "{:x}\r\n", data.len())?;
            self.0.write_all(data)?;
            self.0.write_all(b"\r\n")?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn converse(
    address: &str,
    repository: &str,
    commands: &[Command],
    body: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(&pkt(format!("git-receive-pack /{repository}\0host=127.0.0.1\0")))?;
    skip_advertisement(&mut stream)?;
    let mut out = io::BufWriter::with_capacity(PIECE, stream);
    out.write_all(&head(commands))?;
    body(&mut out)?;
    let mut stream = out.into_inner()?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(reply)
}

fn head(commands: &[Command]) -> Vec<u8> {
    let request = Request::new().capabilities(" report-status quiet object-format=sha1");
    commands.iter().fold(request, |request, (name, old, new)| request.update(name, old, new)).head()
}

fn skip_advertisement(stream: &mut TcpStream) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        let mut len = [0; 4];
        stream.read_exact(&mut len)?;
        let len = std::str::from_utf8(&len).ok().and_then(|len| usize::from_str_radix(len, 16).ok());
        match len.ok_or(io::ErrorKind::InvalidData)? {
            0 => return Ok(()),
            len => line.resize(len.saturating_sub(4), 0),
        }
        stream.read_exact(&mut line)?;
        if line.starts_with(b"ERR ") {
            return Err(io::Error::other(String::from_utf8_lossy(&line).into_owned()));
        }
    }
}

/// Sends a file.
pub fn file(path: &Path) -> impl FnOnce(&mut dyn Write) -> io::Result<()> + '_ {
    move |out| {
        let mut file = std::fs::File::open(path)?;
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(()),
                len => out.write_all(&piece[..len])?,
            }
        }
    }
}

/// Sends a pack that is made as it is sent.
pub fn made(pack: &BigPack) -> impl FnOnce(&mut dyn Write) -> io::Result<()> + '_ {
    move |out| pack.chunks().try_for_each(|chunk| out.write_all(&chunk))
}

/// A commit of one large file, made as it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Blob {
    pub len: u64,
    /// Bytes that nobody can compress, or zeros.
    pub random: bool,
}

impl Blob {
    fn data(self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut rng = Rng::new(self.len);
        let mut piece = vec![0; PIECE];
        let mut left = self.len;
        while left > 0 {
            if self.random {
                piece.clear();
                rng.fill(&mut piece, PIECE);
            }
            let len = left.min(PIECE as u64);
            each(&piece[..len as usize])?;
            left -= len;
        }
        Ok(())
    }

    /// The tree and the commit, and their ids.
    pub fn head(self) -> (Vec<u8>, Vec<u8>, ObjectId) {
        let mut hash = Hash::new(ObjectFormat::Sha1);
        hash.update(format!("blob {}\0", self.len).as_bytes());
        let _ = self.data(|piece| {
            hash.update(piece);
            Ok(())
        });
        let tree = tree([("blob", &hash.finish())]);
        let commit = commit(&object_id(ObjectFormat::Sha1, ObjectKind::Tree, &tree), &[]);
        let id = object_id(ObjectFormat::Sha1, ObjectKind::Commit, &commit);
        (tree, commit, id)
    }

    /// Sends the pack.
    pub fn send(self, tree: &[u8], commit: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let mut out = Hashed { out, hash: Hash::new(ObjectFormat::Sha1) };
        out.write_all(&header(2, 3))?;
        for (kind, data) in [(COMMIT, commit), (TREE, tree)] {
            out.write_all(&entry_header(kind, data.len() as u64))?;
            out.write_all(&zlib(data, 6))?;
        }
        out.write_all(&entry_header(BLOB, self.len))?;
        let mut encoder = ZlibEncoder::new(&mut out, Compression::new(if self.random { 0 } else { 1 }));
        self.data(|piece| encoder.write_all(piece))?;
        encoder.finish()?;
        let Hashed { out, hash } = out;
        out.write_all(hash.finish().as_bytes())
    }
}

struct Hashed<'a> {
    out: &'a mut dyn Write,
    hash: Hash,
}

impl Write for Hashed<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.out.write_all(data)?;
        self.hash.update(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
