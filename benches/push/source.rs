//! A repository with the history of a program: many versions of text files, each a few lines from the one before, in
//! few directories of many files. Its objects are about thirty times its pack, as those of real source code are.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::git::{Repo, command};
use crate::support::rng::Rng;

/// Change it when the generator makes something else.
const GENERATOR: u32 = 1;

/// A program, and how it was worked on.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    pub commits: u64,
    /// The first commit has all of them.
    pub files: u64,
    pub dirs: u64,
    /// In each directory; the files are in these.
    pub subdirs: u64,
    /// A commit changes at most so many files.
    pub changes: u64,
    /// How many lines a file may have at first.
    pub lengths: [u64; 5],
    /// The first files, which change the most often, are so many times as long.
    pub core: Core,
    /// How long chains of deltas become.
    pub depth: u64,
}

/// The files that most of the work is done in.
#[derive(Clone, Copy, Debug)]
pub struct Core {
    pub files: u64,
    pub longer: u64,
}

impl Program {
    /// Small files and small changes: half of the entries of its pack are shorter than 100 bytes.
    pub const SMALL: Self = Self {
        commits: 20_000,
        files: 384,
        dirs: 24,
        subdirs: 3,
        changes: 3,
        lengths: [50, 200, 600, 1500, 3000],
        core: Core { files: 0, longer: 1 },
        depth: 50,
    };

    /// About what openvswitch/ovs is: 193,000 objects, 152,000 of them deltas; a pack of 147 MB that inflates to 370 MB,
    /// and resolves to 4.5 GB.
    pub const OVS: Self = Self {
        commits: 21_000,
        files: 3_000,
        dirs: 24,
        subdirs: 0,
        changes: 6,
        lengths: [50, 150, 300, 600, 900],
        core: Core { files: 400, longer: 8 },
        depth: 15,
    };
}

/// The repository: made on first use, and kept.
pub fn repository(cache: &Path, program: &Program) -> PathBuf {
    let Program { commits, files, dirs, subdirs, changes, core, depth, .. } = program;
    let Core { files: important, longer } = core;
    let shape = format!("{commits}-{files}-{dirs}-{subdirs}-{changes}-{important}-{longer}-{depth}");
    let name = format!("source-{GENERATOR}-{shape}.git");
    let path = cache.join(name);
    if !path.is_dir() {
        make(&path, program).unwrap_or_else(|error| panic!("{} cannot be made: {error}", path.display()));
    }
    path
}

fn make(path: &Path, program: &Program) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let _ = std::fs::remove_dir_all(&unfinished);
    std::fs::create_dir(&unfinished)?;
    Repo::at(&unfinished).git(["init", "-q", "--bare"]);
    let mut import = command(&unfinished, ["fast-import", "--quiet", "--done", &format!("--depth={}", program.depth)]);
    let mut import = import.stdin(Stdio::piped()).spawn()?;
    let mut out = io::BufWriter::with_capacity(1 << 20, import.stdin.take().expect("stdin is piped"));
    write(&mut out, program)?;
    drop(out);
    if !import.wait()?.success() {
        return Err(io::Error::other("git fast-import failed"));
    }
    std::fs::rename(unfinished, path)
}

/// The files that a commit changes, some far more often than others. The first has them all.
fn changed(commit: u64, program: &Program) -> Vec<u64> {
    if commit == 0 {
        return (0..program.files).collect();
    }
    let mut rng = Rng::nth(1, commit);
    let mut files: Vec<_> = (0..1 + rng.below(program.changes)).map(|_| skewed(&mut rng, program.files)).collect();
    files.sort_unstable();
    files.dedup();
    files
}

fn write(out: &mut impl Write, program: &Program) -> io::Result<()> {
    let Program { commits, files, dirs, subdirs, lengths, core, .. } = *program;
    let changes: Vec<_> = (0..commits).map(|commit| changed(commit, program)).collect();
    writeln!(out, "feature done")?;
    for file in 0..files {
        // The versions of a file in a row: fast-import looks for deltas only between neighbours.
        let mut rng = Rng::nth(2, file);
        let len = lengths[rng.below(5) as usize] * if file < core.files { core.longer } else { 1 };
        let mut lines: Vec<Vec<u8>> = (0..len).map(|_| line(&mut rng)).collect();
        for commit in (0..commits).filter(|commit| changes[*commit as usize].contains(&file)) {
            if commit > 0 {
                for _ in 0..1 + rng.below(5) {
                    let at = rng.below(lines.len() as u64) as usize;
                    let end = lines.len().min(at + rng.below(9) as usize);
                    let fresh: Vec<_> = (0..(end - at) as u64 + rng.below(4)).map(|_| line(&mut rng)).collect();
                    lines.splice(at..end, fresh);
                }
                lines[0] = format!("/* {file} {commit} */\n").into_bytes();
            }
            let text = lines.concat();
            write!(out, "blob\nmark :{}\ndata {}\n", mark(commit, file, files), text.len())?;
            out.write_all(&text)?;
            writeln!(out)?;
        }
    }
    for (commit, files) in changes.iter().enumerate() {
        let mut rng = Rng::nth(3, commit as u64);
        let mut message = Vec::new();
        for _ in 0..2 + rng.below(6) {
            rng.line(&mut message);
        }
        let time = 1_500_000_000 + commit * 60;
        write!(out, "commit refs/heads/main\ncommitter A Tester <tester@example.org> {time} +0000\n")?;
        writeln!(out, "data {}", message.len())?;
        out.write_all(&message)?;
        for &file in files {
            let (dir, mark) = (file % dirs, mark(commit as u64, file, program.files));
            let sub = file.checked_rem(subdirs).map(|sub| format!("sub{sub}/")).unwrap_or_default();
            writeln!(out, "M 100644 :{mark} dir{dir}/{sub}file{file}.c")?;
        }
        writeln!(out)?;
    }
    writeln!(out, "done")
}

fn mark(commit: u64, file: u64, files: u64) -> u64 {
    commit * files + file + 1
}

/// A number below `end`, the small ones more often.
fn skewed(rng: &mut Rng, end: u64) -> u64 {
    let end = 1 + rng.below(end);
    rng.below(end)
}

/// Most lines of a program are like others.
fn line(rng: &mut Rng) -> Vec<u8> {
    const COMMON: [&[u8]; 5] = [b"}\n", b"\n", b"{\n", b"    return;\n", b"    }\n"];
    let mut line = Vec::new();
    match rng.below(10) {
        0..3 => line.extend_from_slice(COMMON[rng.below(5) as usize]),
        3..6 => Rng::nth(4, skewed(rng, 2500)).line(&mut line),
        _ => rng.line(&mut line),
    }
    line
}
