use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use crate::fsck::{Checks, Message, Severity};
use crate::proto::ObjectId;

/// A rule that an object breaks. `Display` prints it as git does: `object <id>: <message>: <text>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    object: ObjectId,
    message: Message,
    severity: Severity,
    text: Cow<'static, str>,
}

impl Finding {
    /// The object.
    pub fn object(&self) -> &ObjectId {
        &self.object
    }

    /// The rule.
    pub fn message(&self) -> Message {
        self.message
    }

    /// How severe it is: an error or a warning.
    pub fn severity(&self) -> Severity {
        self.severity
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object {}: {}: {}", self.object, self.message.id(), self.text)
    }
}

/// A file whose content has rules of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpecialFile {
    /// `.gitmodules`
    Modules,
    /// `.gitattributes`
    Attributes,
}

/// What was found in some objects.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub(super) list: Vec<Finding>,
    pub(super) special: BTreeSet<(SpecialFile, ObjectId)>,
}

impl Findings {
    /// What was found, in the order in which it was. An object that breaks a rule many times is told of once, at the
    /// first of them; what it says itself is shown up to 4 KiB.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.list.iter()
    }

    /// The first error.
    pub fn error(&self) -> Option<&Finding> {
        self.list.iter().find(|finding| finding.severity == Severity::Error)
    }

    /// The blobs that trees name `.gitmodules` or `.gitattributes`, each once.
    pub fn special_files(&self) -> impl ExactSizeIterator<Item = (SpecialFile, ObjectId)> + '_ {
        self.special.iter().copied()
    }

    /// Forgets what was found, but not the special files.
    pub fn clear(&mut self) {
        self.list.clear();
    }
}

/// More of what a client wrote is not shown. git's line of an error ends there as well.
const MAX_QUOTED: usize = 4 << 10;

/// What a client wrote, as part of a text of one line.
pub(super) fn quoted(text: &[u8]) -> String {
    let text = text.get(..MAX_QUOTED).unwrap_or(text);
    let is_control = |char: char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
    String::from_utf8_lossy(text).chars().map(is_control).collect()
}

/// An error was found, so the rest of the object is not looked at.
pub(super) struct Stop;

/// Writes down what is found in one object.
pub(super) struct Reporter<'a> {
    pub(super) checks: &'a Checks,
    pub(super) object: &'a ObjectId,
    pub(super) list: &'a mut Vec<Finding>,
}

impl Reporter<'_> {
    /// Writes it down, unless it is to be ignored or stands there already.
    pub(super) fn note(&mut self, message: Message, text: impl Into<Cow<'static, str>>) {
        let _ = self.report(message, text);
    }

    /// Writes it down, and stops at an error.
    pub(super) fn report(&mut self, message: Message, text: impl Into<Cow<'static, str>>) -> Result<(), Stop> {
        let severity = self.checks.severity(message);
        if severity == Severity::Ignore || self.checks.is_skipped(self.object) {
            return Ok(());
        }
        if !self.has(message) {
            self.list.push(Finding { object: *self.object, message, severity, text: text.into() });
        }
        if severity == Severity::Error { Err(Stop) } else { Ok(()) }
    }

    /// Whether the object is known to break this rule. Looks at no more findings than there are rules.
    fn has(&self, message: Message) -> bool {
        let mut known = self.list.iter().rev().take_while(|finding| finding.object == *self.object);
        known.any(|finding| finding.message == message)
    }
}
