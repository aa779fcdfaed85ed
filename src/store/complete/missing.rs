use std::collections::HashSet;

use crate::proto::{ObjectId, ObjectKind};
use crate::push::{Progress, UpdateRequest};
use crate::store::links::Malformed;

/// Why a ref may not move: `missing necessary objects` in the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The object that is missing or cannot be walked through.
    pub(crate) object: ObjectId,
    /// The commit that led to it as to its parent, if one did.
    pub(crate) child: Option<ObjectId>,
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
        Self { object, child: None, text }
    }

    /// It is something else than what points at it says.
    pub(super) fn kind(expected: ObjectKind, is: ObjectKind, object: ObjectId) -> Self {
        Self { object, child: None, text: format!("object '{object}' is a {}, not a {}", is.name(), expected.name()) }
    }

    /// It cannot be read.
    pub(super) fn malformed(kind: ObjectKind, object: ObjectId, Malformed(what): Malformed) -> Self {
        Self { object, child: None, text: format!("{} '{object}': {what}", kind.name()) }
    }
}

/// Refuses each of these commands whose new value needs something that is not there, and says what that is. Where it is
/// because the history of a shallow client ends there, the client is told that instead.
pub(crate) fn refuse(
    request: &mut UpdateRequest,
    places: impl IntoIterator<Item = usize>,
    found: Vec<Result<(), Missing>>,
    progress: &Progress,
) {
    if found.iter().all(Result::is_ok) {
        return;
    }
    // Nobody reads these commits: a client may name as many as it likes, and some may be long.
    let cut_off: HashSet<ObjectId> = request.shallow().iter().copied().collect();
    for (place, found) in places.into_iter().zip(found) {
        if let Err(missing) = found {
            if missing.child.is_some_and(|child| cut_off.contains(&child)) {
                request.refuse(place, "shallow update not allowed");
                continue;
            }
            progress.note(format_args!("error: {}", missing.text));
            request.refuse(place, "missing necessary objects");
        }
    }
}
