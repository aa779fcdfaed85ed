//! The refs against real git.

mod crash;
mod places;
mod race;
mod reading;
mod tags;
mod updates;

use super::{Mode, Reason, Reflog, Refs, Refusal, Update};
use crate::Error;
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};
use crate::store::bare_repository::testing::{Sandbox, format, git, oid};
use crate::store::bare_repository::{Odb, Repository};
use crate::store::complete::Objects;

/// A bare repository with commits in it, its refs and objects opened by us.
struct World {
    sandbox: Sandbox,
    refs: Refs,
    odb: Odb,
    /// A few commits, each the parent of the next.
    commits: Vec<ObjectId>,
}

impl World {
    fn new(format: &str) -> Self {
        let sandbox = Sandbox::new(format);
        let commits: Vec<_> = (0..4).map(|number| sandbox.commit("file", &number.to_string())).collect();
        git(&sandbox.work(), &["tag", "-a", "-m", "t", "v1"]);
        git(&sandbox.work(), &["push", "-q", "origin", "HEAD:refs/seed/main", "v1:refs/seed/v1"]);
        let repository = Repository::open(&sandbox.bare()).unwrap();
        let odb = repository.odb(1 << 20).unwrap();
        Self { refs: repository.refs(), sandbox, odb, commits }
    }

    fn zero(&self) -> ObjectId {
        ObjectId::zero(self.refs.format)
    }

    fn update(&self, name: &str, old: ObjectId, new: ObjectId) -> Update {
        Update { name: name.as_bytes().to_vec(), old, new }
    }

    fn run(&self, mode: Mode, updates: &[Update]) -> Vec<Result<(), Refusal>> {
        self.refs.transaction(updates, mode, &self.odb, &reflog())
    }

    /// Runs one update; gives the reason and the text if it was refused.
    fn one(&self, name: &str, old: ObjectId, new: ObjectId) -> Result<(), (Reason, String)> {
        let mut results = self.run(Mode::Each, &[self.update(name, old, new)]);
        assert_eq!(results.len(), 1);
        results.remove(0).map_err(|refusal| (refusal.reason, refusal.text.unwrap_or_default()))
    }

    /// What git says a ref holds; `None` if it says there is none.
    fn git_value(&self, name: &str) -> Option<ObjectId> {
        let output = crate::store::bare_repository::testing::try_git(
            &self.sandbox.bare(),
            &["rev-parse", "-q", "--verify", "--end-of-options", name],
        );
        output.status.success().then(|| {
            let text = String::from_utf8(output.stdout).unwrap();
            ObjectId::from_hex(self.refs.format, text.trim().as_bytes()).unwrap()
        })
    }

    /// No lock and no temporary file is left, and git finds nothing wrong.
    #[track_caller]
    fn assert_clean(&self) {
        let mut dirs = vec![self.sandbox.bare()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                assert!(!name.ends_with(".lock") && !name.ends_with(".new"), "{} is left", entry.path().display());
                if entry.file_type().unwrap().is_dir() {
                    dirs.push(entry.path());
                }
            }
        }
        self.sandbox.in_bare(&["fsck", "--strict"]);
    }
}

fn reflog() -> Reflog {
    Reflog { committer: "P <p@example.com> 1700000000 +0000".to_owned(), message: "push".to_owned() }
}

fn formats() -> &'static [&'static str] {
    if cfg!(feature = "sha256") { &["sha1", "sha256"] } else { &["sha1"] }
}

/// Takes every id for a commit.
struct AllCommits;

impl Objects for AllCommits {
    fn kind(&self, _: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        Ok(Some(ObjectKind::Commit))
    }

    fn object(&self, _: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        Ok(None)
    }
}

/// An id that no object has.
fn made_up(byte: u8) -> ObjectId {
    oid(&format!("{byte:02x}").repeat(ObjectFormat::from_name(format().as_bytes()).unwrap().len()))
}
