//! A server that is killed in the middle of a push, at many moments, and looked at by the real git.

#![cfg(feature = "bare-repository")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use receive_pack::store::BareRepository;
use support::format::zero;
use support::git::Repo;
use support::io::Script;
use support::request::{Reply, Request, pkt};
use support::rng::Rng;
use support::server::{example, heard, serve};

/// A daemon that can be killed, its address, and its log, which it would miss.
struct Daemon {
    child: Child,
    address: String,
    _log: BufReader<ChildStdout>,
}

impl Daemon {
    fn start(program: &Path, root: &Path) -> Self {
        let mut command = Command::new(program);
        command.arg("--root").arg(root).args(["--listen", "127.0.0.1:0"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the daemon starts");
        let mut line = String::new();
        let mut log = BufReader::new(child.stdout.take().expect("stdout is piped"));
        log.read_line(&mut line).expect("a line");
        let address = line.split("git://").nth(1).and_then(|url| url.split('/').next()).expect("an address");
        Self { child, address: address.to_owned(), _log: log }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Refs with their values before a push and after; the zero id is for none.
type Moves = Vec<(&'static str, String, String)>;

struct Push {
    request: Vec<u8>,
    atomic: bool,
    moves: Moves,
}

impl Push {
    fn new(source: &Repo, atomic: bool, moves: Moves) -> Self {
        let mut request = Request::new();
        let mut revisions = String::new();
        let zero = zero();
        for (name, old, new) in &moves {
            request = request.update(&format!("refs/heads/{name}"), old, new);
            revisions += &[(new, ""), (old, "^")].map(|(id, sign)| format!("{sign}{id}\n")).concat();
        }
        let revisions: String =
            revisions.lines().filter(|id| !id.contains(&zero)).map(|id| id.to_owned() + "\n").collect();
        let args = ["pack-objects", "-q", "--revs", "--thin", "--stdout"];
        let pack = source.git_with_input(args, revisions.as_bytes()).stdout;
        let request = if atomic { request.capability("atomic") } else { request }.pack(pack);
        Self { request: request.bytes().to_vec(), atomic, moves }
    }

    /// Pushes; gives what the server says until the connection ends, however it ends.
    fn send(&self, address: &str) -> Vec<u8> {
        let Ok(mut stream) = TcpStream::connect(address) else { return Vec::new() };
        let head = pkt(b"git-receive-pack /demo.git\0host=localhost\0");
        let mut said = Vec::new();
        if stream.write_all(&head).and_then(|()| stream.write_all(&self.request)).is_ok() {
            let _ = stream.read_to_end(&mut said);
        }
        said
    }

    /// A push of what is left to be done.
    fn rest(&self, now: &[(String, String)]) -> Option<Script> {
        let holds = |name: &str| now.iter().find(|(other, _)| *other == format!("refs/heads/{name}"));
        let mut request = Request::new();
        let (mut left, zero) = (0, zero());
        for (name, old, new) in &self.moves {
            let value = holds(name).map_or(&zero, |(_, id)| id);
            if value == old {
                request = request.update(&format!("refs/heads/{name}"), old, new);
                left += 1;
            }
        }
        let start = self.request.windows(4).position(|bytes| bytes == b"PACK").expect("a pack");
        (left > 0).then(|| Script::of(request.pack(self.request[start..].to_vec()).bytes()).stays_open())
    }
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_leaves_each_ref_old_or_new_and_all_objects() {
    let kills = match std::env::var("RECEIVE_PACK_KILLS") {
        Ok(count) => count.parse().expect("RECEIVE_PACK_KILLS is a number"),
        Err(_) => 200,
    };
    let source = Repo::bare();
    let mut rng = Rng::new(1);
    let mut commit = |branch: &str| source.commit(branch, &[("file", &rng.bytes(100_000)), (branch, b"text")]);
    let old = commit("main");
    source.git(["branch", "other"]);
    source.git(["branch", "third"]);
    let [first, second, third] = ["main", "other", "third"].map(&mut commit);
    let template = Repo::bare();
    let names = ["main", "b", "c/d", "gone"];
    template.git(["fetch", "-q", &source.path().to_string_lossy(), &old]);
    for name in names {
        template.git(["update-ref", &format!("refs/heads/{name}"), &old]);
    }
    template.git(["pack-refs", "--all"]);
    let zero = zero();
    let all: Moves = vec![
        ("main", old.clone(), first.clone()),
        ("b", old.clone(), second.clone()),
        ("gone", old.clone(), zero.clone()),
        ("c/d", old.clone(), third),
        ("new/e", zero, second),
    ];
    let one = Push::new(&source, false, vec![("main", old, first)]);
    let pushes = [one, Push::new(&source, false, all.clone()), Push::new(&source, true, all)];

    let program = example("git_daemon");
    let root = tempfile::tempdir().expect("a temporary directory");
    let place = root.path().join("demo.git");
    // How long a push takes here.
    let mut longest = Duration::ZERO;
    for push in &pushes {
        copy(template.path(), &place);
        let daemon = Daemon::start(&program, root.path());
        let begin = Instant::now();
        let said = push.send(&daemon.address);
        longest = longest.max(begin.elapsed());
        heard(&said).1.assert_ok();
    }
    let mut counts = [0; 4];
    for number in 0..kills {
        let push = &pushes[number % 3];
        copy(template.path(), &place);
        let mut daemon = Daemon::start(&program, root.path());
        let address = daemon.address.clone();
        let delay = longest * u32::try_from(rng.below(1000)).expect("a small number") / 1000;
        let said = std::thread::scope(|scope| {
            let client = scope.spawn(|| push.send(&address));
            std::thread::sleep(delay);
            daemon.child.kill().expect("it can be killed");
            daemon.child.wait().expect("it can be waited for");
            client.join().expect("no panic")
        });
        let repo = Repo::at(&place);
        counts[look(&repo, push, &said, &format!("kill {number} after {delay:?}"))] += 1;

        // Opening it clears away what the dead server left, but for the locks: they are for somebody to remove.
        let store = BareRepository::open(&place).expect("the repository opens");
        for path in repo.leftovers() {
            if path.extension().is_some_and(|ending| ending == "lock") {
                counts[3] += 1;
                std::fs::remove_file(path).expect("the lock can be removed");
            } else {
                // It died before the directory had an owner; `git prune` sees to that.
                assert!(!path.join("owner").exists() && !path.is_file(), "{} is left", path.display());
                std::fs::remove_dir_all(path).expect("the directory can be removed");
            }
        }
        if let Some(rest) = push.rest(&repo.refs()) {
            let (served, said) = serve(store, rest).await;
            served.expect("the push is served");
            heard(&said).1.assert_ok();
        }
        repo.fsck();
    }
    let [old, some, new, locks] = counts;
    println!("{kills} kills: {old} left all refs old, {some} some, {new} all new; {locks} locks were left");
    assert!(old > 0 && new > 0, "{counts:?}: the kills came all too early, or too late");
}

/// Looks at a repository whose server was killed: 0 if all refs are old, 2 if all are new.
fn look(repo: &Repo, push: &Push, said: &[u8], context: &str) -> usize {
    repo.fsck();
    let (refs, zero) = (repo.refs(), zero());
    let mut moved = 0;
    for (name, old, new) in &push.moves {
        let name = format!("refs/heads/{name}");
        let value = refs.iter().find(|(other, _)| *other == name).map_or(&zero, |(_, id)| id);
        assert!(value == old || value == new, "{context}: {name} holds {value}");
        moved += usize::from(value == new);
    }
    let all = push.moves.len();
    assert!(!push.atomic || moved == 0 || moved == all, "{context}: {moved} of {all} moved");
    // Who was told of success was told the truth. A report ends in two flush-pkts, its own and that of the reply.
    if said.ends_with(b"00000000") {
        let reply: Reply = heard(said).1;
        for (name, result) in reply.refs {
            let told = push.moves.iter().find(|(other, ..)| format!("refs/heads/{other}") == name).expect("our ref");
            let value = refs.iter().find(|(other, _)| *other == name).map_or(&zero, |(_, id)| id);
            assert!(result.is_err() || *value == told.2, "{context}: {name} was reported");
        }
    }
    match moved {
        0 => 0,
        _ if moved == all => 2,
        _ => 1,
    }
}
