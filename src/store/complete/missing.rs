use std::collections::HashSet;

use super::Objects;
use crate::Error;
use crate::proto::{ObjectId, ObjectKind};
use crate::push::{Progress, UpdateRequest};
use crate::store::links::{Commit, Malformed};

/// Why a ref may not move: `missing necessary objects` in the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The object that is missing or cannot be walked through.
    pub(crate) object: ObjectId,
    /// What is wrong with it, in one line that names it.
    pub(crate) text: String,
}

impl Missing {
    /// It is nowhere.
    pub(super) fn absent(kind: Option<ObjectKind>, object: ObjectId) -> Self {
        let text = match kind {
            Some(kind) => format!("missing {} object '{object}'", kind.name()),
            None => format!("missing object '{object}'"),
        };
        Self { object, text }
    }

    /// It is something else than what points at it says.
    pub(super) fn kind(expected: ObjectKind, is: ObjectKind, object: ObjectId) -> Self {
        Self { object, text: format!("object '{object}' is a {}, not a {}", is.name(), expected.name()) }
    }

    /// It cannot be read.
    pub(super) fn malformed(kind: ObjectKind, object: ObjectId, Malformed(what): Malformed) -> Self {
        Self { object, text: format!("{} '{object}': {what}", kind.name()) }
    }
}

/// Refuses each of these commands whose new value needs something that is not there, and says what that is. Where it is
/// because the history of a shallow client ends there, the client is told that instead.
pub(crate) fn refuse(
    request: &mut UpdateRequest,
    places: impl IntoIterator<Item = usize>,
    found: Vec<Result<(), Missing>>,
    objects: &impl Objects,
    progress: &Progress,
) -> Result<(), Error> {
    if found.iter().all(Result::is_ok) {
        return Ok(());
    }
    let cut_off = cut_off(request.shallow(), objects)?;
    for (place, found) in places.into_iter().zip(found) {
        if let Err(missing) = found {
            if cut_off.contains(&missing.object) {
                request.refuse(place, "shallow update not allowed");
                continue;
            }
            progress.note(format_args!("error: {}", missing.text));
            request.refuse(place, "missing necessary objects");
        }
    }
    Ok(())
}

/// What the history of a shallow client lacks: the parents of the commits at which it is cut off.
fn cut_off(shallow: &[ObjectId], objects: &impl Objects) -> Result<HashSet<ObjectId>, Error> {
    let mut parents = HashSet::new();
    for id in shallow {
        if let Some((ObjectKind::Commit, data)) = objects.object_unless_blob(id)?
            && let Ok(commit) = Commit::parse(&data, id.format())
        {
            parents.extend(commit.parents());
        }
    }
    Ok(parents)
}
