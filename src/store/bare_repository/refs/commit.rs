use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::lock::{self, Lock};
use super::loose::Touched;
use super::packed::Changes;
use super::prepare::{Locked, Prepared, check_room};
use super::reflog;
use super::refusal::lossy;
use super::transaction::Outcomes;
use super::{Reason, Reflog, Refs, Refusal};
use crate::Error;
use crate::store::bare_repository::fs::File;

impl Refs {
    /// Renames the prepared values into place, each by itself.
    pub(super) fn commit_updates(
        &self,
        prepared: Vec<Prepared>,
        reflog: &Reflog,
        touched: &mut Touched,
        outcomes: &mut Outcomes,
    ) {
        let mut moved = Vec::with_capacity(prepared.len());
        for Prepared { plan, locked: Locked { lock, moves, .. } } in prepared {
            if !moves {
                moved.push(plan);
                continue;
            }
            touched.above(&self.git_dir, &plan.name);
            if let Err(error) = self.log(reflog, &plan.name, &plan.through, &plan.old, &plan.new) {
                outcomes.refuse(&plan, log_failed(&plan.name, error));
                continue;
            }
            match lock.commit() {
                Ok(()) => moved.push(plan),
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    // Somebody began a ref below this one after we looked.
                    let refusal = check_room(self, &plan.name).err();
                    let why = "there is a non-empty directory in its place";
                    outcomes.refuse(&plan, refusal.unwrap_or_else(|| Refusal::lock(Reason::Conflict, &plan.name, why)));
                }
                Err(error) => outcomes.refuse(&plan, Refusal::io(&plan.name, error)),
            }
        }
        let synced = touched.sync(&self.fs).map_err(|error| Error::store("a directory cannot be synced", error));
        for plan in moved {
            match &synced {
                Ok(()) => outcomes.done(&plan),
                // It has moved, but a crash might take it back: that is no success.
                Err(error) => outcomes.refuse(&plan, Refusal::io(&plan.name, error.clone())),
            }
        }
    }

    /// Takes refs out of `packed-refs` by one rewrite, then removes their files.
    ///
    /// A crash in between leaves the files, and with them the old values. If the rewrite is done and only cannot be made
    /// durable, the files stay as well, but refs that had none are gone, though they are reported to have failed.
    ///
    /// The lock of `packed-refs` is held until the files are gone: `git pack-refs` would otherwise bring back what it read
    /// before.
    pub(super) fn commit_deletions(
        &self,
        prepared: Vec<Prepared>,
        reflog: &Reflog,
        touched: &mut Touched,
        outcomes: &mut Outcomes,
    ) {
        let mut gone = Vec::with_capacity(prepared.len());
        for Prepared { plan, locked } in prepared {
            if !locked.moves {
                outcomes.done(&plan);
                continue;
            }
            match self.log(reflog, &plan.name, &plan.through, &plan.old, &plan.new) {
                Ok(()) => gone.push(Prepared { plan, locked }),
                Err(error) => outcomes.refuse(&plan, Refusal::io(&plan.name, error)),
            }
        }
        if gone.is_empty() {
            return;
        }
        let taken_out = self.lock_packed().and_then(|lock| {
            let packed = self.packed()?;
            let names = gone.iter().map(|prepared| &prepared.plan.name).filter(|name| packed.get(name).is_some());
            let changes: Changes = names.map(|name| (name.clone(), None)).collect();
            if !changes.is_empty() {
                self.write_packed(&lock, &packed.rewrite(&changes))?;
                touched.parent_of(lock.path());
            }
            Ok(lock)
        });
        let packed_lock = match taken_out {
            Ok(lock) => lock,
            Err(error) => {
                for Prepared { plan, .. } in gone {
                    outcomes.refuse(&plan, packed_failed(self, &plan.name, &error));
                }
                return;
            }
        };
        let mut deleted = Vec::with_capacity(gone.len());
        for Prepared { plan, locked: Locked { lock, is_loose, .. } } in gone {
            let path = self.path(&plan.name);
            let removed = if is_loose { self.fs.remove(&path) } else { Ok(()) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    outcomes.refuse(&plan, Refusal::io(&plan.name, error));
                }
                _ => {
                    touched.above(&self.git_dir, &plan.name);
                    reflog::remove(&self.fs, &self.git_dir, &plan.name);
                    // It removes directories that are empty as well.
                    drop(lock);
                    deleted.push(plan);
                }
            }
        }
        drop(packed_lock);
        // When no lock is left in the directories: after a crash it would be there again, and nobody's.
        let synced = touched.sync(&self.fs).map_err(|error| Error::store("a directory cannot be synced", error));
        for plan in deleted {
            match &synced {
                Ok(()) => outcomes.done(&plan),
                Err(error) => outcomes.refuse(&plan, Refusal::io(&plan.name, error.clone())),
            }
        }
    }

    /// Takes the lock of `packed-refs`.
    pub(super) fn lock_packed(&self) -> Result<PackedLock, Error> {
        let place = self.packed_place();
        let locked = place.and_then(|place| Lock::of_file(&self.fs, place, self.options.packed_timeout));
        match locked {
            Ok((lock, file)) => Ok(PackedLock { lock, _file: file }),
            Err(error) => Err(Error::store("packed-refs cannot be locked", error)),
        }
    }

    /// Replaces `packed-refs`. All that reads it reads the new text once this is done, and also after an error of the last
    /// step: then a crash may bring back the old one.
    ///
    /// Git reads the file once and then takes it for unchanged while its size, its inode and the *second* of its last
    /// modification are the same. Of a file that is replaced twice in a second all three may well be (an inode is free
    /// again at once), and then a git that moves a ref compares its old value with one that is long gone: an update is
    /// lost. So no file of ours is modified in the second in which the one before it was.
    pub(super) fn write_packed(&self, lock: &PackedLock, text: &[u8]) -> Result<(), Error> {
        let path = lock::beside(lock.path(), ".new");
        let written = (|| {
            let mut file = match self.fs.create_new(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // Its owner held the lock that we hold now, and did not live to remove it.
                    self.fs.remove(&path)?;
                    self.fs.create_new(&path)?
                }
                other => other?,
            };
            file.write_all(text)?;
            file.set_modified(self.next_second(lock.path())?)?;
            file.sync()?;
            self.fs.rename(&path, lock.path())
        })();
        if let Err(error) = written {
            // Removing may fail as well; the next holder of the lock then does it.
            let _ = self.fs.remove(&path);
            return Err(Error::store("packed-refs cannot be written", error));
        }
        let dir = lock.path().parent().unwrap_or(&self.git_dir);
        self.fs.sync_dir(dir).map_err(|error| Error::store("packed-refs cannot be made durable", error))
    }

    /// Now, or a second after the file was modified last: whichever is later.
    fn next_second(&self, path: &Path) -> io::Result<SystemTime> {
        let now = SystemTime::now();
        let last = match self.fs.metadata(path) {
            Ok(metadata) => metadata.modified()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(now),
            Err(error) => return Err(error),
        };
        Ok(last.checked_add(Duration::from_secs(1)).map_or(now, |next| next.max(now)))
    }

    /// Writes the logs of a move: of the ref, unless it is deleted and its log with it, of the symbolic refs it was reached
    /// through, and of `HEAD` if it leads there.
    pub(super) fn log(
        &self,
        reflog: &Reflog,
        name: &[u8],
        through: &[Vec<u8>],
        old: &crate::proto::ObjectId,
        new: &crate::proto::ObjectId,
    ) -> io::Result<()> {
        let head = self.head().ok().flatten().is_some_and(|head| head == name || through.contains(&head));
        let names = through.iter().map(Vec::as_slice).chain((!new.is_zero()).then_some(name));
        let names = names.chain(head.then_some(b"HEAD".as_slice()));
        for name in names {
            reflog.append(&self.fs, &self.git_dir, self.options.logging, name, old, new)?;
        }
        Ok(())
    }
}

/// Why a ref could not move whose log could not be written.
fn log_failed(name: &[u8], error: io::Error) -> Refusal {
    let are_below = error.kind() == io::ErrorKind::DirectoryNotEmpty;
    let mut refusal = Refusal::io(name, error);
    if are_below {
        let name = lossy(name);
        refusal.text = Some(format!("cannot update the ref '{name}': there are still logs under 'logs/{name}'"));
    }
    refusal
}

/// The held lock of `packed-refs`.
#[derive(Debug)]
pub(super) struct PackedLock {
    lock: Lock,
    _file: File,
}

impl PackedLock {
    /// Where `packed-refs` is: beside the lock, which need not be the git directory.
    pub(super) fn path(&self) -> &Path {
        self.lock.target()
    }
}

/// Why a ref could not move that needs `packed-refs` to change.
pub(super) fn packed_failed(refs: &Refs, name: &[u8], error: &Error) -> Refusal {
    let held = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| source.kind() == io::ErrorKind::AlreadyExists);
    let mut refusal = Refusal::io(name, error.clone());
    if held {
        let path = refs.packed_place().unwrap_or_else(|_| refs.packed_path());
        let why = lock::held(&refs.fs, &path, b"packed-refs");
        refusal.text = Refusal::lock(Reason::Failed, name, why).text;
    }
    refusal
}
