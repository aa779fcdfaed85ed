use std::collections::BTreeSet;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::fs::Operation;
use super::disk::{Recorded, Recorder};
use super::*;

/// Does something once, before the first operation that is asked for.
struct Meanwhile<F>(Mutex<Option<F>>, fn(&Operation<'_>) -> bool);

impl<F: FnOnce() + Send> Hook for Meanwhile<F> {
    fn before(&self, operation: &Operation<'_>) -> io::Result<()> {
        if (self.1)(operation)
            && let Some(act) = self.0.lock().unwrap().take()
        {
            act();
        }
        Ok(())
    }
}

fn is_ref_lock(operation: &Operation<'_>) -> bool {
    matches!(operation, Operation::CreateNew(path) if path.extension() == Some("lock".as_ref()))
}

/// Between the pack's arrival and the first lock no ref needs the objects: `git repack -ad` would drop them.
#[test]
fn git_repack_beside_a_push_does_not_take_its_pack() {
    let world = World::new();
    for (shape, pushes) in world.shapes() {
        let [push] = &pushes[..] else { continue };
        let bare = world.restore();
        let place = bare.clone();
        let repack = move || drop(git(&place, &["repack", "-adq"]));
        let said = push.run(&bare, Some(Arc::new(Meanwhile(Mutex::new(Some(repack)), is_ref_lock))));
        assert!(said.is_ok() && values(&bare) == push.after, "{shape}: {said:?}");
        assert_sound(&bare, shape);
        assert_eq!(leftovers(&bare), [] as [PathBuf; 0], "{shape}");
        // When it is done its pack is like any other.
        git(&bare, &["repack", "-adq"]);
        assert_eq!(packs(&bare), 1, "{shape}");
        assert_sound(&bare, shape);
    }
}

/// A branch is renamed, and whoever waits for the push leaves when the old one is about to go.
#[test]
fn once_refs_move_all_of_them_do() {
    let world = World::new();
    let bare = world.restore();
    let push = world.push(&world.before, false, &[("loose", None), ("renamed", Some(1))]);
    let (leave, leaves) = tokio::sync::oneshot::channel();
    let (gone, is_gone) = std::sync::mpsc::channel();
    let leave = move || {
        leave.send(()).unwrap();
        is_gone.recv().unwrap();
    };
    let is_deletion =
        |operation: &Operation<'_>| matches!(operation, Operation::Remove(path) if path.ends_with("refs/heads/loose"));
    let fs = Fs::hooked(Arc::new(Meanwhile(Mutex::new(Some(leave)), is_deletion)));
    let store = BareRepository::new(Repository::open_with(&bare, &fs).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let advertisement = store.advertise().await.unwrap();
        let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store));
        let request = std::io::Cursor::new(push.request.clone());
        let (serve, mut said) = (Serve::new(), Vec::new());
        tokio::select! {
            _ = serve.serve(request, &mut said, advertisement, service) => unreachable!("the push waits"),
            left = leaves => left.unwrap(),
        }
        gone.send(()).unwrap();
    });
    // What is at work on another thread is waited for.
    drop(runtime);
    assert_eq!(values(&bare), push.after);
    assert_sound(&bare, "a push that was left");
}

/// A `git repack -ad` that saw a pack of this content removes it by its name when it is done: ours must have another.
#[test]
fn the_same_pack_is_another_file_each_time() {
    let world = World::new();
    let bare = world.restore();
    let before = packs(&bare);
    assert!(world.next().run(&bare, None).is_ok());
    for name in world.next().names() {
        git(&bare, &["update-ref", "-d", name]);
    }
    assert!(world.next().run(&bare, None).is_ok());
    assert_eq!(packs(&bare), before + 2);
    assert_sound(&bare, "two packs of the same content");
}

fn packs(bare: &Path) -> usize {
    let entries = std::fs::read_dir(bare.join("objects/pack")).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().extension() == Some("pack".as_ref())).count()
}

/// The directory of another new ref may have been made a moment ago by a push that has not synced it yet.
#[test]
fn the_directories_above_a_ref_are_made_durable_also_if_they_were_there() {
    let world = World::new();
    let bare = world.restore();
    let recorder = Arc::new(Recorder::default());
    let push = world.push(&world.before, false, &[("d/new", Some(2))]);
    assert!(push.run(&bare, Some(recorder.clone())).is_ok());
    let steps = recorder.0.lock().unwrap();
    let renamed = steps.iter().position(|step| matches!(step, Recorded::Rename(_, to) if to.ends_with("d/new")));
    for dir in ["refs/heads", "refs/heads/d"] {
        let synced = |step: &Recorded| matches!(step, Recorded::SyncDir(path) if *path == bare.join(dir));
        assert!(steps[renamed.unwrap()..].iter().any(synced), "{dir} is not synced");
    }
}

/// Somebody makes the branch `d` when the last one below it is gone, and its directories are about to be synced.
#[test]
fn a_new_ref_in_the_place_of_a_directory_that_was_removed_is_no_trouble() {
    let world = World::new();
    let bare = world.restore();
    git(&bare, &["update-ref", "-d", "refs/heads/d/loose-gone"]);
    let root = world.commits[0].clone();
    git(&bare, &["update-ref", "refs/heads/d/e/f", &root]);
    let before = values(&bare);
    let push = world.push(&before, false, &[("d/e/f", None)]);
    let place = bare.clone();
    let create = move || drop(git(&place, &["update-ref", "refs/heads/d", &root]));
    let is_sync = |operation: &Operation<'_>| matches!(operation, Operation::SyncDir(path) if path.ends_with("refs/heads/d") || path.ends_with("refs/heads/d/e"));
    let said = push.run(&bare, Some(Arc::new(Meanwhile(Mutex::new(Some(create)), is_sync))));
    assert!(said.is_ok(), "{said:?}");
    assert!(values(&bare).contains_key("refs/heads/d"));
    assert_sound(&bare, "a directory that became a ref");
}

#[test]
fn what_dead_processes_left_is_swept_and_nothing_else() {
    let world = World::new();
    let bare = world.restore();
    let objects = bare.join("objects");
    let make = |name: &str, owner: Option<&str>| {
        let dir = objects.join(name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("incoming.pack"), "PACK").unwrap();
        owner.map(|owner| {
            let file = std::fs::File::create(dir.join(owner)).unwrap();
            file.try_lock().unwrap();
            file
        })
    };
    drop(make("tmp_objdir-incoming-dead", Some("owner")));
    let living = make("tmp_objdir-incoming-living", Some("owner"));
    make("tmp_objdir-incoming-gits", None);
    drop(make("other", Some("owner")));
    let pack = |name: &str, ending: &str, text: &[u8]| {
        let path = objects.join(format!("pack/pack-{name}.{ending}"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let text = super::super::migrate::KEEP_TEXT;
    let dead = [pack("dead", "keep", text), pack("dead", "pack", b"PACK"), pack("dead", "rev", b"RIDX")];
    let living_pack = [pack("living", "keep", text), pack("living", "pack", b"PACK")];
    let keep = std::fs::File::open(&living_pack[0]).unwrap();
    keep.try_lock().unwrap();
    let theirs = [pack("theirs", "keep", b"for ever\n"), pack("theirs", "pack", b"PACK")];
    let mut done = std::fs::read_dir(objects.join("pack")).unwrap().map(|entry| entry.unwrap().path());
    let done = done.find(|path| path.extension() == Some("idx".as_ref())).unwrap();
    std::fs::write(done.with_extension("keep"), text).unwrap();

    BareRepository::open(&bare).unwrap();

    let there = |name: &str| objects.join(name).exists();
    assert!(!there("tmp_objdir-incoming-dead"));
    assert!(there("tmp_objdir-incoming-living") && there("tmp_objdir-incoming-gits") && there("other"));
    assert!(dead.iter().all(|path| !path.exists()), "{dead:?}");
    assert!(living_pack.iter().chain(&theirs).all(|path| path.exists()));
    assert!(!done.with_extension("keep").exists() && done.with_extension("pack").exists());

    drop((living, keep));
    BareRepository::open(&bare).unwrap();
    assert!(!there("tmp_objdir-incoming-living"));
    assert!(living_pack.iter().all(|path| !path.exists()));
}

/// The lock of a dead owner is not stolen; whoever meets it reads how old it is.
#[test]
fn an_old_lock_is_reported_with_its_age() {
    let world = World::new();
    for name in ["refs/heads/loose", "packed-refs"] {
        let bare = world.restore();
        let lock = std::fs::File::create(bare.join(format!("{name}.lock"))).unwrap();
        let push = world.push(&world.before, false, &[("loose", None), ("next", Some(2))]);
        let said = push.run(&bare, None);
        assert!(said.everything.contains(&format!("Unable to create '{name}.lock': File exists.\n")), "{said:?}");
        lock.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 3600)).unwrap();
        let push = world.push(&world.before, false, &[("loose", None), ("later", Some(2))]);
        let said = push.run(&bare, None);
        assert!(said.everything.contains(&format!("'{name}.lock': File exists. It is 3 hours old")), "{said:?}");
        assert!(said.refs["refs/heads/later"].is_none() && said.refs["refs/heads/loose"].is_some(), "{said:?}");
    }
}

/// Of loose objects on their way into place, those of git are none of ours.
#[test]
fn temporary_objects_are_swept_when_nobody_puts_objects_in_place() {
    let world = World::new();
    let bare = world.restore();
    let objects = bare.join("objects");
    let make = |name: &str| std::fs::write(objects.join(name), "").unwrap();
    make("tmp_incoming_obj-dead");
    make("tmp_obj_gits");
    let left = || leftovers(&bare).iter().map(|path| path.file_name().unwrap().to_owned()).collect::<BTreeSet<_>>();

    let living = std::fs::File::open(&objects).unwrap();
    living.lock_shared().unwrap();
    BareRepository::open(&bare).unwrap();
    assert_eq!(left(), ["tmp_incoming_obj-dead", "tmp_obj_gits"].map(Into::into).into());
    drop(living);
    BareRepository::open(&bare).unwrap();
    assert_eq!(left(), ["tmp_obj_gits"].map(Into::into).into());

    // Nor does git keep ours for ever.
    make("tmp_incoming_obj-dead");
    git(&bare, &["prune", "--expire=now"]);
    assert_eq!(left(), BTreeSet::new());
}

/// While an object has no name yet, whoever opens the repository leaves it alone.
#[test]
fn a_sweep_beside_a_small_push_takes_nothing_from_it() {
    let world = World::unpacking();
    let opened = Arc::new(AtomicU32::new(0));
    for (shape, pushes) in world.shapes() {
        let [push] = &pushes[..] else { continue };
        let bare = world.restore();
        let (place, opened) = (bare.clone(), opened.clone());
        let open = move || {
            BareRepository::open(&place).unwrap();
            opened.fetch_add(1, Ordering::Relaxed);
        };
        let said = push.run(&bare, Some(Arc::new(Meanwhile(Mutex::new(Some(open)), is_rename_of_object))));
        assert!(said.is_ok() && values(&bare) == push.after, "{shape}: {said:?}");
        assert_sound(&bare, shape);
        assert_eq!(leftovers(&bare), [] as [PathBuf; 0], "{shape}");
    }
    assert_ne!(opened.load(Ordering::Relaxed), 0);
}

/// Anybody who may read the directory may lock it.
#[test]
fn a_lock_that_nobody_lets_go_of_holds_up_no_push() {
    let world = World::unpacking();
    let bare = world.restore();
    let stranger = std::fs::File::open(bare.join("objects")).unwrap();
    stranger.lock().unwrap();
    let (shape, pushes) = world.shapes().swap_remove(0);
    let push = &pushes[0];
    let said = push.run(&bare, None);
    assert!(said.is_ok() && values(&bare) == push.after, "{shape}: {said:?}");
    assert_sound(&bare, shape);
    assert_eq!(leftovers(&bare), [] as [PathBuf; 0], "{shape}");
}

fn is_rename_of_object(operation: &Operation<'_>) -> bool {
    matches!(operation, Operation::Rename { from, .. } if from.to_string_lossy().contains("/tmp_incoming_obj-"))
}

/// Fails the first operation that is asked for, as if what it needs had gone a moment ago.
struct Gone(fn(&Operation<'_>) -> bool, AtomicU32);

impl Hook for Gone {
    fn before(&self, operation: &Operation<'_>) -> io::Result<()> {
        let is_first = (self.0)(operation) && self.1.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
    }
}

fn is_fan_out(operation: &Operation<'_>) -> bool {
    matches!(operation, Operation::CreateDir(path) if path.parent().is_some_and(|dir| dir.ends_with("objects")))
}

/// In a shared repository a fan-out directory is made and then given its permissions: `git gc` may come in between.
#[test]
fn a_directory_that_is_gone_as_soon_as_it_is_made_is_made_again() {
    let world = World::unpacking();
    let push = world.single("one ref");
    let bare = world.restore();
    let gone = Arc::new(Gone(is_fan_out, AtomicU32::new(0)));
    let said = push.run(&bare, Some(gone.clone()));
    assert!(gone.1.load(Ordering::Relaxed) > 1);
    assert!(said.is_ok() && values(&bare) == push.after, "{said:?}");
    assert_sound(&bare, "a directory that was gone");
}

/// What copies a repository may leave out directories that are empty.
#[test]
fn the_directory_of_packs_is_made_if_it_is_not_there() {
    let world = World::new();
    let push = world.single("one ref");
    let bare = world.restore();
    let packs = bare.join("objects/pack");
    // The objects are in the repository that this one borrows from.
    std::fs::remove_dir_all(&packs).unwrap();
    let recorder = Arc::new(Recorder::default());
    let said = push.run(&bare, Some(recorder.clone()));
    assert!(said.is_ok() && values(&bare) == push.after, "{said:?}");
    assert_sound(&bare, "no directory of packs");
    assert_eq!(leftovers(&bare), [] as [PathBuf; 0]);
    let steps = recorder.0.lock().unwrap();
    let at = |is: &dyn Fn(&Recorded) -> bool| steps.iter().position(is).unwrap();
    let made = at(&|step| matches!(step, Recorded::CreateDir(path) if *path == packs));
    let synced = at(&|step| matches!(step, Recorded::SyncDir(path) if *path == bare.join("objects")));
    let shown = at(&|step| matches!(step, Recorded::Rename(_, to) if to.extension() == Some("idx".as_ref())));
    assert!(made < synced && synced < shown);
}

fn is_index(operation: &Operation<'_>) -> bool {
    matches!(operation, Operation::Rename { to, .. } if to.extension() == Some("idx".as_ref()))
}

/// A sweep of another host that does not see our locks comes before the index.
#[test]
fn no_ref_moves_to_a_pack_that_somebody_has_removed() {
    let world = World::new();
    let mut swept = 0;
    for (shape, pushes) in world.shapes() {
        let [push] = &pushes[..] else { continue };
        let bare = world.restore();
        let place = bare.join("objects/pack");
        let seen = Arc::new(AtomicU32::new(0));
        let sweep = {
            let seen = seen.clone();
            move || {
                let entries = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
                let unfinished = |path: &PathBuf| !path.with_extension("idx").exists();
                for path in entries.filter(unfinished) {
                    std::fs::remove_file(path).unwrap();
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let said = push.run(&bare, Some(Arc::new(Meanwhile(Mutex::new(Some(sweep)), is_index))));
        if seen.load(Ordering::Relaxed) == 0 {
            assert!(said.is_ok(), "{shape} has no pack: {said:?}");
            continue;
        }
        swept += 1;
        assert!(said.unpack == "ok" && !said.is_ok(), "{shape}: {said:?}");
        assert_eq!(values(&bare), push.before, "{shape}");
        assert_sound(&bare, shape);
        let orphans = std::fs::read_dir(bare.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
        let orphans: Vec<_> = orphans.filter(|path| !path.with_extension("pack").exists()).collect();
        assert_eq!(orphans, [] as [PathBuf; 0], "{shape}");
        let said = push.run(&bare, None);
        assert!(said.is_ok() && values(&bare) == push.after, "{shape}: {said:?}");
    }
    assert_ne!(swept, 0);
}
