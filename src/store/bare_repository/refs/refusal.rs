use std::fmt;

use crate::Error;
use crate::proto::ObjectId;

/// Why one ref did not move.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// What stands after `ng <ref>` in the report.
    pub(crate) reason: Reason,
    /// What git prints on band 2 behind `error: `, if it prints anything; fit for the pusher's eyes.
    pub(crate) text: Option<String>,
    /// The server's own trouble, for its log.
    pub(crate) source: Option<Error>,
}

/// The reasons of a refusal, in git's words (those of 2.51 where it has more than one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The name is none that a ref may have.
    FunnyRefname,
    /// A ref of that name would hide another: one of them is a directory of the other.
    Conflict,
    /// It was to be created and is there.
    Exists,
    /// It was to be changed or deleted and is not there.
    DoesNotExist,
    /// It has another value than the client saw.
    IncorrectOldValue,
    /// A branch would name something that is no commit, or nothing at all.
    InvalidNewValue,
    /// Symbolic refs lead in a circle, or nowhere.
    BrokenSymref,
    /// A symbolic ref and its target were given different values.
    InconsistentAlias,
    /// Anything else: a lock that is held, a disk that fails.
    Failed,
    /// The ref is one of an atomic push that failed.
    AtomicFailed,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: Some(text.into()), source: None }
    }

    /// `cannot lock ref '<name>': <why>`
    pub(crate) fn lock(reason: Reason, name: &[u8], why: impl fmt::Display) -> Self {
        Self::new(reason, format!("cannot lock ref '{}': {why}", lossy(name)))
    }

    /// A file operation failed; the pusher is not told the server's paths.
    pub(crate) fn io(name: &[u8], source: impl Into<crate::BoxError>) -> Self {
        let text = format!("cannot update ref '{}': internal error", lossy(name));
        let source = Error::store(format!("cannot update ref '{}'", lossy(name)), source);
        Self { reason: Reason::Failed, text: Some(text), source: Some(source) }
    }

    /// The old value is not what the client saw.
    pub(crate) fn old_value(name: &[u8], is: Option<&ObjectId>, expected: &ObjectId) -> Self {
        match is {
            Some(_) if expected.is_zero() => Self::lock(Reason::Exists, name, "reference already exists"),
            Some(is) => Self::lock(Reason::IncorrectOldValue, name, format_args!("is at {is} but expected {expected}")),
            None => {
                let why = format!("unable to resolve reference '{}'", lossy(name));
                Self::lock(Reason::DoesNotExist, name, why)
            }
        }
    }

    /// Another ref is in the way.
    pub(crate) fn conflict(name: &[u8], other: &[u8]) -> Self {
        let why = format!("'{}' exists; cannot create '{}'", lossy(other), lossy(name));
        Self::lock(Reason::Conflict, name, why)
    }

    /// The same, with both in one push.
    pub(crate) fn conflict_within(name: &[u8], other: &[u8]) -> Self {
        let why = format!("cannot process '{}' and '{}' at the same time", lossy(other), lossy(name));
        Self::lock(Reason::Conflict, name, why)
    }
}

/// A name as text, for people.
pub(super) fn lossy(name: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(name)
}

impl Reason {
    /// What stands after `ng <ref>` in the report.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::FunnyRefname => "funny refname",
            Self::Conflict => "refname conflict",
            Self::Exists => "reference already exists",
            Self::DoesNotExist => "reference does not exist",
            Self::IncorrectOldValue => "incorrect old value provided",
            Self::InvalidNewValue => "invalid new value provided",
            Self::BrokenSymref => "broken symref",
            Self::InconsistentAlias => "inconsistent aliased update",
            Self::Failed => "failed to update ref",
            Self::AtomicFailed => "atomic transaction failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
