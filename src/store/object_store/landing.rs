use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::head::{Head, Moved};
use super::packs::Packs;
use super::repository::ObjectStoreRepository;
use super::seal::Sealed;
use super::upload::Upload;
use crate::Error;
use crate::proto::{ObjectId, ObjectKind, Report};
use crate::push::{Progress, UpdateRequest};
use crate::store::blocking::{Cancelled, blocking};
use crate::store::ref_map;

/// From a sealed push to a head that has moved.
pub(super) struct Landing {
    pub(super) repository: ObjectStoreRepository,
    pub(super) progress: Progress,
    pub(super) cancelled: Cancelled,
    pub(super) packs: Arc<Packs>,
    pub(super) sealed: Option<Arc<Sealed>>,
}

/// How often somebody else may be quicker. Of those who try at once one is always the quickest, so it takes as many to
/// exhaust this, each time.
pub(super) const ATTEMPTS: u32 = 100;
/// How long an attempt waits for others at most, times the number of attempts before it, up to ten.
const PAUSE: Duration = Duration::from_millis(20);

impl Landing {
    /// Lands the push; says what became of each ref.
    pub(super) async fn land(self, request: UpdateRequest) -> Result<Report, Error> {
        let mut uploaded = None;
        let landed = self.try_to(request, &mut uploaded).await;
        if let Some(upload) = uploaded {
            upload.remove().await;
        }
        // To give a large file back to the disk may block.
        let _ = blocking(move || {
            drop(self);
            Ok(())
        })
        .await;
        landed
    }

    /// Leaves in `uploaded` what nothing needs.
    async fn try_to<'a>(&'a self, request: UpdateRequest, uploaded: &mut Option<Upload<'a>>) -> Result<Report, Error> {
        let ObjectStoreRepository { bucket, layout, .. } = &self.repository;
        let kinds = self.kinds(&request).await?;
        for attempt in 0..ATTEMPTS {
            self.cancelled.go_on()?;
            let head = self.repository.head().await?;
            let mut judged = request.clone();
            ref_map::judge(&head.manifest.refs, |id| kinds.get(id).copied(), &mut judged);
            if judged.is_refused() {
                return Ok(judged.report());
            }
            if let Some(upload) = uploaded.take_if(|upload| !upload.is_safe_beside(&head.manifest)) {
                upload.remove().await;
            }
            if let Some(sealed) = self.sealed.as_ref().filter(|_| uploaded.is_none()) {
                let upload = uploaded.insert(Upload::new(bucket, layout, &head.manifest));
                upload.put(sealed, &self.progress, &self.cancelled).await?;
            }
            match self.advance(&head, &judged, uploaded.as_ref()).await? {
                Moved::Yes => {
                    *uploaded = None;
                    return Ok(judged.report());
                }
                Moved::Unknown(error) => {
                    *uploaded = None;
                    return Err(error);
                }
                Moved::No => sleep(pause(attempt)).await,
            }
        }
        Err(Error::refused("the repository is busy: too many others push at the same time"))
    }

    /// Moves the head from what it is to what it is after the push.
    async fn advance(&self, head: &Head, judged: &UpdateRequest, upload: Option<&Upload<'_>>) -> Result<Moved, Error> {
        let ObjectStoreRepository { bucket, layout, .. } = &self.repository;
        let mut next = head.manifest.next(head.id);
        ref_map::apply(&mut next.refs, judged);
        next.packs.extend(self.sealed.as_deref().zip(upload).map(|(sealed, upload)| sealed.as_pack(upload.name())));
        head.advance(bucket, layout, &next, &self.cancelled).await
    }

    /// What the new values of the refs are.
    async fn kinds(&self, request: &UpdateRequest) -> Result<HashMap<ObjectId, ObjectKind>, Error> {
        let news: Vec<ObjectId> = request.open().map(|(_, command)| command.new).filter(|new| !new.is_zero()).collect();
        let (packs, sealed) = (Arc::clone(&self.packs), self.sealed.clone());
        blocking(move || {
            let kind_of = |new: &ObjectId| match sealed.as_ref().and_then(|sealed| sealed.index.kind_of(new)) {
                Some(kind) => Ok(Some(kind)),
                None => packs.kind_of(new),
            };
            let kinds = news.into_iter().map(|new| Ok(kind_of(&new)?.map(|kind| (new, kind))));
            kinds.filter_map(Result::transpose).collect()
        })
        .await
    }
}

/// Differs from push to push, so that those who met once do not meet again.
pub(super) fn pause(attempt: u32) -> Duration {
    use std::hash::BuildHasher as _;
    let chance = std::collections::hash_map::RandomState::new().hash_one(attempt) % 1000;
    let longest = PAUSE.saturating_mul(attempt.saturating_add(1).min(10));
    longest.mul_f64(chance as f64 / 1000.0)
}
