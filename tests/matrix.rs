//! Every client over every transport that it has: what people push with, really run.

#![cfg(all(feature = "bare-repository", feature = "http"))]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::clients::Client;
use support::forge::Forge;
use support::format::is_sha1;
use support::git::Repo;
use support::rng::Rng;
use support::server::example;

/// What is pushed, in this order into one repository, and how it must end.
struct Case {
    name: &'static str,
    refspecs: &'static [&'static str],
    thin: bool,
    refused: bool,
}

const CASES: [Case; 7] = [
    Case { name: "create", refspecs: &["refs/heads/base:refs/heads/main"], thin: false, refused: false },
    Case { name: "update", refspecs: &["refs/heads/main:refs/heads/main"], thin: true, refused: false },
    Case { name: "update, full", refspecs: &["refs/heads/more:refs/heads/main"], thin: false, refused: false },
    Case {
        name: "two refs",
        refspecs: &["refs/heads/next:refs/heads/a", "refs/heads/base:refs/heads/b"],
        thin: true,
        refused: false,
    },
    Case { name: "delete", refspecs: &[":refs/heads/doomed"], thin: false, refused: false },
    Case { name: "refusal", refspecs: &["refs/heads/next:refs/heads/locked/x"], thin: false, refused: true },
    Case { name: "> 50 MB", refspecs: &["refs/heads/big:refs/heads/big"], thin: false, refused: false },
];

/// Branches for all cases.
fn source() -> Repo {
    let repo = Repo::bare();
    let mut rng = Rng::new(4);
    let mut text = Vec::new();
    while text.len() < 200_000 {
        rng.line(&mut text);
    }
    repo.commit("base", &[("text.txt", &text), ("a/b/c.txt", b"deep\n")]);
    let mut tip = "base";
    for branch in ["main", "more", "next"] {
        repo.git(["branch", "-q", branch, tip]);
        // Changed a little, so that a thin pack has a delta to send.
        text.truncate(text.len() - 40);
        text.extend_from_slice(branch.as_bytes());
        repo.commit(branch, &[("text.txt", &text)]);
        tip = branch;
    }
    repo.git(["branch", "-q", "big", "base"]);
    let files: Vec<_> = (0..4).map(|index| (format!("big/{index}"), rng.bytes(14 << 20))).collect();
    repo.commit("big", &files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect::<Vec<_>>());
    repo
}

/// What came of one client on one transport: a cell for each case.
fn row(client: Client, transport: &str, forge: &Forge, source: &Repo) -> Vec<Result<String, String>> {
    let name = format!("{client:?}-{transport}.git").to_lowercase();
    let target = forge.repository(&name);
    let url = if transport == "pipe" {
        target_of_pipe(&forge.path(&name));
        forge.path(&name).to_str().expect("a path of text").to_owned()
    } else {
        forge.url(transport, &name)
    };
    let mut cells = Vec::new();
    for case in &CASES {
        cells.push(cell(client, transport, case, forge, source, &target, &url));
    }
    // The proof of all of them: panics if something is wrong, and fails the test. Where nothing came there is no
    // repository, and each cell says so.
    if cells.iter().all(Result::is_err) {
        return cells;
    }
    target.fsck();
    target.assert_no_leftovers();
    cells
}

fn target_of_pipe(path: &std::path::Path) {
    let dir = path.parent().expect("a root");
    Repo::at(dir).git(["init", "-q", "--bare", path.to_str().expect("a path of text")]);
}

fn cell(
    client: Client,
    transport: &str,
    case: &Case,
    forge: &Forge,
    source: &Repo,
    target: &Repo,
    url: &str,
) -> Result<String, String> {
    let mut refspecs = case.refspecs;
    let mut reason = "this branch is locked";
    if client == Client::Isomorphic && refspecs.len() > 1 {
        return Ok("cannot".to_owned());
    }
    if transport == "pipe" && case.refused {
        // The program on the pipe has no locked branches.
        refspecs = &[":refs/heads/main"];
        reason = "deletion of the current branch prohibited";
    }
    if case.name == "delete" && target.path().is_dir() {
        target.git(["branch", "-q", "doomed", "main"]);
    }
    // The first push makes the repository.
    let refs = || if target.path().is_dir() { target.refs() } else { Vec::new() };
    let before = refs();
    let start = Instant::now();
    let said = client.push(forge, source, url, refspecs, case.thin);
    let took = start.elapsed();
    // No cell may sit through a time-out and look like a success. The forge's are longer than a client is let live; that
    // of the linger is the shortest on a pipe. Large pushes are compressed for longer than that by some.
    let is_slow = took >= Duration::from_secs(15) && (case.name != "> 50 MB" || transport == "pipe");
    let text = said.text() + &said.stderr;
    if is_slow {
        return Err(format!("{took:.1?}, as long as a time-out: {text}"));
    }
    if case.refused {
        if refs() != before {
            return Err(format!("a ref moved: {text}"));
        }
        return if text.contains(reason) { Ok(format!("shown {took:.1?}")) } else { Err(format!("not shown: {text}")) };
    }
    if !said.status.success() {
        return Err(format!("{}: {text}", said.status));
    }
    let refs: BTreeMap<_, _> = refs().into_iter().collect();
    for (from, to) in refspecs.iter().filter_map(|refspec| refspec.split_once(':')) {
        let wanted = (!from.is_empty()).then(|| source.rev(from));
        if refs.get(to) != wanted.as_ref() {
            return Err(format!("{to} is {:?}, not {wanted:?}: {text}", refs.get(to)));
        }
    }
    Ok(format!("ok {took:.1?}"))
}

#[test]
fn every_client_pushes_over_every_transport() {
    // The others know nothing but SHA-1.
    let clients = Client::ALL.into_iter().filter(|client| is_sha1() || *client == Client::Git);
    let (present, absent): (Vec<_>, Vec<_>) = clients.partition(|client| client.is_there());
    if !absent.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "CI must have all clients, and has no {absent:?}");
        println!("skipped, for they are not installed (.ci/run does it): {absent:?}");
    }
    let (forge, source) = (Forge::start(&["--linger", "600"]), source());
    // Built before the clock runs.
    example("receive_pack");
    let pairs: Vec<_> =
        present.iter().flat_map(|client| client.transports().iter().map(|transport| (*client, *transport))).collect();
    let (todo, done) = (Mutex::new(pairs.iter()), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = todo.lock().expect("no row has panicked").next();
                    let Some((client, transport)) = next else { break };
                    let cells = row(*client, transport, &forge, &source);
                    done.lock().expect("no row has panicked").insert((format!("{client:?}"), *transport), cells);
                }
            });
        }
    });
    let done = done.into_inner().expect("no row has panicked");
    let names = CASES.map(|case| case.name).join(" | ");
    let mut table = format!("| client | transport | {names} |\n|---|---|{}\n", "---|".repeat(CASES.len()));
    let mut failures = Vec::new();
    for ((client, transport), cells) in &done {
        let shown: Vec<_> = cells.iter().map(|cell| cell.as_deref().unwrap_or("**FAILED**")).collect();
        table += &format!("| {client} | {transport} | {} |\n", shown.join(" | "));
        let failed = CASES.iter().zip(cells).filter_map(|(case, cell)| Some((case.name, cell.as_ref().err()?)));
        failures.extend(failed.map(|(case, why)| format!("{client} over {transport}, {case}: {why}")));
    }
    table += &format!("\nPeak memory of the server: {} MiB.\n", forge.peak_memory() >> 20);
    println!("{table}");
    // A test that succeeds prints nothing that anybody sees.
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/target/matrix.md"), table).expect("target can be written to");
    assert_eq!(done.len(), pairs.len(), "a row for each pair");
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Passes connections on to a server; gives its address, and what the clients have said so far.
fn recorder(upstream: &str) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let (upstream, record) = (upstream.to_owned(), Arc::<Mutex<Vec<u8>>>::default());
    let said = Arc::clone(&record);
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("a connection");
            let mut server = TcpStream::connect(&upstream).expect("the server listens");
            let (mut back, mut out) = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
            thread::spawn(move || std::io::copy(&mut back, &mut out).and_then(|_| out.shutdown(Shutdown::Write)));
            let said = Arc::clone(&said);
            thread::spawn(move || {
                let mut buffer = [0; 1 << 16];
                while let Ok(len @ 1..) = client.read(&mut buffer) {
                    said.lock().expect("no panic").extend_from_slice(&buffer[..len]);
                    server.write_all(&buffer[..len]).expect("the server reads");
                }
                // The server may have closed first.
                let _ = server.shutdown(Shutdown::Write);
            });
        }
    });
    (address, record)
}

#[test]
fn jgit_compresses_its_requests() {
    if !Client::Jgit.is_there() {
        assert!(std::env::var_os("CI").is_none(), "CI must have JGit");
        println!("skipped: JGit is not installed");
        return;
    }
    let (forge, source) = (Forge::start(&[]), Repo::bare());
    let mut text = Vec::new();
    let mut rng = Rng::new(1);
    (0..1000).for_each(|_| rng.line(&mut text));
    source.commit("main", &[("text", &text)]);
    let (address, record) = recorder(forge.http());
    let url = format!("http://{address}/demo.git");
    let said = Client::Jgit.push(&forge, &source, &url, &["refs/heads/main:refs/heads/main"], false);
    assert!(said.status.success(), "{}", said.stderr);
    assert_eq!(forge.repository("demo.git").rev("main"), source.rev("main"));
    let record = String::from_utf8_lossy(&record.lock().expect("no panic")).to_lowercase();
    let push = record.find("post /demo.git/git-receive-pack").expect("a push");
    let head = &record[push..][..record[push..].find("\r\n\r\n").expect("the end of its head")];
    assert!(head.contains("content-encoding: gzip"), "{head}");
}
