//! Repositories with a history, as large as the one that took a server down, made by `git fast-import` in seconds.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::format::format;
use super::git::{Repo, command};
use super::rng::Rng;

/// Change it when the generator makes something else of the same [`Shape`]: it is a part of the cache's key.
const GENERATOR: u32 = 1;

/// What a generated repository looks like.
///
/// Each commit changes one text file by a few lines (its blobs become chains of deltas) and writes one file of
/// incompressible bytes, both in one directory: five new objects, with the commit and two trees. `refs/heads/main` has
/// all commits, three more branches and the annotated tags `v<n>` sit on earlier ones, and some commits are merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Other bytes, and so other ids, for each seed.
    pub seed: u64,
    /// How many commits there are; at least [`TEXTS`](Self::TEXTS) times `dirs`.
    pub commits: u64,
    /// How many annotated tags there are; fewer than commits.
    pub tags: u64,
    /// How many directories the files are in.
    pub dirs: u64,
    /// How large most incompressible files are at most, in bytes. One in 97 has 100 KiB, one in 5,000 has 2 MiB.
    pub binary: u64,
}

impl Shape {
    /// How many text files each directory has.
    const TEXTS: u64 = 4;

    /// The size of the outage: 134,000 objects, more than 100 MB of pack. Takes seconds to make, once.
    pub const OUTAGE: Self = Self { seed: 134, commits: 26_780, tags: 100, dirs: 100, binary: 5_600 };

    /// 1,010 objects, about 1 MB of pack.
    pub const SMALL: Self = Self { seed: 5, commits: 200, tags: 10, dirs: 10, binary: 5_600 };

    /// How many objects there are.
    pub fn objects(&self) -> u64 {
        // Commit, root tree, directory tree, text blob, binary blob; none of them is ever the same twice.
        5 * self.commits + self.tags
    }

    /// The repository, a bare one: made on first use, and shared by all tests of this target directory from then on.
    ///
    /// Do not write to it: [`Repo::borrow`] gives one that may be changed.
    #[track_caller]
    pub fn repository(&self) -> Repo {
        self.repository_in(format().name())
    }

    /// The same history in an object format of git's.
    #[track_caller]
    pub fn repository_in(&self, object_format: &str) -> Repo {
        let Self { seed, commits, tags, dirs, binary } = self;
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let name = format!("history-{GENERATOR}-{object_format}-{seed}-{commits}-{tags}-{dirs}-{binary}");
        let path = cache.join(format!("{name}.git"));
        // Tests run in processes of their own: one of them makes it, the others wait for that.
        let lock = File::create(cache.join(format!("{name}.lock"))).expect("a lock file");
        lock.lock().expect("the lock");
        if !path.is_dir() {
            self.make(&path, object_format).unwrap_or_else(|error| panic!("{name} cannot be made: {error}"));
        }
        Repo::at(path)
    }

    /// Makes the repository under another name and moves it into place when it is whole.
    fn make(&self, path: &PathBuf, object_format: &str) -> io::Result<()> {
        let unfinished = path.with_extension("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        fs::create_dir(&unfinished)?;
        let repo = Repo::at(&unfinished);
        repo.git(["init", "-q", "--bare", &format!("--object-format={object_format}")]);
        let mut import = command(&unfinished, ["fast-import", "--quiet", "--done", "--depth=50"]);
        let mut import = import.stdin(Stdio::piped()).spawn()?;
        let mut out = BufWriter::with_capacity(1 << 20, import.stdin.take().expect("stdin is piped"));
        self.write(&mut out)?;
        drop(out);
        if !import.wait()?.success() {
            return Err(io::Error::other("git fast-import failed"));
        }
        fs::rename(unfinished, path)
    }

    /// Writes the whole history in the language of `git fast-import`.
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "feature done")?;
        self.write_texts(out)?;
        for commit in 0..self.commits {
            self.write_commit(out, commit)?;
        }
        for (index, branch) in ["maintenance", "next", "topic/one"].into_iter().enumerate() {
            let at = self.commits * (index as u64 + 1) / 4;
            write!(out, "reset refs/heads/{branch}\nfrom :{}\n\n", self.commit_mark(at))?;
        }
        for tag in 0..self.tags {
            let at = self.commits * tag / self.tags;
            write!(out, "tag v{tag}\nfrom :{}\n{}data 6\na tag\n\n", self.commit_mark(at), person("tagger", at))?;
        }
        writeln!(out, "done")
    }

    /// The versions of each text file in a row: fast-import looks for deltas only between neighbours.
    fn write_texts(&self, out: &mut impl Write) -> io::Result<()> {
        let files = Self::TEXTS * self.dirs;
        for file in 0..files {
            let mut rng = Rng::nth(self.seed, file);
            let mut lines: Vec<Vec<u8>> = (0..60 + rng.below(80)).map(|_| text_line(&mut rng)).collect();
            for commit in (file..self.commits).step_by(files as usize) {
                // The number of the commit makes each version unlike every other blob.
                lines[0] = format!("/* {file} {commit} */\n").into_bytes();
                for _ in 0..1 + rng.below(4) {
                    let line = 1 + rng.below(lines.len() as u64 - 1);
                    lines[line as usize] = text_line(&mut rng);
                }
                let text = lines.concat();
                write!(out, "blob\nmark :{}\ndata {}\n", text_mark(commit), text.len())?;
                out.write_all(&text)?;
                writeln!(out)?;
            }
        }
        Ok(())
    }

    fn write_commit(&self, out: &mut impl Write, commit: u64) -> io::Result<()> {
        write!(
            out,
            "commit refs/heads/main\nmark :{}\n{}data <<END\nChange {commit}\n\nEND\n",
            self.commit_mark(commit),
            person("committer", commit)
        )?;
        if commit > 0 && commit.is_multiple_of(512) {
            writeln!(out, "merge :{}", self.commit_mark(commit / 2))?;
        }
        let dir = commit % self.dirs;
        let text = commit / self.dirs % Self::TEXTS;
        writeln!(out, "M 100644 :{} d{dir:03}/text{text}.c", text_mark(commit))?;
        // Names come round again: files are replaced, and directories stay of a natural size.
        let binary = self.binary(commit);
        write!(out, "M 100644 inline d{dir:03}/b{:02}.bin\ndata {}\n", commit / self.dirs % 61, binary.len())?;
        out.write_all(&binary)?;
        writeln!(out, "\n")
    }

    fn binary(&self, commit: u64) -> Vec<u8> {
        let mut rng = Rng::nth(!self.seed, commit);
        let len = match commit {
            n if n % 5_000 == 4_999 => 2 << 20,
            n if n % 97 == 96 => 100 << 10,
            _ => 16 + rng.below(self.binary - 16),
        };
        rng.bytes(len as usize)
    }

    /// Marks of texts are the odd ones.
    fn commit_mark(&self, commit: u64) -> u64 {
        2 * commit + 2
    }
}

fn text_mark(commit: u64) -> u64 {
    2 * commit + 1
}

fn person(role: &str, commit: u64) -> String {
    format!("{role} A Tester <tester@example.org> {} +0000\n", 1_700_000_000 + 60 * commit)
}

fn text_line(rng: &mut Rng) -> Vec<u8> {
    let mut line = Vec::new();
    rng.line(&mut line);
    line
}
