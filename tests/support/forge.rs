//! The example `forge` as a process of its own.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::format::format;
use super::git::Repo;
use super::memory;
use super::server::{Log, example, limit_files};

/// A forge on free ports that makes repositories as they are pushed to, running until it is dropped.
#[derive(Debug)]
pub struct Forge {
    child: Child,
    log: Log,
    http: String,
    git: String,
    ssh: String,
    root: tempfile::TempDir,
}

impl Forge {
    /// A forge with these options beside those that every test needs.
    #[track_caller]
    pub fn start(options: &[&str]) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let key = root.path().join("key");
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
        super::git::run(keygen, b"").expect_success("ssh-keygen");

        let mut command = Command::new(example("forge"));
        command.arg("--root").arg(root.path().join("repositories")).arg("--auto-init");
        command.args(["--object-format", format().name()]);
        command.args(["--http", "127.0.0.1:0", "--git", "127.0.0.1:0", "--ssh", "127.0.0.1:0"]);
        command.arg("--authorized-keys").arg(key.with_extension("pub")).args(options);
        let log = Log::new();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.writer()).spawn().expect("the forge starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut address = |scheme: &str| {
            let line = lines.next().expect("a line for each address").expect("a line of text");
            let address = line.split_once(scheme).and_then(|(_, url)| url.split_once('/')).map(|(address, _)| address);
            address.unwrap_or_else(|| panic!("no {scheme} in: {line}")).to_owned()
        };
        let (http, git, ssh) = (address("http://"), address("git://"), address("ssh://git@"));
        // Nobody may leave its log unread, or it stops at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, log, http, git, ssh, root }
    }

    /// Where it listens for HTTP, as `host:port`.
    pub fn http(&self) -> &str {
        &self.http
    }

    /// Where it listens for git://, as `host:port`.
    pub fn git(&self) -> &str {
        &self.git
    }

    /// Where it listens for SSH, as `host:port`.
    pub fn ssh(&self) -> &str {
        &self.ssh
    }

    /// The URL of a repository over `http`, `git` or `ssh`.
    #[track_caller]
    pub fn url(&self, scheme: &str, name: &str) -> String {
        match scheme {
            "http" => format!("http://{}/{name}", self.http),
            "git" => format!("git://{}/{name}", self.git),
            "ssh" => format!("ssh://git@{}/{name}", self.ssh),
            other => panic!("no transport {other}"),
        }
    }

    /// What it says on standard error.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// The private key of somebody who may come in over SSH.
    pub fn key(&self) -> PathBuf {
        self.root.path().join("key")
    }

    /// The ssh that git should use.
    pub fn ssh_command(&self) -> String {
        let key = self.key();
        let options = "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
        format!("ssh -i {} {options} -o IdentitiesOnly=yes -o BatchMode=yes", key.display())
    }

    /// The repository itself, on disk.
    pub fn repository(&self, name: &str) -> Repo {
        Repo::at(self.path(name))
    }

    /// Where the repository is, or would be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("repositories").join(name)
    }

    /// The most memory that it has had so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        memory::peak_of(self.child.id())
    }

    /// The file descriptors that it has open.
    pub fn open_files(&self) -> usize {
        self.descriptors().len()
    }

    /// Lets it open so many more file descriptors, from now on. The kernel limits their numbers, of which some may be free
    /// below those in use.
    #[track_caller]
    pub fn leave_files(&self, free: usize) {
        let used = self.descriptors();
        let most = (0..).filter(|number| !used.contains(number)).nth(free).expect("numbers have no end");
        limit_files(self.child.id(), most);
    }

    /// Lets it have as many as it is likely to need, from now on.
    #[track_caller]
    pub fn free_files(&self) {
        limit_files(self.child.id(), 1024);
    }

    fn descriptors(&self) -> HashSet<usize> {
        let dir = Path::new("/proc").join(self.child.id().to_string()).join("fd");
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    /// Asks it to stop, as a service manager does.
    pub fn terminate(&self) {
        let mut kill = Command::new("kill");
        kill.args(["-TERM", &self.child.id().to_string()]);
        super::git::run(kill, b"").expect_success("kill");
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the forge can be waited for").is_some()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("the forge can be waited for")
    }
}

impl Drop for Forge {
    fn drop(&mut self) {
        // If it has ended already, that was asked for, or the test has failed for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
