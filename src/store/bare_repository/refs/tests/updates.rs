use super::*;
use crate::store::bare_repository::testing::command;

#[test]
fn refs_are_created_moved_and_deleted() {
    for format in formats() {
        let world = World::new(format);
        let zero = world.zero();
        let [first, second, ..] = world.commits[..] else { unreachable!() };
        for name in ["refs/heads/main", "refs/heads/deep/in/dirs", "refs/x", "refs/heads/ä"] {
            world.one(name, zero, first).unwrap();
            assert_eq!(world.git_value(name), Some(first));
            world.one(name, first, second).unwrap();
            assert_eq!(world.git_value(name), Some(second));
            world.sandbox.in_bare(&["pack-refs", "--all"]);
            world.one(name, second, first).unwrap();
            assert_eq!(world.git_value(name), Some(first));
            world.one(name, first, first).unwrap();
            // Loose and packed at once, with different values.
            world.one(name, first, zero).unwrap();
            assert_eq!(world.git_value(name), None);
            world.one(name, zero, second).unwrap();
            world.sandbox.in_bare(&["pack-refs", "--all"]);
            assert!(!world.sandbox.bare().join(name).exists());
            world.one(name, second, zero).unwrap();
            assert_eq!(world.git_value(name), None);
            world.one(name, zero, zero).unwrap();
            world.assert_clean();
        }
        assert!(!world.sandbox.bare().join("refs/heads/deep").exists(), "empty directories go with the last ref");
        assert!(world.sandbox.bare().join("refs/heads").exists());
        let packed = std::fs::read_to_string(world.sandbox.bare().join("packed-refs")).unwrap();
        assert!(packed.starts_with("# pack-refs with: peeled fully-peeled sorted \n"), "{packed}");
        assert!(packed.contains("\n^"), "the peeled line of the tag is kept: {packed}");
    }
}

#[test]
fn a_wrong_old_value_is_refused() {
    let world = World::new(format());
    let zero = world.zero();
    let [first, second, third, ..] = world.commits[..] else { unreachable!() };
    let name = "refs/heads/main";
    let text = |why: &str| format!("cannot lock ref 'refs/heads/main': {why}");
    let absent = (Reason::DoesNotExist, text("unable to resolve reference 'refs/heads/main'"));
    assert_eq!(world.one(name, first, second), Err(absent.clone()));
    assert_eq!(world.one(name, first, zero), Err(absent));
    for packed in [false, true] {
        if !packed {
            world.one(name, zero, first).unwrap();
        } else {
            world.sandbox.in_bare(&["pack-refs", "--all"]);
        }
        let expected = (Reason::IncorrectOldValue, text(&format!("is at {first} but expected {second}")));
        assert_eq!(world.one(name, second, third), Err(expected.clone()));
        assert_eq!(world.one(name, second, zero), Err(expected.clone()));
        assert_eq!(world.one(name, second, second), Err(expected));
        let exists = (Reason::Exists, text("reference already exists"));
        assert_eq!(world.one(name, zero, second), Err(exists.clone()));
        assert_eq!(world.one(name, zero, first), Err(exists.clone()));
        assert_eq!(world.one(name, zero, zero), Err(exists));
        assert_eq!(world.git_value(name), Some(first));
    }
    world.assert_clean();
}

#[test]
fn the_texts_are_those_of_git() {
    let world = World::new(format());
    let zero = world.zero();
    let [first, second, third, ..] = world.commits[..] else { unreachable!() };
    let blob = world.sandbox.rev("HEAD:file");
    world.one("refs/heads/main", zero, first).unwrap();
    world.one("refs/heads/d", zero, first).unwrap();
    for (name, old, new) in [
        ("refs/heads/main", second, third),
        ("refs/heads/main", zero, third),
        ("refs/heads/none", second, third),
        ("refs/heads/d/f", zero, first),
        ("refs/heads", zero, first),
        ("refs/heads/blob", zero, blob),
        ("refs/heads/nothing", zero, made_up(7)),
    ] {
        let (_, ours) = world.one(name, old, new).unwrap_err();
        let args = ["update-ref", name, &new.to_string(), &old.to_string()];
        let output = command(&world.sandbox.bare()).args(args).output().unwrap();
        let git = String::from_utf8(output.stderr).unwrap();
        // update-ref has another verb in front of the same text.
        let git = git.trim().strip_prefix("fatal: ").unwrap();
        let git = git.strip_prefix(&format!("update_ref failed for ref '{name}': ")).unwrap_or(git);
        assert_eq!(ours, git, "{name}");
    }
    world.assert_clean();
}

#[test]
fn branches_hold_commits_and_nothing_holds_what_is_not_there() {
    let world = World::new(format());
    let zero = world.zero();
    let blob = world.sandbox.rev("HEAD:file");
    let tag = world.sandbox.rev("v1");
    for (name, id, right) in [
        ("refs/heads/a", blob, false),
        ("refs/heads/a", tag, false),
        ("refs/heads/a", made_up(7), false),
        ("refs/tags/a", blob, true),
        ("refs/tags/b", tag, true),
        ("refs/tags/c", made_up(7), false),
    ] {
        let result = world.one(name, zero, id);
        assert_eq!(result.is_ok(), right, "{name} {id}");
        if let Err((reason, _)) = result {
            assert_eq!(reason, Reason::InvalidNewValue);
        }
        assert_eq!(world.git_value(name), right.then_some(id));
    }
}

#[test]
fn files_and_directories_do_not_mix() {
    let world = World::new(format());
    let zero = world.zero();
    let first = world.commits[0];
    for packed in [false, true] {
        world.one("refs/heads/a", zero, first).unwrap();
        world.one("refs/heads/d/e/f", zero, first).unwrap();
        if packed {
            world.sandbox.in_bare(&["pack-refs", "--all"]);
        }
        for name in ["refs/heads/a/b", "refs/heads/a/b/c", "refs/heads/d", "refs/heads/d/e", "refs/heads/d/e/f/g"] {
            let (reason, text) = world.one(name, zero, first).unwrap_err();
            assert_eq!(reason, Reason::Conflict, "{name}: {text}");
            assert_eq!(world.git_value(name), None);
            for mode in [Mode::Each, Mode::Atomic] {
                let updates = [world.update(name, zero, first), world.update("refs/heads/ok", zero, first)];
                let results = world.run(mode, &updates);
                assert!(results[0].is_err());
                assert_eq!(results[1].is_ok(), mode == Mode::Each);
                assert_eq!(world.git_value("refs/heads/ok").is_some(), mode == Mode::Each);
                if mode == Mode::Each {
                    world.one("refs/heads/ok", first, zero).unwrap();
                }
            }
        }
        // An empty directory is not in the way.
        std::fs::create_dir_all(world.sandbox.bare().join("refs/heads/empty/x/y")).unwrap();
        world.one("refs/heads/empty", zero, first).unwrap();
        world.one("refs/heads/empty", first, zero).unwrap();
        world.one("refs/heads/a", first, zero).unwrap();
        world.one("refs/heads/a/b", zero, first).unwrap();
        world.one("refs/heads/a/b", first, zero).unwrap();
        world.one("refs/heads/d/e/f", first, zero).unwrap();
        world.assert_clean();
    }
}

#[test]
fn names_of_one_push_do_not_mix_either() {
    let world = World::new(format());
    let zero = world.zero();
    let first = world.commits[0];
    let updates = [world.update("refs/heads/a/b", zero, first), world.update("refs/heads/a", zero, first)];
    let results = world.run(Mode::Each, &updates);
    assert_eq!(results[0].as_ref().unwrap_err().reason, Reason::Conflict);
    results[1].as_ref().unwrap();
    // A deletion makes room, whatever the order of the commands.
    let updates = [world.update("refs/heads/a/b", zero, first), world.update("refs/heads/a", first, zero)];
    world.run(Mode::Each, &updates).into_iter().for_each(|result| result.unwrap());
    let updates = [world.update("refs/heads/a", zero, first), world.update("refs/heads/a/b", first, zero)];
    world.run(Mode::Each, &updates).into_iter().for_each(|result| result.unwrap());
    // Not in an atomic push: git refuses that, too.
    let updates = [world.update("refs/heads/a/b", zero, first), world.update("refs/heads/a", first, zero)];
    assert!(world.run(Mode::Atomic, &updates).iter().all(Result::is_err));
    assert_eq!(world.git_value("refs/heads/a"), Some(first));
    world.assert_clean();
}

#[test]
fn two_commands_for_one_ref_are_refused() {
    let world = World::new(format());
    let zero = world.zero();
    let [first, second, ..] = world.commits[..] else { unreachable!() };
    for mode in [Mode::Each, Mode::Atomic] {
        let updates = [
            world.update("refs/heads/a", zero, first),
            world.update("refs/heads/b", zero, first),
            world.update("refs/heads/a", first, second),
        ];
        let results = world.run(mode, &updates);
        assert!(results[0].is_err() && results[2].is_err());
        let text = results[0].as_ref().unwrap_err().text.as_deref();
        assert_eq!(text, Some("multiple updates for ref 'refs/heads/a' not allowed"));
        assert_eq!(world.git_value("refs/heads/a"), None);
        assert_eq!(world.git_value("refs/heads/b").is_some(), mode == Mode::Each);
        if mode == Mode::Each {
            world.one("refs/heads/b", first, zero).unwrap();
        }
    }
}

#[test]
fn a_symbolic_ref_moves_what_it_leads_to() {
    let world = World::new(format());
    let zero = world.zero();
    let [first, second, third, fourth] = world.commits[..] else { unreachable!() };
    let bare = world.sandbox.bare();
    world.one("refs/heads/main", zero, first).unwrap();
    world.sandbox.in_bare(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    world.sandbox.in_bare(&["symbolic-ref", "refs/heads/unborn", "refs/heads/new"]);
    world.one("refs/heads/alias", first, second).unwrap();
    assert_eq!(world.git_value("refs/heads/main"), Some(second));
    assert_eq!(std::fs::read(bare.join("refs/heads/alias")).unwrap(), b"ref: refs/heads/main\n");
    world.one("refs/heads/unborn", zero, first).unwrap();
    assert_eq!(world.git_value("refs/heads/new"), Some(first));
    let pair = |new| [world.update("refs/heads/alias", second, third), world.update("refs/heads/main", second, new)];
    for mode in [Mode::Each, Mode::Atomic] {
        let results = world.run(mode, &pair(fourth));
        let reasons: Vec<_> = results.into_iter().map(|result| result.unwrap_err().reason).collect();
        let expected = if mode == Mode::Each { Reason::InconsistentAlias } else { Reason::AtomicFailed };
        assert_eq!(reasons, [expected, expected]);
    }
    world.run(Mode::Each, &pair(third)).into_iter().for_each(|result| result.unwrap());
    assert_eq!(world.git_value("refs/heads/main"), Some(third));
    let updates = [world.update("refs/heads/alias", third, fourth), world.update("refs/heads/new", first, second)];
    world.run(Mode::Atomic, &updates).into_iter().for_each(|result| result.unwrap());
    assert_eq!(world.git_value("refs/heads/main"), Some(fourth));
    assert_eq!(world.git_value("refs/heads/unborn"), Some(second));
    // git deletes the target, too.
    world.one("refs/heads/alias", fourth, zero).unwrap();
    assert_eq!(world.git_value("refs/heads/main"), None);
    assert!(bare.join("refs/heads/alias").exists());
    std::fs::write(bare.join("refs/heads/x"), "ref: refs/heads/y\n").unwrap();
    std::fs::write(bare.join("refs/heads/y"), "ref: refs/heads/x\n").unwrap();
    assert_eq!(world.one("refs/heads/x", zero, first).unwrap_err().0, Reason::BrokenSymref);
}

#[test]
fn a_broken_ref_can_only_be_deleted() {
    let world = World::new(format());
    let zero = world.zero();
    let first = world.commits[0];
    let path = world.sandbox.bare().join("refs/heads/broken");
    std::fs::write(&path, "nonsense\n").unwrap();
    assert_eq!(world.one("refs/heads/broken", zero, first).unwrap_err().0, Reason::Failed);
    assert_eq!(world.one("refs/heads/broken", first, zero).unwrap_err().0, Reason::Failed);
    assert!(path.exists());
    world.one("refs/heads/broken", zero, zero).unwrap();
    assert!(!path.exists());
}

#[test]
fn funny_names_are_refused() {
    let world = World::new(format());
    let (zero, first) = (world.zero(), world.commits[0]);
    for name in ["HEAD", "refs/../config", "refs/heads/../../x", "refs/heads/a.lock", "heads/a", "", "refs/heads/a b"] {
        assert_eq!(world.one(name, zero, first).unwrap_err().0, Reason::FunnyRefname, "{name:?}");
    }
    let long = format!("refs/heads/{}", "x".repeat(300));
    assert_eq!(world.one(&long, zero, first).unwrap_err().0, Reason::Failed);
    world.assert_clean();
}

#[test]
fn a_held_lock_is_waited_for_and_not_stolen() {
    let world = World::new(format());
    let (zero, first) = (world.zero(), world.commits[0]);
    let lock = world.sandbox.bare().join("refs/heads/a.lock");
    std::fs::write(&lock, "").unwrap();
    let begin = std::time::Instant::now();
    let (reason, text) = world.one("refs/heads/a", zero, first).unwrap_err();
    assert!(begin.elapsed().as_millis() >= 100);
    assert_eq!(reason, Reason::Failed);
    assert_eq!(text, "cannot lock ref 'refs/heads/a': Unable to create 'refs/heads/a.lock': File exists.");
    assert!(lock.exists());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(30));
            std::fs::remove_file(&lock).unwrap();
        });
        world.one("refs/heads/a", zero, first).unwrap();
    });
    // Deletions and atomic updates need the lock of packed-refs.
    let lock = world.sandbox.bare().join("packed-refs.lock");
    std::fs::write(&lock, "").unwrap();
    let (_, text) = world.one("refs/heads/a", first, zero).unwrap_err();
    assert_eq!(text, "cannot lock ref 'refs/heads/a': Unable to create 'packed-refs.lock': File exists.");
    assert_eq!(world.git_value("refs/heads/a"), Some(first));
    std::fs::remove_file(&lock).unwrap();
    // What a dead holder of that lock left is no hindrance once the lock itself is gone.
    std::fs::write(world.sandbox.bare().join("packed-refs.new"), "half a li").unwrap();
    world.sandbox.in_bare(&["update-ref", "refs/heads/b", &first.to_string()]);
    let updates = [world.update("refs/heads/a", first, zero), world.update("refs/heads/b", first, zero)];
    world.run(Mode::Atomic, &updates).into_iter().for_each(|result| result.unwrap());
    world.assert_clean();
}

#[test]
fn an_atomic_push_moves_all_or_none() {
    for format in formats() {
        let world = World::new(format);
        let zero = world.zero();
        let [first, second, third, ..] = world.commits[..] else { unreachable!() };
        let tag = world.sandbox.rev("v1");
        world.one("refs/heads/loose", zero, first).unwrap();
        world.one("refs/heads/gone", zero, first).unwrap();
        world.one("refs/heads/both", zero, first).unwrap();
        world.sandbox.in_bare(&["pack-refs", "--all"]);
        world.one("refs/heads/both", first, second).unwrap();
        world.one("refs/heads/loose", first, second).unwrap();
        let updates = |old| {
            [
                world.update("refs/heads/both", second, third),
                world.update("refs/heads/gone", first, zero),
                world.update("refs/heads/loose", old, third),
                world.update("refs/heads/new/deep", zero, third),
                world.update("refs/heads/same", zero, zero),
                world.update("refs/tags/v1", zero, tag),
            ]
        };
        let before = world.sandbox.in_bare(&["for-each-ref"]);
        let results = world.run(Mode::Atomic, &updates(first));
        for (number, result) in results.into_iter().enumerate() {
            let refusal = result.unwrap_err();
            assert_eq!(refusal.reason, Reason::AtomicFailed);
            assert_eq!(refusal.text.is_some(), number == 2, "only the cause has a text");
        }
        assert_eq!(world.sandbox.in_bare(&["for-each-ref"]), before);
        world.assert_clean();
        world.run(Mode::Atomic, &updates(second)).into_iter().for_each(|result| result.unwrap());
        for name in ["both", "loose", "new/deep"] {
            assert_eq!(world.git_value(&format!("refs/heads/{name}")), Some(third), "{name}");
        }
        assert_eq!(world.git_value("refs/heads/gone"), None);
        // git believes the peeled line: it has to be right.
        let peeled = world.sandbox.in_bare(&["for-each-ref", "--format=%(*objectname)", "refs/tags/v1"]);
        assert_eq!(peeled, world.sandbox.rev("v1^{}").to_string());
        let packed = std::fs::read_to_string(world.sandbox.bare().join("packed-refs")).unwrap();
        assert!(packed.contains(&format!("{tag} refs/tags/v1\n^{peeled}\n")), "{packed}");
        world.sandbox.in_bare(&["pack-refs", "--all"]);
        assert_eq!(std::fs::read_to_string(world.sandbox.bare().join("packed-refs")).unwrap(), packed);
        world.assert_clean();
    }
}

#[test]
fn logs_are_written_where_git_writes_them() {
    for (setting, expected) in [
        (None, &[][..]),
        (Some("true"), &["HEAD", "refs/heads/d/main"][..]),
        (Some("always"), &["HEAD", "refs/heads/d/main", "refs/tags/t"][..]),
    ] {
        let world = World::new(format());
        if let Some(setting) = setting {
            world.sandbox.in_bare(&["config", "core.logAllRefUpdates", setting]);
        }
        world.sandbox.in_bare(&["symbolic-ref", "HEAD", "refs/heads/d/main"]);
        let refs = Repository::open(&world.sandbox.bare()).unwrap().refs();
        let (none, first) = (world.zero(), world.commits[0]);
        let updates = [world.update("refs/heads/d/main", none, first), world.update("refs/tags/t", none, first)];
        for result in refs.transaction(&updates, Mode::Each, &world.odb, &reflog()) {
            result.unwrap();
        }
        for name in ["HEAD", "refs/heads/d/main", "refs/tags/t"] {
            let log = std::fs::read_to_string(world.sandbox.bare().join("logs").join(name)).ok();
            let line = format!("{none} {first} P <p@example.com> 1700000000 +0000\tpush\n");
            assert_eq!(log, expected.contains(&name).then_some(line), "{name} with {setting:?}");
        }
        if setting.is_some() {
            let shown = world.sandbox.in_bare(&["reflog", "show", "--format=%gs", "refs/heads/d/main"]);
            assert_eq!(shown, "push");
            refs.transaction(&[world.update("refs/heads/d/main", first, none)], Mode::Each, &world.odb, &reflog())
                .remove(0)
                .unwrap();
            assert!(!world.sandbox.bare().join("logs/refs/heads/d").exists());
            // git tells of the deletion where `HEAD` led there.
            let log = std::fs::read_to_string(world.sandbox.bare().join("logs/HEAD")).unwrap();
            let line = |old, new| format!("{old} {new} P <p@example.com> 1700000000 +0000\tpush\n");
            assert_eq!(log, line(none, first) + &line(first, none));
            // The directory that a log left is no hindrance for a log of that name.
            std::fs::create_dir_all(world.sandbox.bare().join("logs/refs/heads/d/x")).unwrap();
            refs.transaction(&[world.update("refs/heads/d", none, first)], Mode::Each, &world.odb, &reflog())
                .remove(0)
                .unwrap();
            assert!(world.sandbox.bare().join("logs/refs/heads/d").is_file());
            // Logs that are in it are, and git says which.
            let left = world.sandbox.bare().join("logs/refs/heads/left");
            std::fs::create_dir_all(&left).unwrap();
            std::fs::write(left.join("over"), "").unwrap();
            let update = world.update("refs/heads/left", none, first);
            let refusal = refs.transaction(&[update], Mode::Each, &world.odb, &reflog()).remove(0).unwrap_err();
            let text = "cannot update the ref 'refs/heads/left': there are still logs under 'logs/refs/heads/left'";
            assert_eq!((refusal.reason.as_str(), refusal.text.as_deref()), ("failed to update ref", Some(text)));
        }
    }
}

#[test]
fn git_cannot_take_a_new_packed_refs_for_the_old_one() {
    let world = World::new(format());
    let id = world.commits[0];
    let mut seconds = Vec::new();
    for name in ["refs/heads/a", "refs/heads/b", "refs/heads/c"] {
        let updates = [world.update(name, world.zero(), id), world.update(&format!("{name}2"), world.zero(), id)];
        assert!(world.run(Mode::Atomic, &updates).iter().all(Result::is_ok));
        let modified = std::fs::metadata(world.sandbox.bare().join("packed-refs")).unwrap().modified().unwrap();
        seconds.push(modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs());
    }
    assert!(seconds.is_sorted_by(|a, b| a < b), "{seconds:?}");
}

/// All work trees share `packed-refs`: in it these would be everybody's.
#[test]
fn refs_of_one_work_tree_are_in_no_atomic_push_of_several() {
    let world = World::new(format());
    let zero = world.zero();
    let [first, second, ..] = world.commits[..] else { unreachable!() };
    let names = ["refs/worktree/x", "refs/bisect/bad", "refs/rewritten/y"];
    for name in names {
        for (old, new) in [(zero, first), (first, second), (second, zero)] {
            let updates = [world.update("refs/heads/main", zero, first), world.update(name, old, new)];
            let results = world.run(Mode::Atomic, &updates);
            let texts: Vec<_> = results.into_iter().map(|result| result.unwrap_err().text).collect();
            let expected = format!(
                "cannot update ref '{name}': a work tree has it for itself, so it moves with no other in an atomic push"
            );
            assert_eq!(texts, [None, Some(expected)]);
            assert_eq!(world.git_value("refs/heads/main"), None);
            // By itself, and where not all have to move.
            let mode = if old.is_zero() { Mode::Each } else { Mode::Atomic };
            world.run(mode, &updates[1..])[0].clone().unwrap();
            assert_eq!(world.git_value(name), Some(new).filter(|new| !new.is_zero()));
        }
    }
    let updates = names.map(|name| world.update(name, zero, first));
    world.run(Mode::Each, &updates).into_iter().for_each(|result| result.unwrap());
    let packed = std::fs::read_to_string(world.sandbox.bare().join("packed-refs")).unwrap_or_default();
    assert!(names.iter().all(|name| !packed.contains(name)), "{packed}");
    world.assert_clean();
}
