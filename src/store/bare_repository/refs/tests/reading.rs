use std::collections::BTreeSet;

use super::super::{Resolved, Value};
use super::*;
use crate::store::bare_repository::testing::command;

/// The refs that git's receive-pack advertises.
fn advertised(world: &World) -> Vec<(String, String)> {
    let output = command(world.sandbox.dir.path())
        .args(["receive-pack", "--http-backend-info-refs", "bare.git"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let mut lines = Vec::new();
    let mut rest = output.stdout.as_slice();
    while let Some((len, _)) = rest.split_at_checked(4) {
        let len = usize::from_str_radix(std::str::from_utf8(len).unwrap(), 16).unwrap();
        if len < 4 {
            break;
        }
        let line = String::from_utf8(rest[4..len].to_vec()).unwrap();
        let line = line.split('\0').next().unwrap().trim_end();
        let (id, name) = line.split_once(' ').unwrap();
        lines.push((name.to_owned(), id.to_owned()));
        rest = &rest[len..];
    }
    lines
}

#[track_caller]
fn assert_same(world: &World) {
    let ours: Vec<_> = world
        .refs
        .list(b"refs/")
        .unwrap()
        .into_iter()
        .map(|listed| (String::from_utf8(listed.name).unwrap(), listed.id.to_string()))
        .collect();
    assert_eq!(ours, advertised(world));
}

#[test]
fn refs_are_listed_as_git_advertises_them() {
    for format in formats() {
        let world = World::new(format);
        let bare = world.sandbox.bare();
        let [first, second, ..] = world.commits[..] else { unreachable!() };
        assert_same(&world);
        for (name, id) in [("a", first), ("a-b", second), ("a.b", first), ("a0", second), ("z/y/x", first)] {
            world.sandbox.in_bare(&["update-ref", &format!("refs/heads/{name}"), &id.to_string()]);
        }
        assert_same(&world);
        world.sandbox.in_bare(&["pack-refs", "--all"]);
        assert_same(&world);
        world.sandbox.in_bare(&["update-ref", "refs/heads/a", &second.to_string()]);
        world.sandbox.in_bare(&["update-ref", "refs/heads/b", &second.to_string()]);
        world.sandbox.in_bare(&["update-ref", "-d", "refs/heads/z/y/x"]);
        world.sandbox.in_bare(&["symbolic-ref", "refs/heads/alias", "refs/heads/a"]);
        world.sandbox.in_bare(&["symbolic-ref", "refs/heads/alias2", "refs/heads/alias"]);
        world.sandbox.in_bare(&["symbolic-ref", "refs/heads/dangling", "refs/heads/none"]);
        assert_same(&world);
        std::fs::write(bare.join("refs/heads/garbage"), "nonsense\n").unwrap();
        std::fs::write(bare.join("refs/heads/empty"), "").unwrap();
        std::fs::write(bare.join("refs/heads/spaces"), format!("{first}   \n\n")).unwrap();
        std::fs::write(bare.join("refs/heads/trailing"), format!("{first}x\n")).unwrap();
        std::fs::write(bare.join("refs/heads/short"), "1234\n").unwrap();
        std::fs::write(bare.join("refs/heads/x.lock"), format!("{first}\n")).unwrap();
        std::fs::write(bare.join("refs/heads/.hidden"), format!("{first}\n")).unwrap();
        std::fs::create_dir_all(bare.join("refs/heads/dir/in/dir")).unwrap();
        assert_same(&world);
        std::os::unix::fs::symlink("refs/heads/a", bare.join("refs/heads/link")).unwrap();
        std::os::unix::fs::symlink("a", bare.join("refs/heads/link2")).unwrap();
        assert_same(&world);
        std::fs::write(bare.join("refs/heads/looped"), "ref: refs/heads/looped2\n").unwrap();
        std::fs::write(bare.join("refs/heads/looped2"), "ref: refs/heads/looped\n").unwrap();
        assert_same(&world);
    }
}

#[test]
fn a_ref_resolves_to_where_symbolic_refs_lead() {
    let world = World::new(format());
    let first = world.commits[0];
    world.sandbox.in_bare(&["update-ref", "refs/heads/a", &first.to_string()]);
    for pair in ["b:a", "c:b", "d:c", "e:d", "f:e", "g:f", "x:y", "y:x", "u:v"] {
        let (name, target) = pair.split_once(':').unwrap();
        std::fs::write(world.sandbox.bare().join("refs/heads").join(name), format!("ref: refs/heads/{target}\n"))
            .unwrap();
    }
    let resolve = |name: &str| world.refs.resolve(format!("refs/heads/{name}").as_bytes()).unwrap();
    let Resolved { name, through, value } = resolve("c");
    assert_eq!((name.as_slice(), value), (b"refs/heads/a".as_slice(), Value::Id(first)));
    assert_eq!(through, [b"refs/heads/c".to_vec(), b"refs/heads/b".to_vec()]);
    assert_eq!(resolve("x").value, Value::Loop);
    assert_eq!(resolve("u").value, Value::Absent);
    assert_eq!(resolve("u").name, b"refs/heads/v");
    // As many as git follows, and no more.
    for name in ["e", "f", "g"] {
        let ours = resolve(name).value == Value::Id(first);
        assert_eq!(ours, world.git_value(&format!("refs/heads/{name}")).is_some(), "{name}");
    }
    assert_eq!(world.refs.head().unwrap().as_deref(), Some(b"refs/heads/main".as_slice()));
    std::fs::write(world.sandbox.bare().join("HEAD"), format!("{first}\n")).unwrap();
    assert_eq!(world.refs.head().unwrap(), None);
}

#[test]
fn a_new_packed_refs_is_seen_at_once() {
    let world = World::new(format());
    for round in 0..50 {
        let id = world.commits[round % 4];
        world.sandbox.in_bare(&["update-ref", "refs/heads/a", &id.to_string()]);
        world.sandbox.in_bare(&["pack-refs", "--all"]);
        assert!(!world.sandbox.bare().join("refs/heads/a").exists());
        assert_eq!(world.refs.resolve(b"refs/heads/a").unwrap().value, Value::Id(id));
    }
}

/// As `cp backup packed-refs` does it: the file has its inode, and here its length too.
#[test]
fn a_packed_refs_that_is_written_in_place_is_read_again() {
    let world = World::new(format());
    let zero = world.zero();
    let [first, ..] = world.commits[..] else { unreachable!() };
    let path = world.sandbox.bare().join("packed-refs");
    for name in ["gone-1", "gone-2", "gone-3", "old"] {
        world.one(&format!("refs/heads/{name}"), zero, first).unwrap();
    }
    world.sandbox.in_bare(&["pack-refs", "--all"]);
    let mut hour = std::time::SystemTime::now();
    let mut write = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace(from, to)).unwrap();
        // However coarse the clock of the file system is.
        hour -= std::time::Duration::from_secs(3600);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(hour).unwrap();
    };
    let gone = |name: &str| world.update(&format!("refs/heads/{name}"), first, zero);

    assert_eq!(world.refs.resolve(b"refs/heads/old").unwrap().value, Value::Id(first));
    write("refs/heads/old", "refs/heads/new");
    assert_eq!(world.refs.resolve(b"refs/heads/old").unwrap().value, Value::Absent);
    assert_same(&world);
    // And whoever changes the file changes what is in it now.
    write("refs/heads/new", "refs/heads/nxt");
    assert!(world.run(Mode::Each, &[gone("gone-1")]).iter().all(Result::is_ok));
    assert_eq!(world.git_value("refs/heads/nxt"), Some(first));
    assert_same(&world);
    write("refs/heads/nxt", "refs/heads/end");
    assert!(world.run(Mode::Atomic, &[gone("gone-2"), gone("gone-3")]).iter().all(Result::is_ok));
    assert_eq!(world.git_value("refs/heads/end"), Some(first));
    assert_same(&world);
    world.assert_clean();
}

#[test]
fn links_to_directories_are_followed_and_loops_of_them_end() {
    use std::os::unix::fs::symlink;
    let world = World::new(format());
    let zero = world.zero();
    let [first, second, ..] = world.commits[..] else { unreachable!() };
    let heads = world.sandbox.bare().join("refs/heads");
    let outside = world.sandbox.dir.path().join("outside/deep");
    std::fs::create_dir_all(&outside).unwrap();
    symlink(world.sandbox.dir.path().join("outside"), heads.join("linked")).unwrap();
    world.sandbox.in_bare(&["update-ref", "refs/heads/linked/deep/a", &first.to_string()]);
    assert!(outside.join("a").exists());
    world.one("refs/heads/real/b", zero, first).unwrap();
    symlink("real", heads.join("again")).unwrap();
    assert_same(&world);
    for name in ["refs/heads/linked/deep/a", "refs/heads/again/b"] {
        world.one(name, first, second).unwrap();
        assert_eq!(world.git_value(name), Some(second));
        // It is in the way like any other.
        let (reason, _) = world.one(name.rsplit_once('/').unwrap().0, zero, first).unwrap_err();
        assert_eq!(reason, Reason::Conflict);
        assert_eq!(world.one("refs/heads/linked", zero, first).unwrap_err().0, Reason::Conflict);
    }
    world
        .run(
            Mode::Atomic,
            &[
                world.update("refs/heads/linked/deep/a", second, zero),
                world.update("refs/heads/linked/deep/c", zero, first),
            ],
        )
        .into_iter()
        .for_each(|result| result.unwrap());
    assert_same(&world);
    assert!(heads.join("linked").is_symlink() && outside.join("c").exists());

    for name in ["refs/heads/ping/x", "refs/heads/pong/y"] {
        world.one(name, zero, first).unwrap();
    }
    let names =
        || -> BTreeSet<Vec<u8>> { world.refs.list(b"refs/").unwrap().into_iter().map(|listed| listed.name).collect() };
    let before = names();
    let loops = [(".", "loop"), ("..", "real/up"), ("../..", "real/refs"), ("ring2", "ring1"), ("ring1", "ring2")];
    for (target, link) in loops.into_iter().chain([("../pong", "ping/to"), ("../ping", "pong/to")]) {
        symlink(target, heads.join(link)).unwrap();
    }
    symlink(&heads, outside.join("back")).unwrap();
    let added: Vec<_> = names().difference(&before).cloned().collect();
    assert_eq!(added, [b"refs/heads/ping/to/y", b"refs/heads/pong/to/x"]);
}

/// Whoever opens a pipe waits for its other end.
#[test]
fn a_pipe_is_no_ref() {
    let world = World::new(format());
    let (zero, first) = (world.zero(), world.commits[0]);
    let heads = world.sandbox.bare().join("refs/heads");
    let made = std::process::Command::new("mkfifo").arg(heads.join("pipe")).status().unwrap();
    assert!(made.success());
    std::os::unix::fs::symlink("pipe", heads.join("link")).unwrap();
    assert_same(&world);
    for name in ["refs/heads/pipe", "refs/heads/link"] {
        assert_eq!(world.refs.resolve(name.as_bytes()).unwrap().value, Value::Broken);
        let (reason, text) = world.one(name, zero, first).unwrap_err();
        assert!(reason == Reason::Failed && text.ends_with("reference broken"), "{text}");
    }
}
