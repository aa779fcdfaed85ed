use std::io;
use std::sync::Arc;

use super::incoming_pack::IncomingPack;
use super::quarantine_directory::QuarantineDirectory;
use super::store::BareRepository;
use super::unpack::Unpack;
use crate::Error;
use crate::proto::PackFrame;
use crate::push::Progress;
use crate::store::batches::FrameWriter;
use crate::store::examine::Examination;
use crate::store::index::{IndexOptions, Indexer, Visit as _, Worker as _};
use crate::store::links::Links;

/// The blocking half of a quarantine: the directory, the pack that grows in it, and what is known of its entries.
pub(super) struct PackWriter {
    pub(super) pack: IncomingPack,
    pub(super) indexer: Indexer,
    pub(super) links: Links,
    pub(super) examination: Examination,
    pub(super) unpack: Unpack,
    pub(super) directory: Arc<QuarantineDirectory>,
}

impl PackWriter {
    /// Nothing is on the disk yet.
    pub(super) fn new(store: &BareRepository, progress: &Progress) -> Self {
        let repository = &store.repository;
        let directory = Arc::new(QuarantineDirectory::new(repository.fs(), repository.objects_dir()));
        let pack = IncomingPack::new(Arc::clone(&directory));
        let mut options = IndexOptions::new(repository.object_format());
        options.detect_collisions = store.settings.detect_collisions;
        options.limits = store.settings.limits;
        options.spool = Some(Arc::<QuarantineDirectory>::clone(&directory));
        let links = Links::new(repository.object_format(), Arc::<QuarantineDirectory>::clone(&directory));
        let examination = Examination::new(store.examine.clone(), progress.clone());
        let unpack = Unpack::new(store.settings.unpack_limit);
        let indexer = Indexer::new(options);
        Self { pack, indexer, links, examination, unpack, directory }
    }
}

impl FrameWriter for PackWriter {
    fn write(&mut self, frames: Vec<PackFrame>) -> Result<(), Error> {
        let others = (&self.examination, &self.unpack);
        let visit = (&self.links, &others);
        let mut worker = visit.worker();
        for frame in frames {
            match frame {
                PackFrame::Header(header) => {
                    self.unpack.expect(header.objects);
                    self.pack.append(&header.wire()).map_err(cannot_write)?;
                }
                PackFrame::Object(object) => {
                    self.indexer.write(&object, &mut worker)?;
                    self.pack.append(object.wire()).map_err(cannot_write)?;
                }
                PackFrame::Data(_) => {
                    let text = "this store takes packs as objects, not opaque";
                    return Err(Error::new(crate::ErrorKind::Store, text));
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
