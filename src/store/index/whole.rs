//! The whole of `git index-pack`, for `benches/`: a store does the same, in the pieces in which a push comes.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::{Aside, AsideFile, Bases, Budget, IndexOptions, Indexer};
use crate::checksum::Hasher;
use crate::proto::{Limits, ObjectFormat, ObjectId, ObjectKind, PackDecoder, PackFrame};
use crate::{Error, ErrorKind};

/// How much is read, and written, at once.
const PIECE: usize = 256 << 10;

/// There is no repository to complete a thin pack from.
struct NoBases;

impl Bases for NoBases {
    fn base(&self, _: &ObjectId, _: u64, _: &Budget) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        Ok(None)
    }
}

/// Large objects go to a file in this directory whose name is taken away at once; one thread makes one at a time.
#[derive(Debug)]
struct Unnamed(PathBuf);

impl Aside for Unnamed {
    fn file(&self) -> io::Result<Box<dyn AsideFile>> {
        let path = self.0.join(format!("aside-{:?}", std::thread::current().id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Box::new(file))
    }
}

/// Reads a pack and writes it into `directory`, with its `.idx` and `.rev`, all durable; gives how many objects it has, and how
/// long resolving its deltas took.
///
/// # Errors
///
/// Those of a pack that is not sound, and of the disk.
pub fn index_pack(
    mut input: impl Read,
    directory: &Path,
    threads: NonZeroUsize,
    detect_collisions: bool,
) -> Result<(u32, Duration), Error> {
    let format = ObjectFormat::Sha1;
    let mut options = IndexOptions::new(format);
    options.detect_collisions = detect_collisions;
    options.spool = Some(Arc::new(Unnamed(directory.to_path_buf())));
    let mut indexer = Indexer::new(options);
    let mut hasher = Hasher::new(format);
    let mut decoder = PackDecoder::new(format, 64 << 10, &Limits::default());
    let path = directory.join("bench.pack");
    let mut pack = File::create_new(&path).map_err(disk)?;
    let mut buffer = BytesMut::with_capacity(PIECE);
    let mut written = Vec::with_capacity(PIECE);
    let checksum = loop {
        let wire = match decoder.decode(&mut buffer)? {
            Some(PackFrame::Header(header)) => header.wire().to_vec().into(),
            Some(PackFrame::Object(object)) => {
                indexer.write(&object, &mut ())?;
                object.wire().clone()
            }
            Some(PackFrame::Complete(complete)) => break complete.checksum().copied(),
            Some(PackFrame::Data(_)) => continue,
            None => {
                more(&mut input, &mut buffer)?;
                continue;
            }
        };
        hasher.update(&wire);
        if written.len().saturating_add(wire.len()) > PIECE {
            pack.write_all(&written).map_err(disk)?;
            written.clear();
        }
        written.extend_from_slice(&wire);
    };
    let checksum = checksum.filter(|checksum| hasher.finish().is_ok_and(|hash| hash == *checksum));
    let checksum = checksum.ok_or_else(|| Error::new(ErrorKind::ChecksumMismatch, "the pack is corrupted"))?;
    written.extend_from_slice(checksum.as_bytes());
    pack.write_all(&written).map_err(disk)?;
    let pack = File::open(&path).map_err(disk)?;
    let start = Instant::now();
    let index = indexer.resolve(&pack, &NoBases, &(), threads, |_, _| Ok(()))?;
    let resolved = start.elapsed();
    let files = || -> io::Result<()> {
        let mut idx = File::create_new(directory.join("bench.idx"))?;
        index.write_idx(&checksum, &mut idx)?;
        idx.sync_all()?;
        let mut rev = File::create_new(directory.join("bench.rev"))?;
        index.write_rev(&checksum, &mut rev)?;
        rev.sync_all()?;
        pack.sync_all()
    };
    files().map_err(disk)?;
    Ok((index.len(), resolved))
}

fn more(input: &mut impl Read, buffer: &mut BytesMut) -> Result<(), Error> {
    let len = buffer.len();
    buffer.resize(len.saturating_add(PIECE), 0);
    let read = input.read(buffer.get_mut(len..).unwrap_or_default()).map_err(disk)?;
    buffer.truncate(len.saturating_add(read));
    if read == 0 {
        return Err(Error::new(ErrorKind::IncompletePack, "the pack is incomplete: early EOF"));
    }
    Ok(())
}

fn disk(error: io::Error) -> Error {
    Error::store("a file of the bench", error)
}
