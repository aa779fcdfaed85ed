//! Servers to push to: the crate's examples as processes of their own, and `serve` within the test.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use receive_pack::Error;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::proto::Report;
use receive_pack::push::{Pack, Push};
use receive_pack::receive::{PreReceive, ReceivePack};
use receive_pack::serve::{Linger, Serve, Served};
use receive_pack::store::Store;
use receive_pack::transport::DaemonRequest;
use tokio::net::TcpListener;
use tokio::net::tcp::OwnedReadHalf;
use tower::{Service, ServiceBuilder};

use super::format::format;
use super::git::{Output, Repo};
use super::io::Script;
use super::memory;
use super::request::{Advertised, Reply};

/// One of cargo's commands for this crate, as if nobody had started it from within cargo.
pub fn cargo(what: &str) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([what, "--quiet", "--offline", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    // What cargo has told this process of its package is not so for the packages that it looks at now: some build scripts
    // would run again, here and in the next build outside.
    let told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(told)) {
        cargo.env_remove(name);
    }
    cargo
}

/// The program that an example becomes, brought up to date first: a run of a single test builds no examples, and an old
/// one would be tested in silence.
#[track_caller]
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test binary");
    // target/<profile>/deps/<test>
    let profile_dir = test.parent().and_then(Path::parent).expect("a directory of the profile");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    // The features of the tests, so that whatever they were built with is found built already.
    let features = [
        ("memory", cfg!(feature = "memory")),
        ("bare-repository", cfg!(feature = "bare-repository")),
        ("collision-detection", cfg!(feature = "collision-detection")),
        ("http", cfg!(feature = "http")),
        ("object-store", cfg!(feature = "object-store")),
        ("sha256", cfg!(feature = "sha256")),
        ("sirocco", cfg!(feature = "sirocco")),
        ("_bench", cfg!(feature = "_bench")),
        ("_fuzzing", cfg!(feature = "_fuzzing")),
    ];
    let features: Vec<_> = features.into_iter().filter(|(_, is_on)| *is_on).map(|(name, _)| name).collect();
    let mut cargo = cargo("build");
    cargo.args(["--example", name, "--features", &features.join(","), "--profile", profile]);
    cargo.arg("--target-dir").arg(profile_dir.parent().expect("a target directory"));
    super::git::run(cargo, b"").expect_success(&format!("building the example {name}"));
    profile_dir.join("examples").join(name)
}

/// What a server says on standard error; shown if the test fails.
#[derive(Debug)]
pub struct Log(tempfile::NamedTempFile);

impl Log {
    #[track_caller]
    pub fn new() -> Self {
        Self(tempfile::NamedTempFile::new().expect("a temporary file"))
    }

    /// Where the server writes it.
    #[track_caller]
    pub fn writer(&self) -> Stdio {
        self.0.reopen().expect("the file is there").into()
    }

    /// All that it has said so far.
    #[track_caller]
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.0.path()).expect("a log of text")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{}", std::fs::read_to_string(self.0.path()).unwrap_or_default());
        }
    }
}

/// Lets a process have so many file descriptors, from now on.
#[track_caller]
pub fn limit_files(process: u32, most: usize) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args([format!("--pid={process}"), format!("--nofile={most}:")]);
    super::git::run(prlimit, b"").expect_success("prlimit");
}

/// The example `git_daemon`, running until it is dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: Log,
    address: String,
    root: tempfile::TempDir,
}

impl Daemon {
    /// A daemon on a free port that makes repositories as they are pushed to.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(format().name())
    }

    /// The same, for repositories of this object format.
    #[track_caller]
    pub fn start_with(object_format: &str) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(example("git_daemon"));
        command.arg("--root").arg(root.path()).args(["--auto-init", "--listen", "127.0.0.1:0"]);
        command.args(["--object-format", object_format]);
        let log = Log::new();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.writer());
        let mut child = command.spawn().expect("the daemon starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let ready = lines.next().expect("a line that says where it listens").expect("a line of text");
        // Nobody may leave its log unread, or it stops at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let address = ready.split_once("git://").and_then(|(_, url)| url.split_once('/')).map(|(address, _)| address);
        let address = address.unwrap_or_else(|| panic!("no URL in: {ready}")).to_owned();
        Self { child, log, address, root }
    }

    /// Where it listens, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The URL of a repository.
    pub fn url(&self, name: &str) -> String {
        format!("git://{}/{name}", self.address)
    }

    /// What it says on standard error.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// The repository itself, on disk.
    pub fn repository(&self, name: &str) -> Repo {
        Repo::at(self.root.path().join(name))
    }

    /// The most memory that it has had so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        memory::peak_of(self.child.id())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // If it has died already, the test has failed for that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Any example that listens on a port, running until it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: Log,
    url: String,
}

impl Server {
    /// Starts an example with these arguments on a free port; one that makes repositories makes them in the format of
    /// the tests. Its first line must name a URL `git://…/…`.
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = S>) -> Self {
        Self::start_in(name, args, [])
    }

    /// The same, with more in its environment.
    #[track_caller]
    pub fn start_in<S: AsRef<OsStr>>(
        name: &str,
        args: impl IntoIterator<Item = S>,
        environment: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let mut command = Command::new(example(name));
        command.envs(environment);
        if name != "proxy" {
            command.args(["--object-format", format().name()]);
        }
        command.args(["--listen", "127.0.0.1:0"]).args(args);
        let log = Log::new();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.writer());
        let mut child = command.spawn().expect("the example starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let ready = lines.next().expect("a line that says where it listens").expect("a line of text");
        std::thread::spawn(move || lines.for_each(drop));
        let url = ready.split(' ').find(|word| word.starts_with("git://"));
        Self { child, log, url: url.unwrap_or_else(|| panic!("no URL in: {ready}")).to_owned() }
    }

    /// The URL that it names.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it says on standard error.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Lets it have so many file descriptors, from now on.
    #[track_caller]
    pub fn limit_files(&self, most: usize) {
        limit_files(self.child.id(), most);
    }

    /// Where it listens, as `host:port`.
    pub fn address(&self) -> &str {
        self.url["git://".len()..].split('/').next().expect("a host")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it has died already, the test has failed for that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `git://` server within the test, on a free port: each connection is a push into `store` through the service that
/// `make` makes. Gives its URL. It runs for as long as the runtime does.
pub async fn listen<F, S>(store: impl Store, make: F) -> String
where
    F: Fn() -> S + Send + 'static,
    S: Service<Push<Pack<OwnedReadHalf>>, Response = Report, Error = Error> + Send + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("git://{}/any.git", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        loop {
            let (mut read, write) = listener.accept().await.expect("a connection").0.into_split();
            let (store, service) = (store.clone(), make());
            tokio::spawn(async move {
                DaemonRequest::read(&mut read).await?;
                Serve::new().serve(read, write, store.advertise().await?, service).await
            });
        }
    });
    url
}

/// Real git, where it does not hold up the server.
pub async fn try_push(source: &Arc<Repo>, url: &str, args: &[&str]) -> Output {
    let (source, url) = (Arc::clone(source), url.to_owned());
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let push = move || source.try_push(&url, &args.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(push).await.expect("git runs")
}

/// Takes one push into `store` within this process; gives what `serve` says of it, and every byte the client was sent.
///
/// The connection closes at once after the report: a reader that stays open would else be waited for.
pub async fn serve(store: impl Store, reader: Script) -> (Result<Served, Error>, Vec<u8>) {
    serve_with(store, (), reader).await
}

/// As [`serve`], with a policy that is asked before refs move.
pub async fn serve_with(
    store: impl Store,
    policy: impl PreReceive + Clone,
    reader: Script,
) -> (Result<Served, Error>, Vec<u8>) {
    let advertisement = store.advertise().await.expect("an advertisement");
    let service = ReceivePack::new(store).pre_receive(policy);
    let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(service);
    let mut said = Vec::new();
    let serve = Serve::new().linger(Linger::none());
    let served = in_time(serve.serve(reader, &mut said, advertisement, service)).await;
    (served, said)
}

/// What a client was told: the advertisement, and the reply, multiplexed.
#[track_caller]
pub fn heard(mut said: &[u8]) -> (Advertised, Reply) {
    let advertised = Advertised::take(&mut said);
    (advertised, Reply::side_band(said))
}

/// The output of a future that must not wait for ever. The bound is generous: it tells a hang from a slow machine.
pub async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(120), future).await.expect("it waits for something that never comes")
}
