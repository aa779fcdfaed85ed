use std::io;
use std::sync::Mutex;

use super::super::fs::Operation;
use super::*;

/// Fails the operation of one number; if it lasts, as for a full disk, all later ones as well that need room.
struct Fault {
    at: usize,
    errno: i32,
    lasts: bool,
    seen: Mutex<(usize, String)>,
}

impl Hook for Fault {
    fn before(&self, operation: &Operation<'_>) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        seen.0 += 1;
        if seen.0 == self.at + 1 {
            seen.1 = format!("{operation:?}");
            return Err(io::Error::from_raw_os_error(self.errno));
        }
        use Operation::{CreateDir, CreateNew, OpenAppend, Sync, Write};
        let needs_room = matches!(operation, CreateDir(_) | CreateNew(_) | OpenAppend(_) | Write { .. } | Sync(_));
        if self.lasts && needs_room && seen.0 > self.at {
            return Err(io::Error::from_raw_os_error(self.errno));
        }
        Ok(())
    }
}

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EMFILE: i32 = 24;

/// An error at each file operation of a push in turn: nothing that is reported as done is undone, nothing else is half
/// done, nothing is left, and the next push goes through.
#[test]
fn a_push_survives_each_single_fault() {
    let kept = in_each_shape(&World::new(), |_| true);
    let unpacked = in_each_shape(&World::unpacking(), |shape| ["one ref", "atomic"].contains(&shape));
    println!("{kept} + {unpacked} faults injected");
    assert!(kept > 600 && unpacked > 400, "{kept}, {unpacked}");
}

fn in_each_shape(world: &World, is_wanted: fn(&str) -> bool) -> usize {
    let next = world.next();
    let mut injected = 0;
    for (shape, pushes) in world.shapes().into_iter().filter(|(shape, _)| is_wanted(shape)) {
        let [push] = &pushes[..] else { continue };
        for at in 0.. {
            let mut done = false;
            for (errno, lasts) in [(ENOSPC, false), (EIO, false), (EMFILE, false), (ENOSPC, true)] {
                let bare = world.restore();
                let fault = Arc::new(Fault { at, errno, lasts, seen: Mutex::default() });
                let said = push.run(&bare, Some(fault.clone()));
                let (count, what) = fault.seen.lock().unwrap().clone();
                if count <= at {
                    assert!(said.is_ok() && values(&bare) == push.after, "{shape}: {said:?}");
                    assert!(at > 10, "{shape} has only {at} operations");
                    done = true;
                    break;
                }
                injected += 1;
                check(
                    world,
                    push,
                    &next,
                    &bare,
                    &said,
                    &format!("{shape}, operation {at}, {what}, error {errno}, lasting: {lasts}"),
                );
            }
            if done {
                break;
            }
        }
    }
    injected
}

fn check(world: &World, push: &Push, next: &Push, bare: &Path, said: &Said, context: &str) {
    let dir = world.sandbox.dir.path().to_str().unwrap();
    assert!(!said.everything.contains(dir), "{context}: the client reads {}", said.everything);
    assert!(!said.everything.contains("os error"), "{context}: the client reads {}", said.everything);
    if said.unpack != "ok" {
        assert_eq!(said.unpack, "internal error", "{context}");
        assert!(said.refs.values().all(Option::is_some), "{context}: {said:?}");
    }
    let now = values(bare);
    let mut moved = 0;
    for name in push.names() {
        let value = now.get(name);
        assert!(value == push.after.get(name) || value == push.before.get(name), "{context}: {name} holds {value:?}");
        moved += usize::from(value == push.after.get(name));
        if said.refs[name].is_none() {
            assert_eq!(value, push.after.get(name), "{context}: {name} was reported to have moved");
        }
    }
    if push.atomic {
        assert!(moved == 0 || moved == push.names().count(), "{context}: {moved} moved");
        let ok = said.refs.values().filter(|refusal| refusal.is_none()).count();
        assert!(ok == 0 || ok == said.refs.len(), "{context}: {said:?}");
    }
    assert_sound(bare, context);
    let left = leftovers(bare);
    let cleaning_failed = context.contains(" Remove");
    assert!(left.is_empty() || cleaning_failed, "{context}: left behind {left:?}");
    let said = next.run(bare, None);
    assert!(said.is_ok(), "{context}: the next push: {said:?}");
    if moved == 0 && left.is_empty() {
        let said = push.run(bare, None);
        assert!(said.is_ok(), "{context}: the same push again: {said:?}");
    }
    if left.is_empty() {
        assert_eq!(leftovers(bare), [] as [PathBuf; 0], "{context}");
    }
}
