//! The programs that are compared: the examples `git_daemon` and `forge`, the bench `decode`, and `git daemon`.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::measure::{Cost, reap, run};
use crate::support::git::{self, Repo};
use crate::support::server::{cargo, example};

/// A server with one empty repository, `demo.git`.
#[derive(Debug)]
pub struct Server {
    child: Child,
    start: Instant,
    pub address: String,
    root: TempDir,
}

fn root() -> TempDir {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
    let repository = root.path().join("demo.git");
    std::fs::create_dir(&repository).expect("a directory");
    Repo::at(repository).git(["init", "-q", "--bare"]);
    root
}

impl Server {
    /// This crate's.
    #[track_caller]
    pub fn ours(program: &Path) -> Self {
        let root = root();
        let mut command = Command::new(program);
        command.arg("--root").arg(root.path()).args(["--listen", "127.0.0.1:0"]);
        Self::start(command, root, "git://")
    }

    /// This crate's for HTTP.
    #[track_caller]
    pub fn http(program: &Path) -> Self {
        let root = root();
        let mut command = Command::new(program);
        command.arg("--root").arg(root.path()).args(["--http", "127.0.0.1:0", "--git", "127.0.0.1:0"]);
        command.stderr(Stdio::null());
        Self::start(command, root, "http://")
    }

    #[track_caller]
    fn start(mut command: Command, root: TempDir, scheme: &str) -> Self {
        let start = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the daemon starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let ready = lines.next().expect("a line that says where it listens").expect("a line of text");
        std::thread::spawn(move || lines.for_each(drop));
        let address = ready.split_once(scheme).and_then(|(_, url)| url.split_once('/')).map(|(address, _)| address);
        Self { child, start, address: address.expect("an address").to_owned(), root }
    }

    /// git's. Not through `git`, which would be a process more.
    #[track_caller]
    pub fn git() -> Self {
        let root = root();
        let programs = Repo::at(root.path()).git(["--exec-path"]).text();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let clean = git::command(root.path(), [""; 0]);
        let mut command = Command::new(Path::new(&programs).join("git-daemon"));
        command.env_clear().envs(clean.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(["--reuseaddr", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1"]);
        command.arg(format!("--port={port}")).arg(format!("--base-path={}", root.path().display()));
        let start = Instant::now();
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("git daemon starts");
        let address = format!("127.0.0.1:{port}");
        while TcpStream::connect(&address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "git daemon does not listen");
            sleep(Duration::from_millis(10));
        }
        Self { child, start, address, root }
    }

    /// Git's, where it waits for the disk before it says that something is done, as ours does.
    #[track_caller]
    pub fn durable_git() -> Self {
        let server = Self::git();
        server.repository().git(["config", "core.fsync", "all"]);
        server
    }

    /// The repository that was pushed to.
    pub fn repository(&self) -> Repo {
        Repo::at(self.root.path().join("demo.git"))
    }

    /// Ends the server; gives what it cost, with all processes that it started. `wall` is that of the client.
    #[track_caller]
    pub fn finish(self, wall: Duration) -> Cost {
        self.finish_and_keep(wall).0
    }

    /// The same; the repository goes with what is given back.
    #[track_caller]
    pub fn finish_and_keep(mut self, wall: Duration) -> (Cost, TempDir) {
        // git's processes end after the client has heard of it, and count once the daemon has waited for them.
        sleep(Duration::from_millis(200));
        let _ = self.child.kill();
        (Cost { wall: wall.as_secs_f64(), ..reap(self.child, self.start).0 }, self.root)
    }
}

/// The programs of our servers for git:// and for HTTP, brought up to date.
pub fn programs() -> [PathBuf; 2] {
    ["git_daemon", "forge"].map(example)
}

/// The program of the bench `decode`, built with these features, one of which is the inflater.
#[track_caller]
pub fn decoder(features: &str) -> PathBuf {
    let mut cargo = cargo("bench");
    cargo.args(["--bench", "decode", "--no-run", "--message-format=json", "--features", features]);
    let printed = run(cargo).1;
    let programs = printed.split("\"executable\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    programs.last().expect("cargo names the program").into()
}
