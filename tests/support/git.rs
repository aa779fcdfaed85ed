//! The real git, run so that nothing of the machine's or the user's configuration matters.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use super::format::format;

/// A git command in `dir` with a clean environment: fixed people, dates and language, no configuration but ours.
pub fn command<S: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Command {
    const CONFIG: [(&str, &str); 5] = [
        ("init.defaultBranch", "main"),
        ("safe.directory", "*"),
        // Repacking behind a test's back would change what the test looks at.
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
        ("advice.pushUpdateRejected", "false"),
    ];
    let mut command = Command::new("git");
    command.current_dir(dir).args(args).env_clear();
    for inherited in ["PATH", "TMPDIR"] {
        if let Some(value) = std::env::var_os(inherited) {
            command.env(inherited, value);
        }
    }
    command.env("HOME", "/nonexistent").env("LC_ALL", "C").env("TZ", "UTC").env("GIT_TERMINAL_PROMPT", "0");
    command.env("GIT_DEFAULT_HASH", format().name());
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "A Tester").env(format!("GIT_{role}_EMAIL"), "tester@example.org");
        command.env(format!("GIT_{role}_DATE"), "1700000000 +0000");
    }
    command.env("GIT_CONFIG_COUNT", CONFIG.len().to_string());
    for (index, (key, value)) in CONFIG.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    command
}

/// What a git command left: its exit status and both outputs.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    /// Standard output as text, without the white space at its end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// The output, if the command succeeded.
    #[track_caller]
    pub fn expect_success(self, what: &str) -> Self {
        assert!(
            self.status.success(),
            "{what} failed ({})\n--- stdout\n{}\n--- stderr\n{}",
            self.status,
            self.text(),
            self.stderr
        );
        self
    }
}

/// Runs a command to its end, giving it `input`.
#[track_caller]
pub fn run(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let output = std::thread::scope(|scope| {
        // A thread of its own: a command may fill its output before it has read all of its input. Its refusal to
        // read on is no error of ours; what it made of it stands in its status.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().expect("the command can be waited for")
    });
    Output {
        status: output.status,
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A git repository: one of our own in a temporary directory, or one that stands somewhere already.
#[derive(Debug)]
pub struct Repo {
    dir: PathBuf,
    // Removes the directory when the repository is dropped.
    _guard: Option<TempDir>,
}

impl Repo {
    /// A new bare repository.
    pub fn bare() -> Self {
        Self::init(&["--bare"])
    }

    /// A new bare repository of an object format of git's.
    pub fn bare_in(object_format: &str) -> Self {
        Self::init(&["--bare", &format!("--object-format={object_format}")])
    }

    /// A new repository with a work tree.
    pub fn work() -> Self {
        Self::init(&[])
    }

    /// A new repository made by `git init` with these arguments, such as `--bare`, `--object-format=sha256`.
    #[track_caller]
    pub fn init(args: &[&str]) -> Self {
        let guard = tempfile::tempdir().expect("a temporary directory");
        let repo = Self { dir: guard.path().join("repo.git"), _guard: Some(guard) };
        std::fs::create_dir(&repo.dir).expect("a new directory");
        repo.git(["init", "-q"].iter().chain(args));
        repo
    }

    /// The repository that stands at `dir`; it stays when this value is dropped.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), _guard: None }
    }

    /// A new bare repository with the same refs, which borrows its objects: cheap however large this one is.
    #[track_caller]
    pub fn borrow(&self) -> Self {
        let guard = tempfile::tempdir().expect("a temporary directory");
        let repo = Self { dir: guard.path().join("repo.git"), _guard: Some(guard) };
        self.git([
            OsStr::new("clone"),
            "-q".as_ref(),
            "--mirror".as_ref(),
            "--shared".as_ref(),
            ".".as_ref(),
            repo.dir.as_ref(),
        ]);
        repo
    }

    /// Where it stands: the work tree, or the bare repository itself.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The directory that holds `objects` and `refs`.
    pub fn git_dir(&self) -> PathBuf {
        let dot_git = self.dir.join(".git");
        if dot_git.is_dir() { dot_git } else { self.dir.clone() }
    }

    /// Runs git here, whatever comes of it.
    #[track_caller]
    pub fn try_git<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        run(command(&self.dir, args), b"")
    }

    /// Runs git here; it must succeed.
    #[track_caller]
    pub fn git<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.git_with_input(args, b"")
    }

    /// Runs git here with `input` on its standard input; it must succeed.
    #[track_caller]
    pub fn git_with_input<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Output {
        let command = command(&self.dir, args);
        let what = format!("{command:?}");
        // The environment is the same each time and would hide the arguments.
        let what = what[what.find("\"git\"").unwrap_or(0)..].to_owned();
        run(command, input).expect_success(&what)
    }

    /// Starts git here with all three streams piped, for tests that speak with it.
    #[track_caller]
    pub fn spawn<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Child {
        let mut command = command(&self.dir, args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("git starts")
    }

    /// Adds a commit with these files, beside those that are there, to a branch; gives its id.
    ///
    /// Works on a bare repository as well, and does not touch a work tree or its index.
    #[track_caller]
    pub fn commit(&self, branch: &str, files: &[(&str, &[u8])]) -> String {
        let parent = self.try_git(["rev-parse", "-q", "--verify", &format!("refs/heads/{branch}^{{commit}}")]);
        let mut stream = format!(
            "feature done\ncommit refs/heads/{branch}\ncommitter A Tester <tester@example.org> 1700000000 +0000\n\
             data 9\na commit\n\n"
        )
        .into_bytes();
        if parent.status.success() {
            stream.extend_from_slice(format!("from {}\n", parent.text()).as_bytes());
        }
        for (path, content) in files {
            stream.extend_from_slice(format!("M 100644 inline {path}\ndata {}\n", content.len()).as_bytes());
            stream.extend_from_slice(content);
            stream.push(b'\n');
        }
        stream.extend_from_slice(b"\ndone\n");
        self.git_with_input(["fast-import", "--quiet"], &stream);
        self.rev(&format!("refs/heads/{branch}"))
    }

    /// Pushes to `url`, whatever comes of it.
    #[track_caller]
    pub fn try_push(&self, url: &str, args: &[&str]) -> Output {
        self.try_git(["push", url].iter().chain(args))
    }

    /// Pushes to `url`; it must succeed.
    #[track_caller]
    pub fn push(&self, url: &str, args: &[&str]) -> Output {
        self.git(["push", url].iter().chain(args))
    }

    /// The id that a name stands for.
    #[track_caller]
    pub fn rev(&self, name: &str) -> String {
        self.git(["rev-parse", "--verify", name]).text()
    }

    /// Every ref with its id, sorted by name.
    #[track_caller]
    pub fn refs(&self) -> Vec<(String, String)> {
        let text = self.git(["for-each-ref", "--format=%(refname) %(objectname)"]).text();
        let pair = |line: &str| line.split_once(' ').map(|(name, id)| (name.to_owned(), id.to_owned()));
        text.lines().filter_map(pair).collect()
    }

    /// The ids of all objects that a ref reaches.
    #[track_caller]
    pub fn reachable(&self) -> BTreeSet<String> {
        let text = self.git(["rev-list", "--objects", "--no-object-names", "--all"]).text();
        text.lines().map(str::to_owned).collect()
    }

    /// The ids of all objects that are stored here, reached or not.
    #[track_caller]
    pub fn stored(&self) -> BTreeSet<String> {
        let args = ["cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname)"];
        self.git(args).text().lines().map(str::to_owned).collect()
    }

    /// The bytes of an object.
    #[track_caller]
    pub fn object(&self, kind: &str, id: &str) -> Vec<u8> {
        self.git(["cat-file", kind, id]).stdout
    }

    /// `git fsck --strict` must find nothing: it hashes every object, and checks every pack, index and link.
    #[track_caller]
    pub fn fsck(&self) {
        let found = self.git(["fsck", "--strict", "--full", "--no-dangling", "--no-progress"]);
        // A notice is about a repository without refs, or without the branch that HEAD names.
        let said = found.text() + "\n" + &found.stderr;
        let said: Vec<_> = said.lines().filter(|line| !line.is_empty() && !line.starts_with("notice: ")).collect();
        assert!(said.is_empty(), "git fsck says: {said:#?}");
    }

    /// Files and directories that only an unfinished push may have: quarantines, lock, keep and temporary files.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![self.git_dir()];
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let unfinished = [".lock", ".keep", ".tmp"].iter().any(|end| name.ends_with(end))
                    || ["tmp_", "incoming", "quarantine", ".tmp"].iter().any(|start| name.starts_with(start));
                if unfinished {
                    found.push(entry.path());
                } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    todo.push(entry.path());
                }
            }
        }
        found
    }

    /// Nothing that only an unfinished push may have is left here.
    #[track_caller]
    pub fn assert_no_leftovers(&self) {
        let found = self.leftovers();
        assert!(found.is_empty(), "left behind: {found:#?}");
    }
}

/// `target` is what `source` is: every ref, every object, each sound, and nothing left over from the way there.
#[track_caller]
pub fn assert_same_repository(source: &Repo, target: &Repo) {
    assert_eq!(source.refs(), target.refs(), "the refs differ (left: source, right: target)");
    let (from, to) = (source.reachable(), target.reachable());
    let missing: Vec<_> = from.difference(&to).take(5).collect();
    let foreign: Vec<_> = to.difference(&from).take(5).collect();
    assert!(
        missing.is_empty() && foreign.is_empty(),
        "the objects differ: {} in the source, {} in the target; missing {missing:?}, foreign {foreign:?}",
        from.len(),
        to.len()
    );
    // The ids agree; that their contents do is what fsck proves, for it hashes them anew.
    target.fsck();
    target.assert_no_leftovers();
}
