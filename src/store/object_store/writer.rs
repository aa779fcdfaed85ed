use std::io::{self, Write as _};
use std::sync::Arc;

use super::draft::{Draft, Scratch};
use super::repository::ObjectStoreRepository;
use crate::proto::PackFrame;
use crate::push::Progress;
use crate::store::batches::FrameWriter;
use crate::store::examine::Examination;
use crate::store::index::{IndexOptions, Indexer, Visit as _, Worker as _};
use crate::store::links::Links;
use crate::{Error, ErrorKind};

/// A pack as it arrives, and what is known of its entries.
pub(super) struct PackWriter {
    pub(super) pack: Draft,
    pub(super) indexer: Indexer,
    pub(super) links: Links,
    pub(super) examination: Examination,
    pub(super) scratch: Scratch,
}

impl PackWriter {
    /// Nothing is on the disk yet.
    pub(super) fn new(repository: &ObjectStoreRepository, progress: &Progress) -> Self {
        let scratch = repository.settings.scratch.clone();
        let mut options = IndexOptions::new(repository.format);
        options.detect_collisions = repository.settings.detect_collisions;
        options.limits = repository.settings.limits;
        options.spool = Some(Arc::new(scratch.clone()));
        Self {
            pack: Draft::new(&scratch),
            indexer: Indexer::new(options),
            links: Links::new(repository.format, Arc::new(scratch.clone())),
            examination: Examination::new(repository.examine.clone(), progress.clone()),
            scratch,
        }
    }
}

impl FrameWriter for PackWriter {
    fn write(&mut self, frames: Vec<PackFrame>) -> Result<(), Error> {
        let visit = (&self.links, &self.examination);
        let mut worker = visit.worker();
        for frame in frames {
            match frame {
                PackFrame::Header(header) => self.pack.write_all(&header.wire()).map_err(cannot_write)?,
                PackFrame::Object(object) => {
                    self.indexer.write(&object, &mut worker)?;
                    self.pack.write_all(object.wire()).map_err(cannot_write)?;
                }
                PackFrame::Data(_) => {
                    return Err(Error::new(ErrorKind::Store, "this store takes packs as objects, not opaque"));
                }
                PackFrame::Complete(_) => {}
            }
        }
        worker.finish()
    }
}

pub(super) fn cannot_write(error: io::Error) -> Error {
    Error::store("the quarantine cannot be written", error)
}
