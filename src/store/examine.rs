use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::fsck::{Checks, Findings, Severity, SpecialContent, SpecialFile};
use crate::proto::{ObjectId, ObjectKind};
use crate::push::Progress;
use crate::store::Scan;
use crate::store::index::{Visit, Worker};
use crate::{Error, ErrorKind};

/// Who looks at the objects of a push: a setting of a store.
#[derive(Clone, Default)]
pub(crate) struct Examine {
    pub(crate) checks: Option<Checks>,
    pub(crate) scan: Option<Arc<dyn Scan>>,
}

impl fmt::Debug for Examine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examine").field("checks", &self.checks).field("scan", &self.scan.is_some()).finish()
    }
}

/// The look at the objects of one push.
#[derive(Debug)]
pub(crate) struct Examination {
    examine: Examine,
    progress: Progress,
    special: Mutex<BTreeSet<(SpecialFile, ObjectId)>>,
}

/// How many different files of the names `.gitmodules` and `.gitattributes` a push may bring: they are remembered until
/// all objects were seen, and then read.
const MAX_SPECIAL_FILES: usize = 10_000;

/// The longest blob that a scan is shown: longer ones are never whole in the memory of a store that has a disk.
const MAX_SHOWN: u64 = 8 << 20;

/// The longest of them that is read.
pub(crate) const MAX_SPECIAL_FILE: u64 = 16 << 20;

impl Examination {
    pub(crate) fn new(examine: Examine, progress: Progress) -> Self {
        Self { examine, progress, special: Mutex::default() }
    }

    /// Looks into the special files, now that all objects are known and `read` can read them: each kind of object that
    /// is there under an id, and its content unless it is longer than [`MAX_SPECIAL_FILE`].
    pub(crate) fn finish(
        &self,
        mut read: impl FnMut(&ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error>,
    ) -> Result<(), Error> {
        let Some(checks) = &self.examine.checks else { return Ok(()) };
        let special = std::mem::take(&mut *self.special.lock().unwrap_or_else(PoisonError::into_inner));
        let mut found = Findings::default();
        for (file, id) in &special {
            let object = match read(id) {
                Err(error) if error.kind() == ErrorKind::LimitExceeded => {
                    checks.special_file(*file, id, SpecialContent::TooLarge, &mut found);
                    self.settle(&mut found)?;
                    continue;
                }
                object => object?,
            };
            let content = match &object {
                Some((ObjectKind::Blob, data)) => SpecialContent::Blob(data),
                Some(_) => SpecialContent::NotABlob,
                None => SpecialContent::Missing,
            };
            checks.special_file(*file, id, content, &mut found);
            self.settle(&mut found)?;
        }
        Ok(())
    }

    /// Tells the pusher what was found; the first error refuses the push.
    fn settle(&self, found: &mut Findings) -> Result<(), Error> {
        for finding in found.iter() {
            let word = if finding.severity() == Severity::Error { "error" } else { "warning" };
            self.progress.note(format_args!("{word}: {finding}"));
        }
        let error = found.error().map(|finding| Error::new(ErrorKind::InvalidPack, finding.to_string()));
        found.clear();
        error.map_or(Ok(()), Err)
    }
}

impl Visit for Examination {
    type Worker<'a> = Examiner<'a>;

    fn worker(&self) -> Examiner<'_> {
        Examiner { examination: self, found: Findings::default() }
    }
}

/// One thread's share of an [`Examination`].
#[derive(Debug)]
pub(crate) struct Examiner<'a> {
    examination: &'a Examination,
    found: Findings,
}

impl Worker for Examiner<'_> {
    fn max_blob(&self) -> Option<u64> {
        self.examination.examine.scan.as_ref().map(|scan| scan.max_blob().min(MAX_SHOWN))
    }

    fn object(&mut self, kind: ObjectKind, id: &ObjectId, data: &[u8]) -> Result<(), Error> {
        let Examine { checks, scan } = &self.examination.examine;
        if let Some(checks) = checks {
            checks.object(kind, id, data, &mut self.found);
            self.examination.settle(&mut self.found)?;
            if self.found.special_files().len() > MAX_SPECIAL_FILES {
                return Err(too_many());
            }
        }
        scan.as_ref().map_or(Ok(()), |scan| scan.object(kind, id, data))
    }

    fn finish(self) -> Result<(), Error> {
        let mut special = self.examination.special.lock().unwrap_or_else(PoisonError::into_inner);
        special.extend(self.found.special_files());
        if special.len() > MAX_SPECIAL_FILES { Err(too_many()) } else { Ok(()) }
    }
}

fn too_many() -> Error {
    let text = format!("more than {MAX_SPECIAL_FILES} different .gitmodules and .gitattributes");
    Error::new(ErrorKind::LimitExceeded, text)
}
