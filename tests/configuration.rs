//! What a repository's own configuration says of pushes, beside git: the same pushes into two copies of a repository, one
//! served by us, one by `git receive-pack`.

#![cfg(feature = "bare-repository")]

mod support;

use support::git::{Output, Repo};
use support::server::Daemon;

/// Two repositories that are the same, and a clone of them.
struct World {
    daemon: Daemon,
    ours: Repo,
    gits: Repo,
    work: Repo,
}

impl World {
    fn new() -> Self {
        let (daemon, gits, work) = (Daemon::start(), Repo::bare(), Repo::work());
        work.commit("main", &[("file", b"1\n")]);
        work.commit("main", &[("file", b"2\n")]);
        work.git(["branch", "-q", "side", "main~1"]);
        work.git(["tag", "v1", "main"]);
        let refs = ["main", "main:refs/heads/old", "side", "v1"];
        work.push(&daemon.url("demo.git"), &refs);
        work.push(gits.path().to_str().expect("a path of text"), &refs);
        let ours = daemon.repository("demo.git");
        let world = Self { daemon, ours, gits, work };
        world.assert_same("at first");
        world
    }

    fn set(&self, key: &str, value: &str) {
        for repo in [&self.ours, &self.gits] {
            repo.git(["config", key, value]);
        }
    }

    #[track_caller]
    fn assert_same(&self, what: &str) {
        assert_eq!(self.ours.refs(), self.gits.refs(), "{what}");
    }

    /// Pushes to both; gives what was said of each ref, which must be the same, and what git showed beside it of ours.
    #[track_caller]
    fn push(&self, arguments: &[&str]) -> (Vec<String>, String) {
        let gits = self.gits.path().to_str().expect("a path of text").to_owned();
        let [ours, theirs] = [self.daemon.url("demo.git"), gits].map(|url| {
            let arguments = [&["--porcelain"], arguments].concat();
            self.work.try_push(&url, &arguments)
        });
        let statuses = |said: &Output| -> Vec<String> {
            let text = said.text();
            let lines = text.lines().filter(|line| line.contains('\t'));
            lines.map(|line| line.split("[remote rejected]").last().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(statuses(&ours), statuses(&theirs), "{arguments:?}: {}", ours.stderr);
        self.assert_same(&format!("{arguments:?}"));
        // What git's own says on the screen, ours says as well, but for how far it came.
        let screen = |said: &Output| -> Vec<String> {
            let lines = said.stderr.split(['\n', '\r']).filter_map(|line| line.strip_prefix("remote: "));
            let lines = lines.map(|line| line.trim_end().to_owned());
            lines.filter(|line| !["Unpacking", "Receiving", "Resolving"].iter().any(|m| line.starts_with(m))).collect()
        };
        assert_eq!(screen(&ours), screen(&theirs), "{arguments:?}");
        (statuses(&ours), ours.stderr)
    }
}

#[test]
fn history_is_kept_where_the_configuration_says_so() {
    let world = World::new();
    let lost = ["--force", "side:refs/heads/old", "main:refs/heads/side", "side:refs/tags/v1"];
    world.set("receive.denyNonFastForwards", "true");
    let (statuses, _) = world.push(&lost);
    assert!(statuses.iter().any(|line| line.contains("non-fast-forward")), "{statuses:?}");
    world.set("receive.denyNonFastForwards", "false");
    let (statuses, _) = world.push(&lost);
    assert!(!statuses.iter().any(|line| line.contains("non-fast-forward")), "{statuses:?}");
}

#[test]
fn a_repository_that_is_shared_keeps_its_history() {
    let (daemon, work) = (Daemon::start(), Repo::work());
    work.commit("main", &[("file", b"1\n")]);
    let dir = daemon.repository("shared.git");
    std::fs::create_dir(dir.path()).expect("a directory");
    dir.git(["init", "-q", "--bare", "--shared"]);
    work.push(&daemon.url("shared.git"), &["main"]);
    work.commit("other", &[("file", b"2\n")]);
    let said = work.try_push(&daemon.url("shared.git"), &["--force", "other:main"]);
    assert!(said.stderr.contains("! [remote rejected] other -> main (non-fast-forward)"), "{}", said.stderr);
}

#[test]
fn a_branch_that_would_hold_no_commit_is_a_bad_ref() {
    let world = World::new();
    world.set("receive.denyNonFastForwards", "true");
    let tree = world.work.rev("main^{tree}");
    let (statuses, _) = world.push(&["--force", &format!("{tree}:refs/heads/old")]);
    assert!(statuses.iter().any(|line| line.contains("bad ref")), "{statuses:?}");
}

#[test]
fn branches_stay_where_the_configuration_says_so() {
    let world = World::new();
    world.set("receive.denyDeletes", "yes");
    let (statuses, _) = world.push(&["--delete", "old", "v1"]);
    assert!(statuses.iter().any(|line| line.contains("deletion prohibited")), "{statuses:?}");
    assert!(world.ours.refs().iter().all(|(name, _)| name != "refs/tags/v1"), "the rule is for branches");
    world.set("receive.denyDeletes", "no");
    world.push(&["--delete", "old"]);
}

#[test]
fn the_current_branch_goes_where_the_configuration_says_so() {
    World::new().push(&["--delete", "main"]);
    for value in ["refuse", "true", "ignore", "warn", "false", "updateInstead"] {
        let world = World::new();
        world.set("receive.denyDeleteCurrent", value);
        world.push(&["--delete", "main"]);
    }
}

#[test]
fn the_current_branch_is_where_head_leads_to() {
    let world = World::new();
    for repo in [&world.ours, &world.gits] {
        repo.git(["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
        repo.git(["symbolic-ref", "HEAD", "refs/heads/alias"]);
    }
    let (statuses, _) = world.push(&["--delete", "main"]);
    assert!(statuses.iter().any(|line| line.contains("deletion of the current branch prohibited")), "{statuses:?}");
}

#[test]
fn a_branch_that_a_work_tree_has_checked_out_moves_where_the_configuration_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    for (number, value) in [None, Some("refuse"), Some("true"), Some("ignore"), Some("warn")].into_iter().enumerate() {
        let world = World::new();
        for (whose, repo) in [("ours", &world.ours), ("gits", &world.gits)] {
            let tree = dir.path().join(format!("{whose}-{number}"));
            repo.git(["worktree", "add", "-q", tree.to_str().expect("a path of text"), "old"]);
        }
        if let Some(value) = value {
            world.set("receive.denyCurrentBranch", value);
        }
        world.set("receive.denyDeletes", "true");
        let (statuses, _) = world.push(&["--force", "side:refs/heads/old", "v1:refs/heads/side"]);
        let refused = statuses.iter().any(|line| line.contains("branch is currently checked out"));
        assert_eq!(refused, !matches!(value, Some("ignore" | "warn")), "{value:?}: {statuses:?}");
        // Of the reasons to refuse a deletion git tells the first.
        world.push(&["--delete", "old", "side"]);
        world.set("receive.denyDeletes", "false");
        world.push(&["--delete", "old", "side"]);
    }
}

#[test]
fn a_branch_that_a_work_tree_is_at_work_on_stays() {
    for (interrupt, given_up) in [
        (&["rebase", "-q", "--merge", "side"][..], &["rebase", "--quit"][..]),
        (&["rebase", "-q", "--apply", "side"], &["rebase", "--quit"]),
        (&["bisect", "start", "old", "main~1"], &["bisect", "reset", "old"]),
    ] {
        let world = World::new();
        // Enough commits to look for one in their middle; and the last cannot be applied elsewhere.
        world.work.git(["branch", "-q", "long", "main"]);
        for text in ["3", "4", "5"] {
            world.work.commit("long", &[("file", text.as_bytes())]);
        }
        world.work.git(["branch", "-q", "-f", "side", "main~1"]);
        world.work.commit("side", &[("file", b"other")]);
        world.push(&["--force", "long:old", "side"]);
        let dir = tempfile::tempdir().expect("a directory");
        for (whose, repo) in [("ours", &world.ours), ("gits", &world.gits)] {
            let tree = dir.path().join(whose);
            let tree = tree.to_str().expect("a path of text");
            repo.git(["worktree", "add", "-q", tree, "old"]);
            repo.try_git([&["-C", tree], interrupt].concat());
            let head = repo.try_git(["-C", tree, "symbolic-ref", "-q", "HEAD"]);
            assert!(!head.status.success(), "{interrupt:?} did not stop half way");
        }
        let (statuses, _) = world.push(&["--force", "main:old"]);
        assert!(statuses.iter().any(|line| line.contains("branch is currently checked out")), "{statuses:?}");
        for (whose, repo) in [("ours", &world.ours), ("gits", &world.gits)] {
            let tree = dir.path().join(whose);
            repo.git([&["-C", tree.to_str().expect("a path of text")], given_up].concat());
            repo.git(["-C", tree.to_str().expect("a path of text"), "checkout", "-qf", "--detach"]);
        }
        let (statuses, _) = world.push(&["--force", "main:old"]);
        assert!(statuses.iter().all(|line| !line.contains("checked out")), "{statuses:?}");
    }
}

#[test]
fn objects_are_checked_where_the_configuration_says_so() {
    let world = World::new();
    let bad = world.work.git_with_input(
        ["hash-object", "-t", "commit", "-w", "--stdin", "--literally"],
        format!(
            "tree {}\nauthor A <a@example.org 1 +0000\ncommitter A <a@example.org> 1 +0000\n\nbad\n",
            world.work.rev("main^{tree}")
        )
        .as_bytes(),
    );
    let refspec = format!("{}:refs/heads/bad", bad.text());
    for (key, value, refuses) in [
        ("receive.fsckObjects", "true", true),
        ("receive.fsck.badEmail", "ignore", false),
        ("receive.fsck.badEmail", "error", true),
        ("receive.fsckObjects", "false", false),
        ("transfer.fsckObjects", "true", false),
    ] {
        world.set(key, value);
        let gits = world.gits.path().to_str().expect("a path of text").to_owned();
        for (whose, url) in [("ours", world.daemon.url("demo.git")), ("git's", gits)] {
            let said = world.work.try_push(&url, &[&refspec]);
            assert_eq!(!said.status.success(), refuses, "{whose}, {key}={value}: {}", said.stderr);
            assert_eq!(said.stderr.contains("badEmail"), refuses, "{whose}, {key}={value}: {}", said.stderr);
            if !refuses {
                world.work.push(&url, &["--delete", "bad"]);
            }
        }
    }
}

/// How many objects of the repository are loose, and how many packs it has.
fn kept(repo: &Repo) -> (usize, usize) {
    let counted = repo.git(["count-objects", "-v"]).text();
    let count = |name: &str| {
        let line = counted.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
        line.expect("git counts")
    };
    (count("count"), count("packs"))
}

#[test]
fn pushes_are_unpacked_up_to_the_size_that_the_configuration_says() {
    let world = World::new();
    // Pushes a commit, its tree, and blobs; says what of it is loose and what packed, of ours and of git's.
    let push = |objects: usize| {
        let files: Vec<_> = (2..objects).map(|n| (format!("file{n}"), format!("{objects} {n}"))).collect();
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
        world.work.commit("main", &files);
        let repos = [&world.ours, &world.gits];
        let before = repos.map(kept);
        world.push(&["main"]);
        world.ours.fsck();
        let [ours, gits] = repos.map(kept);
        [(ours.0 - before[0].0, ours.1 - before[0].1), (gits.0 - before[1].0, gits.1 - before[1].1)]
    };
    assert_eq!(push(15)[0], (15, 0));
    assert_eq!(push(16)[0], (0, 1));
    for (receive, transfer, count, what) in [
        (Some("5"), None, 4, "unpacked"),
        (Some("5"), None, 5, "kept"),
        (None, Some("7"), 6, "unpacked"),
        (None, Some("7"), 7, "kept"),
        (Some("30"), Some("7"), 29, "unpacked"),
        (Some("30"), Some("7"), 30, "kept"),
        (Some("0"), Some("7"), 3, "kept"),
        (Some("-1"), Some("9"), 8, "unpacked"),
    ] {
        for (key, value) in [("receive.unpackLimit", receive), ("transfer.unpackLimit", transfer)] {
            match value {
                Some(value) => world.set(key, value),
                None => [&world.ours, &world.gits]
                    .into_iter()
                    .for_each(|repo| drop(repo.try_git(["config", "--unset", key]))),
            }
        }
        let expected = if what == "unpacked" { (count, 0) } else { (0, 1) };
        assert_eq!(push(count), [expected; 2], "{receive:?}, {transfer:?}, {count} objects");
    }
    world.ours.assert_no_leftovers();
    world.ours.git(["gc", "-q"]);
    assert_eq!(kept(&world.ours), (0, 1));
}

#[test]
fn values_are_read_as_git_reads_them() {
    let world = World::new();
    for (key, value) in [
        ("receive.denyDeletes", "0x1"),
        ("receive.denyDeletes", "2k"),
        ("receive.denyDeletes", " 1"),
        ("receive.denyDeletes", "0x0"),
        ("receive.denyDeletes", "010"),
        ("core.sharedRepository", "01"),
        ("core.sharedRepository", "0x1"),
        ("receive.unpackLimit", "0x10"),
        ("receive.unpackLimit", "010"),
    ] {
        world.set(key, value);
        world.push(&["main:refs/heads/other"]);
        let (statuses, _) = world.push(&["--delete", "other"]);
        let refused = statuses.iter().any(|line| line.contains("deletion prohibited"));
        assert_eq!(refused, key == "receive.denyDeletes" && value != "0x0", "{key}={value}: {statuses:?}");
        world.set("receive.denyDeletes", "no");
    }
}

/// Of a list of what is hidden nothing is left out.
#[test]
fn a_variable_without_a_value_is_an_error_where_it_needs_one() {
    for (section, name) in [("receive", "hideRefs"), ("transfer", "hideRefs"), ("receive \"fsck\"", "badEmail")] {
        let world = World::new();
        world.set("receive.fsckObjects", "true");
        for repo in [&world.ours, &world.gits] {
            let path = repo.path().join("config");
            let text = std::fs::read_to_string(&path).expect("a configuration");
            std::fs::write(&path, format!("{text}[{section}]\n\t{name}\n")).expect("a file is written");
        }
        let gits = world.gits.path().to_str().expect("a path of text").to_owned();
        for (whose, url) in [("ours", world.daemon.url("demo.git")), ("git's", gits)] {
            let said = world.work.try_push(&url, &["main:refs/heads/new"]);
            assert!(!said.status.success(), "{whose}, {name}");
        }
        let error = receive_pack::store::BareRepository::open(world.ours.path()).expect_err("a value is missing");
        let key = format!("{}.{name}", section.replace(" \"", ".").replace('"', "")).to_lowercase();
        assert_eq!(error.to_string(), format!("missing value for '{key}'"));
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_no_permission() {
    let world = World::new();
    for (key, value) in [
        ("receive.denyDeletes", "perhaps"),
        // Also where no object is checked.
        ("receive.fsck.badEmail", "perhaps"),
        ("receive.fsck.badEmail", "WARN"),
    ] {
        world.set(key, value);
        let gits = world.gits.path().to_str().expect("a path of text").to_owned();
        for (whose, url) in [("ours", world.daemon.url("demo.git")), ("git's", gits)] {
            let said = world.work.try_push(&url, &["main:refs/heads/new"]);
            assert!(!said.status.success(), "{whose}, {key}={value}");
        }
        world.ours.git(["config", "--unset", key]);
        world.gits.git(["config", "--unset", key]);
    }
    world.ours.git(["config", "receive.fsckObjects", "true"]);
    // Git has messages that are about no object, and will have others.
    world.ours.git(["config", "receive.fsck.noSuchMessage", "error"]);
    world.work.push(&world.daemon.url("demo.git"), &["main:refs/heads/new"]);
}
