use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload, UploadPart};

use super::bucket::Bucket;
use super::draft::Draft;
use super::layout::{Layout, PACK_FILES};
use super::manifest::Manifest;
use super::seal::Sealed;
use crate::Error;
use crate::push::{Meter, Progress};
use crate::store::blocking::{Cancelled, blocking};
use crate::store::index::ReadAt as _;
use crate::store::unique::unique_id;

/// How long a part of an upload is; an object that is not longer is put in one go. S3 takes 10,000 parts, and none but the
/// last that is shorter than 5 MiB.
const PART: u64 = 8 << 20;
/// So many parts make longer ones necessary.
const MAX_PARTS: u64 = 9_000;
/// How many parts are on their way at once: what an upload takes of the memory is so many of them.
const IN_FLIGHT: usize = 2;

/// The objects of a pack that no manifest names yet.
pub(super) struct Upload<'a> {
    bucket: &'a Bucket,
    layout: &'a Layout,
    name: String,
    /// How often packs had been removed when it began.
    prunes: u64,
}

impl<'a> Upload<'a> {
    /// One under a name that nothing else has.
    pub(super) fn new(bucket: &'a Bucket, layout: &'a Layout, manifest: &Manifest) -> Self {
        // As long as git's: it does not take others for packs that it may replace.
        let mut id = [unique_id(), unique_id()].concat();
        id.truncate(manifest.object_format().hex_len());
        Self { bucket, layout, name: format!("pack-{id}"), prunes: manifest.prunes }
    }

    /// The name of the pack, without an ending.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is certainly there, if the head is moved on from this manifest. Since it began packs may have been removed
    /// that no manifest named, and it is one of those.
    pub(super) fn is_safe_beside(&self, manifest: &Manifest) -> bool {
        self.prunes == manifest.prunes
    }

    /// Uploads the pack and its indexes; once this is done, they are durable.
    pub(super) async fn put(
        &self,
        sealed: &Arc<Sealed>,
        progress: &Progress,
        cancelled: &Cancelled,
    ) -> Result<(), Error> {
        let meter = Meter::new(progress, "Storing MiB");
        let of = |file: File| self.put_file(sealed, file, &meter, cancelled);
        let files = [File::Pack, File::Idx, File::Rev, File::Kinds];
        if sealed.pack.len() > PART {
            for file in files {
                of(file).await?;
            }
            return Ok(());
        }
        // Each is waited for, whatever becomes of the others: an upload that is dropped is never aborted.
        join_all(files.map(of)).await.into_iter().collect()
    }

    /// Removes what is there of it, for no manifest will name it. What cannot be removed harms nobody.
    pub(super) async fn remove(&self) {
        for ending in PACK_FILES {
            let _ = self.bucket.store().delete(&self.layout.pack(&self.name, ending)).await;
        }
    }

    async fn put_file(
        &self,
        sealed: &Arc<Sealed>,
        file: File,
        meter: &Meter,
        cancelled: &Cancelled,
    ) -> Result<(), Error> {
        let object = self.layout.pack(&self.name, file.ending());
        let len = file.of(sealed).len();
        if len > PART {
            return self.put_parts(sealed, file, &object, meter, cancelled).await;
        }
        let bytes = read(sealed, file, 0, len).await?;
        self.bucket.store().put(&object, bytes.into()).await.map(drop).map_err(cannot_upload)
    }

    async fn put_parts(
        &self,
        sealed: &Arc<Sealed>,
        file: File,
        object: &Path,
        meter: &Meter,
        cancelled: &Cancelled,
    ) -> Result<(), Error> {
        let mut upload = self.bucket.store().put_multipart(object).await.map_err(cannot_upload)?;
        let put = async {
            put_each_part(&mut *upload, sealed, file, meter, cancelled).await?;
            upload.complete().await.map(drop).map_err(cannot_upload)
        };
        let put = put.await;
        if put.is_err() {
            // Parts that nobody aborts are paid for until somebody does.
            let _ = upload.abort().await;
        }
        put
    }
}

async fn put_each_part(
    upload: &mut dyn MultipartUpload,
    sealed: &Arc<Sealed>,
    file: File,
    meter: &Meter,
    cancelled: &Cancelled,
) -> Result<(), Error> {
    let len = file.of(sealed).len();
    let part = PART.max(len.div_ceil(MAX_PARTS));
    let put_part = |part: UploadPart, len: u64| async move { part.await.map(|()| len) };
    let mut parts = FuturesUnordered::new();
    let (mut offset, mut done) = (0_u64, 0_u64);
    let put = async {
        loop {
            if parts.len() == IN_FLIGHT || offset == len {
                match parts.next().await {
                    Some(put) => done = done.saturating_add(Result::map_err(put, cannot_upload)?),
                    None => return Ok(()),
                }
                if let File::Pack = file {
                    meter.update(done >> 20, len >> 20);
                }
                continue;
            }
            cancelled.go_on()?;
            let now = part.min(len.saturating_sub(offset));
            let bytes = read(sealed, file, offset, now).await?;
            parts.push(put_part(upload.put_part(PutPayload::from(bytes)), now));
            offset = offset.saturating_add(now);
        }
    };
    let put = put.await;
    // To abort an upload does not stop a part that is on its way: it would be there afterwards, and be paid for.
    while parts.next().await.is_some() {}
    put
}

/// Some of a file, read where it may block.
async fn read(sealed: &Arc<Sealed>, file: File, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
    let sealed = Arc::clone(sealed);
    blocking(move || {
        let mut bytes = vec![0; usize::try_from(len).map_err(|error| Error::store("a part is too long", error))?];
        let read = file.of(&sealed).read_exact_at(&mut bytes, offset);
        read.map(|()| bytes).map_err(|error| Error::store("the quarantine cannot be read", error))
    })
    .await
}

/// One of the objects of a pack.
#[derive(Clone, Copy)]
enum File {
    Pack,
    Idx,
    Rev,
    Kinds,
}

impl File {
    fn ending(self) -> &'static str {
        let [pack, idx, rev, kinds] = PACK_FILES;
        match self {
            Self::Pack => pack,
            Self::Idx => idx,
            Self::Rev => rev,
            Self::Kinds => kinds,
        }
    }

    fn of(self, sealed: &Sealed) -> &Draft {
        match self {
            Self::Pack => &sealed.pack,
            Self::Idx => &sealed.idx,
            Self::Rev => &sealed.rev,
            Self::Kinds => &sealed.kinds,
        }
    }
}

fn cannot_upload(error: object_store::Error) -> Error {
    Error::store("the pack cannot be uploaded", error)
}
