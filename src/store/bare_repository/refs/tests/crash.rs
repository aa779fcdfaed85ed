use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::store::bare_repository::fs::{Fs, Hook, Operation};
use crate::store::bare_repository::testing::copy;

/// Fails the change of one number; as a crash, all after it as well.
struct Fault {
    count: AtomicUsize,
    at: usize,
    crash: bool,
}

impl Hook for Fault {
    fn before(&self, operation: &Operation<'_>) -> io::Result<()> {
        if !operation.is_change() {
            return Ok(());
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        if number == self.at || (self.crash && number > self.at) {
            return Err(io::Error::other("injected"));
        }
        Ok(())
    }
}

/// A repository whose refs are loose, packed, both, and absent, and one transaction on them.
fn world_and_updates() -> (World, Vec<Update>) {
    let world = World::new(format());
    let zero = world.zero();
    let [first, second, third, ..] = world.commits[..] else { unreachable!() };
    for name in ["both", "both-gone", "packed", "packed-gone"] {
        world.one(&format!("refs/heads/{name}"), zero, first).unwrap();
    }
    world.sandbox.in_bare(&["pack-refs", "--all"]);
    for name in ["both", "both-gone"] {
        world.one(&format!("refs/heads/{name}"), first, second).unwrap();
    }
    for name in ["loose", "d/loose-gone"] {
        world.one(&format!("refs/heads/{name}"), zero, second).unwrap();
    }
    let updates = vec![
        world.update("refs/heads/both", second, third),
        world.update("refs/heads/both-gone", second, zero),
        world.update("refs/heads/packed", first, third),
        world.update("refs/heads/packed-gone", first, zero),
        world.update("refs/heads/loose", second, third),
        world.update("refs/heads/d/loose-gone", second, zero),
        world.update("refs/heads/new/deep/er", zero, third),
    ];
    (world, updates)
}

/// What git reads of the refs of the transaction.
fn values(world: &World) -> BTreeMap<String, String> {
    let text = world.sandbox.in_bare(&["for-each-ref", "--format=%(refname) %(objectname)", "refs/heads"]);
    text.lines().map(|line| line.split_once(' ').unwrap()).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

fn restore(world: &World, saved: &std::path::Path) {
    let bare = world.sandbox.bare();
    std::fs::remove_dir_all(&bare).unwrap();
    copy(saved, &bare);
}

/// Runs the transaction with a fault at each of its file operations in turn; gives how many there are.
fn for_each_fault(
    mode: Mode,
    crash: bool,
    mut check: impl FnMut(usize, &World, &[Update], Vec<Result<(), Refusal>>),
) -> usize {
    let (world, updates) = world_and_updates();
    let saved = world.sandbox.dir.path().join("saved");
    copy(&world.sandbox.bare(), &saved);
    for at in 0.. {
        restore(&world, &saved);
        let fault = Arc::new(Fault { count: AtomicUsize::new(0), at, crash });
        let repository = Repository::open_with(&world.sandbox.bare(), &Fs::hooked(fault.clone())).unwrap();
        let refs = repository.refs();
        let results = refs.transaction(&updates, mode, &AllCommits, &reflog());
        if fault.count.load(Ordering::Relaxed) <= at {
            assert!(results.iter().all(Result::is_ok));
            return at;
        }
        check(at, &world, &updates, results);
    }
    unreachable!()
}

#[test]
fn an_atomic_push_that_crashes_leaves_all_old_or_all_new() {
    let (world, updates) = world_and_updates();
    let old = values(&world);
    let mut new = old.clone();
    for update in &updates {
        let name = String::from_utf8(update.name.clone()).unwrap();
        if update.new.is_zero() {
            new.remove(&name);
        } else {
            new.insert(name, update.new.to_string());
        }
    }
    let mut seen = [0, 0];
    let count = for_each_fault(Mode::Atomic, true, |at, world, _, results| {
        let now = values(world);
        assert!(now == old || now == new, "operation {at}: {now:?}");
        seen[usize::from(now == new)] += 1;
        if results.iter().any(Result::is_ok) {
            assert!(results.iter().all(Result::is_ok), "operation {at}");
            assert_eq!(now, new, "operation {at}");
        }
    });
    assert!(count > 30 && seen[0] > 20 && seen[1] > 0, "{count} {seen:?}");
}

#[test]
fn an_atomic_push_survives_each_single_fault() {
    for_each_fault(Mode::Atomic, false, |at, world, updates, results| {
        let moved = updates.iter().filter(|update| {
            let value = world.git_value(std::str::from_utf8(&update.name).unwrap());
            value.unwrap_or(world.zero()) == update.new
        });
        let moved = moved.count();
        assert!(moved == 0 || moved == updates.len(), "operation {at}: {moved} of {}", updates.len());
        let ok = results.iter().filter(|result| result.is_ok()).count();
        assert!(ok == 0 || (ok == updates.len() && moved == ok), "operation {at}: {ok} reported, {moved} moved");
        world.sandbox.in_bare(&["fsck", "--strict"]);
    });
}

#[test]
fn each_ref_that_is_reported_moved_has_moved_and_the_others_are_old() {
    for crash in [false, true] {
        let count = for_each_fault(Mode::Each, crash, |at, world, updates, results| {
            for (update, result) in updates.iter().zip(results) {
                let name = std::str::from_utf8(&update.name).unwrap();
                let value = world.git_value(name).unwrap_or(world.zero());
                assert!(value == update.new || value == update.old, "operation {at}: {name} holds {value}");
                if result.is_ok() {
                    assert_eq!(value, update.new, "operation {at}: {name}");
                }
            }
            world.sandbox.in_bare(&["fsck", "--strict"]);
        });
        assert!(count > 30, "{count}");
    }
}

/// Fails the first syncs of directories, as a process does that has too many files open.
struct TooManyOpen(AtomicUsize);

impl Hook for TooManyOpen {
    fn before(&self, operation: &Operation<'_>) -> io::Result<()> {
        let fails = matches!(operation, Operation::SyncDir(_)) && self.0.fetch_add(1, Ordering::Relaxed) < 3;
        if fails { Err(io::Error::from_raw_os_error(24)) } else { Ok(()) }
    }
}

/// When directories are synced the refs have moved, and nobody is to be told otherwise for want of a file.
#[test]
fn a_lack_of_files_is_waited_out() {
    for mode in [Mode::Each, Mode::Atomic] {
        let (world, updates) = world_and_updates();
        let hook = Arc::new(TooManyOpen(AtomicUsize::new(0)));
        let refs = Repository::open_with(&world.sandbox.bare(), &Fs::hooked(hook.clone())).unwrap().refs();
        let results = refs.transaction(&updates, mode, &AllCommits, &reflog());
        assert!(hook.0.load(Ordering::Relaxed) > 3);
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }
}
