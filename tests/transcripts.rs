//! Golden transcripts: bytes in, bytes out, beside what git's own receive-pack says to the same bytes.
//!
//! The files in `tests/transcripts` hold them, case by case:
//!
//! ```text
//! = the name of the case
//! ! push-options        what both servers are told: push-options, hide <pattern>; or what holds of the repository:
//!                       config <key> <value>, ref <name> <commit>, lock <name> (somebody else holds it)
//! > {zero} {main} r\0 c a pkt-line of the client; {names} stand for ids, {format} for the object format of the
//!                       repository, {other-format} for one that it has not
//! > flush               a flush-pkt
//! > pack empty          what follows the head: a pack that `pack` makes below
//! < ...                 a pkt-line of our server, after the advertisement; those of one report on one line, and so
//!                       are those that follow each other on the client's screen
//! git: the same         what git reports, or where that differs, its lines
//! git says: the same    what it says beside that on the client's screen, or where that differs, its lines; how far it
//!                       came with unpacking is left out
//! refs: the same        the refs afterwards, ours beside git's, if they differ
//! ```
//!
//! Everything from `<` on is written by running this test with `UPDATE_TRANSCRIPTS=1`, to be read before it is committed.
//! What is said in repositories of SHA-256 to the same cases stands in `tests/transcripts/sha256`.

#![cfg(feature = "bare-repository")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use receive_pack::Error;
use receive_pack::checksum::ChecksumLayer;
use receive_pack::proto::{HiddenRefs, ObjectFormat, ObjectId, ObjectKind};
use receive_pack::receive::ReceivePack;
use receive_pack::serve::{Linger, Serve};
use receive_pack::store::{BareRepository, Store};
use support::fast_import::Shape;
use support::format::formats;
use support::git::{self, Repo};
use support::io::Script;
use support::pack::{self, PackBuilder};
use support::request::{Advertised, FLUSH, pkt, take_pkt};
use support::server::in_time;
use tower::ServiceBuilder;

/// One case: its lines up to what the servers say.
struct Case {
    given: Vec<String>,
}

fn cases(text: &str) -> (String, Vec<Case>) {
    let mut parts = text.split("\n= ");
    let head = parts.next().unwrap_or_default().to_owned();
    let case = |part: &str| {
        let lines = format!("= {part}");
        let given = lines.lines().take_while(|line| !line.starts_with('<') && !line.starts_with("git"));
        Case { given: given.filter(|line| !line.is_empty()).map(str::to_owned).collect() }
    };
    (head, parts.map(case).collect())
}

/// A repository that is the same each time.
fn repository(format: ObjectFormat) -> (Repo, BTreeMap<&'static str, String>) {
    let repo = Shape::SMALL.repository_in(format.name()).borrow();
    repo.git(["symbolic-ref", "HEAD", "refs/heads/main"]);
    let commit = |made: (Vec<u8>, PackBuilder)| pack::object_id(format, ObjectKind::Commit, &made.0).to_string();
    let ids = [
        ("zero", "00".repeat(format.len())),
        ("unknown", "12".repeat(format.len())),
        ("main", repo.rev("main")),
        ("older", repo.rev("main~1")),
        ("next", repo.rev("next")),
        ("v1", repo.rev("v1")),
        ("tree", repo.rev("main^{tree}")),
        ("lost", commit(lost(format))),
        ("cut-off", commit(cut_off(format))),
        ("nameless", commit(nameless(format))),
    ];
    (repo, ids.into())
}

/// A commit whose tree nobody has, and a pack of it.
fn lost(format: ObjectFormat) -> (Vec<u8>, PackBuilder) {
    let lost = pack::commit(&pack::object_id(format, ObjectKind::Blob, b"a tree that nobody has"), &[]);
    let mut builder = PackBuilder::new(format);
    builder.object(ObjectKind::Commit, &lost);
    (lost, builder)
}

/// A pack of an empty tree and of this commit of it.
fn of_nothing(format: ObjectFormat, commit: impl FnOnce(&ObjectId) -> Vec<u8>) -> (Vec<u8>, PackBuilder) {
    let commit = commit(&pack::object_id(format, ObjectKind::Tree, b""));
    let mut builder = PackBuilder::new(format);
    builder.object(ObjectKind::Tree, b"");
    builder.object(ObjectKind::Commit, &commit);
    (commit, builder)
}

/// A commit whose parent nobody has, as the last one of a shallow clone.
fn cut_off(format: ObjectFormat) -> (Vec<u8>, PackBuilder) {
    let parent = pack::object_id(format, ObjectKind::Blob, b"a parent that nobody has");
    of_nothing(format, |tree| pack::commit(tree, &[parent]))
}

/// A commit by somebody without an address, which git's rules for objects forbid.
fn nameless(format: ObjectFormat) -> (Vec<u8>, PackBuilder) {
    of_nothing(format, |tree| {
        let text = String::from_utf8(pack::commit(tree, &[])).expect("a commit of text");
        text.replacen("author A Tester <tester@example.org>", "author A Tester", 1).into_bytes()
    })
}

fn pack(name: &str, format: ObjectFormat) -> Vec<u8> {
    let empty = PackBuilder::new(format);
    match name {
        "empty" => empty.finish().to_vec(),
        "lost" => lost(format).1.finish().to_vec(),
        "cut-off" => cut_off(format).1.finish().to_vec(),
        "nameless" => nameless(format).1.finish().to_vec(),
        "wrong-trailer" => lost(format).1.finish_with_wrong_trailer().to_vec(),
        "cut" => lost(format).1.without_trailer(),
        "no-pack" => b"KCAP\0\0\0\x02\0\0\0\0".to_vec(),
        "version-4" => empty.version(4).finish().to_vec(),
        _ => panic!("no such pack: {name}"),
    }
}

fn request(case: &Case, format: ObjectFormat, ids: &BTreeMap<&'static str, String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in case.given.iter().filter_map(|line| line.strip_prefix("> ")) {
        match line.strip_prefix("pack ") {
            Some(name) => bytes.extend_from_slice(&pack(name, format)),
            None if line == "flush" => bytes.extend_from_slice(FLUSH),
            None => {
                let other = if format == ObjectFormat::Sha1 { "sha256" } else { "sha1" };
                let line = line.replace("{format}", format.name()).replace("{other-format}", other);
                let text = ids.iter().fold(line, |text, (name, id)| text.replace(&format!("{{{name}}}"), id));
                bytes.extend_from_slice(&pkt(text.replace("\\0", "\0").replace("\\n", "\n")));
            }
        }
    }
    bytes
}

/// Names in place of ids, so that people can read it.
fn readable(text: &str, ids: &BTreeMap<&'static str, String>) -> String {
    ids.iter().fold(text.to_owned(), |text, (name, id)| text.replace(id, &format!("{{{name}}}")))
}

fn settings(case: &Case) -> impl Iterator<Item = (&str, &str)> {
    let lines = case.given.iter().filter_map(|line| line.strip_prefix("! "));
    lines.map(|line| line.split_once(' ').unwrap_or((line, "")))
}

/// Makes the repository what the case says of it; gives the files that stand for somebody else's locks.
fn prepare(repo: &Repo, case: &Case) -> Vec<PathBuf> {
    let mut locks = Vec::new();
    for (setting, value) in settings(case) {
        let (name, rest) = value.split_once(' ').unwrap_or((value, ""));
        match setting {
            "config" => drop(repo.git(["config", name, rest])),
            "ref" => drop(repo.git(["update-ref", name, rest])),
            "lock" => {
                let lock = repo.git_dir().join(format!("{name}.lock"));
                std::fs::create_dir_all(lock.parent().expect("a directory")).expect("the directory of the ref");
                std::fs::write(&lock, b"").expect("the lock");
                locks.push(lock);
            }
            _ => {}
        }
    }
    locks
}

/// What our server says after its advertisement.
fn ours(repo: &Repo, case: &Case, request: Vec<u8>) -> Vec<u8> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut store = BareRepository::open(repo.path()).expect("the repository opens");
        let mut push_options = false;
        for (setting, value) in settings(case) {
            match setting {
                "push-options" => push_options = true,
                "hide" => store = store.hide_refs(HiddenRefs::new([value])),
                "config" | "ref" | "lock" => {}
                _ => panic!("no such setting: {setting}"),
            }
        }
        let advertisement = store.advertise().await.expect("an advertisement").with_push_options(push_options);
        let service = ServiceBuilder::new().layer(ChecksumLayer::new()).service(ReceivePack::new(store));
        let mut said = Vec::new();
        let serve = Serve::new().linger(Linger::none());
        // A malformed head is an error beside what the client is told.
        let _: Result<_, Error> = in_time(serve.serve(Script::of(request), &mut said, advertisement, service)).await;
        said
    })
}

/// What git's own server says after its advertisement, and its last words.
fn gits(repo: &Repo, case: &Case, request: &[u8]) -> (Vec<u8>, Option<String>) {
    let mut command = git::command(repo.path(), ["-c", "receive.autogc=false"]);
    for (setting, value) in settings(case) {
        match setting {
            "push-options" => command.args(["-c", "receive.advertisePushOptions=true"]),
            "hide" => command.args(["-c", &format!("receive.hideRefs={value}")]),
            _ => continue,
        };
    }
    command.args(["receive-pack", "."]);
    let output = git::run(command, request);
    let fatal = output.stderr.lines().find(|line| line.starts_with("fatal: ")).map(str::to_owned);
    (output.stdout, fatal.filter(|_| !output.status.success()))
}

/// Our reply, pkt-line by pkt-line. What follows each other on the client's screen is one: how many lines of it go out
/// together depends on who is quicker.
fn wire(mut said: &[u8], ids: &BTreeMap<&'static str, String>) -> String {
    let mut lines: Vec<String> = Vec::new();
    while !said.is_empty() {
        let line = take_pkt(&mut said).map(|line| readable(&line.escape_ascii().to_string(), ids));
        match (line.as_deref(), lines.last_mut()) {
            (None, _) => lines.push("flush".to_owned()),
            (Some(line), Some(last)) if line.starts_with("\\x02") && last.starts_with("\\x02") => {
                last.push_str(&line[4..])
            }
            (Some(line), _) => lines.push(line.to_owned()),
        }
    }
    if lines.is_empty() { "<\n".to_owned() } else { lines.iter().map(|line| format!("< {line}\n")).collect() }
}

/// The report in a reply, line by line, however it is packed; nothing if there is none.
fn report(mut said: &[u8]) -> Vec<String> {
    let mut inner = Vec::new();
    let is_multiplexed = said.get(4).is_some_and(|band| *band <= 3);
    let mut lines = Vec::new();
    while !said.is_empty() {
        match take_pkt(&mut said) {
            Some([1, data @ ..]) if is_multiplexed => inner.extend_from_slice(data),
            Some(line) if !is_multiplexed => lines.push(String::from_utf8_lossy(line).trim_end().to_owned()),
            _ => {}
        }
    }
    let mut inner = &inner[..];
    while !inner.is_empty() {
        lines.extend(take_pkt(&mut inner).map(|line| String::from_utf8_lossy(line).trim_end().to_owned()));
    }
    lines
}

fn path_of(repo: &Repo) -> String {
    repo.path().to_str().expect("a path of text").to_owned()
}

/// What a reply has for the client's screen, line by line, but for how far the server came: that takes as long as it takes.
fn screen(mut said: &[u8]) -> Vec<String> {
    let mut text = Vec::new();
    while !said.is_empty() {
        if let Some([2, data @ ..]) = take_pkt(&mut said) {
            text.extend_from_slice(data);
        }
    }
    let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).map(|line| line.escape_ascii().to_string());
    lines.filter(|line| !line.is_empty() && !line.starts_with("Unpacking objects: ")).collect()
}

/// Both servers' answers to a case, as the file has them.
fn play(case: &Case, format: ObjectFormat) -> String {
    let ((our_repo, ids), (git_repo, _)) = (repository(format), repository(format));
    let request = request(case, format, &ids);
    let locks: Vec<_> = [&our_repo, &git_repo].into_iter().flat_map(|repo| prepare(repo, case)).collect();
    let said = ours(&our_repo, case, request.clone());
    let mut said = &said[..];
    Advertised::take(&mut said);
    let (git_said, fatal) = gits(&git_repo, case, &request);
    let mut git_said = &git_said[..];
    Advertised::take(&mut git_said);

    let mut text = wire(said, &ids);
    let (our_report, git_report) = (report(said), report(git_said));
    match fatal {
        Some(fatal) => writeln!(text, "git: dies: {}", readable(&fatal, &ids)).expect("a string"),
        None if our_report == git_report => text.push_str("git: the same\n"),
        None => git_report.iter().for_each(|line| writeln!(text, "git: {}", readable(line, &ids)).expect("a string")),
    }
    let (our_screen, git_screen) = (screen(said), screen(git_said));
    match &git_screen[..] {
        [] if our_screen.is_empty() => {}
        [] => text.push_str("git says: nothing\n"),
        _ if our_screen == git_screen => text.push_str("git says: the same\n"),
        lines => lines.iter().for_each(|line| {
            let line = readable(line, &ids).replace(&path_of(&git_repo), "{repository}");
            writeln!(text, "git says: {line}").expect("a string");
        }),
    }
    let (our_refs, git_refs) = (our_repo.refs(), git_repo.refs());
    if our_refs == git_refs {
        text.push_str("refs: the same\n");
    } else {
        for (whose, refs, others) in [("ours", &our_refs, &git_refs), ("git", &git_refs, &our_refs)] {
            for (name, id) in refs.iter().filter(|entry| !others.contains(entry)) {
                writeln!(text, "refs: only {whose}: {name} {}", readable(id, &ids)).expect("a string");
            }
        }
    }
    for lock in locks {
        std::fs::remove_file(lock).expect("a lock that nobody took away");
    }
    for repo in [our_repo, git_repo] {
        repo.assert_no_leftovers();
    }
    text
}

#[track_caller]
fn check(name: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let text = std::fs::read_to_string(dir.join(name)).expect("a transcript");
    let (head, cases) = cases(&text);
    assert!(!cases.is_empty());
    for format in formats() {
        let mut played = head.trim_end().to_owned() + "\n";
        for case in &cases {
            write!(played, "\n{}\n{}", case.given.join("\n"), play(case, format)).expect("a string");
        }
        let path = if format == ObjectFormat::Sha1 { dir.join(name) } else { dir.join(format.name()).join(name) };
        compare(&path, &played);
    }
}

/// What was played is what the file has; or it is what the file will have.
#[track_caller]
fn compare(path: &Path, played: &str) {
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        std::fs::write(path, played).expect("the transcript can be written");
        return;
    }
    let text = std::fs::read_to_string(path).expect("a transcript");
    let name = path.display();
    for (line, (played, expected)) in played.lines().zip(text.lines()).enumerate() {
        assert_eq!(played, expected, "line {} of {name} (left: now, right: in the file)", line + 1);
    }
    assert_eq!(played.lines().count(), text.lines().count(), "{name} has more or fewer lines");
}

#[test]
fn capabilities() {
    check("capabilities.txt");
}

#[test]
fn commands() {
    check("commands.txt");
}

#[test]
fn configuration() {
    check("configuration.txt");
}

#[test]
fn packs() {
    check("packs.txt");
}

#[test]
fn protocol_errors() {
    check("protocol-errors.txt");
}

#[test]
fn certificates() {
    check("certificates.txt");
}

#[test]
fn what_is_advertised_is_what_git_advertises() {
    formats().into_iter().for_each(advertised);
}

fn advertised(format: ObjectFormat) {
    let (repo, _) = repository(format);
    let capabilities = |said: &[u8]| {
        let mut said = said;
        let mut words = Advertised::take(&mut said).capabilities;
        assert!(words.last().is_some_and(|word| word.starts_with("agent=")));
        words.pop();
        words
    };
    for (settings, ours) in [
        (vec![], Box::new(|a| a) as Box<dyn Fn(receive_pack::proto::Advertisement) -> _>),
        (vec!["receive.advertisePushOptions=true"], Box::new(|a| a.with_push_options(true))),
        (vec!["receive.advertiseAtomic=false"], Box::new(|a| a.with_atomic(false))),
    ] {
        let mut args: Vec<&str> = settings.iter().flat_map(|setting| ["-c", setting]).collect();
        args.extend(["receive-pack", "--http-backend-info-refs", "."]);
        let gits = repo.git(args).stdout;
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let store = BareRepository::open(repo.path()).expect("the repository opens");
        let advertisement = ours(runtime.block_on(store.advertise()).expect("an advertisement"));
        let mut wire = bytes::BytesMut::new();
        advertisement.encode(&mut wire).expect("it can be encoded");
        assert_eq!(capabilities(&wire), capabilities(&gits), "{settings:?}");
    }
}
