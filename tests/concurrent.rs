//! Many pushes at once, ours and stock git's, into one repository that git repacks meanwhile.

#![cfg(feature = "bare-repository")]

mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use receive_pack::proto::{ObjectId, ObjectKind};
use support::format::format;
use support::git::Repo;
use support::pack::{self, PackBuilder, blob_id};
use support::request::{Advertised, Reply, Request, pkt};
use support::rng::Rng;
use support::server::Daemon;

const REFS: [&str; 3] = ["refs/heads/main", "refs/heads/d/deep", "refs/heads/other"];

/// What was accepted: a ref, its old value and its new one, and who pushed it.
type Accepted = Mutex<Vec<(String, String, String, String)>>;

/// A commit on top of another that nobody else makes, with all that it needs but its parent.
fn child_of(parent: &str, text: &str) -> (ObjectId, PackBuilder) {
    let format = format();
    let mut builder = PackBuilder::default();
    builder.blob(text.as_bytes());
    let tree = pack::tree([("file", &blob_id(text.as_bytes()))]);
    builder.object(ObjectKind::Tree, &tree);
    let parent = ObjectId::from_hex(format, parent.as_bytes()).expect("an id");
    let commit = pack::commit(&pack::object_id(format, ObjectKind::Tree, &tree), &[parent]);
    builder.object(ObjectKind::Commit, &commit);
    (pack::object_id(format, ObjectKind::Commit, &commit), builder)
}

/// Reads up to the flush-pkt that ends the advertisement.
fn advertisement(stream: &mut impl Read) -> std::io::Result<Advertised> {
    let mut bytes = Vec::new();
    loop {
        let mut len = [0; 4];
        stream.read_exact(&mut len)?;
        bytes.extend_from_slice(&len);
        let len = usize::from_str_radix(std::str::from_utf8(&len).expect("digits"), 16).expect("digits");
        if len == 0 {
            return Ok(Advertised::take(&mut &bytes[..]));
        }
        let begin = bytes.len();
        bytes.resize(begin + len - 4, 0);
        stream.read_exact(&mut bytes[begin..])?;
    }
}

/// Moves some refs on by a commit each, from what the server says they hold.
fn push(
    mut read: impl Read,
    mut write: impl Write,
    names: &[&str],
    atomic: bool,
    text: &str,
    accepted: &Accepted,
) -> std::io::Result<Reply> {
    let advertised: HashMap<String, String> = advertisement(&mut read)?.refs.into_iter().collect();
    let mut request = Request::new();
    if atomic {
        request = request.capability("atomic");
    }
    let mut builder = PackBuilder::default();
    let mut moves = HashMap::new();
    for name in names {
        let old = &advertised[*name];
        let (new, objects) = child_of(old, &format!("{text} {name}\n"));
        builder.raw(&objects.without_trailer()[12..], 3);
        request = request.update(name, old, new);
        moves.insert((*name).to_owned(), (old.clone(), new.to_string()));
    }
    write.write_all(&request.pack(builder.finish()).bytes())?;
    write.flush()?;
    let mut said = Vec::new();
    read.read_to_end(&mut said)?;
    let reply = Reply::side_band(&said);
    for (name, result) in &reply.refs {
        if result.is_ok() {
            let (old, new) = moves[name].clone();
            accepted.lock().expect("no panic").push((name.clone(), old, new, text.to_owned()));
        }
    }
    if atomic {
        let moved = reply.refs.iter().filter(|(_, result)| result.is_ok()).count();
        assert!(moved == 0 || moved == names.len(), "{reply:?}");
    }
    Ok(reply)
}

#[test]
fn no_update_is_lost_among_many_pushes_stock_git_and_repacking() {
    let target = match std::env::var("RECEIVE_PACK_PUSHES") {
        Ok(count) => count.parse().expect("RECEIVE_PACK_PUSHES is a number"),
        Err(_) => 60,
    };
    let daemon = Daemon::start();
    let source = Repo::bare();
    let start = source.commit("main", &[("file", b"0\n")]);
    let specs = REFS.map(|name| format!("main:{name}"));
    source.push(&daemon.url("demo.git"), &specs.each_ref().map(String::as_str));
    let repo = daemon.repository("demo.git");
    for (key, value) in [("receive.unpackLimit", "1"), ("receive.autogc", "false")] {
        repo.git(["config", key, value]);
    }
    let accepted = Accepted::default();
    let [ours, gits, atomic, refused] = [const { AtomicUsize::new(0) }; 4];
    let stop = AtomicBool::new(false);
    let deadline = Instant::now() + Duration::from_secs(300);
    let enough = || {
        assert!(Instant::now() < deadline, "hardly any push is accepted");
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        count(&ours) >= target && count(&gits) >= target / 6 && count(&atomic) >= target / 6
    };
    std::thread::scope(|scope| {
        let pushers: Vec<_> = (0..5_u64)
            .map(|worker| {
                let (daemon, repo, accepted) = (&daemon, &repo, &accepted);
                let (ours, gits, atomic, refused, enough) = (&ours, &gits, &atomic, &refused, &enough);
                scope.spawn(move || {
                    let mut rng = Rng::new(worker);
                    for number in 0.. {
                        if enough() {
                            break;
                        }
                        let text = format!("{worker} {number}");
                        let first = usize::try_from(rng.below(3)).expect("small");
                        let both = [REFS[first], REFS[(first + 1) % 3]];
                        let names = if worker == 1 { &both[..] } else { &both[..1] };
                        let reply = if worker == 0 {
                            let mut child = repo.spawn(["receive-pack", "."]);
                            let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
                            let (stdin, stdout) = (stdin.expect("a pipe"), stdout.expect("a pipe"));
                            let reply = push(stdout, stdin, names, false, &text, accepted);
                            child.wait().expect("it ends");
                            reply
                        } else {
                            let mut stream = TcpStream::connect(daemon.address()).expect("the daemon listens");
                            stream.write_all(&pkt(b"git-receive-pack /demo.git\0host=x\0")).expect("it reads");
                            push(&stream, &stream, names, worker == 1, &text, accepted)
                        };
                        let reply = reply.expect("an answer");
                        assert_eq!(reply.unpack, "ok", "{reply:?}");
                        let moved = reply.refs.iter().filter(|(_, result)| result.is_ok()).count();
                        let counter = match worker {
                            0 => gits,
                            1 => atomic,
                            _ => ours,
                        };
                        counter.fetch_add(moved, Ordering::Relaxed);
                        refused.fetch_add(reply.refs.len() - moved, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            // Each may meet another at work and give up; what it must not do is to harm the pushes. Git takes a
            // packed-refs that git replaced twice within a second for unchanged now and then, and loses an update
            // without us: so the two that write it are a second apart.
            let jobs: [&[&str]; 4] =
                [&["repack", "-adq"], &["pack-refs", "--all"], &["repack", "-adq", "--write-midx"], &["gc", "-q"]];
            for job in jobs.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                repo.try_git(*job);
                std::thread::sleep(Duration::from_millis(600));
            }
        });
        let ends: Vec<_> = pushers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(ends.into_iter().all(|end| end.is_ok()), "a pusher failed");
    });
    let accepted = accepted.into_inner().expect("no panic");
    let now: HashMap<String, String> = repo.refs().into_iter().collect();
    for name in REFS {
        let mine = || accepted.iter().filter(|(other, ..)| other == name);
        let next: HashMap<&str, &str> = mine().map(|(_, old, new, _)| (old.as_str(), new.as_str())).collect();
        for (_, old, new, who) in mine() {
            assert_eq!(
                next[old.as_str()],
                new,
                "{name}: of {old} two updates were accepted, one by {who}: {accepted:#?}"
            );
        }
        let (mut at, mut steps) = (start.as_str(), 0);
        while let Some(new) = next.get(at) {
            (at, steps) = (new, steps + 1);
        }
        assert_eq!((at, steps), (now[name].as_str(), next.len()), "{name}: an accepted update is lost");
    }
    println!("{} accepted, {} refused", accepted.len(), refused.into_inner());
    repo.fsck();
    // The last pushes clean up after their report.
    let clean = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        repo.leftovers().is_empty()
    });
    assert!(clean, "left behind: {:?}", repo.leftovers());
}
