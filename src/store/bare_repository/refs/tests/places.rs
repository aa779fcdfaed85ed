//! Repositories whose files are elsewhere, or nowhere any more.

use std::path::{Path, PathBuf};

use super::super::Logging;
use super::*;
use crate::store::bare_repository::testing::try_git;

#[test]
fn a_packed_refs_that_is_a_symbolic_link_stays_one() {
    use std::os::unix::fs::symlink;
    let world = World::new(format());
    let zero = world.zero();
    let [first, second, ..] = world.commits[..] else { unreachable!() };
    let (bare, elsewhere) = (world.sandbox.bare(), world.sandbox.dir.path().join("elsewhere"));
    std::fs::create_dir(&elsewhere).unwrap();
    let [packed, target] = [bare.join("packed-refs"), elsewhere.join("refs")];
    let links: [&[(&Path, PathBuf)]; 3] = [
        &[(Path::new("../elsewhere/refs"), packed.clone())],
        &[(&target, packed.clone())],
        &[
            (Path::new("one"), packed.clone()),
            (Path::new("../elsewhere/two"), bare.join("one")),
            (Path::new("three"), elsewhere.join("two")),
            (&elsewhere.join("four"), elsewhere.join("three")),
            (Path::new("refs"), elsewhere.join("four")),
        ],
    ];
    for links in links {
        for name in ["gone", "gone-2", "kept"] {
            world.one(&format!("refs/heads/{name}"), zero, first).unwrap();
        }
        world.sandbox.in_bare(&["pack-refs", "--all"]);
        std::fs::rename(&packed, &target).unwrap();
        for (to, link) in links {
            symlink(to, link).unwrap();
        }
        world.one("refs/heads/gone", first, zero).unwrap();
        let updates = [world.update("refs/heads/gone-2", first, zero), world.update("refs/heads/kept", first, second)];
        world.run(Mode::Atomic, &updates).into_iter().for_each(|result| result.unwrap());
        world.sandbox.in_bare(&["pack-refs", "--all"]);
        assert_eq!(world.git_value("refs/heads/kept"), Some(second));
        assert_eq!([world.git_value("refs/heads/gone"), world.git_value("refs/heads/gone-2")], [None, None]);
        assert!(packed.is_symlink() && target.is_file() && !target.is_symlink());
        // The lock that git would take is waited for.
        std::fs::write(elsewhere.join("refs.lock"), "").unwrap();
        assert!(!try_git(&bare, &["pack-refs", "--all"]).status.success());
        let (_, text) = world.one("refs/heads/kept", second, zero).unwrap_err();
        assert_eq!(text, "cannot lock ref 'refs/heads/kept': Unable to create 'packed-refs.lock': File exists.");
        std::fs::remove_file(elsewhere.join("refs.lock")).unwrap();
        assert_eq!(
            std::fs::read_dir(&elsewhere).unwrap().filter(|entry| !entry.as_ref().unwrap().path().is_symlink()).count(),
            1
        );
        world.one("refs/heads/kept", second, zero).unwrap();
        world.assert_clean();
        for (_, link) in links {
            std::fs::remove_file(link).unwrap();
        }
        std::fs::rename(&target, &packed).unwrap();
    }
    // One more than git follows, which would replace the last.
    for number in 0..5 {
        symlink(format!("link{}", number + 1), bare.join(format!("link{number}"))).unwrap();
    }
    std::fs::rename(&packed, bare.join("link5")).unwrap();
    symlink("link0", &packed).unwrap();
    world.one("refs/heads/kept", zero, first).unwrap();
    world.one("refs/heads/kept", first, zero).unwrap_err();
    assert_eq!(world.git_value("refs/heads/kept"), Some(first));
    assert!((0..5).all(|number| bare.join(format!("link{number}")).is_symlink()));
}

/// What was moved away, or deleted, does not come back as a stub.
#[test]
fn a_repository_that_is_gone_stays_gone() {
    let world = World::new(format());
    let (zero, first) = (world.zero(), world.commits[0]);
    let bare = world.sandbox.bare();
    let moved = world.sandbox.dir.path().join("moved.git");
    let names = ["refs/heads/a/b", "refs/heads/c"];
    let (creations, deletions) =
        (names.map(|name| world.update(name, zero, first)), names.map(|name| world.update(name, first, zero)));
    let push = |updates: &[Update]| {
        for mode in [Mode::Each, Mode::Atomic] {
            let results = world.refs.transaction(updates, mode, &AllCommits, &reflog());
            assert!(results.iter().all(Result::is_err), "{results:?}");
        }
        world.refs.transaction(&updates[..1], Mode::Atomic, &AllCommits, &reflog())[0].clone().unwrap_err();
    };
    std::fs::rename(&bare, &moved).unwrap();
    push(&creations);
    push(&deletions);
    let log = bare.join("logs");
    reflog().append(&world.refs.fs, &bare, Logging::Always, b"refs/heads/a", &zero, &first).unwrap_err();
    assert!(!bare.exists() && !log.exists());
    // Half removed.
    std::fs::create_dir(&bare).unwrap();
    push(&creations);
    push(&deletions);
    assert_eq!(std::fs::read_dir(&bare).unwrap().count(), 0);
    // What only lost its empty directories has all it needs.
    std::fs::remove_dir(&bare).unwrap();
    std::fs::rename(&moved, &bare).unwrap();
    let _ = std::fs::remove_dir(bare.join("refs/heads"));
    assert!(!bare.join("refs/heads").exists());
    for result in world.run(Mode::Each, &creations) {
        result.unwrap();
    }
    world.assert_clean();
}
