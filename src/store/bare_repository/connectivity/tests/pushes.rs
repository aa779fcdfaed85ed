//! Pushes that are whole, and pushes that are not.

use super::*;

#[test]
fn a_push_into_an_empty_repository_is_complete_only_with_every_object() {
    for format in formats() {
        let world = World::new(format);
        world.sandbox.commit("a/b/file", "text");
        world.sandbox.commit("a/c/file", "other");
        git(&world.sandbox.work(), &["tag", "-a", "-m", "t", "v1"]);
        git(&world.sandbox.work(), &["tag", "-a", "-m", "t", "v2", "v1"]);
        let tag = world.sandbox.rev("v2");
        let all = world.needed(&["v2"]);
        assert!(all.len() > 10);
        assert!(world.complete(&all, &tag));
        for id in &all {
            let rest = without(&all, id);
            let result = world.run(&rest, &[tag]).remove(0);
            assert_eq!(result.unwrap_err().object, *id);
            assert!(!world.complete(&rest, &tag));
        }
    }
}

#[test]
fn a_second_push_looks_only_at_what_it_changed() {
    for format in formats() {
        let world = World::new(format);
        for dir in 0..20 {
            for file in 0..5 {
                let path = world.sandbox.work().join(format!("dir{dir}/sub/{file}"));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, format!("{dir} {file}")).unwrap();
            }
        }
        let old = world.sandbox.commit("top", "1");
        world.push("main");
        let new = world.sandbox.commit("dir7/sub/3", "changed");
        let needed = world.needed(&["main", &format!("^{old}")]);
        assert_eq!(needed.len(), 5, "a commit, three trees, a blob");
        let counting = Counting { odb: &world.bare, read: Mutex::default() };
        assert_eq!(world.run_on(&counting, &needed, &[new], &[old]), [Ok(())]);
        // The commit it builds upon, its root, and nothing else: no tree in a changed directory is external, so the
        // root already has all the trees that are.
        let read = std::mem::take(&mut *counting.read.lock().unwrap());
        let expected = [old, world.sandbox.rev(&format!("{old}^{{tree}}"))];
        assert_eq!(read, BTreeSet::from(expected));
        // With an external tree further down, the way to it, too.
        let new = world.sandbox.commit("dir7/other", "new");
        let needed = world.needed(&["main", &format!("^{old}")]);
        let needed: Vec<_> = needed.into_iter().collect();
        assert_eq!(world.run_on(&counting, &needed, &[new], &[old]), [Ok(())]);
        world.push("main");
        let older = new;
        let new = world.sandbox.commit("dir7/other", "newer");
        let needed = world.needed(&["main", &format!("^{older}")]);
        counting.read.lock().unwrap().clear();
        assert_eq!(world.run_on(&counting, &needed, &[new], &[older]), [Ok(())]);
        let read = std::mem::take(&mut *counting.read.lock().unwrap());
        let expected = ["", "^{tree}", ":dir7"].map(|at| world.sandbox.rev(&format!("{older}{at}")));
        assert_eq!(read, BTreeSet::from(expected));
        for id in &needed {
            let result = world.run(&without(&needed, id), &[new]).remove(0);
            assert_eq!(result.unwrap_err().object, *id);
            assert!(!world.complete(&without(&needed, id), &new));
        }
    }
}

#[test]
fn only_the_refs_that_need_it_are_refused() {
    let world = World::new(format());
    world.sandbox.commit("base", "1");
    world.push("main");
    let good = world.sandbox.commit("1", "1");
    git(&world.sandbox.work(), &["checkout", "-q", "-b", "bad", "main~1"]);
    let bad = world.sandbox.commit("2", "2");
    let blob = world.sandbox.rev("bad:2");
    let worse = world.sandbox.commit("3", "3");
    let needed = without(&world.needed(&["main", "bad", "^main~1"]), &blob);
    let results = world.run(&needed, &[bad, good, worse, blob, good]);
    let missing = Missing { object: blob, child: None, text: format!("missing blob object '{blob}'") };
    assert_eq!(results, [Err(missing.clone()), Ok(()), Err(missing.clone()), Err(missing), Ok(())]);
}

#[test]
fn a_link_to_the_zero_id_is_one_in_large_pushes_too() {
    let world = World::new("sha1");
    let zero = ObjectId::zero(world.format);
    // After so many links those that come again are not written down again.
    let large: Vec<u8> =
        (1..5000_u32).flat_map(|n| [format!("100644 {n}\0").as_bytes(), &n.to_be_bytes().repeat(5)].concat()).collect();
    let null = [&b"100644 null\0"[..], &[0; 20]].concat();
    let links = world.links(&world.brought(&[]), 1 << 16);
    let mut worker = links.worker();
    for tree in [large, null] {
        worker.object(ObjectKind::Tree, &zero, &tree).unwrap();
    }
    worker.finish().unwrap();
    let mut found = Vec::new();
    links
        .for_each(|id, kind| {
            found.push((id, kind));
            Ok(true)
        })
        .unwrap();
    assert!(found.contains(&(zero, ObjectKind::Blob)));
}

#[test]
fn an_object_of_the_repository_is_of_the_kind_that_each_link_says() {
    for format in formats() {
        let world = World::new(format);
        let blob = world.hash_object("blob", b"text");
        let entry = |front: &str| [front.as_bytes(), b"\0", blob.as_bytes()].concat();
        for (second, is_complete) in [("100644 b", true), ("40000 b", false)] {
            let tree = world.hash_object("tree", &[entry("100644 a"), entry(second)].concat());
            let text = format!("tree {tree}\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\n");
            let commit = world.hash_object("commit", text.as_bytes());
            // An earlier push left them there, and no ref has them.
            [blob, tree, commit].iter().for_each(|id| world.drop_into_bare(id));
            assert_eq!(world.complete(&[], &commit), is_complete, "{second}");
        }
    }
}

#[test]
fn what_no_ref_needs_may_be_broken() {
    let world = World::new(format());
    let old = world.sandbox.commit("base", "1");
    world.push("main");
    let new = world.sandbox.commit("good", "1");
    let mut needed = world.needed(&["main", &format!("^{old}")]);
    let mut tree = b"100644 nowhere\0".to_vec();
    tree.extend_from_slice(&[7; 20]);
    needed.push(world.hash_object("tree", &tree));
    assert!(world.complete(&needed, &new));
    needed.push(world.hash_object("tree", b"100644 cut"));
    needed.push(world.hash_object("commit", b"nonsense"));
    needed.push(world.hash_object("tag", b"nonsense"));
    assert_eq!(world.run(&needed, &[new]), [Ok(())]);
    // But not if it is needed.
    let cut = world.hash_object("tree", b"100644 cut");
    let commit = world
        .hash_object("commit", format!("tree {cut}\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\n").as_bytes());
    needed.push(commit);
    let missing = world.run(&needed, &[new, commit]);
    assert_eq!(missing[0], Ok(()));
    assert_eq!(missing[1].as_ref().unwrap_err().text, format!("tree '{cut}': too-short tree file"));
    let nonsense = world.hash_object("commit", b"nonsense");
    let missing = world.run(&needed, &[nonsense]).remove(0);
    assert_eq!(missing.unwrap_err().text, format!("commit '{nonsense}': bogus commit object"));
}

#[test]
fn an_object_of_another_kind_is_none() {
    let world = World::new(format());
    let old = world.sandbox.commit("dir/file", "1");
    world.push("main");
    let (tree, blob) = (world.sandbox.rev("main:dir"), world.sandbox.rev("main:dir/file"));
    let commit = |tree: ObjectId, parent: ObjectId| {
        let text = format!("tree {tree}\nparent {parent}\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\n");
        world.hash_object("commit", text.as_bytes())
    };
    let entry =
        |mode: &str, id: ObjectId| world.hash_object("tree", &[mode.as_bytes(), b" x\0", id.as_bytes()].concat());
    let (as_blob, as_tree, good) = (entry("100644", tree), entry("40000", blob), entry("40000", tree));
    for (tree, parent, right) in [
        (good, old, true),
        (as_blob, old, false),
        (as_tree, old, false),
        (blob, old, false),
        (good, blob, false),
        (good, tree, false),
    ] {
        let new = commit(tree, parent);
        // The wrong object is the repository's, or came with the push.
        for extra in [&[][..], &[self::ObjectId::clone(&blob)], &world.needed(&["main"])] {
            let brought = [&[new, as_blob, as_tree, good], extra].concat();
            assert_eq!(world.run(&brought, &[new]).remove(0).is_ok(), right, "{tree} {parent} {extra:?}");
        }
    }
}

#[test]
fn what_is_there_but_not_reached_is_walked() {
    let world = World::new(format());
    world.sandbox.commit("base", "1");
    world.push("main");
    git(&world.sandbox.work(), &["checkout", "-q", "--orphan", "other"]);
    let other = world.sandbox.commit("dir/deep/file", "2");
    let all = world.needed(&["other"]);
    let blob = world.sandbox.rev("other:dir/deep/file");
    // Somebody's push left these, without the blob.
    for id in without(&all, &blob) {
        world.drop_into_bare(&id);
    }
    let new = world.sandbox.commit("new", "3");
    let needed = world.needed(&["other", &format!("^{other}")]);
    assert!(!world.complete(&needed, &new));
    assert!(!world.complete(&[], &other), "no pack at all");
    // The blob comes with the push: then all is there.
    let with_blob = [needed.as_slice(), &[blob]].concat();
    assert!(world.complete(&with_blob, &new));
    assert!(world.complete(&[blob], &other));
    world.drop_into_bare(&blob);
    assert!(world.complete(&needed, &new));
    assert!(world.complete(&[], &other));
    // A tree that nobody reaches, in a commit that builds upon what is reached.
    assert!(world.complete(&[], &world.sandbox.rev("main")));
    let tree = world.sandbox.rev("other:dir");
    std::fs::remove_file(loose(&world.sandbox.bare().join("objects"), &blob)).unwrap();
    let parent = world.sandbox.rev("main");
    let text = format!("tree {tree}\nparent {parent}\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\n");
    let commit = world.hash_object("commit", text.as_bytes());
    assert!(!world.complete(&[commit], &commit));
    world.drop_into_bare(&blob);
    assert!(world.complete(&[commit], &commit));
}

#[test]
fn hidden_refs_are_not_trusted() {
    let world = World::new(format());
    world.sandbox.commit("base", "1");
    world.push("main");
    git(&world.sandbox.work(), &["checkout", "-q", "--orphan", "secret"]);
    let secret = world.sandbox.commit("dir/file", "2");
    world.push("HEAD:refs/hidden/x");
    let blob = world.sandbox.rev("secret:dir/file");
    std::fs::remove_file(loose(&world.sandbox.bare().join("objects"), &blob)).unwrap();
    let new = world.sandbox.commit("new", "3");
    let needed = world.needed(&["secret", &format!("^{secret}")]);
    let main = world.sandbox.rev("main");
    assert_eq!(world.run(&needed, &[new]), [Ok(())]);
    let result = world.run_on(&world.bare, &needed, &[new], &[main]).remove(0);
    assert_eq!(result.unwrap_err().object, blob);
}

#[test]
fn a_commit_behind_a_ref_is_trusted_without_a_look_at_its_trees() {
    let world = World::new(format());
    for number in 0..30 {
        world.sandbox.commit(&format!("dir/file{number}"), "x");
    }
    world.push("main");
    let base = world.sandbox.rev("main~20");
    git(&world.sandbox.work(), &["checkout", "-q", "-b", "side", &base.to_string()]);
    let new = world.sandbox.commit("new", "3");
    let needed = world.needed(&["side", "^main"]);
    let counting = Counting { odb: &world.bare, read: Mutex::default() };
    assert_eq!(world.run_on(&counting, &needed, &[new, base], &world.trusted()), [Ok(()), Ok(())]);
    let read = counting.read.lock().unwrap();
    let mut trees: Vec<_> = read.iter().filter(|id| world.bare.kind(id).unwrap() == Some(ObjectKind::Tree)).collect();
    trees.sort();
    let mut expected =
        [world.sandbox.rev("main^{tree}"), world.sandbox.rev("side~1^{tree}"), world.sandbox.rev("main:dir")];
    expected.sort();
    assert!(trees.iter().all(|tree| expected.contains(tree)), "{trees:?}");
    assert!(read.len() < 40, "{}", read.len());
}

#[test]
fn links_are_written_down_once() {
    let world = World::new(format());
    for number in 0..50 {
        world.sandbox.commit(&format!("dir/file{}", number % 10), &number.to_string());
    }
    let new = world.sandbox.rev("main");
    let all = world.needed(&["main"]);
    let brought = world.brought(&all);
    for (limit, on_disk) in [(1 << 16, false), (100, true)] {
        let links = world.links(&brought, limit);
        assert_eq!(links.is_on_disk(), on_disk);
        let mut seen = BTreeMap::new();
        links
            .for_each(|id, kind| {
                *seen.entry((id, kind)).or_insert(0) += 1;
                Ok(true)
            })
            .unwrap();
        let mut expected: Vec<_> = without(&all, &new);
        expected.sort();
        assert_eq!(seen.keys().map(|(id, _)| *id).collect::<Vec<_>>(), expected);
        drop(links);
        assert!(!world.sandbox.dir.path().join("links").exists());
    }
}

#[test]
fn a_long_history_is_no_deep_recursion() {
    use std::io::Write;
    const COUNT: usize = 20_000;
    let world = World::new(format());
    let mut text = String::new();
    for number in 0..COUNT {
        text += &format!("commit refs/heads/long\ncommitter C <c@x> {number} +0000\ndata 0\n");
    }
    let mut child = command(&world.sandbox.work())
        .args(["fast-import", "--quiet"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let work = Repository::open(&world.sandbox.work()).unwrap().odb(1 << 20).unwrap();
    let world = World { work, ..world };
    let all = world.needed(&["long"]);
    assert_eq!(all.len(), COUNT + 1);
    let new = world.sandbox.rev("long");
    let small = std::thread::Builder::new().stack_size(256 << 10);
    std::thread::scope(|scope| {
        let run = || {
            assert_eq!(world.run(&all, &[new]), [Ok(())]);
            let first = *all.iter().rfind(|id| world.work.kind(id).unwrap() == Some(ObjectKind::Commit)).unwrap();
            assert_eq!(world.run(&without(&all, &first), &[new]).remove(0).unwrap_err().object, first);
        };
        small.spawn_scoped(scope, run).unwrap().join().unwrap();
    });
}

/// A clone without blobs, or one that has lost some: git does not ask for what the commits that a push builds upon have.
#[test]
fn what_the_commits_below_a_push_have_need_not_be_there() {
    for format in formats() {
        let world = World::new(format);
        let work = world.sandbox.work();
        for path in ["flat", "old/deep/file", "kept/file", "changed"] {
            world.sandbox.commit(path, path);
        }
        let old = world.sandbox.rev("HEAD");
        world.push("main");
        let lose = |revision: &str| {
            let id = world.sandbox.rev(revision);
            std::fs::remove_file(loose(&world.sandbox.bare().join("objects"), &id)).unwrap();
            id
        };
        let flat = lose("main:flat");
        let deep = lose("main:old/deep/file");
        lose("main:kept/file");
        // Files of the root alone; one that is moved out of a directory that stays; a directory that is moved; one that
        // the repository lacks.
        let mut pushed = vec![old];
        for (from, to) in [("changed", ""), ("", "old/deep/copy"), ("", "copy"), ("old", "new"), ("kept", "lost/kept")]
        {
            match (from, to) {
                (from, "") => drop(world.sandbox.commit(from, "other")),
                ("", to) => {
                    std::fs::write(work.join(to), "old/deep/file").unwrap();
                    world.sandbox.commit("changed", to);
                }
                (from, to) => {
                    std::fs::create_dir_all(work.join(to).parent().unwrap()).unwrap();
                    std::fs::rename(work.join(from), work.join(to)).unwrap();
                    world.sandbox.commit("changed", to);
                }
            }
            let new = world.sandbox.rev("HEAD");
            let parent = pushed[pushed.len() - 1];
            let needed: Vec<_> = world.needed(&["HEAD", &format!("^{parent}")]);
            assert!(world.complete(&needed, &new), "{from} to {to}");
            // Another ref that lacks something must not take this one with it.
            let blob = world.hash_object("blob", format!("not {to}").as_bytes());
            let results = world.run(&needed, &[blob, new]);
            assert!(results[0].is_err() && results[1].is_ok(), "{from} to {to}: {results:?}");
            world.push("main");
            pushed.push(new);
        }
        // What no commit below has is missing, whatever is elsewhere in the repository.
        git(&work, &["checkout", "-q", "--orphan", "apart"]);
        git(&work, &["rm", "-rqf", "."]);
        world.sandbox.commit("apart", "apart");
        world.push("refs/heads/apart");
        std::fs::write(work.join("copy"), "flat").unwrap();
        let new = world.sandbox.commit("more", "more");
        let needed = without(&world.needed(&["refs/heads/apart", "^refs/heads/apart~1"]), &flat);
        assert!(!world.complete(&needed, &new));
        assert_eq!(world.run(&needed, &[new]).remove(0).unwrap_err().object, flat);
        assert_ne!(flat, deep);
    }
}
