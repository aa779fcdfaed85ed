//! The rules of objects, rule by rule: git says the same of each object.

mod cases;
mod special_files;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use cases::{cases, known, tree};
use receive_pack::fsck::{Checks, Findings, Message, Severity, SpecialContent, SpecialFile};
use receive_pack::proto::{ObjectId, ObjectKind};
use special_files::{attributes, modules};
use support::format::{format, oid};
use support::git::{self, Repo};
use support::pack::{self, PackBuilder, blob_id};

/// What we say of some objects, each with its severity.
fn ours(checks: &Checks, id: &ObjectId, look: impl FnOnce(&Checks, &mut Findings)) -> Vec<(Severity, String)> {
    let mut found = Findings::default();
    look(checks, &mut found);
    let said = found.iter().filter(|finding| finding.object() == id).map(|finding| {
        let line = finding.to_string();
        (finding.severity(), line.strip_prefix(&format!("object {id}: ")).expect("the id").to_owned())
    });
    said.collect()
}

/// Looks at an object, and then at the special files that it names.
fn look_at(checks: &Checks, kind: ObjectKind, id: &ObjectId, data: &[u8], found: &mut Findings) {
    checks.object(kind, id, data, found);
    for (file, id) in found.special_files().collect::<Vec<_>>() {
        let is_blob = id == blob_id(b"text");
        let content = if is_blob { SpecialContent::Blob(b"text") } else { SpecialContent::NotABlob };
        // Whatever else there is under such a name, nobody has it.
        let known = known().iter().any(|(_, _, known)| *known == id);
        checks.special_file(file, &id, if known { content } else { SpecialContent::Missing }, found);
    }
}

/// What `git fsck` says of each object of a repository: of each rule that an object breaks, the first line.
fn theirs(repo: &Repo, args: &[&str]) -> BTreeMap<String, Vec<(Severity, String)>> {
    let output = repo.try_git(["fsck", "--full", "--no-dangling", "--no-progress", "--no-reflogs"].iter().chain(args));
    let mut said: BTreeMap<_, Vec<(_, String)>> = BTreeMap::new();
    for line in output.stderr.lines() {
        let (severity, rest) = match line.split_once(" in ") {
            Some(("error", rest)) => (Severity::Error, rest),
            Some(("warning", rest)) => (Severity::Warning, rest),
            _ => continue,
        };
        let (_, rest) = rest.split_once(' ').expect("a kind");
        let (id, text) = rest.split_once(": ").expect("an id");
        // What it points at is another question.
        if text == "broken links" {
            continue;
        }
        // We say of each rule once that an object breaks it.
        let (rule, _) = text.split_once(": ").expect("a rule");
        let said = said.entry(id.to_owned()).or_default();
        if said.iter().all(|(_, before)| !before.starts_with(&format!("{rule}: "))) {
            said.push((severity, text.to_owned()));
        }
    }
    said
}

/// Stores objects as they are, sound or not.
fn write(repo: &Repo, kind: ObjectKind, data: &[u8]) -> String {
    let args = ["hash-object", "-t", kind.name(), "-w", "--stdin", "--literally"];
    repo.git_with_input(args, data).text()
}

#[test]
fn git_fsck_says_the_same_of_every_object() {
    let repo = Repo::bare();
    for (kind, data, _) in known() {
        write(&repo, kind, &data);
    }
    let cases: Vec<_> = cases().into_iter().map(|(kind, data)| (write(&repo, kind, &data), kind, data)).collect();
    let (mut seen, mut compared) = (BTreeSet::new(), 0);
    let strict = theirs(&repo, &["--strict"]);
    for (checks, theirs, is_strict) in [(Checks::new(), &strict, true), (Checks::lenient(), &theirs(&repo, &[]), false)]
    {
        for (id, kind, data) in &cases {
            let object = oid(id);
            let ours = ours(&checks, &object, |checks, found| look_at(checks, *kind, &object, data, found));
            let text = format!("{} {}", kind.name(), data.escape_ascii());
            seen.extend(ours.iter().map(|(_, line)| line.split(':').next().unwrap_or_default().to_owned()));
            match theirs.get(id) {
                Some(theirs) => {
                    assert_eq!(&ours, theirs, "{text}");
                    compared += 1;
                }
                // git did not get as far as to look at it, or found nothing: then its other check decides.
                None if !is_strict => assert!(ours.is_empty() || !strict.contains_key(id), "{text}: {ours:?}"),
                None => {
                    let args = ["hash-object", "-t", kind.name(), "--stdin"];
                    let output = git::run(git::command(repo.path(), args), data);
                    let first = output.stderr.lines().find_map(|line| line.strip_prefix("error: object fails fsck: "));
                    let mut found = Findings::default();
                    look_at(&checks, *kind, &object, data, &mut found);
                    let ours = found.iter().next().map(ToString::to_string);
                    let ours = ours.as_deref().and_then(|line| line.splitn(3, ' ').nth(2));
                    assert_eq!(ours, first, "{text}");
                }
            }
        }
    }
    assert!(compared > 200, "git fsck spoke of {compared} objects only");
    // Each rule was broken once: but those of special files, those that another rule stands in front of, in git as here,
    // and the one that is ignored.
    let never = |message: &&Message| {
        !seen.contains(message.id())
            && !message.id().starts_with("gitmodules")
            && !message.id().starts_with("gitattributes")
    };
    let never: Vec<_> = Message::ALL.iter().filter(never).map(|message| message.id()).collect();
    assert_eq!(never, ["missingTag", "missingType", "emptyName", "extraHeaderEntry"]);
}

#[test]
fn git_fsck_says_the_same_of_every_special_file() {
    let repo = Repo::bare();
    let files =
        [(SpecialFile::Modules, ".gitmodules", modules()), (SpecialFile::Attributes, ".gitattributes", attributes())];
    for (file, name, contents) in files {
        let mut cases = BTreeMap::new();
        for content in contents {
            let id = write(&repo, ObjectKind::Blob, &content);
            let blob = oid(&id);
            write(&repo, ObjectKind::Tree, &pack::tree([(name, &blob)]));
            cases.insert(id, content);
        }
        let theirs = theirs(&repo, &["--strict"]);
        for (id, content) in &cases {
            let blob = oid(id);
            let content = SpecialContent::Blob(content);
            let ours = ours(&Checks::new(), &blob, |checks, found| checks.special_file(file, &blob, content, found));
            // A line feed of the client's ends git's line.
            let end = |(severity, line): (_, String)| {
                (severity, line.split('\u{fffd}').next().unwrap_or_default().to_owned())
            };
            let ours: Vec<_> = ours.into_iter().map(end).collect();
            assert_eq!(&ours, theirs.get(id).unwrap_or(&Vec::new()), "{content:?}");
        }
    }
}

#[test]
fn git_index_pack_takes_and_refuses_the_same() {
    let repo = Repo::bare();
    let (mut taken, mut refused) = (0, 0);
    for (kind, data) in cases() {
        let id = pack::object_id(format(), kind, &data);
        let mut builder = PackBuilder::default();
        let known = known();
        for (kind, data, _) in known.iter().filter(|(_, _, known)| *known != id) {
            builder.object(*kind, data);
        }
        builder.object(kind, &data);
        let args = ["index-pack", "--strict", "--stdin"];
        let output = git::run(git::command(repo.path(), args), &builder.finish());
        let mut found = Findings::default();
        look_at(&Checks::new(), kind, &id, &data, &mut found);
        // A link to nothing is refused by git for that, and by us when a ref needs it.
        let text = format!("{} {}: {}", kind.name(), data.escape_ascii(), output.stderr);
        assert_eq!(output.status.success(), found.error().is_none(), "{text}");
        if output.status.success() { taken += 1 } else { refused += 1 }
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
}

#[test]
fn a_byte_order_mark_hides_nothing() {
    // git's check stumbles over it and says no more than that, but a clone reads such a file.
    let (id, data) = (blob_id(b""), b"\xef\xbb\xbf[submodule \"a\"]\nurl=-x");
    let content = SpecialContent::Blob(data);
    let said =
        ours(&Checks::new(), &id, |checks, found| checks.special_file(SpecialFile::Modules, &id, content, found));
    assert_eq!(said, [(Severity::Error, "gitmodulesUrl: disallowed submodule url: -x".to_owned())]);
}

#[test]
fn severities_can_be_set_but_not_those_of_what_cannot_be_read() {
    let checks = Checks::new()
        .set(Message::HasDot, Severity::Warning)
        .set(Message::HasDotdot, Severity::Ignore)
        .set(Message::NulInHeader, Severity::Ignore)
        .set(Message::BadFilemode, Severity::Error);
    assert_eq!(checks.severity(Message::HasDot), Severity::Warning);
    assert_eq!(checks.severity(Message::HasDotdot), Severity::Ignore);
    assert_eq!(checks.severity(Message::NulInHeader), Severity::Error);
    assert_eq!(checks.severity(Message::BadFilemode), Severity::Error);
    let (_, data) = tree([("100600", "."), ("100644", "..")]);
    let id = pack::object_id(format(), ObjectKind::Tree, &data);
    let said = ours(&checks, &id, |checks, found| checks.object(ObjectKind::Tree, &id, &data, found));
    let expected = [
        (Severity::Warning, "hasDot: contains '.'".to_owned()),
        (Severity::Error, "badFilemode: contains bad file modes".to_owned()),
    ];
    assert_eq!(said, expected);
    let skipping = checks.skip([id]);
    assert_eq!(ours(&skipping, &id, |checks, found| checks.object(ObjectKind::Tree, &id, &data, found)), []);
    assert_eq!(Message::from_id("HASDOTGIT"), Some(Message::HasDotgit));
    assert_eq!(Message::from_id("nonsense"), None);
}
