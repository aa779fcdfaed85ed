//! Real git, for the tests of this room.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::proto::{ObjectFormat, ObjectId};

/// Runs git in a directory with nobody's configuration; gives its output without the last line feed.
#[track_caller]
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = try_git(dir, args);
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
}

/// Runs git, whatever comes of it.
pub(crate) fn try_git(dir: &Path, args: &[&str]) -> Output {
    command(dir).args(args).output().unwrap()
}

/// A git command that knows nobody's configuration and no clock: the same work makes the same ids in each run.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "A")
        .env("GIT_AUTHOR_EMAIL", "a@example.com")
        .env("GIT_AUTHOR_DATE", "1700000000 +0000")
        .env("GIT_COMMITTER_NAME", "C")
        .env("GIT_COMMITTER_EMAIL", "c@example.com")
        .env("GIT_COMMITTER_DATE", "1700000000 +0000")
        .stdin(std::process::Stdio::null());
    command
}

/// Copies a file, or a directory with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        std::fs::copy(from, to).unwrap();
        return;
    }
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// The object format of tests that take only one: SHA-1, or the one that `RECEIVE_PACK_TEST_FORMAT` names.
pub(crate) fn format() -> &'static str {
    match std::env::var("RECEIVE_PACK_TEST_FORMAT") {
        Ok(name) if name == "sha256" && cfg!(feature = "sha256") => "sha256",
        Ok(name) if name != "sha1" => panic!("this build does not know the object format {name}"),
        _ => "sha1",
    }
}

/// An id from its hexadecimal digits.
#[track_caller]
pub(crate) fn oid(hex: &str) -> ObjectId {
    #[cfg(feature = "sha256")]
    let format = if hex.len() == 64 { ObjectFormat::Sha256 } else { ObjectFormat::Sha1 };
    #[cfg(not(feature = "sha256"))]
    let format = ObjectFormat::Sha1;
    ObjectId::from_hex(format, hex.as_bytes()).unwrap()
}

/// A repository with a work tree, made by git, that lives as long as the test.
pub(crate) struct Sandbox {
    pub(crate) dir: TempDir,
}

impl Sandbox {
    /// An empty bare repository `bare.git` and beside it `work` to make objects with.
    pub(crate) fn new(format: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), format)
    }

    /// The same in this directory.
    pub(crate) fn within(dir: TempDir, format: &str) -> Self {
        let option = format!("--object-format={format}");
        git(dir.path(), &["init", "-q", "--bare", "-b", "main", &option, "bare.git"]);
        git(dir.path(), &["init", "-q", "-b", "main", &option, "work"]);
        git(&dir.path().join("work"), &["remote", "add", "origin", "../bare.git"]);
        Self { dir }
    }

    pub(crate) fn bare(&self) -> PathBuf {
        self.dir.path().join("bare.git")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Commits one file in the work tree.
    pub(crate) fn commit(&self, path: &str, text: &str) -> ObjectId {
        let file = self.work().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        git(&self.work(), &["add", "-A"]);
        git(&self.work(), &["commit", "-q", "-m", path]);
        self.rev("HEAD")
    }

    /// What a revision of the work tree names.
    pub(crate) fn rev(&self, revision: &str) -> ObjectId {
        oid(&git(&self.work(), &["rev-parse", revision]))
    }

    /// Runs git in the bare repository.
    #[track_caller]
    pub(crate) fn in_bare(&self, args: &[&str]) -> String {
        git(&self.bare(), args)
    }
}
