use std::io;
use std::sync::Mutex;

use super::super::fs::Operation;
use super::*;
use crate::ErrorKind;

/// Fails the operation of one number; if it lasts, all later ones as well that need what is used up.
#[derive(Debug)]
struct Fault {
    at: usize,
    how: How,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    count: usize,
    /// What failed, and how else it could have.
    what: Option<(String, Kind)>,
    others: Vec<How>,
}

/// An error, and whether it lasts.
type How = (&'static str, i32, bool);

const EIO: How = ("EIO", 5, false);
const ENOSPC: How = ("ENOSPC", 28, false);
const EMFILE: How = ("EMFILE", 24, false);
const FULL: How = ("ENOSPC from there on", 28, true);
const NO_FILES_LEFT: How = ("EMFILE from there on", 24, true);

/// What an operation needs, and so how it can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It changes files.
    Change,
    /// It opens something to read it.
    Open,
    /// It reads, looks, or asks for a lock.
    Read,
}

impl Kind {
    fn of(operation: &Operation<'_>) -> Self {
        match operation {
            Operation::Open(_) => Self::Open,
            operation if operation.is_change() => Self::Change,
            _ => Self::Read,
        }
    }
}

/// The faults besides [`EIO`], which can happen to everything.
fn others(operation: &Operation<'_>) -> Vec<How> {
    let mut faults = match Kind::of(operation) {
        Kind::Change => vec![ENOSPC, EMFILE, FULL],
        Kind::Open => vec![EMFILE],
        Kind::Read => vec![],
    };
    if is_out_of(EMFILE.1, operation) {
        faults.push(NO_FILES_LEFT);
    }
    faults
}

/// Whether an operation fails as long as this error lasts.
fn is_out_of(errno: i32, operation: &Operation<'_>) -> bool {
    use Operation::{CreateDir, CreateNew, Open, OpenAppend, RemoveAll, Sync, SyncDir, Write};
    match operation {
        CreateNew(_) | OpenAppend(_) => true,
        CreateDir(_) | Write { .. } | Sync(_) => errno == ENOSPC.1,
        // What is below a directory cannot be removed by who cannot open it.
        Open(_) | SyncDir(_) | RemoveAll(_) => errno == EMFILE.1,
        _ => false,
    }
}

impl Hook for Fault {
    fn before(&self, operation: &Operation<'_>) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        seen.count += 1;
        let (_, errno, lasts) = self.how;
        if seen.count == self.at + 1 {
            seen.what = Some((format!("{operation:?}"), Kind::of(operation)));
            seen.others = others(operation);
            return Err(io::Error::from_raw_os_error(errno));
        }
        if lasts && seen.count > self.at && is_out_of(errno, operation) {
            return Err(io::Error::from_raw_os_error(errno));
        }
        Ok(())
    }
}

impl Fault {
    fn new(at: usize, how: How) -> Arc<Self> {
        Arc::new(Self { at, how, seen: Mutex::default() })
    }
}

/// An error at each file operation of a push in turn, from the opening of the repository on: nothing that is reported as
/// done is undone, nothing else is half done, nothing is left, and the next push goes through.
fn survives(world: &World, shape: &str) {
    let next = world.next();
    let push = world.single(shape);
    let mut injected: BTreeMap<(Kind, &str), usize> = BTreeMap::new();
    for at in 0.. {
        let run = |how: How| {
            let bare = world.restore();
            let fault = Fault::new(at, how);
            let said = push.try_run(&bare, Some(fault.clone()));
            let seen = std::mem::take(&mut *fault.seen.lock().unwrap());
            if let Some((what, kind)) = seen.what {
                let context = format!("{shape}, operation {at}, {what}, {}", how.0);
                check(world, &push, &next, &bare, &said, how, &context);
                return Ok((kind, seen.others));
            }
            assert!(said.is_ok_and(|said| said.is_ok()) && values(&bare) == push.after, "{shape}");
            Err(seen.count)
        };
        let (kind, others) = match run(EIO) {
            Ok(done) => done,
            Err(count) => {
                println!("{shape}: {count} operations, {injected:?}");
                assert!(injected.values().sum::<usize>() > 150, "{shape} has only {count} operations");
                return;
            }
        };
        *injected.entry((kind, EIO.0)).or_default() += 1;
        for how in others {
            let (kind, _) = run(how).expect("each run does the same");
            *injected.entry((kind, how.0)).or_default() += 1;
        }
    }
}

#[test]
fn a_push_of_one_ref_survives_each_fault() {
    survives(&World::new(), "one ref");
}

#[test]
fn a_push_of_each_kind_of_ref_survives_each_fault() {
    survives(&World::new(), "each");
}

#[test]
fn an_atomic_push_survives_each_fault() {
    survives(&World::new(), "atomic");
}

#[test]
fn a_push_of_deletions_survives_each_fault() {
    survives(&World::new(), "deletions");
}

/// What is too large for the memory goes through files of its own.
#[test]
fn a_push_that_puts_objects_aside_survives_each_fault() {
    survives(&World::new(), "put aside");
}

/// Where each new file is given other permissions.
#[test]
fn a_push_into_a_shared_repository_survives_each_fault() {
    let world = World::configured(&[("core.sharedRepository", "0660"), ("receive.unpackLimit", "1")]);
    survives(&world, "each");
}

/// Where the file system syncs no directories, a push is as durable as that makes it.
#[test]
fn a_file_system_that_syncs_no_directories_is_good_enough() {
    struct NoSync(How);
    impl Hook for NoSync {
        fn before(&self, operation: &Operation<'_>) -> io::Result<()> {
            match operation {
                Operation::SyncDir(_) => Err(io::Error::from_raw_os_error(self.0.1)),
                _ => Ok(()),
            }
        }
    }
    let world = World::new();
    for how in [("EINVAL", 22, true), ("EBADF", 9, true), EIO] {
        for (shape, pushes) in world.shapes() {
            let bare = world.restore();
            let said: Vec<_> = pushes.iter().map(|push| push.run(&bare, Some(Arc::new(NoSync(how))))).collect();
            assert_eq!(said.iter().all(Said::is_ok), how != EIO, "{shape}, {}: {said:?}", how.0);
            assert!(how == EIO || values(&bare) == pushes.last().unwrap().after, "{shape}, {}", how.0);
        }
    }
}

#[test]
fn a_push_that_is_unpacked_survives_each_fault() {
    survives(&World::unpacking(), "one ref");
}

#[test]
fn an_atomic_push_that_is_unpacked_survives_each_fault() {
    survives(&World::unpacking(), "atomic");
}

fn check(world: &World, push: &Push, next: &Push, bare: &Path, said: &Result<Said, Error>, how: How, context: &str) {
    let dir = world.sandbox.dir.path().to_str().unwrap();
    let now = world.git.sound_values(bare, context);
    let mut moved = 0;
    for name in push.names() {
        let value = now.get(name);
        assert!(value == push.after.get(name) || value == push.before.get(name), "{context}: {name} holds {value:?}");
        moved += usize::from(value == push.after.get(name));
    }
    match said {
        Err(error) => {
            assert!(error.kind() == ErrorKind::Store && !error.is_remote(), "{context}: {error:?}");
            let text = error.to_string();
            assert!(text.ends_with("cannot be read") && !text.contains(dir), "{context}: {text}");
            assert_eq!(moved, 0, "{context}");
        }
        Ok(said) => {
            assert!(!said.everything.contains(dir), "{context}: the client reads {}", said.everything);
            assert!(!said.everything.contains("os error"), "{context}: the client reads {}", said.everything);
            if said.unpack != "ok" {
                assert_eq!(said.unpack, "internal error", "{context}");
                assert!(said.refs.values().all(Option::is_some), "{context}: {said:?}");
            }
            for name in push.names().filter(|name| said.refs[*name].is_none()) {
                assert_eq!(now.get(name), push.after.get(name), "{context}: {name} was reported to have moved");
            }
            if push.atomic {
                assert!(moved == 0 || moved == push.names().count(), "{context}: {moved} moved");
                let ok = said.refs.values().filter(|refusal| refusal.is_none()).count();
                assert!(ok == 0 || ok == said.refs.len(), "{context}: {said:?}");
            }
        }
    }
    let left = leftovers(bare);
    let cleaning_failed = context.contains(" Remove") || how == NO_FILES_LEFT;
    assert!(left.is_empty() || cleaning_failed, "{context}: left behind {left:?}");
    // Opened again, it is swept.
    let said = next.run(bare, None);
    assert!(said.is_ok(), "{context}: the next push: {said:?}");
    if moved == 0 && left.is_empty() {
        let said = push.run(bare, None);
        assert!(said.is_ok(), "{context}: the same push again: {said:?}");
    }
    // The lock of a dead owner nobody may take away.
    let stays = |path: &PathBuf| path.extension() == Some("lock".as_ref()) && left.contains(path);
    let left: Vec<_> = leftovers(bare).into_iter().filter(|path| !stays(path)).collect();
    assert_eq!(left, [] as [PathBuf; 0], "{context}");
}

/// The same for a repository that is made: it is there and whole, or it is not there.
#[test]
fn a_new_repository_survives_each_fault() {
    let format = crate::proto::ObjectFormat::from_name(format().as_bytes()).unwrap();
    let mut injected = 0;
    for at in 0.. {
        let mut done = false;
        for how in [EIO, ENOSPC, EMFILE, FULL, NO_FILES_LEFT] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("new/demo.git");
            let fault = Fault::new(at, how);
            let made = Repository::init_with(&path, format, &Fs::hooked(fault.clone()));
            let seen = std::mem::take(&mut *fault.seen.lock().unwrap());
            done = seen.what.is_none();
            let context = format!("operation {at}, {:?}, {}", seen.what, how.0);
            match made {
                Ok(_) => assert!(try_git(&path, &["fsck", "--strict"]).status.success(), "{context}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(
                        !done && ["read", "created"].iter().any(|what| text.ends_with(&format!("cannot be {what}"))),
                        "{context}: {text}"
                    );
                }
            }
            // What could not be removed when it failed lies beside it.
            BareRepository::init(&path, format).unwrap();
            assert!(try_git(&path, &["fsck", "--strict"]).status.success(), "{context}");
            injected += usize::from(!done);
        }
        if done {
            break;
        }
    }
    println!("{injected} faults injected");
    assert!(injected > 100, "{injected}");
}

/// What cannot be looked at is not swept: a pack that seems to lack its index may be one that refs need.
#[test]
fn what_is_swept_survives_each_fault() {
    let world = World::new();
    for at in 0.. {
        let bare = world.restore();
        let packs = std::fs::read_dir(bare.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
        let whole = packs.into_iter().find(|path| path.extension() == Some("pack".as_ref())).unwrap();
        let half = bare.join("objects/pack/pack-half.pack");
        for pack in [&whole, &half] {
            std::fs::write(pack.with_extension("keep"), super::super::migrate::KEEP_TEXT).unwrap();
        }
        std::fs::write(&half, "PACK").unwrap();
        let quarantine = bare.join("objects/tmp_objdir-incoming-dead");
        std::fs::create_dir(&quarantine).unwrap();
        std::fs::write(quarantine.join("owner"), "").unwrap();
        std::fs::write(bare.join("objects/tmp_incoming_obj-dead"), "").unwrap();

        let fault = Fault::new(at, EIO);
        let opened = Repository::open_with(&bare, &Fs::hooked(fault.clone())).and_then(BareRepository::new);
        let seen = std::mem::take(&mut *fault.seen.lock().unwrap());
        let context = format!("operation {at}, {:?}", seen.what);
        assert!(whole.exists() && values(&bare) == world.before, "{context}: {opened:?}");
        BareRepository::open(&bare).unwrap();
        assert_eq!(leftovers(&bare), [] as [PathBuf; 0], "{context}");
        world.git.sound_values(&bare, &context);
        if seen.what.is_none() {
            assert!(at > 20, "there are only {at} operations");
            return;
        }
    }
}
