use std::collections::HashMap;

use super::{Missing, Objects, PackIds};
use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::store::links::{self, Malformed};

/// Which objects of a repository have all that they need, so that nobody looks below them.
pub(crate) trait Trust {
    /// Whether this object of the repository is one of them.
    fn trusts(&mut self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<Result<bool, Malformed>, Error>;

    /// Whether an object that is not there counts as complete all the same.
    fn excuses(&mut self, _: ObjectKind, _: &ObjectId) -> Result<bool, Error> {
        Ok(false)
    }
}

/// Says of single objects whether all below them is there, by looking at all below them; each object once.
pub(crate) struct Exact<'a, T> {
    // The ids of what the push brought, and the same objects, to be read.
    pack: &'a dyn PackIds,
    brought: &'a dyn Objects,
    // The objects that were there before, and those of them that are trusted.
    repository: &'a dyn Objects,
    trust: T,
    // What is known of objects that were looked at: complete, or the number of the reason why not.
    known: HashMap<ObjectId, Result<ObjectKind, usize>>,
    reasons: Vec<Missing>,
}

/// An object on the way from a new value down to the object that is looked at.
struct Frame {
    id: ObjectId,
    kind: ObjectKind,
    // What it points at and was not looked at yet.
    links: Vec<(ObjectId, ObjectKind)>,
}

/// What an object turned out to be.
enum Found {
    /// Complete, without a look at what it points at.
    Complete(ObjectKind),
    /// As complete as what it points at.
    Links(Frame),
    /// Not complete.
    Missing(Missing),
}

impl<'a, T: Trust> Exact<'a, T> {
    /// Nothing is known yet of what the push `brought` on top of the repository.
    pub(crate) fn new(pack: &'a dyn PackIds, brought: &'a dyn Objects, repository: &'a dyn Objects, trust: T) -> Self {
        Self { pack, brought, repository, trust, known: HashMap::new(), reasons: Vec::new() }
    }

    /// Whether an object was found to be there with all that it needs, by itself or below another.
    #[cfg(feature = "object-store")]
    pub(crate) fn has_found_complete(&self, id: &ObjectId) -> bool {
        matches!(self.known.get(id), Some(Ok(_)))
    }

    /// Whether an object and all that it needs is there.
    pub(crate) fn complete(&mut self, new: &ObjectId) -> Result<Result<(), Missing>, Error> {
        // A path through the objects instead of recursion: hashes cannot form a circle, so it ends.
        let mut path: Vec<Frame> = Vec::new();
        let mut next = Some((*new, None));
        loop {
            if let Some((id, expected)) = next.take()
                && let Err(reason) = self.enter(id, expected, &mut path)?
            {
                let reason = self.reason_below(path.last(), id, expected, reason);
                // All that lead here need what is missing.
                for frame in path {
                    self.known.insert(frame.id, Err(reason));
                }
                return Ok(match self.reasons.get(reason) {
                    Some(missing) => Err(missing.clone()),
                    None => Err(Missing::absent(None, *new)),
                });
            }
            let Some(frame) = path.last_mut() else { return Ok(Ok(())) };
            match frame.links.pop() {
                Some((id, kind)) => next = Some((id, Some(kind))),
                None => {
                    self.known.insert(frame.id, Ok(frame.kind));
                    path.pop();
                }
            }
        }
    }

    /// Looks at one object, and puts it on the path if what it points at has to be looked at; the number of the
    /// reason if it is not complete.
    fn enter(
        &mut self,
        id: ObjectId,
        expected: Option<ObjectKind>,
        path: &mut Vec<Frame>,
    ) -> Result<Result<(), usize>, Error> {
        let found = match self.known.get(&id) {
            Some(Err(reason)) => return Ok(Err(*reason)),
            Some(Ok(kind)) => Found::Complete(*kind),
            None => self.look(id, expected)?,
        };
        let is = match &found {
            Found::Complete(kind) => *kind,
            Found::Links(frame) => frame.kind,
            Found::Missing(missing) => {
                let reason = self.reason(missing.clone());
                self.known.insert(id, Err(reason));
                return Ok(Err(reason));
            }
        };
        if let Some(expected) = expected.filter(|expected| *expected != is) {
            // The object may be good; it is the link that is not.
            return Ok(Err(self.reason(Missing::kind(expected, is, id))));
        }
        match found {
            Found::Links(frame) => path.push(frame),
            _ => {
                self.known.insert(id, Ok(is));
            }
        }
        Ok(Ok(()))
    }

    /// The reason why what leads to an object is not complete. The object itself may be known for long not to be there,
    /// as the parent of another commit.
    fn reason_below(
        &mut self,
        from: Option<&Frame>,
        id: ObjectId,
        expected: Option<ObjectKind>,
        reason: usize,
    ) -> usize {
        const COMMIT: ObjectKind = ObjectKind::Commit;
        let child = from.filter(|from| from.kind == COMMIT && expected == Some(COMMIT)).map(|from| from.id);
        match self.reasons.get(reason) {
            Some(missing) if missing.object == id && missing.child != child => {
                let missing = Missing { child, ..missing.clone() };
                self.reason(missing)
            }
            _ => reason,
        }
    }

    fn reason(&mut self, missing: Missing) -> usize {
        self.reasons.push(missing);
        self.reasons.len().saturating_sub(1)
    }

    fn look(&mut self, id: ObjectId, expected: Option<ObjectKind>) -> Result<Found, Error> {
        let (objects, in_pack) = match self.pack.kind_of(&id) {
            Some(ObjectKind::Blob) => return Ok(Found::Complete(ObjectKind::Blob)),
            Some(_) => (self.brought, true),
            None => (self.repository, false),
        };
        let (kind, data) = if expected == Some(ObjectKind::Blob) {
            // Whatever it is, it need not be read to say whether it is a blob.
            match objects.kind(&id)? {
                Some(kind) => return Ok(Found::Complete(kind)),
                None => return self.absent(id, expected),
            }
        } else {
            match objects.object_unless_blob(&id)? {
                Some((ObjectKind::Blob, _)) => return Ok(Found::Complete(ObjectKind::Blob)),
                Some(object) => object,
                None => return self.absent(id, expected),
            }
        };
        if !in_pack {
            match self.trust.trusts(kind, &id, &data)? {
                Ok(true) => return Ok(Found::Complete(kind)),
                Ok(false) => {}
                Err(malformed) => return Ok(Found::Missing(Missing::malformed(kind, id, malformed))),
            }
        }
        let mut links = Vec::new();
        let read = links::for_each(kind, &data, id.format(), |kind, raw| {
            if let Some(id) = ObjectId::from_bytes(raw) {
                links.push((id, kind));
            }
        });
        // The path may be as long as history.
        links.shrink_to_fit();
        Ok(match read {
            Ok(()) => Found::Links(Frame { id, kind, links }),
            Err(malformed) => Found::Missing(Missing::malformed(kind, id, malformed)),
        })
    }

    fn absent(&mut self, id: ObjectId, expected: Option<ObjectKind>) -> Result<Found, Error> {
        match expected {
            Some(kind) if self.trust.excuses(kind, &id)? => Ok(Found::Complete(kind)),
            _ => Ok(Found::Missing(Missing::absent(expected, id))),
        }
    }
}
