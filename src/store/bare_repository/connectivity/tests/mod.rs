//! Connectivity against real git: what a push brought is a set of objects, in any combination.

mod pushes;
mod random;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::*;
use crate::Error;
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};
use crate::store::bare_repository::fs::Fs;
use crate::store::bare_repository::quarantine_directory::QuarantineDirectory;
use crate::store::bare_repository::testing::{Sandbox, command, format, git, oid};
use crate::store::bare_repository::{Odb, Repository};
use crate::store::complete::{Missing, Objects, PackIds};
use crate::store::index::{Visit, Worker};
use crate::store::links::Links;

/// Some of the objects of the work tree's repository, as if a push had brought them.
struct Brought<'a> {
    odb: &'a Odb,
    kinds: HashMap<ObjectId, ObjectKind>,
}

impl PackIds for Brought<'_> {
    fn kind_of(&self, id: &ObjectId) -> Option<ObjectKind> {
        self.kinds.get(id).copied()
    }
}

impl Objects for Brought<'_> {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        Ok(self.kind_of(id))
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        if self.kinds.contains_key(id) { self.odb.object(id) } else { Ok(None) }
    }
}

/// Remembers what was read.
struct Counting<'a> {
    odb: &'a Odb,
    read: Mutex<BTreeSet<ObjectId>>,
}

impl Objects for Counting<'_> {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        self.odb.kind(id)
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.read.lock().unwrap().insert(*id);
        self.odb.object(id)
    }
}

/// A repository that is pushed to, and one to push from.
struct World {
    sandbox: Sandbox,
    work: Odb,
    bare: Odb,
    format: ObjectFormat,
}

/// The ids among the words of git's output.
fn ids(text: &str) -> Vec<ObjectId> {
    text.lines().map(|line| oid(line.split(' ').next().unwrap())).collect()
}

impl World {
    fn new(format: &str) -> Self {
        let sandbox = Sandbox::new(format);
        git(&sandbox.work(), &["config", "gc.auto", "0"]);
        // Pushes are unpacked to loose objects, so that single ones can be taken away.
        sandbox.in_bare(&["config", "receive.unpackLimit", "100000"]);
        let open = |path: PathBuf| Repository::open(&path).unwrap().odb(1 << 24).unwrap();
        let (work, bare) = (open(sandbox.work()), open(sandbox.bare()));
        let format = ObjectFormat::from_name(format.as_bytes()).unwrap();
        Self { format, sandbox, work, bare }
    }

    fn push(&self, refspec: &str) {
        git(&self.sandbox.work(), &["push", "-q", "--force", "origin", refspec]);
    }

    /// The objects that a push of these revisions would bring.
    fn needed(&self, revisions: &[&str]) -> Vec<ObjectId> {
        ids(&git(&self.sandbox.work(), &[&["rev-list", "--objects"], revisions].concat()))
    }

    fn brought(&self, ids: &[ObjectId]) -> Brought<'_> {
        let kinds = ids.iter().map(|id| (*id, self.work.kind(id).unwrap().unwrap())).collect();
        Brought { odb: &self.work, kinds }
    }

    fn links(&self, brought: &Brought<'_>, max_in_memory: usize) -> Links {
        let aside = Arc::new(QuarantineDirectory::new(&Fs::default(), self.sandbox.dir.path().to_path_buf()));
        let links = Links::with_limit(self.format, aside, max_in_memory);
        let mut workers = [links.worker(), links.worker()];
        for (number, (id, kind)) in brought.kinds.iter().enumerate() {
            if *kind != ObjectKind::Blob {
                let (_, data) = self.work.object(id).unwrap().unwrap();
                workers[number % 2].object(*kind, id, &data).unwrap();
            }
        }
        workers.into_iter().for_each(|worker| worker.finish().unwrap());
        links
    }

    fn trusted(&self) -> Vec<ObjectId> {
        Repository::open(&self.sandbox.bare())
            .unwrap()
            .refs()
            .list(b"refs/")
            .unwrap()
            .into_iter()
            .map(|r| r.id)
            .collect()
    }

    fn run(&self, brought: &[ObjectId], news: &[ObjectId]) -> Vec<Result<(), Missing>> {
        let trusted = self.trusted();
        let results = self.run_on(&self.bare, brought, news, &trusted);
        // Neither how much is in memory nor the size of a batch changes the answer.
        let brought = self.brought(brought);
        let repository = &self.bare;
        let check = Check { pack: &brought, brought: &brought, repository, trusted: &trusted, olds: &trusted };
        assert_eq!(check.run_in_batches(Some(&self.links(&brought, 8)), news, 3).unwrap(), results);
        results
    }

    fn run_on(
        &self,
        repository: &dyn Objects,
        brought: &[ObjectId],
        news: &[ObjectId],
        trusted: &[ObjectId],
    ) -> Vec<Result<(), Missing>> {
        let brought = self.brought(brought);
        let check = Check { pack: &brought, brought: &brought, repository, trusted, olds: trusted };
        check.run(Some(&self.links(&brought, 1 << 16)), news).unwrap()
    }

    /// Whether all values are complete; and whether git says the same.
    fn complete(&self, brought: &[ObjectId], new: &ObjectId) -> bool {
        let ours = self.run(brought, &[*new]).remove(0);
        assert_eq!(ours.is_ok(), self.git_complete(brought, new), "{ours:?}");
        ours.is_ok()
    }

    /// What git's own check says, with the objects in a quarantine as git makes it.
    fn git_complete(&self, brought: &[ObjectId], new: &ObjectId) -> bool {
        let quarantine = self.sandbox.dir.path().join("quarantine");
        let _ = std::fs::remove_dir_all(&quarantine);
        for id in brought {
            let to = loose(&quarantine, id);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(loose(&self.sandbox.work().join(".git/objects"), id), to).unwrap();
        }
        std::fs::create_dir_all(&quarantine).unwrap();
        command(&self.sandbox.bare())
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &quarantine)
            .args(["rev-list", "--objects", "--quiet", &new.to_string(), "--not", "--all"])
            .output()
            .unwrap()
            .status
            .success()
    }

    /// Writes an object into the work tree's repository as it is.
    fn hash_object(&self, kind: &str, data: &[u8]) -> ObjectId {
        let path = self.sandbox.dir.path().join("object");
        std::fs::write(&path, data).unwrap();
        let args = ["hash-object", "-t", kind, "--literally", "-w", path.to_str().unwrap()];
        oid(&git(&self.sandbox.work(), &args))
    }

    /// Puts an object of the work tree's repository into the other one; no ref reaches it there.
    fn drop_into_bare(&self, id: &ObjectId) {
        let to = loose(&self.sandbox.bare().join("objects"), id);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let _ = std::fs::copy(loose(&self.sandbox.work().join(".git/objects"), id), to);
    }
}

fn loose(objects: &std::path::Path, id: &ObjectId) -> PathBuf {
    let hex = id.to_string();
    objects.join(&hex[..2]).join(&hex[2..])
}

fn formats() -> &'static [&'static str] {
    if cfg!(feature = "sha256") { &["sha1", "sha256"] } else { &["sha1"] }
}

fn without(ids: &[ObjectId], id: &ObjectId) -> Vec<ObjectId> {
    ids.iter().copied().filter(|other| other != id).collect()
}
