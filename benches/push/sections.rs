//! What is measured, subject by subject.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::client::{self, Blob};
use crate::measure::{Cost, Pair, figure, median, pairs, run, task};
use crate::packs::{self, Pack};
use crate::plot::{Line, Plot};
use crate::servers::{Server, decoder};
use crate::support::git::{Repo, command};
use crate::support::pack::{BigPack, PackBuilder, Shape, blob_id, commit, object_id, tree};
use crate::table::{Table, mib, seconds, times};
use receive_pack::proto::{ObjectFormat, ObjectId, ObjectKind};

/// How many commits the histories have that are pushed for the plots.
pub const HISTORIES: [u64; 6] = [400, 1_600, 6_400, 26_780, 60_000, 107_120];
/// MiB of the packs that are pushed to see whether memory grows.
const FLAT: [u64; 7] = [1, 4, 16, 64, 256, 1024, 4096];

/// What all sections need.
#[derive(Debug)]
pub struct Bench {
    pub runs: usize,
    /// No pushes of more than 256 MiB.
    pub quick: bool,
    pub packs: Vec<Pack>,
    pub program: PathBuf,
    /// The example `forge`, for HTTP.
    pub forge: PathBuf,
}

type Section = fn(&Bench) -> Table;

/// Small pushes come first, before anything is removed that other sections have pushed.
pub const ALL: [(&str, Section); 8] = [
    ("small", small),
    ("decode", decode),
    ("index", index),
    ("push", push),
    ("load", at_once),
    ("shapes", shapes),
    ("memory", memory),
    ("polls", polls),
];

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

fn decode(bench: &Bench) -> Table {
    let mut table = Table::new(
        "Decoding",
        "From 256 KiB of bytes at a time to frames, one thread. Against: the inflater alone, given the whole pack in \
         memory; for opaque packs, SHA-1 alone. zlib-rs is what the codec has unless the feature `sirocco` is on, and it \
         is with each store.",
    );
    let inflaters = [("zlib-rs", ""), ("sirocco", "sirocco")].map(|(name, features)| (name, decoder(features)));
    let rate = |pack: &Pack, seconds: f64| format!("{:.0} MB/s", pack.bytes as f64 / 1e6 / seconds);
    for pack in &bench.packs {
        for (inflater, program) in &inflaters {
            let measure = |what: &str| {
                let mut command = Command::new(program);
                command.arg(what).arg(&pack.path);
                figure(&run(command).1, "cpu")
            };
            let runs: Vec<_> =
                (0..bench.runs).map(|_| ["inflate", "decode", "verify", "opaque"].map(measure)).collect();
            let of = |figure: fn(&[f64; 4]) -> f64| median(runs.iter().map(figure).collect());
            let [floor, decode, verify, opaque] =
                [of(|run| run[0]), of(|run| run[1]), of(|run| run[2]), of(|run| run[3])];
            let is_default = *inflater == "zlib-rs";
            let goal = |goal| if is_default { goal } else { "" };
            let name = |what: &str| format!("{}, {inflater}: {what}", pack.name);
            let ratio = times(of(|run| run[0] / run[1]));
            table.row(&name("frames"), rate(pack, decode), rate(pack, floor), ratio, goal("≥ 0.95"));
            let each = seconds(of(|run| run[1] - run[0]) / pack.objects as f64);
            table.row(&name("more per object"), each, String::new(), String::new(), goal("< 250 ns"));
            let ratio = times(of(|run| run[0] / run[2]));
            table.row(&name("verified frames"), rate(pack, verify), rate(pack, floor), ratio, "");
            if is_default {
                let sha1 = crate::tasks::sha1_speed(256 << 20);
                let speed = pack.bytes as f64 / opaque;
                let giga = |speed: f64| format!("{:.2} GB/s", speed / 1e9);
                let ratio = times(speed / sha1);
                table.row(&format!("{}: opaque, verified", pack.name), giga(speed), giga(sha1), ratio, "≥ 1.5 GB/s");
            }
        }
    }
    table
}

/// `git index-pack` as receive-pack runs it: from a pipe into an empty repository.
fn git_index(pack: &Path, threads: &str) -> Cost {
    let repository = Repo::bare();
    let arguments = ["index-pack", "--stdin", "--rev-index", &format!("--threads={threads}")];
    let mut command = command(repository.path(), arguments);
    command.stdin(std::fs::File::open(pack).expect("a pack"));
    run(command).0
}

fn our_index(pack: &Path, threads: &str, collisions: &str) -> Cost {
    run(task(&["index", text(pack), threads, collisions])).0
}

fn index(bench: &Bench) -> Table {
    let mut table = Table::new(
        "Pack to pack, index and reverse index on disk",
        "Against `git index-pack --stdin --rev-index`, which detects collisions always; both sync their files.",
    );
    for pack in &bench.packs {
        let compare = |collisions: &str, threads: &str| {
            pairs(bench.runs, || our_index(&pack.path, threads, collisions), || git_index(&pack.path, threads))
        };
        let plain = compare("plain", "1");
        table.pair(&format!("{}, plain SHA-1", pack.name), &plain, "≤ 0.26", "");
        let one = compare("detect", "1");
        table.pair(&format!("{}, collisions detected", pack.name), &one, "≤ 0.32", "");
        let two = compare("detect", "2");
        table.pair(&format!("{}, two threads", pack.name), &two, "≤ 0.32", "");
        let resolving = |threads| figure(&run(task(&["index", text(&pack.path), threads, "detect"])).1, "resolving");
        let runs: Vec<_> = (0..bench.runs).map(|_| (resolving("2"), resolving("1"))).collect();
        let of = |figure: fn(&(f64, f64)) -> f64| median(runs.iter().map(figure).collect());
        table.row(
            &format!("{}, resolving alone, two threads against our one: wall", pack.name),
            seconds(of(|run| run.0)),
            seconds(of(|run| run.1)),
            times(of(|run| run.0 / run.1)),
            "≤ 0.526",
        );
        // Each in its turn, and each detects collisions.
        for (name, task_of_peer) in
            [("gix-pack", &["gix", text(&pack.path), "1"][..]), ("libgit2", &["libgit2", text(&pack.path)])]
        {
            let ours = || our_index(&pack.path, "1", "detect");
            let pair = pairs(bench.runs.min(3), ours, || run(task(task_of_peer)).0);
            table.pair(&format!("{}, beside {name}", pack.name), &pair, "", "");
        }
    }
    table
}

fn creations(pack: &Pack) -> Vec<client::Command> {
    pack.refs.iter().map(|(name, id)| (name.clone(), "0".repeat(40), id.clone())).collect()
}

/// One push of a pack into an empty repository.
fn push_pack(server: Server, pack: &Pack) -> Cost {
    let wall = client::push(&server.address, "demo.git", &creations(pack), client::file(&pack.path));
    assert_eq!(server.repository().refs().len(), pack.refs.len(), "the refs have moved");
    server.finish(wall)
}

fn post_pack(server: Server, pack: &Pack) -> Cost {
    let wall = client::post(&server.address, "demo.git", &creations(pack), client::file(&pack.path));
    assert_eq!(server.repository().refs().len(), pack.refs.len(), "the refs have moved");
    server.finish(wall)
}

fn push(bench: &Bench) -> Table {
    let mut table = Table::new(
        "A whole push",
        "Everything that the server does, its processes included, over git://, and over HTTP by the example `forge`; \
         against `git daemon --enable=receive-pack` both times. The client has its pack ready.",
    );
    for pack in bench.packs.iter().filter(|pack| !pack.refs.is_empty()) {
        let pair = pairs(
            bench.runs.min(3),
            || push_pack(Server::ours(&bench.program), pack),
            || push_pack(Server::git(), pack),
        );
        let what = format!("{} ({:.0} MiB, {} objects)", pack.name, pack.mib(), pack.objects);
        table.pair(&what, &pair, "≤ 0.3", "≤ 0.2");
        let http =
            pairs(bench.runs.min(3), || post_pack(Server::http(&bench.forge), pack), || push_pack(Server::git(), pack));
        table.pair(&format!("{}, HTTP", pack.name), &http, "≤ 0.3", "≤ 0.2");
    }
    table
}

/// Many pushes at once, each into a repository of its own.
fn at_once(_: &Bench) -> Table {
    let mut table = Table::new(
        "Pushes at once",
        "One process of the example `forge`, told to take 16 pushes at a time; half of the clients come over HTTP, half \
         over git://, all at the same moment.",
    );
    for (count, size, what) in [("200", "2000", "200 small pushes"), ("20", "16777216", "20 pushes of 16 MiB")] {
        // In a process of its own, for it holds all that is pushed.
        let printed = run(task(&["load", count, size])).1;
        let mut row = |name: &str, value: String| {
            table.row(&format!("{what}: {name}"), value, String::new(), String::new(), "");
        };
        row("50 %", seconds(figure(&printed, "p50")));
        row("99 %", seconds(figure(&printed, "p99")));
        row("peak memory of the server", mib(figure(&printed, "peak")));
        row("its descriptors, at most", figure(&printed, "descriptors").to_string());
    }
    table
}

/// Many pushes of one commit each, one after the other, each on a connection of its own.
fn small(bench: &Bench) -> Table {
    const PUSHES: usize = 1000;
    let mut table = Table::new(
        "1,000 pushes of one commit each",
        "One after the other, each on a connection of its own, to one server; against `git daemon`. Git leaves new objects \
         and refs to the page cache, where ours are on the disk before a push is reported; with `core.fsync=all` its files \
         are, too, though not the directories that name them.",
    );
    let pushes = commits(PUSHES);
    let session = |server: Server| {
        let mut old = "0".repeat(40);
        let mut times = Vec::new();
        let start = Instant::now();
        for (id, pack) in &pushes {
            let command = ("refs/heads/main".to_owned(), old, id.to_string());
            let time = client::push(&server.address, "demo.git", &[command], |out| out.write_all(pack));
            times.push(time.as_secs_f64());
            old = id.to_string();
        }
        let total = start.elapsed();
        assert_eq!(server.repository().rev("refs/heads/main"), old);
        (server.finish_and_keep(total), times)
    };
    let mut latencies = [const { Vec::new() }; 3];
    // What was pushed stays until all is measured: for minutes after many files were removed, an ext4 without a journal
    // looks at each of their inodes before it gives one away, and that can be half the time of a push.
    let mut kept = Vec::new();
    let mut measured = |server: Server, which: usize| {
        let ((cost, root), times) = session(server);
        latencies[which].extend(times);
        kept.push(root);
        cost
    };
    let runs: Vec<_> = (0..bench.runs.min(3))
        .map(|_| {
            let ours = measured(Server::ours(&bench.program), 0);
            [(ours, measured(Server::git(), 1)), (ours, measured(Server::durable_git(), 2))]
        })
        .collect();
    let [pair, durable] = [0, 1].map(|which| pairs_of(&mut runs.iter().map(|run| run[which])));
    let per_push = |cost: f64| seconds(cost / PUSHES as f64);
    table.row("CPU per push", per_push(pair.ours.cpu), per_push(pair.theirs.cpu), times(pair.ratio.cpu), "< 0.1");
    table.row(
        "the same, `core.fsync=all`",
        per_push(durable.ours.cpu),
        per_push(durable.theirs.cpu),
        times(durable.ratio.cpu),
        "",
    );
    let percentile = |values: &[f64], percent: usize| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values[(values.len() * percent / 100).min(values.len() - 1)]
    };
    let [ours, theirs, durable] = latencies;
    for (theirs, how) in [(theirs, ""), (durable, ", `core.fsync=all`")] {
        for percent in [50, 99] {
            let (ours, theirs) = (percentile(&ours, percent), percentile(&theirs, percent));
            let what = format!("latency, {percent} %{how}");
            table.row(&what, seconds(ours), seconds(theirs), times(ours / theirs), "");
        }
    }
    table.row("peak memory", mib(pair.ours.peak), mib(pair.theirs.peak), times(pair.ratio.peak), "");
    table
}

fn pairs_of(runs: &mut impl ExactSizeIterator<Item = (Cost, Cost)>) -> Pair {
    let (ours, theirs): (Vec<_>, Vec<_>) = runs.unzip();
    let (mut a, mut b) = (ours.iter().copied(), theirs.iter().copied());
    pairs(ours.len(), || a.next().expect("a run"), || b.next().expect("a run"))
}

/// Packs of one commit, one tree and one blob, each commit on top of the one before.
fn commits(count: usize) -> Vec<(ObjectId, bytes::Bytes)> {
    let mut parent = None;
    (0..count)
        .map(|n| {
            let mut pack = PackBuilder::default();
            let text = format!("version {n}\n").repeat(20);
            let tree = tree([("file", &blob_id(text.as_bytes()))]);
            let commit = commit(&object_id(ObjectFormat::Sha1, ObjectKind::Tree, &tree), parent.as_slice());
            pack.object(ObjectKind::Commit, &commit);
            pack.object(ObjectKind::Tree, &tree);
            pack.blob(text.as_bytes());
            let id = object_id(ObjectFormat::Sha1, ObjectKind::Commit, &commit);
            parent = Some(id);
            (id, pack.finish())
        })
        .collect()
}

fn shapes(bench: &Bench) -> Table {
    let mut table = Table::new(
        "Shapes that hurt",
        "Small packs that are much work, made by nobody but an attacker (those with one object twice are refused, by git as well); indexed on two threads with collision \
         detection, against `git index-pack --stdin --threads=2`.",
    );
    for pack in packs::shapes() {
        let pair = pairs(bench.runs, || our_index(&pack.path, "2", "detect"), || git_index(&pack.path, "2"));
        let goal = if pack.name.starts_with("chain") { "< 8 MB" } else { "" };
        table.pair(&pack.name, &pair, "≤ 0.4", goal);
    }
    table
}

fn blob(server: Server, blob: Blob) -> Cost {
    let (tree, commit, id) = blob.head();
    let command = ("refs/heads/main".to_owned(), "0".repeat(40), id.to_string());
    let wall = client::push(&server.address, "demo.git", &[command], |out| blob.send(&tree, &commit, out));
    server.finish(wall)
}

fn memory(bench: &Bench) -> Table {
    let mut table = Table::new("Memory", "Whole pushes over git://, except the tiny objects, which are indexed.");
    let mib = if bench.quick { 256 } else { 1024 };
    for (kind, random) in [("random", true), ("zeros", false)] {
        let what = &format!("a blob of {mib} MiB, {kind}");
        let made = Blob { len: mib << 20, random };
        let pair = pairs(1, || blob(Server::ours(&bench.program), made), || blob(Server::git(), made));
        table.pair(what, &pair, "", "< 16 MB");
    }
    let tiny = packs::tiny();
    let pair = pairs(1, || our_index(&tiny.path, "2", "detect"), || git_index(&tiny.path, "2"));
    table.pair("1,000,000 tiny objects", &pair, "", "< 72 MB");
    table
}

fn polls(bench: &Bench) -> Table {
    let mut table = Table::new(
        "One poll",
        "How long a connection keeps a thread of the async runtime while the history of 107,120 commits streams in.",
    );
    let repository = Shape107120::path();
    let printed: Vec<_> = (0..bench.runs.min(3)).map(|_| run(task(&["polls", text(&repository)])).1).collect();
    let of = |name: &str| seconds(median(printed.iter().map(|printed| figure(printed, name)).collect()));
    for (what, percent, goal) in [("median", 50, ""), ("99 %", 99, "< 1 ms"), ("longest", 100, "")] {
        let (cpu, wall) = (of(&format!("cpu{percent}")), of(&format!("wall{percent}")));
        table.row(what, format!("{cpu} CPU, {wall} wall"), String::new(), String::new(), goal);
    }
    table
}

struct Shape107120;

impl Shape107120 {
    fn path() -> PathBuf {
        let pack = packs::history(HISTORIES[5]);
        pack.path.ancestors().nth(3).expect("a repository").to_path_buf()
    }
}

/// Time and memory against the size of the push.
pub fn sizes(bench: &Bench) -> (Table, Vec<Plot>) {
    let mut table = Table::new(
        "Against size",
        "Whole pushes over git://: histories like that of the outage, and packs of large random blobs.",
    );
    let mut plots = [
        Plot::new("time", "Processor time of a push, by its size", "CPU seconds of the server"),
        Plot::new("memory", "Peak memory of a push, by its size", "MiB of the largest process"),
    ];
    let mut add = |lines: [[Line; 2]; 2]| {
        for (plot, lines) in plots.iter_mut().zip(lines) {
            plot.lines.extend(lines);
        }
    };
    let mut lines = lines("history");
    for commits in HISTORIES.into_iter().filter(|commits| !bench.quick || *commits < 50_000) {
        let pack = packs::history(commits);
        let pair = pairs(
            if pack.mib() < 64.0 { 3 } else { 1 },
            || push_pack(Server::ours(&bench.program), &pack),
            || push_pack(Server::git(), &pack),
        );
        table.pair(&format!("history, {:.0} MiB, {} objects", pack.mib(), pack.objects), &pair, "", "");
        note(&mut lines, pack.mib(), &pair);
    }
    add(lines);
    let mut lines = self::lines("random blobs");
    for size in FLAT.into_iter().filter(|size| !bench.quick || *size <= 256) {
        let pack = BigPack::new(Shape::mib(size));
        let one = |server: Server| {
            let command = ("refs/heads/main".to_owned(), "0".repeat(40), pack.tip().to_string());
            let wall = client::push(&server.address, "demo.git", &[command], client::made(&pack));
            server.finish(wall)
        };
        let runs = if size < 256 { 3 } else { 1 };
        let pair = pairs(runs, || one(Server::ours(&bench.program)), || one(Server::git()));
        table.pair(&format!("random blobs, {size} MiB"), &pair, "", "flat");
        note(&mut lines, size as f64, &pair);
    }
    add(lines);
    (table, plots.into())
}

/// Ours and git's, in both plots.
fn lines(what: &str) -> [[Line; 2]; 2] {
    [(); 2].map(|()| [Line::new(&format!("receive-pack, {what}"), true), Line::new(&format!("git, {what}"), false)])
}

fn note(lines: &mut [[Line; 2]; 2], mib: f64, pair: &Pair) {
    let [[time, git_time], [memory, git_memory]] = lines;
    time.points.push((mib, pair.ours.cpu));
    git_time.points.push((mib, pair.theirs.cpu));
    memory.points.push((mib, pair.ours.peak / f64::from(1 << 20)));
    git_memory.points.push((mib, pair.theirs.peak / f64::from(1 << 20)));
}
