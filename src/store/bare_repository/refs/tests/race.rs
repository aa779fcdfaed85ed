use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::super::Value;
use super::*;
use crate::store::bare_repository::fs::{Fs, Hook, Operation};
use crate::store::bare_repository::testing::try_git;

/// Many commits, by fast-import.
fn history(world: &World, count: usize) -> Vec<ObjectId> {
    use std::io::Write;
    let mut text = String::new();
    for number in 0..count {
        text += &format!("commit refs/seed/history\nmark :{}\ncommitter C <c@x> {number} +0000\ndata 0\n", number + 1);
    }
    let mut child = crate::store::bare_repository::testing::command(&world.sandbox.bare())
        .args(["fast-import", "--quiet"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let listed = world.sandbox.in_bare(&["rev-list", "--reverse", "refs/seed/history"]);
    let listed: Vec<_> = listed.lines().map(crate::store::bare_repository::testing::oid).collect();
    assert_eq!(listed.len(), count);
    listed
}

/// Two of us and stock git move the same refs along one history, while git packs them: no update is lost.
#[test]
fn no_update_is_lost_beside_git() {
    let world = World::new(format());
    world.sandbox.in_bare(&["config", "core.filesRefLockTimeout", "2000"]);
    world.sandbox.in_bare(&["config", "core.packedRefsTimeout", "5000"]);
    let history = history(&world, 3000);
    let refs = Repository::open(&world.sandbox.bare()).unwrap().refs();
    let zero = world.zero();
    let names = ["refs/heads/a", "refs/heads/d/b"];
    for name in names {
        world.one(name, zero, history[0]).unwrap();
    }
    let [by_us, by_git, atomic] = [const { AtomicUsize::new(0) }; 3];
    let stop = AtomicBool::new(false);
    let deadline = Instant::now() + Duration::from_secs(4);
    let position = |name: &str| match refs.resolve(name.as_bytes()).unwrap().value {
        Value::Id(id) => history.iter().position(|commit| *commit == id).unwrap(),
        other => panic!("{name} reads as {other:?}"),
    };
    std::thread::scope(|scope| {
        for mode in [Mode::Each, Mode::Each, Mode::Atomic] {
            let (by_us, atomic, refs, world, history) = (&by_us, &atomic, &refs, &world, &history);
            scope.spawn(move || {
                while Instant::now() < deadline {
                    let updates = names.map(|name| {
                        let at = position(name);
                        world.update(name, history[at], history[at + 1])
                    });
                    let results = refs.transaction(&updates, mode, &world.odb, &reflog());
                    let moved = results.iter().filter(|result| result.is_ok()).count();
                    by_us.fetch_add(moved, Ordering::Relaxed);
                    if mode == Mode::Atomic {
                        assert!(moved == 0 || moved == 2);
                        atomic.fetch_add(moved, Ordering::Relaxed);
                    }
                }
            });
        }
        let writer = scope.spawn(|| {
            while Instant::now() < deadline {
                for name in names {
                    let at = position(name);
                    let (old, new) = (history[at].to_string(), history[at + 1].to_string());
                    if try_git(&world.sandbox.bare(), &["update-ref", name, &new, &old]).status.success() {
                        by_git.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                try_git(&world.sandbox.bare(), &["pack-refs", "--all"]);
            }
        });
        writer.join().unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    let [by_us, by_git, atomic] = [by_us, by_git, atomic].map(|count| count.load(Ordering::Relaxed));
    let total: usize = names.iter().map(|name| position(name)).sum();
    assert_eq!(total, by_us + by_git, "ours {by_us} (atomic {atomic}), git's {by_git}");
    assert!(by_us > 0 && by_git > 0 && atomic > 0, "ours {by_us} (atomic {atomic}), git's {by_git}");
    world.assert_clean();
}

/// Creating and deleting refs that share directories, ours and git's, with packing beside: nobody is refused for a
/// directory that vanished, and what is deleted stays deleted.
///
/// Each creation has another value: a ref that is deleted and created again with the same one, while `git pack-refs`
/// is between packing and pruning it, is lost by git, whoever did it.
#[test]
fn refs_that_come_and_go_beside_git() {
    let world = World::new(format());
    world.sandbox.in_bare(&["config", "core.filesRefLockTimeout", "5000"]);
    world.sandbox.in_bare(&["config", "core.packedRefsTimeout", "10000"]);
    let refs = Repository::open(&world.sandbox.bare()).unwrap().refs();
    let (zero, first) = (world.zero(), world.commits[0]);
    let history = history(&world, 3000);
    let deadline = Instant::now() + Duration::from_secs(3);
    let rounds = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (refs, world, rounds, mut values) = (&refs, &world, &rounds, history.iter());
            scope.spawn(move || {
                let name = format!("refs/heads/shared/dir/{number}");
                while Instant::now() < deadline {
                    let value = *values.next().unwrap();
                    for (old, new) in [(zero, value), (value, zero)] {
                        let result = refs
                            .transaction(&[world.update(&name, old, new)], Mode::Each, &world.odb, &reflog())
                            .remove(0);
                        assert!(result.is_ok(), "{name}: {result:?}");
                        let value = refs.resolve(name.as_bytes()).unwrap().value;
                        let expected = if new.is_zero() { Value::Absent } else { Value::Id(new) };
                        assert_eq!(value, expected, "{name}");
                    }
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while Instant::now() < deadline {
                try_git(&world.sandbox.bare(), &["update-ref", "refs/heads/shared/dir/git", &first.to_string()]);
                try_git(&world.sandbox.bare(), &["pack-refs", "--all"]);
                try_git(&world.sandbox.bare(), &["update-ref", "-d", "refs/heads/shared/dir/git"]);
            }
        });
    });
    assert!(rounds.load(Ordering::Relaxed) > 3);
    assert_eq!(world.sandbox.in_bare(&["for-each-ref", "refs/heads/shared/dir/0"]), "");
    world.assert_clean();
}

/// Has git pack the refs of a repository when somebody is about to list a directory of them.
struct PackBefore {
    bare: PathBuf,
    dir: &'static str,
    packed: AtomicBool,
}

impl Hook for PackBefore {
    fn before(&self, operation: &Operation<'_>) -> io::Result<()> {
        if matches!(operation, Operation::Open(path) if path.ends_with(self.dir))
            && !self.packed.swap(true, Ordering::Relaxed)
        {
            git(&self.bare, &["pack-refs", "--all", "--prune"]);
        }
        Ok(())
    }
}

/// What was loose when the push looked into `packed-refs` is packed when it looks for files.
#[test]
fn a_ref_that_is_packed_meanwhile_stays_in_the_way() {
    for mode in [Mode::Each, Mode::Atomic] {
        let world = World::new(format());
        let (zero, first) = (world.zero(), world.commits[0]);
        world.one("refs/heads/a/b", zero, first).unwrap();
        let bare = world.sandbox.bare();
        let hook = Arc::new(PackBefore { bare: bare.clone(), dir: "refs/heads/a", packed: AtomicBool::new(false) });
        let refs = Repository::open_with(&bare, &Fs::hooked(hook.clone())).unwrap().refs();
        let update = world.update("refs/heads/a", zero, first);
        let refused = refs.transaction(&[update], mode, &world.odb, &reflog()).remove(0).unwrap_err();
        assert!(hook.packed.load(Ordering::Relaxed), "nobody looked");
        assert!(refused.text.unwrap().contains("'refs/heads/a/b' exists"));
        assert_eq!(world.git_value("refs/heads/a"), None);
        world.assert_clean();
    }
}

/// Counts the locks that are held whenever something is renamed.
struct CountLocks {
    heads: PathBuf,
    most: AtomicUsize,
}

impl Hook for CountLocks {
    fn before(&self, operation: &Operation<'_>) -> io::Result<()> {
        if let Operation::Rename { .. } = operation {
            let entries = std::fs::read_dir(&self.heads)?.map(|entry| entry.unwrap().path());
            let locks = entries.filter(|path| path.extension() == Some("lock".as_ref())).count();
            self.most.fetch_max(locks, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Others must not find all refs of a mirror locked, nor an operator after a kill.
#[test]
fn a_push_of_many_refs_holds_few_locks() {
    let world = World::new(format());
    let (zero, first, bare) = (world.zero(), world.commits[0], world.sandbox.bare());
    let hook = Arc::new(CountLocks { heads: bare.join("refs/heads"), most: AtomicUsize::new(0) });
    let refs = Repository::open_with(&bare, &Fs::hooked(hook.clone())).unwrap().refs();
    let mut updates: Vec<_> = (0..300).map(|n| world.update(&format!("refs/heads/n{n}"), zero, first)).collect();
    // Of two that exclude each other the first is taken, however far apart they are.
    updates.push(world.update("refs/heads/n0/deeper", zero, first));
    let results = refs.transaction(&updates, Mode::Each, &world.odb, &reflog());
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    assert_eq!(results[300].as_ref().unwrap_err().reason, Reason::Conflict);
    let most = hook.most.load(Ordering::Relaxed);
    assert!((1..=64).contains(&most), "{most}");
    world.assert_clean();
}
