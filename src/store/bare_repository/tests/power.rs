use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::disk::{Data, Disk, Fate, Recorded, Recorder, Tree};
use super::*;

/// One way to lose what was not synced.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// Only these changes of directories last: none, or one.
    Only(Option<usize>),
    /// All last but these: none, or one.
    AllBut(Option<usize>),
    /// Each lasts or not, by chance.
    Some(u64),
}

#[derive(Clone, Copy, Debug)]
struct Crash {
    loss: Loss,
    data: Data,
}

impl Fate for Crash {
    fn keeps(&mut self, change: usize) -> bool {
        match &mut self.loss {
            Loss::Only(one) => *one == Some(change),
            Loss::AllBut(one) => *one != Some(change),
            Loss::Some(state) => {
                // xorshift
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                *state % 2 == 0
            }
        }
    }

    fn data(&mut self) -> Data {
        self.data
    }
}

/// The ways to lose what is not durable in a disk of this state.
fn crashes(disk: &Disk, seed: u64, random: u64) -> Vec<Crash> {
    let mut losses = vec![Loss::Only(None), Loss::AllBut(None)];
    for change in 0..disk.pending() {
        losses.extend([Loss::Only(Some(change)), Loss::AllBut(Some(change))]);
    }
    losses.extend((1..=random).map(|number| Loss::Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number))));
    let kinds = [Data::Kept, Data::Lost, Data::Zeros, Data::Half];
    losses.into_iter().flat_map(|loss| kinds.map(|data| Crash { loss, data })).collect()
}

/// A tree without what is in quarantines, and without objects that have no name yet: to git and to the next push these
/// are not there.
fn without_quarantines(mut tree: Tree) -> Tree {
    tree.retain(|path, _| !path.to_string_lossy().starts_with("objects/tmp_"));
    tree
}

fn digest(tree: &Tree) -> u64 {
    let mut hasher = DefaultHasher::new();
    tree.hash(&mut hasher);
    hasher.finish()
}

fn write_out(tree: &Tree, dir: &Path) {
    let _ = std::fs::remove_dir_all(dir);
    for (path, content) in tree {
        match content {
            None => std::fs::create_dir(dir.join(path)).unwrap(),
            Some(bytes) => std::fs::write(dir.join(path), bytes).unwrap(),
        }
    }
}

/// Power is lost after each file operation of a push, and of what was not synced any part is lost: git finds the
/// repository sound, each ref old or new (of an atomic push all of them), and what was reported is there.
#[test]
fn a_push_survives_the_loss_of_power_at_each_operation() {
    // How many states of each shape git looks at; all of them are thousands.
    let most = match std::env::var("RECEIVE_PACK_CRASHES") {
        Ok(count) => count.parse().expect("RECEIVE_PACK_CRASHES is a number"),
        Err(_) => 160,
    };
    let kept = in_each_shape(&World::new(), most, |_| true);
    let unpacked = in_each_shape(&World::unpacking(), most, |shape| shape != "deletions");
    assert!(kept > 500 && unpacked > 500, "{kept}, {unpacked}");
}

/// Gives how many states git looked at.
fn in_each_shape(world: &World, most: usize, is_wanted: fn(&str) -> bool) -> usize {
    let next = world.next();
    let (mut states, mut looked_at) = (0, 0);
    for (shape, pushes) in world.shapes().into_iter().filter(|(shape, _)| is_wanted(shape)) {
        let bare = world.restore();
        let mut disk = Disk::read(&bare);
        let mut steps = Vec::new();
        for push in &pushes {
            let recorder = Arc::new(Recorder::default());
            let said = push.run(&bare, Some(recorder.clone()));
            assert!(said.is_ok(), "{shape}: {said:?}");
            steps.push(std::mem::take(&mut *recorder.0.lock().unwrap()));
        }
        // The states that a crash can leave, each once, with the push and the operation before it.
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        for (push, steps) in pushes.iter().zip(&steps) {
            // What is on the disk before the first operation was found at the end of the push before.
            for (at, step) in steps.iter().enumerate() {
                disk.apply(step);
                let reported = at + 1 == steps.len();
                for crash in crashes(&disk, at as u64, 4) {
                    let tree = without_quarantines(disk.crash(&mut { crash }));
                    if seen.insert((digest(&tree), reported)) {
                        found.push((push, at, step, crash, reported, tree));
                    }
                }
            }
        }
        let now = without_quarantines(disk.crash(&mut Crash { loss: Loss::AllBut(None), data: Data::Kept }));
        let real =
            without_quarantines(Disk::read(&bare).crash(&mut Crash { loss: Loss::AllBut(None), data: Data::Kept }));
        assert!(now == real, "{shape}: something went around the hook");
        states += found.len();

        let place = world.sandbox.dir.path().join("crashed.git");
        let stride = found.len().div_ceil(most).max(1);
        for (number, (push, at, step, crash, reported, tree)) in found.iter().enumerate() {
            if number % stride != 0 && !reported {
                continue;
            }
            looked_at += 1;
            write_out(tree, &place);
            let context = format!("{shape}, {crash:?} after operation {at}, {}", short(step));
            check(world, &place, push, *reported, &context);
            if looked_at % 4 == 0 {
                let said = next.run(&place, None);
                assert!(said.is_ok(), "{context}: the next push: {said:?}");
                world.git.sound_values(&place, &context);
            }
        }
    }
    println!("{states} states, {looked_at} of them looked at");
    looked_at
}

/// Picks out operations.
type Which = fn(&Recorded) -> bool;

/// Whether the test above can fail: without any one of these syncs it finds a loss.
#[test]
fn the_loss_of_each_sync_is_found() {
    check_syncs(
        &World::new(),
        &[
            ("the pack", |step| matches!(step, Recorded::Sync(path) if path.ends_with("incoming.pack"))),
            ("its index", |step| matches!(step, Recorded::Sync(path) if path.ends_with("incoming.idx"))),
            (
                "the directory of packs",
                |step| matches!(step, Recorded::SyncDir(path) if path.ends_with("objects/pack")),
            ),
            ("the directory of refs", |step| matches!(step, Recorded::SyncDir(path) if path.ends_with("refs/heads"))),
            (
                "the new values",
                |step| matches!(step, Recorded::Sync(path) if path.extension() == Some("lock".as_ref())),
            ),
            ("packed-refs", |step| matches!(step, Recorded::Sync(path) if path.ends_with("packed-refs.new"))),
        ],
    );
    check_syncs(
        &World::unpacking(),
        &[
            ("the objects", |step| matches!(step, Recorded::Sync(path) if parent(path).ends_with("objects"))),
            ("their directories", |step| matches!(step, Recorded::SyncDir(path) if parent(path).ends_with("objects"))),
            ("the directory of these", |step| matches!(step, Recorded::SyncDir(path) if path.ends_with("objects"))),
        ],
    );
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap()
}

fn check_syncs(world: &World, syncs: &[(&str, Which)]) {
    let place = world.sandbox.dir.path().join("crashed.git");
    let (_, pushes) = world.shapes().swap_remove(1);
    let push = &pushes[0];
    for (what, is_lost) in syncs {
        let bare = world.restore();
        let mut disk = Disk::read(&bare);
        let recorder = Arc::new(Recorder::default());
        assert!(push.run(&bare, Some(recorder.clone())).is_ok());
        let steps = recorder.0.lock().unwrap();
        let count = steps.iter().filter(|step| is_lost(step)).count();
        assert!(count > 0, "{what} is never synced");
        for step in steps.iter().filter(|step| !is_lost(step)) {
            disk.apply(step);
        }
        let found = crashes(&disk, 0, 0).into_iter().any(|crash| {
            write_out(&without_quarantines(disk.crash(&mut { crash })), &place);
            let git_minds = !try_git(&place, &["fsck", "--strict"]).status.success();
            git_minds || try_values(&place) != Some(push.after.clone())
        });
        assert!(found, "{what}: nobody would miss the sync");
    }
}

fn check(world: &World, bare: &Path, push: &Push, reported: bool, context: &str) {
    let now = world.git.sound_values(bare, context);
    let mut moved = 0;
    for name in now.keys().chain(push.before.keys()).chain(push.after.keys()) {
        let value = now.get(name);
        assert!(value == push.after.get(name) || value == push.before.get(name), "{context}: {name} holds {value:?}");
    }
    for name in push.names() {
        moved += usize::from(now.get(name) == push.after.get(name));
    }
    let all = push.names().count();
    assert!(!push.atomic || moved == 0 || moved == all, "{context}: {moved} of {all} moved");
    if reported {
        assert_eq!(moved, all, "{context}: reported, and not durable");
        let locks: Vec<_> =
            leftovers(bare).into_iter().filter(|path| path.extension() == Some("lock".as_ref())).collect();
        assert!(locks.is_empty(), "{context}: nobody's locks {locks:?}");
    }
}

fn short(step: &Recorded) -> String {
    match step {
        Recorded::Write(path, offset, data) => format!("Write({}, {offset}, {} bytes)", path.display(), data.len()),
        other => format!("{other:?}"),
    }
}
