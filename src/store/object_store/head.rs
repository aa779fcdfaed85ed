//! The one object that is written again, and how it is moved from one manifest to the next.

use std::time::Duration;

use bytes::Bytes;
use object_store::{Error as StoreError, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion};
use tokio::time::sleep;

use super::bucket::Bucket;
use super::layout::Layout;
use super::manifest::Manifest;
use crate::proto::{ObjectFormat, ObjectId};
use crate::store::blocking::{Cancelled, blocking};
use crate::{Error, ErrorKind};

/// What a repository is, and what has to be the same when it becomes something else.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) id: ObjectId,
    pub(super) manifest: Manifest,
    version: UpdateVersion,
}

/// What became of an attempt to move a head.
#[derive(Debug)]
pub(super) enum Moved {
    /// It is moved, and perhaps has been moved on since.
    Yes,
    /// Somebody else was quicker.
    No,
    /// Nobody can say. What the manifest names must stay.
    Unknown(Error),
}

/// Where a head points: the manifest of this name and length.
struct Pointer {
    id: ObjectId,
    len: u64,
    version: UpdateVersion,
}

/// How often an answer that says nothing is followed by a look at what is there.
const LOOKS: u32 = 6;
/// How long the second of them waits; each one after it twice as long.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes from which on a manifest takes so long to read or write that others would have to wait for it.
const LONG: usize = 64 << 10;
/// How many manifests are looked through for ours: as many pushes may land while one waits for an answer.
const MAX_LATER: u32 = 1000;

impl Head {
    /// Reads the head of a repository; `None` if there is no repository.
    pub(super) async fn read(bucket: &Bucket, layout: &Layout) -> Result<Option<Self>, Error> {
        let Some(pointer) = Pointer::read(bucket, layout).await? else { return Ok(None) };
        let manifest = read_manifest(bucket, layout, &pointer.id, pointer.len).await?;
        Ok(Some(Self { id: pointer.id, manifest, version: pointer.version }))
    }

    /// Makes the head of a new repository; `false` if somebody else was quicker.
    pub(super) async fn create(bucket: &Bucket, layout: &Layout, manifest: &Manifest) -> Result<bool, Error> {
        match put(bucket, layout, None, manifest, &Cancelled::default()).await? {
            Moved::Yes => Ok(true),
            Moved::No => Ok(false),
            Moved::Unknown(error) => Err(error),
        }
    }

    /// Moves the head to a manifest that comes after its own, unless nobody waits for it any more at the last moment.
    ///
    /// # Errors
    ///
    /// If it has certainly not been moved.
    pub(super) async fn advance(
        &self,
        bucket: &Bucket,
        layout: &Layout,
        next: &Manifest,
        cancelled: &Cancelled,
    ) -> Result<Moved, Error> {
        put(bucket, layout, Some(self), next, cancelled).await
    }
}

/// Uploads a manifest, and has the head point at it if that is still as `before`.
async fn put(
    bucket: &Bucket,
    layout: &Layout,
    before: Option<&Head>,
    next: &Manifest,
    cancelled: &Cancelled,
) -> Result<Moved, Error> {
    let (id, text) = encode(next).await?;
    let pointer = format!("{id} {}\n", text.len());
    let written = bucket.store().put(&layout.manifest(&id), text.into()).await;
    let moved = match written {
        Ok(_) => match cancelled.go_on() {
            Ok(()) => Ok(point_at(bucket, layout, before, &id, pointer).await),
            Err(error) => Err(error),
        },
        Err(error) => Err(Error::store(format!("the manifest {id} cannot be written"), error)),
    };
    if !matches!(moved, Ok(Moved::Yes | Moved::Unknown(_))) {
        // Nobody names it. If it stays it harms nobody.
        let _ = bucket.store().delete(&layout.manifest(&id)).await;
    }
    moved
}

/// Has the head point at a manifest that is there.
async fn point_at(bucket: &Bucket, layout: &Layout, before: Option<&Head>, id: &ObjectId, pointer: String) -> Moved {
    let pointer = PutPayload::from(pointer.into_bytes());
    let mode = before.map_or(PutMode::Create, |head| PutMode::Update(head.version.clone()));
    let mut pause = PAUSE;
    let mut last = None;
    for _ in 0..LOOKS {
        if last.is_some() {
            sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
        if let Err(error) =
            bucket.store().put_opts(&layout.head(), pointer.clone(), PutOptions::from(mode.clone())).await
        {
            // Whatever it says, it may be ours that is there: an answer was lost, and this is that to the same request once
            // more. And what has not come yet may still come.
            last = Some(error);
        } else {
            return Moved::Yes;
        }
        match look(bucket, layout, before.map(|before| &before.id), id).await {
            Ok(Found::Ours) => return Moved::Yes,
            // From now on the condition of ours cannot be met.
            Ok(Found::Others) => return Moved::No,
            Ok(Found::AsBefore) | Err(_) => {}
        }
    }
    let error = Error::new(ErrorKind::Store, "whether the head of the repository was moved is not known");
    Moved::Unknown(match last {
        Some(last) => error.with_source(last),
        None => error,
    })
}

/// What a head is found to point at.
enum Found {
    /// What it pointed at before.
    AsBefore,
    /// Our manifest, or one that came after it.
    Ours,
    /// One that came after the same as ours.
    Others,
}

/// Looks once, at one moment: between two looks ours may arrive.
async fn look(bucket: &Bucket, layout: &Layout, before: Option<&ObjectId>, ours: &ObjectId) -> Result<Found, Error> {
    let head = Head::read(bucket, layout).await?;
    if head.as_ref().map(|head| &head.id) == before {
        return Ok(Found::AsBefore);
    }
    let Some(Head { id: mut last, manifest: Manifest { mut parent, .. }, .. }) = head else { return Ok(Found::Others) };
    for _ in 0..MAX_LATER {
        if last == *ours {
            return Ok(Found::Ours);
        }
        let Some(next) = parent.filter(|next| Some(next) != before) else { return Ok(Found::Others) };
        let manifest = earlier_manifest(bucket, layout, &next).await?;
        let gone = || Error::new(ErrorKind::Store, format!("the manifest {next} is not there any more"));
        (last, parent) = (next, manifest.ok_or_else(gone)?.parent);
    }
    Err(Error::new(ErrorKind::Store, "too many pushes have landed since"))
}

async fn read_manifest(bucket: &Bucket, layout: &Layout, id: &ObjectId, len: u64) -> Result<Manifest, Error> {
    let text = bucket.blocks().whole(layout.manifest(id), len).await;
    let text = text.map_err(|error| Error::store(format!("the manifest {id} cannot be read"), error))?;
    decode(id, text).await
}

/// Reads the text of a manifest, a long one where it may take its time.
async fn decode(id: &ObjectId, text: Bytes) -> Result<Manifest, Error> {
    if text.len() < LONG {
        return Manifest::decode(id, &text);
    }
    let id = *id;
    blocking(move || Manifest::decode(&id, &text)).await
}

/// A manifest that is not the one of the head, so that nobody has said how long it is; `None` if it was removed.
pub(super) async fn earlier_manifest(
    bucket: &Bucket,
    layout: &Layout,
    id: &ObjectId,
) -> Result<Option<Manifest>, Error> {
    let object = bucket.store().get(&layout.manifest(id)).await;
    match async { object?.bytes().await }.await {
        Ok(text) => decode(id, text).await.map(Some),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(Error::store(format!("the manifest {id} cannot be read"), error)),
    }
}

/// The text of a manifest, and its name.
async fn encode(manifest: &Manifest) -> Result<(ObjectId, Vec<u8>), Error> {
    if manifest.refs().len().saturating_add(manifest.packs().len()) < LONG / 64 {
        return manifest.encode();
    }
    let manifest = manifest.clone();
    blocking(move || manifest.encode()).await
}

impl Pointer {
    async fn read(bucket: &Bucket, layout: &Layout) -> Result<Option<Self>, Error> {
        let unreadable = |error| Error::store(format!("the head of {} cannot be read", layout.root()), error);
        let object = match bucket.store().get(&layout.head()).await {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            object => object.map_err(unreadable)?,
        };
        let version = UpdateVersion { e_tag: object.meta.e_tag.clone(), version: object.meta.version.clone() };
        let text = object.bytes().await.map_err(unreadable)?;
        let (id, len) = Self::parse(&text)
            .ok_or_else(|| Error::new(ErrorKind::Store, format!("the head of {} is damaged", layout.root())))?;
        Ok(Some(Self { id, len, version }))
    }

    /// The id tells the format by its length.
    fn parse(text: &[u8]) -> Option<(ObjectId, u64)> {
        let line = str::from_utf8(text.strip_suffix(b"\n")?).ok()?;
        let (id, len) = line.split_once(' ')?;
        let formats = [Some(ObjectFormat::Sha1), ObjectFormat::from_name(b"sha256")];
        let id = formats.into_iter().flatten().find_map(|format| ObjectId::from_hex(format, id.as_bytes()))?;
        Some((id, len.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_read_to_the_letter() {
        let id = "1".repeat(40);
        let (read, len) = Pointer::parse(format!("{id} 17\n").as_bytes()).unwrap();
        assert_eq!((read.to_string(), len), (id.clone(), 17));
        for bad in
            ["", "\n", "17\n", &format!("{id}\n"), &format!("{id} 17"), &format!("{id} -1\n"), &format!("{id} 1 \n")]
        {
            assert!(Pointer::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
