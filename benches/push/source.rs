//! A repository with the history of a program: many versions of text files, each a few lines from the one before, in
//! few directories of many files. Its objects are about thirty times its pack, as those of real source code are.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::git::{Repo, command};
use crate::support::rng::Rng;

/// Change it when the generator makes something else.
const GENERATOR: u32 = 1;

const FILES: u64 = 384;
const DIRS: u64 = 24;

/// A repository of this many commits: made on first use, and kept.
pub fn repository(cache: &Path, commits: u64) -> PathBuf {
    let path = cache.join(format!("source-{GENERATOR}-{commits}.git"));
    if !path.is_dir() {
        make(&path, commits).unwrap_or_else(|error| panic!("{} cannot be made: {error}", path.display()));
    }
    path
}

fn make(path: &Path, commits: u64) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let _ = std::fs::remove_dir_all(&unfinished);
    std::fs::create_dir(&unfinished)?;
    Repo::at(&unfinished).git(["init", "-q", "--bare"]);
    let mut import = command(&unfinished, ["fast-import", "--quiet", "--done", "--depth=50"]);
    let mut import = import.stdin(Stdio::piped()).spawn()?;
    let mut out = io::BufWriter::with_capacity(1 << 20, import.stdin.take().expect("stdin is piped"));
    write(&mut out, commits)?;
    drop(out);
    if !import.wait()?.success() {
        return Err(io::Error::other("git fast-import failed"));
    }
    std::fs::rename(unfinished, path)
}

/// The files that a commit changes: one to three, some far more often than others. The first has them all.
fn changed(commit: u64) -> Vec<u64> {
    if commit == 0 {
        return (0..FILES).collect();
    }
    let mut rng = Rng::nth(1, commit);
    let mut files: Vec<_> = (0..1 + rng.below(3)).map(|_| skewed(&mut rng, FILES)).collect();
    files.sort_unstable();
    files.dedup();
    files
}

fn write(out: &mut impl Write, commits: u64) -> io::Result<()> {
    let changes: Vec<_> = (0..commits).map(changed).collect();
    writeln!(out, "feature done")?;
    for file in 0..FILES {
        // The versions of a file in a row: fast-import looks for deltas only between neighbours.
        let mut rng = Rng::nth(2, file);
        let len = [50, 200, 600, 1500, 3000][rng.below(5) as usize];
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
            write!(out, "blob\nmark :{}\ndata {}\n", mark(commit, file), text.len())?;
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
            let (dir, mark) = (file % DIRS, mark(commit as u64, file));
            writeln!(out, "M 100644 :{mark} dir{dir}/sub{}/file{file}.c", file % 3)?;
        }
        writeln!(out)?;
    }
    writeln!(out, "done")
}

fn mark(commit: u64, file: u64) -> u64 {
    commit * FILES + file + 1
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
