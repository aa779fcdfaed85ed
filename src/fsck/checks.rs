use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::finding::Reporter;
use super::{header, modules, tree};
use crate::fsck::{Findings, Message, Severity, SpecialFile};
use crate::proto::{ObjectId, ObjectKind};

/// Which rules objects must keep, and how severe each is. Cheap to clone.
///
/// ```
/// use receive_pack::fsck::{Checks, Message, Severity};
///
/// // Old histories have zero-padded modes; let them in.
/// let checks = Checks::new().set(Message::ZeroPaddedFilemode, Severity::Ignore);
/// assert_eq!(checks.severity(Message::ZeroPaddedFilemode), Severity::Ignore);
/// assert_eq!(checks.severity(Message::HasDotgit), Severity::Error);
/// ```
#[derive(Clone, Debug)]
pub struct Checks {
    strict: bool,
    severities: Arc<HashMap<Message, Severity>>,
    skipped: Arc<HashSet<ObjectId>>,
}

impl Default for Checks {
    fn default() -> Self {
        Self::new()
    }
}

impl Checks {
    /// Git's rules for pushes: what `git fsck` only warns of is an error.
    pub fn new() -> Self {
        Self { strict: true, severities: Arc::default(), skipped: Arc::default() }
    }

    /// Git's rules for repositories: a warning is a warning.
    pub fn lenient() -> Self {
        Self { strict: false, ..Self::new() }
    }

    /// Sets how severe a rule is, as `receive.fsck.<message>` does. A [fatal](Message::is_fatal) one stays an error.
    #[must_use]
    pub fn set(mut self, message: Message, severity: Severity) -> Self {
        if !message.is_fatal() {
            Arc::make_mut(&mut self.severities).insert(message, severity);
        }
        self
    }

    /// Objects whose faults are known and do not matter, as `receive.fsck.skipList` has them.
    #[must_use]
    pub fn skip(mut self, objects: impl IntoIterator<Item = ObjectId>) -> Self {
        Arc::make_mut(&mut self.skipped).extend(objects);
        self
    }

    /// How severe a rule is.
    pub fn severity(&self, message: Message) -> Severity {
        self.severities.get(&message).copied().unwrap_or_else(|| message.severity(self.strict))
    }

    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    pub(super) fn is_skipped(&self, id: &ObjectId) -> bool {
        self.skipped.contains(id)
    }

    /// Looks at a commit, a tree or a tag; of a blob alone there is nothing to say.
    ///
    /// The object of this id must really have this content: nothing is hashed here.
    pub fn object(&self, kind: ObjectKind, id: &ObjectId, data: &[u8], found: &mut Findings) {
        let Findings { list, special } = found;
        let mut report = Reporter { checks: self, object: id, list };
        // Where it stopped does not matter: the error stands in the list.
        let _ = match kind {
            ObjectKind::Commit => header::commit(data, &mut report),
            ObjectKind::Tag => header::tag(data, &mut report),
            ObjectKind::Tree => {
                tree::check(data, special, &mut report);
                Ok(())
            }
            ObjectKind::Blob => Ok(()),
        };
    }

    /// Looks into a `.gitmodules` or a `.gitattributes`.
    pub fn special_file(&self, file: SpecialFile, id: &ObjectId, content: SpecialContent<'_>, found: &mut Findings) {
        let mut report = Reporter { checks: self, object: id, list: &mut found.list };
        let (message, text) = match (file, content) {
            (SpecialFile::Modules, SpecialContent::Blob(data)) => return modules::check(data, &mut report),
            (SpecialFile::Attributes, SpecialContent::Blob(data)) => return attributes(data, &mut report),
            (SpecialFile::Modules, SpecialContent::TooLarge) => {
                (Message::GitmodulesLarge, ".gitmodules too large to parse")
            }
            (SpecialFile::Attributes, SpecialContent::TooLarge) => {
                (Message::GitattributesLarge, ".gitattributes too large to parse")
            }
            (SpecialFile::Modules, SpecialContent::NotABlob) => {
                (Message::GitmodulesBlob, "non-blob found at .gitmodules")
            }
            (SpecialFile::Attributes, SpecialContent::NotABlob) => {
                (Message::GitattributesBlob, "non-blob found at .gitattributes")
            }
            (SpecialFile::Modules, SpecialContent::Missing) => {
                (Message::GitmodulesMissing, "unable to read .gitmodules blob")
            }
            (SpecialFile::Attributes, SpecialContent::Missing) => {
                (Message::GitattributesMissing, "unable to read .gitattributes blob")
            }
        };
        report.note(message, text);
    }
}

/// What there is under the id of a special file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialContent<'a> {
    /// Its content.
    Blob(&'a [u8]),
    /// A blob that is not worth the memory.
    TooLarge,
    /// An object of another kind.
    NotABlob,
    /// Nothing.
    Missing,
}

/// A line as long as this is one that git does not read.
const MAX_ATTRIBUTES_LINE: usize = 2048;

fn attributes(data: &[u8], report: &mut Reporter<'_>) {
    // git stops at a NUL.
    let text = data.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.split(|byte| *byte == b'\n').any(|line| line.len() >= MAX_ATTRIBUTES_LINE) {
        report.note(Message::GitattributesLineLength, ".gitattributes has too long lines to parse");
    }
}
