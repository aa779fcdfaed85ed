use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gix_object::Find as _;
use gix_odb::Header as _;

use super::inventory::Inventory;
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};
use crate::store::complete::{Objects, built_in};
use crate::store::index::{Bases, Budget, LINK};
use crate::{Error, ErrorKind};

/// The objects that a repository has: loose, packed, and those of its alternates.
///
/// What is read is the state of the moment: an object that is not found makes the packs be listed anew, so packs that
/// another push brought in, or that `git gc` wrote, are seen; packs that `git gc` removed stay readable while they are
/// open. Threads share one value.
pub(crate) struct Odb {
    path: PathBuf,
    format: ObjectFormat,
    max_object: u64,
    memory: usize,
    // A handle belongs to one thread at a time; making one costs a copy of the list of packs.
    handles: Mutex<Handles>,
}

#[derive(Default)]
struct Handles {
    // Opened when something is asked, which takes a look at each pack: a push may end before.
    store: Option<(Arc<gix_odb::Store>, Instant)>,
    idle: Vec<gix_odb::HandleArc>,
    // Handles of an earlier store are not put back.
    generation: u64,
    // When a store was opened because something was not found.
    looked_again: Option<Instant>,
}

/// How much memory an object may take while it is read: twice as much as the longest that it is made from, and all deltas.
/// Git makes no deltas of what is longer than 512 MiB (`core.bigFileThreshold`).
const MEMORY: usize = (1 << 30) + (256 << 20);

/// How often a store is opened anew, at most, because something is not found: who asks for thousands of objects that are
/// nowhere must not have it done each time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Handles {
    fn forget(&mut self) {
        self.store = None;
        self.idle.clear();
        self.generation = self.generation.wrapping_add(1);
    }
}

impl Odb {
    /// Opens an `objects` directory. Objects larger than `max_object` bytes are not read, only their kind is.
    pub(crate) fn open(path: PathBuf, format: ObjectFormat, max_object: u64) -> Result<Self, Error> {
        if !path.is_dir() {
            return Err(Error::new(ErrorKind::Store, "there is no object directory"));
        }
        Ok(Self { path, format, max_object, memory: MEMORY, handles: Mutex::default() })
    }

    /// Forgets what it knows of the directory, if it is older than this. To be called when a push begins to rely on what
    /// is there.
    ///
    /// Packs that `git gc` removed stay readable while they are open, and with them objects that nobody else has any
    /// more. A git process lives for one push; a server that does not do this would, hours later, let a ref point at
    /// an object that was pruned long ago.
    pub(crate) fn renew(&self, older_than: Duration) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if handles.store.as_ref().is_some_and(|(_, opened)| opened.elapsed() >= older_than) {
            handles.forget();
        }
    }

    /// The object with this id, if it is not longer than `max_len` bytes.
    pub(super) fn read(&self, id: &ObjectId, max_len: u64) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.read_within(id, max_len, None)
    }

    /// The same; what it takes goes out of a budget. How long the object is and of how many deltas it is made is known
    /// before it is read, how long those between are only after it.
    fn read_within(
        &self,
        id: &ObjectId,
        max_len: u64,
        budget: Option<&Budget>,
    ) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        let spend = |bytes| budget.map_or(Ok(()), |budget| budget.spend(bytes));
        if let Some(kind) = built_in(id) {
            return Ok(Some((kind, Vec::new())));
        }
        let max_len = max_len.min(self.max_object);
        self.find(id, |handle, raw| {
            let Some(header) = handle.try_header(raw).map_err(|error| unreadable(id, error))? else {
                return Ok(None);
            };
            if header.size() > max_len {
                let text = format!("object {id} of the repository is larger than {max_len} bytes");
                return Err(Error::new(ErrorKind::LimitExceeded, text));
            }
            let deltas = u64::from(header.num_deltas().unwrap_or(0));
            let made = deltas.saturating_add(1);
            spend(header.size().saturating_mul(made).saturating_add(LINK.saturating_mul(deltas)))?;
            let mut data = Vec::new();
            let kind = match handle.try_find(raw, &mut data) {
                Ok(Some(found)) => kind(found.kind),
                Ok(None) => return Ok(None),
                Err(error) if error.is_resource_exhausted() => {
                    let text = format!("object {id} of the repository takes too much memory to be read");
                    return Err(Error::new(ErrorKind::LimitExceeded, text).with_source(error));
                }
                Err(error) => return Err(unreadable(id, error)),
            };
            // Two of them stood there at once, the longest among them.
            let longest = data.capacity() as u64 / 2;
            data.shrink_to_fit();
            spend(longest.saturating_sub(header.size()).saturating_mul(made))?;
            Ok(Some((kind, data)))
        })
    }

    /// Whether the object is there, as far as is known: packs that came since are not looked for, so that the answer no
    /// costs little.
    pub(super) fn has(&self, id: &ObjectId) -> Result<bool, Error> {
        self.ask(id, |handle, raw| Ok(handle.exists_without_refresh(raw))).map(|(has, _)| has)
    }

    /// Which objects are there at this moment.
    pub(super) fn inventory(&self) -> Inventory {
        Inventory::open(&self.path, hash(self.format))
    }

    /// What the object is, how long it is, and of how many deltas it is made; `None` if it is not there.
    pub(super) fn header(&self, id: &ObjectId) -> Result<Option<(ObjectKind, u64, u32)>, Error> {
        self.find(id, |handle, raw| {
            let header = handle.try_header(raw).map_err(|error| unreadable(id, error))?;
            Ok(header.map(|header| (kind(header.kind()), header.size(), header.num_deltas().unwrap_or(0))))
        })
    }

    /// Asks for an object, and once more before it counts as not there.
    ///
    /// An index that could not be loaded, for want of a file descriptor above all, is missing in a store for ever. And an
    /// object whose file `git prune-packed` removes while it is asked for is in a pack that was not looked into.
    fn find<T>(
        &self,
        id: &ObjectId,
        ask: impl Fn(&gix_odb::HandleArc, &gix_hash::oid) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let (found, generation) = self.ask(id, &ask)?;
        if found.is_some() || !self.is_worth_another_look(generation) {
            return Ok(found);
        }
        self.ask(id, &ask).map(|(found, _)| found)
    }

    /// Whether there is another store than the one that did not find something, or it is time to open one.
    fn is_worth_another_look(&self, generation: u64) -> bool {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if handles.generation != generation {
            return true;
        }
        if handles.looked_again.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN) {
            return false;
        }
        handles.looked_again = Some(Instant::now());
        handles.forget();
        true
    }

    /// The answer, and the generation of the store that gave it.
    fn ask<T>(
        &self,
        id: &ObjectId,
        ask: impl Fn(&gix_odb::HandleArc, &gix_hash::oid) -> Result<T, Error>,
    ) -> Result<(T, u64), Error> {
        let raw = gix_hash::oid::try_from_bytes(id.as_bytes())
            .map_err(|error| Error::store("an id of the wrong length", error))?;
        let (handle, generation) = self.take(None)?;
        let answer = ask(&handle, raw);
        if !answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Store) {
            self.put_back(handle, generation);
            return answer.map(|answer| (answer, generation));
        }
        // The store has room for a number of packs that it fixed when it was opened, and packs may vanish under it:
        // open it once more before an error counts. An error about the object itself comes again.
        let (handle, generation) = self.take(Some(generation))?;
        let answer = ask(&handle, raw)?;
        self.put_back(handle, generation);
        Ok((answer, generation))
    }

    fn take(&self, broken: Option<u64>) -> Result<(gix_odb::HandleArc, u64), Error> {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if broken == Some(handles.generation) {
            handles.forget();
        }
        if let Some(handle) = handles.idle.pop() {
            return Ok((handle, handles.generation));
        }
        let store = match &handles.store {
            Some((store, _)) => Arc::clone(store),
            None => {
                let opened = Instant::now();
                let store = open_store(&self.path, self.format, self.memory)?;
                handles.store = Some((Arc::clone(&store), opened));
                store
            }
        };
        Ok((store.to_cache_arc(), handles.generation))
    }

    fn put_back(&self, handle: gix_odb::HandleArc, generation: u64) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if handles.generation == generation {
            handles.idle.push(handle);
        }
    }
}

fn open_store(path: &std::path::Path, format: ObjectFormat, memory: usize) -> Result<Arc<gix_odb::Store>, Error> {
    // The path is absolute, so it does not matter where the process works: that directory may be gone.
    let options = gix_odb::store::init::Options {
        current_dir: Some(path.to_path_buf()),
        alloc_limit_bytes: Some(memory),
        ..Default::default()
    };
    // Replacements (refs/replace) are for people who look at history; what a push needs are the objects themselves.
    let store = gix_odb::Store::at_opts(path.to_path_buf(), hash(format), &mut std::iter::empty(), options)
        .map_err(|error| Error::store("the object directory cannot be opened", error))?;
    Ok(Arc::new(store))
}

fn hash(format: ObjectFormat) -> gix_hash::Kind {
    match format {
        ObjectFormat::Sha1 => gix_hash::Kind::Sha1,
        #[cfg(feature = "sha256")]
        ObjectFormat::Sha256 => gix_hash::Kind::Sha256,
    }
}

fn kind(kind: gix_object::Kind) -> ObjectKind {
    match kind {
        gix_object::Kind::Commit => ObjectKind::Commit,
        gix_object::Kind::Tree => ObjectKind::Tree,
        gix_object::Kind::Blob => ObjectKind::Blob,
        gix_object::Kind::Tag => ObjectKind::Tag,
    }
}

fn unreadable(id: &ObjectId, error: impl Into<crate::BoxError>) -> Error {
    Error::store(format!("object {id} of the repository cannot be read"), error)
}

impl Objects for Odb {
    fn kind(&self, id: &ObjectId) -> Result<Option<ObjectKind>, Error> {
        if let Some(kind) = built_in(id) {
            return Ok(Some(kind));
        }
        self.find(id, |handle, raw| {
            let header = handle.try_header(raw).map_err(|error| unreadable(id, error))?;
            Ok(header.map(|header| kind(header.kind())))
        })
    }

    fn object(&self, id: &ObjectId) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.read(id, self.max_object)
    }
}

impl Bases for Odb {
    fn base(&self, id: &ObjectId, max_len: u64, reading: &Budget) -> Result<Option<(ObjectKind, Vec<u8>)>, Error> {
        self.read_within(id, max_len, Some(reading))
    }
}

impl std::fmt::Debug for Odb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Odb").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sandbox, format, git, oid};
    use super::*;

    #[test]
    fn objects_are_found_loose_packed_and_in_alternates() {
        for format in formats() {
            let sandbox = Sandbox::new(format);
            let commit = sandbox.commit("file", "text");
            let blob = sandbox.rev("HEAD:file");
            git(&sandbox.work(), &["push", "-q", "origin", "main"]);
            let odb = Odb::open(sandbox.bare().join("objects"), commit.format(), 1 << 20).unwrap();
            let check = |id: &ObjectId, kind: ObjectKind| assert_eq!(odb.kind(id).unwrap(), Some(kind));
            check(&commit, ObjectKind::Commit);
            assert_eq!(odb.object(&blob).unwrap(), Some((ObjectKind::Blob, b"text".to_vec())));
            sandbox.in_bare(&["repack", "-adq"]);
            check(&commit, ObjectKind::Commit);
            // What comes later is seen without opening anew, as a pack and as a loose object.
            let later = sandbox.commit("file", "later");
            assert_eq!(odb.kind(&later).unwrap(), None);
            git(&sandbox.work(), &["push", "-q", "origin", "main"]);
            check(&later, ObjectKind::Commit);
            let tag = git(&sandbox.work(), &["tag", "-a", "-m", "t", "v1"]);
            assert_eq!(tag, "");
            let tag = oid(&git(&sandbox.work(), &["rev-parse", "v1"]));
            assert_eq!(odb.kind(&tag).unwrap(), None);
            std::fs::write(
                sandbox.bare().join("objects/info/alternates"),
                format!("{}\n", sandbox.work().join(".git/objects").display()),
            )
            .unwrap();
            let odb = Odb::open(sandbox.bare().join("objects"), commit.format(), 1 << 20).unwrap();
            assert_eq!(odb.kind(&tag).unwrap(), Some(ObjectKind::Tag));
        }
    }

    #[test]
    fn more_packs_than_the_store_had_room_for_are_found() {
        let sandbox = Sandbox::new(format());
        sandbox.in_bare(&["config", "receive.unpackLimit", "1"]);
        let first = sandbox.commit("file", "0");
        let odb = Odb::open(sandbox.bare().join("objects"), first.format(), 1 << 20).unwrap();
        assert_eq!(odb.kind(&first).unwrap(), None);
        for number in 1..=40 {
            let commit = sandbox.commit("file", &number.to_string());
            git(&sandbox.work(), &["push", "-q", "origin", "main"]);
            assert_eq!(odb.kind(&commit).unwrap(), Some(ObjectKind::Commit), "pack {number}");
        }
    }

    #[test]
    fn what_was_pruned_is_gone_once_it_is_renewed() {
        let sandbox = Sandbox::new(format());
        sandbox.in_bare(&["config", "receive.unpackLimit", "1"]);
        let commit = sandbox.commit("file", "0");
        git(&sandbox.work(), &["push", "-q", "origin", "main"]);
        let odb = Odb::open(sandbox.bare().join("objects"), commit.format(), 1 << 20).unwrap();
        assert_eq!(odb.kind(&commit).unwrap(), Some(ObjectKind::Commit));
        sandbox.in_bare(&["update-ref", "-d", "refs/heads/main"]);
        sandbox.in_bare(&["gc", "-q", "--prune=now"]);
        sandbox.in_bare(&["prune-packed", "-q"]);
        odb.renew(Duration::from_secs(3600));
        assert_eq!(odb.kind(&commit).unwrap(), Some(ObjectKind::Commit));
        odb.renew(Duration::ZERO);
        assert_eq!(odb.kind(&commit).unwrap(), None);
    }

    /// As when the process has no file descriptors left for a moment.
    #[test]
    fn an_index_that_could_not_be_loaded_is_loaded_before_something_is_missing() {
        let sandbox = Sandbox::new(format());
        sandbox.in_bare(&["config", "receive.unpackLimit", "1"]);
        let commit = sandbox.commit("file", "0");
        git(&sandbox.work(), &["push", "-q", "origin", "main"]);
        let packs = std::fs::read_dir(sandbox.bare().join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
        let index = packs.into_iter().find(|path| path.extension() == Some("idx".as_ref())).unwrap();
        let modified = std::fs::metadata(&index).unwrap().modified().unwrap();
        let broken = || {
            std::fs::rename(&index, index.with_extension("whole"))?;
            std::fs::File::create_new(&index)?.set_modified(modified)
        };
        let mended = || std::fs::rename(index.with_extension("whole"), &index);
        let odb = Odb::open(sandbox.bare().join("objects"), commit.format(), 1 << 20).unwrap();
        broken().unwrap();
        assert!(!odb.has(&commit).unwrap());
        mended().unwrap();
        assert!(!odb.has(&commit).unwrap(), "what was not loaded stays so");
        assert_eq!(odb.read(&commit, 1 << 20).unwrap().unwrap().0, ObjectKind::Commit);
        // But not each time that something is nowhere.
        broken().unwrap();
        odb.renew(Duration::ZERO);
        assert_eq!(odb.kind(&commit).unwrap(), None);
        mended().unwrap();
        assert_eq!(odb.kind(&commit).unwrap(), None);
        odb.handles.lock().unwrap().looked_again = Instant::now().checked_sub(LOOK_AGAIN);
        assert_eq!(odb.kind(&commit).unwrap(), Some(ObjectKind::Commit));
    }

    #[test]
    fn a_large_object_is_not_read() {
        let sandbox = Sandbox::new(format());
        sandbox.commit("file", &"x".repeat(2000));
        let blob = sandbox.rev("HEAD:file");
        let odb = Odb::open(sandbox.work().join(".git/objects"), blob.format(), 1999).unwrap();
        assert_eq!(odb.object(&blob).unwrap_err().kind(), ErrorKind::LimitExceeded);
        assert_eq!(odb.kind(&blob).unwrap(), Some(ObjectKind::Blob));
    }

    /// Git makes the shorter out of the longer.
    #[test]
    fn what_a_short_object_is_made_of_is_paid_for() {
        const LONG: u64 = 3 << 20;
        let sandbox = Sandbox::new(format());
        let noise: String = (0..LONG).map(|i| char::from(b' ' + (i.wrapping_mul(i) % 8191 % 90) as u8)).collect();
        sandbox.commit("file", &noise);
        sandbox.commit("file", &noise[..LONG as usize / 10]);
        let short = sandbox.rev("HEAD:file");
        git(&sandbox.work(), &["repack", "-adqf"]);
        let open = |memory| {
            let odb = Odb::open(sandbox.work().join(".git/objects"), short.format(), 1 << 20).unwrap();
            Odb { memory, ..odb }
        };
        let odb = open(MEMORY);
        assert_eq!(odb.header(&short).unwrap(), Some((ObjectKind::Blob, LONG / 10, 1)));
        // Two are made, the length of one of which shows only when it is.
        for (budget, times) in [(LONG / 10, 0), (3 * LONG, 1), (5 * LONG, 2)] {
            let budget = Budget::of(budget);
            let read = || odb.base(&short, 1 << 20, &budget).map(|base| base.unwrap().1);
            let bases: Vec<_> = (0..times).map(|_| read().unwrap()).collect();
            assert!(bases.iter().all(|base| base.len() as u64 == LONG / 10 && base.capacity() == base.len()));
            assert_eq!(read().unwrap_err().kind(), ErrorKind::LimitExceeded);
        }
        let error = open(LONG as usize * 2).read(&short, 1 << 20).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert_eq!(error.to_string(), format!("object {short} of the repository takes too much memory to be read"));
    }

    #[test]
    fn threads_share_it() {
        let sandbox = Sandbox::new(format());
        let commit = sandbox.commit("file", "text");
        let odb = Odb::open(sandbox.work().join(".git/objects"), commit.format(), 1 << 20).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        assert_eq!(odb.kind(&commit).unwrap(), Some(ObjectKind::Commit));
                    }
                });
            }
        });
        assert!(odb.handles.lock().unwrap().idle.len() <= 4);
    }

    fn formats() -> &'static [&'static str] {
        if cfg!(feature = "sha256") { &["sha1", "sha256"] } else { &["sha1"] }
    }
}
