//! Whole pushes, and what can happen to the disk under them.

mod disk;
mod faults;
mod oracle;
mod order;
mod power;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tower::ServiceBuilder;

use self::oracle::Oracle;
use super::fs::{Fs, Hook};
use super::testing::{Sandbox, command, copy, format, git, try_git};
use super::{BareRepository, Repository};
use crate::Error;
use crate::checksum::ChecksumLayer;
use crate::receive::ReceivePack;
use crate::serve::{Linger, Serve};
use crate::store::{PackLimits, Store as _};

/// What each ref holds; a ref that is not there has no entry.
type Values = BTreeMap<String, String>;

/// A bare repository whose refs are loose, packed, and both, and pushes that were made for it.
struct World {
    sandbox: Sandbox,
    /// A copy of the repository as it was in the beginning.
    saved: PathBuf,
    git: Oracle,
    before: Values,
    /// One commit, and three children of it.
    commits: [String; 4],
}

impl World {
    /// One whose pushes are kept as packs.
    fn new() -> Self {
        Self::with_unpack_limit("1")
    }

    /// One whose pushes are unpacked.
    fn unpacking() -> Self {
        Self::with_unpack_limit("100")
    }

    fn with_unpack_limit(limit: &str) -> Self {
        Self::configured(&[("receive.unpackLimit", limit)])
    }

    /// One whose configuration says this when pushes come.
    fn configured(config: &[(&str, &str)]) -> Self {
        // In memory, where there is such a place: everything here is copied hundreds of times.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let sandbox = Sandbox::within(dir.unwrap(), format());
        for (key, value) in [("receive.unpackLimit", "1"), ("core.fsync", "none"), ("gc.auto", "0")] {
            sandbox.in_bare(&["config", key, value]);
        }
        // Large enough to be worth a delta, so that packs are thin.
        let text: String = (0..200).map(|number| format!("line {number}\n")).collect();
        let root = sandbox.commit("file", &text).to_string();
        for name in ["both", "both-gone", "packed", "packed-gone", "loose", "d/loose-gone"] {
            git(&sandbox.work(), &["push", "-q", "origin", &format!("HEAD:refs/heads/{name}")]);
        }
        let children = ["one", "two", "three"].map(|name| {
            git(&sandbox.work(), &["checkout", "-q", "-B", name, &root]);
            sandbox.commit("file", &format!("{text}{name}\n")).to_string()
        });
        git(&sandbox.work(), &["push", "-q", "origin", "one:refs/heads/packed", "one:refs/tags/keep"]);
        sandbox.in_bare(&["pack-refs", "--all"]);
        for name in ["both", "both-gone", "loose", "d/loose-gone"] {
            git(&sandbox.work(), &["push", "-q", "-f", "origin", &format!("one:refs/heads/{name}")]);
        }
        sandbox.in_bare(&["repack", "-adq"]);
        for (key, value) in config {
            sandbox.in_bare(&["config", key, value]);
        }
        // Somebody to borrow from, whose refs nobody has to send.
        git(sandbox.dir.path(), &["clone", "-q", "--bare", "bare.git", "lender.git"]);
        std::fs::write(sandbox.bare().join("objects/info/alternates"), "../../lender.git/objects\n").unwrap();
        let _ = std::fs::remove_dir_all(sandbox.bare().join("hooks"));
        let saved = sandbox.dir.path().join("saved");
        copy(&sandbox.bare(), &saved);
        let before = values(&sandbox.bare());
        let [one, two, three] = children;
        Self { sandbox, saved, git: Oracle::default(), before, commits: [root, one, two, three] }
    }

    /// Puts the repository back to how it was.
    fn restore(&self) -> PathBuf {
        let bare = self.sandbox.bare();
        std::fs::remove_dir_all(&bare).unwrap();
        copy(&self.saved, &bare);
        bare
    }

    /// A push: for each ref what it shall hold, the old values being those of `from`.
    fn push(&self, from: &Values, atomic: bool, to: &[(&str, Option<usize>)]) -> Push {
        let zero = "0".repeat(self.commits[0].len());
        let mut after = from.clone();
        let mut request = Vec::new();
        let mut wanted = String::new();
        for (name, commit) in to {
            let name = format!("refs/heads/{name}");
            let old = from.get(&name).unwrap_or(&zero);
            let new = commit.map_or(&zero, |number| &self.commits[number]);
            if request.is_empty() {
                let atomic = if atomic { " atomic" } else { "" };
                request = pkt(&format!(
                    "{old} {new} {name}\0 report-status side-band-64k object-format={}{atomic}",
                    format()
                ));
            } else {
                request.extend(pkt(&format!("{old} {new} {name}")));
            }
            match commit {
                Some(_) => {
                    wanted += &format!("{new}\n");
                    after.insert(name, new.clone());
                }
                None => drop(after.remove(&name)),
            }
        }
        request.extend(b"0000");
        if !wanted.is_empty() {
            let has: String = from.values().map(|id| format!("^{id}\n")).collect();
            request.extend(self.pack(&(wanted + &has)));
        }
        Push { request, atomic, before: from.clone(), after, limits: PackLimits::default() }
    }

    /// A thin pack of what these revisions have.
    fn pack(&self, revisions: &str) -> Vec<u8> {
        let mut child = command(&self.sandbox.work())
            .args(["pack-objects", "-q", "--revs", "--thin", "--stdout"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), revisions.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    /// A push that makes branches that nobody else minds, of objects that the others bring as well.
    fn next(&self) -> Push {
        self.push(&self.before, false, &[("next", Some(3)), ("next-but-one", Some(2))])
    }

    /// The one push of a shape; `put aside` is `each` with no memory for objects.
    fn single(&self, shape: &str) -> Push {
        let aside = shape == "put aside";
        let shape = if aside { "each" } else { shape };
        let mut shapes = self.shapes().into_iter();
        let mut push = shapes.find_map(|(name, pushes)| pushes.into_iter().next().filter(|_| name == shape)).unwrap();
        if aside {
            (push.limits.in_memory, push.limits.waiting) = (0, 0);
        }
        push
    }

    /// Pushes with every kind of ref in them.
    fn shapes(&self) -> Vec<(&'static str, Vec<Push>)> {
        let all: &[(&str, Option<usize>)] = &[
            ("both", Some(2)),
            ("both-gone", None),
            ("packed", Some(2)),
            ("packed-gone", None),
            ("loose", Some(3)),
            ("d/loose-gone", None),
            ("new/deep/er", Some(3)),
        ];
        let back: &[(&str, Option<usize>)] =
            &[("both", None), ("new/deep/er", Some(0)), ("new/deep/est", Some(2)), ("d/loose-gone", Some(3))];
        let one = |atomic, to| vec![self.push(&self.before, atomic, to)];
        let two = |first, second| {
            let first = self.push(&self.before, first, all);
            let second = self.push(&first.after, second, back);
            vec![first, second]
        };
        vec![
            ("one ref", one(false, &[("loose", Some(2))])),
            ("each", one(false, all)),
            ("atomic", one(true, all)),
            ("deletions", one(false, &[("packed-gone", None), ("both-gone", None), ("d/loose-gone", None)])),
            ("each, then atomic", two(false, true)),
            ("atomic, then each", two(true, false)),
        ]
    }
}

/// A request, and what the refs are before it and after.
struct Push {
    request: Vec<u8>,
    atomic: bool,
    before: Values,
    after: Values,
    limits: PackLimits,
}

impl Push {
    /// The names of the refs that it moves.
    fn names(&self) -> impl Iterator<Item = &String> {
        let names: std::collections::BTreeSet<_> = self.before.keys().chain(self.after.keys()).collect();
        names.into_iter().filter(|name| self.before.get(*name) != self.after.get(*name))
    }

    /// Pushes into a repository; the hook sees each operation on a file.
    fn run(&self, bare: &Path, hook: Option<Arc<dyn Hook>>) -> Said {
        self.try_run(bare, hook).unwrap()
    }

    /// The same; an error if there is nothing to push to.
    fn try_run(&self, bare: &Path, hook: Option<Arc<dyn Hook>>) -> Result<Said, Error> {
        let fs = hook.map(Fs::hooked).unwrap_or_default();
        let store = BareRepository::new(Repository::open_with(bare, &fs)?)?.threads(1).limits(self.limits);
        let mut said = Vec::new();
        // When the runtime is dropped, what cleans up behind the push is waited for.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let served = runtime.block_on(async {
            let request = std::io::Cursor::new(self.request.clone());
            let advertisement = store.advertise().await?;
            let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store));
            let serve = Serve::new().linger(Linger::none());
            serve.serve(request, &mut said, advertisement, service).await.unwrap();
            Ok(())
        });
        drop(runtime);
        served.map(|()| Said::read(&said))
    }
}

/// What a client was told.
#[derive(Debug)]
struct Said {
    unpack: String,
    /// Why a ref was refused; `None` for one that moved.
    refs: BTreeMap<String, Option<String>>,
    everything: String,
}

impl Said {
    fn read(said: &[u8]) -> Self {
        let (mut report, mut rest, mut flushes) = (Vec::new(), said, 0);
        while let Some((len, _)) = rest.split_at_checked(4) {
            let len = usize::from_str_radix(std::str::from_utf8(len).unwrap(), 16).unwrap();
            let (line, left) = rest.split_at(len.max(4));
            rest = left;
            flushes += usize::from(len == 0);
            if flushes == 1 && line.get(4) == Some(&1) {
                report.extend_from_slice(&line[5..]);
            }
        }
        assert_eq!(flushes, 2, "{}", String::from_utf8_lossy(said));
        let report = String::from_utf8(report).unwrap();
        let mut unpack = String::new();
        let mut refs = BTreeMap::new();
        for line in report.lines().map(|line| line.get(4..).unwrap_or_default()) {
            if let Some(text) = line.strip_prefix("unpack ") {
                unpack = text.to_owned();
            } else if let Some(name) = line.strip_prefix("ok ") {
                refs.insert(name.to_owned(), None);
            } else if let Some((name, why)) = line.strip_prefix("ng ").and_then(|line| line.split_once(' ')) {
                refs.insert(name.to_owned(), Some(why.to_owned()));
            }
        }
        Self { unpack, refs, everything: String::from_utf8_lossy(said).into_owned() }
    }

    fn is_ok(&self) -> bool {
        self.unpack == "ok" && self.refs.values().all(Option::is_none)
    }
}

fn pkt(line: &str) -> Vec<u8> {
    format!("{:04x}{line}", line.len() + 4).into_bytes()
}

/// What git reads of all refs.
#[track_caller]
fn values(bare: &Path) -> Values {
    try_values(bare).expect("git lists the refs")
}

/// The same; `None` if git cannot read them.
fn try_values(bare: &Path) -> Option<Values> {
    let output = try_git(bare, &["for-each-ref", "--format=%(refname) %(objectname)"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let pair = |line: &str| line.split_once(' ').map(|(name, id)| (name.to_owned(), id.to_owned()));
    output.status.success().then(|| text.lines().filter_map(pair).collect())
}

/// git finds nothing wrong: each object that a ref needs is there, and is what its id says.
#[track_caller]
fn assert_sound(bare: &Path, context: &str) {
    let output = try_git(bare, &["fsck", "--strict", "--full", "--no-dangling", "--no-progress"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<_> = said.lines().filter(|line| !line.starts_with("notice: ")).collect();
    assert!(output.status.success() && said.is_empty(), "{context}: git fsck says {said:?}");
}

/// Files that only an unfinished push may have.
fn leftovers(bare: &Path) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![bare.to_path_buf()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let unfinished = [".lock", ".new", ".keep"].iter().any(|end| name.ends_with(end))
                || name.starts_with("tmp_")
                || (name.ends_with(".pack") && !path.with_extension("idx").exists());
            if unfinished {
                found.push(path);
            } else if path.is_dir() {
                dirs.push(path);
            }
        }
    }
    found
}
