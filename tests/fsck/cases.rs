//! Objects that keep the rules, and objects that break them.

use receive_pack::proto::{ObjectId, ObjectKind};

use super::support::format::format;
use super::support::pack::{self, blob_id};

const WHO: &str = "A Tester <tester@example.org> 1700000000 +0000";

/// The id of the empty tree and of a commit of it, which every pack of these tests has.
pub(super) fn known() -> [(ObjectKind, Vec<u8>, ObjectId); 3] {
    let tree = pack::object_id(format(), ObjectKind::Tree, b"");
    let commit = pack::commit(&tree, &[]);
    let commit_id = pack::object_id(format(), ObjectKind::Commit, &commit);
    [
        (ObjectKind::Blob, b"text".to_vec(), blob_id(b"text")),
        (ObjectKind::Tree, Vec::new(), tree),
        (ObjectKind::Commit, commit, commit_id),
    ]
}

/// A tree of these entries, as they stand: modes and names.
pub(super) fn tree<N: AsRef<[u8]>>(entries: impl IntoIterator<Item = (&'static str, N)>) -> (ObjectKind, Vec<u8>) {
    let [(_, _, blob), (_, _, empty), (_, _, commit)] = known();
    let mut data = Vec::new();
    for (mode, name) in entries {
        data.extend_from_slice(mode.as_bytes());
        data.push(b' ');
        data.extend_from_slice(name.as_ref());
        data.push(0);
        let id = match mode.trim_start_matches('0') {
            "40000" => empty,
            "160000" => commit,
            _ => blob,
        };
        data.extend_from_slice(id.as_bytes());
    }
    (ObjectKind::Tree, data)
}

fn commit(text: impl AsRef<[u8]>) -> (ObjectKind, Vec<u8>) {
    (ObjectKind::Commit, text.as_ref().to_vec())
}

fn tag(text: impl AsRef<[u8]>) -> (ObjectKind, Vec<u8>) {
    (ObjectKind::Tag, text.as_ref().to_vec())
}

/// A commit whose author is this.
fn by(author: &str) -> (ObjectKind, Vec<u8>) {
    let [_, (_, _, tree), _] = known();
    commit(format!("tree {tree}\nauthor {author}\ncommitter {WHO}\n\ntext\n"))
}

/// Sound objects and others: trees, commits and tags.
pub(super) fn cases() -> Vec<(ObjectKind, Vec<u8>)> {
    let mut cases = Vec::new();
    let [(_, _, blob), (_, _, empty), (_, _, tip)] = known();

    // Names: plain ones, `.git` and what HFS+ and NTFS take for it, and what is only like it.
    let names: &[&[u8]] = &[
        b"a",
        b".",
        b"..",
        b"...",
        b"a/b",
        b"/",
        b".git",
        b".GIT",
        b".gIt",
        b".git ",
        b".git.",
        b".git. .",
        b".git..x",
        b".gitx",
        b"git",
        b"git~1",
        b"GIT~1",
        b"git~1 ",
        b"git~2",
        b"git~10",
        b".git:x",
        b".git::$INDEX",
        b"git~1:",
        b".git\\x",
        b"a\\.git",
        b"a\\.git\\b",
        b"a\\b",
        b"a\\git~1",
        b".git/",
        b"x.git",
        b".gi\xe2\x80\x8ct",
        b"\xe2\x80\x8d.git",
        b".git\xef\xbb\xbf",
        b".g\xe2\x80\xaait",
        b".g\xe2\x81\xaait",
        b".g\xe2\x80\x90it",
        b".git\xff",
        b".gi\xfft",
        b"\xff.git",
        b".git\xed\xa0\x80",
        b".G\xc4\xb0T",
        b".git\xef\xbf\xbf",
        b".gitmodules",
        b".GITMODULES",
        b".gitmodules ",
        b".gitmodules.",
        b".gitmodules:a",
        b".gitmodules:",
        b"gitmod~1",
        b"GITMOD~4",
        b"gitmod~5",
        b"gitmod~1 .",
        b"gi7eba~1",
        b"gi7eb~10",
        b"gi7~1234",
        b"gi7eba~0",
        b"g~123456",
        b"~1000000",
        b"gi7eba~1x",
        b"gi7eba~12",
        b"gitmod~1x",
        b"a\\.gitmodules",
        b".gitmodule\xe2\x80\x8fs",
        b".gitattributes",
        b"gitatt~1",
        b"gi7d29~1",
        b".gitattributes ",
        b"a\\.gitattributes",
        b".gitignore",
        b"gitign~1",
        b"gi250a~1",
        b".mailmap",
        b"mailma~1",
        b"maba30~1",
        b".Mailmap::$DATA",
    ];
    for name in names {
        for mode in ["100644", "120000", "40000"] {
            cases.push(tree([(mode, *name)]));
        }
    }
    // A rule that is broken twice.
    cases.push(tree([("120000", ".gitmodules"), ("120000", ".gitmodules ")]));
    cases.push(tree([("100644", "n".repeat(4096))]));
    cases.push(tree([("100644", "n".repeat(4097))]));

    // Modes.
    for mode in
        ["100644", "100755", "100664", "100600", "120000", "120777", "160000", "0100644", "040000", "140000", "1", "0"]
    {
        cases.push(tree([(mode, "name")]));
    }
    cases.push(tree([("1000000100644", "name")]));

    // Order, and names that are there twice.
    let orders: &[&[(&'static str, &str)]] = &[
        &[("100644", "a"), ("100644", "b")],
        &[("100644", "b"), ("100644", "a")],
        &[("100644", "a"), ("100644", "a")],
        &[("100644", "a"), ("40000", "a")],
        &[("40000", "a"), ("100644", "a.b")],
        &[("100644", "a.b"), ("40000", "a")],
        &[("40000", "a"), ("100644", "a0")],
        &[("100644", "foo"), ("100644", "foo.bar"), ("40000", "foo")],
        &[("100644", "foo"), ("100644", "foo.bar"), ("100644", "foo.bar.baz"), ("40000", "foo.bar"), ("40000", "foo")],
        &[("100644", "foo"), ("100644", "foo-"), ("40000", "foo."), ("40000", "foo")],
        &[("100644", "foo"), ("100644", "foo,"), ("100644", "fop"), ("40000", "foo")],
        &[("100644", "foo"), ("100644", "foo.bar"), ("100644", "foo0"), ("40000", "foo")],
        &[("100644", "ab"), ("100644", "abc"), ("100644", "b"), ("100644", "a")],
    ];
    cases.extend(orders.iter().map(|entries| tree(entries.iter().copied())));

    // Trees that cannot be read, or point at nothing.
    let (_, sound) = tree([("100644", "a"), ("100644", "b")]);
    let one = sound.len() / 2;
    for cut in [1, 3, 8, 20, one - 2, one - 1, one, one + 1, one + 11, one + 26] {
        cases.push((ObjectKind::Tree, sound[..cut].to_vec()));
    }
    for front in ["100644 \0", "10x644 a\0", " a\0", "100644a\0", "100648 a\0"] {
        cases.push((ObjectKind::Tree, [front.as_bytes(), blob.as_bytes()].concat()));
        cases.push((ObjectKind::Tree, [&sound, front.as_bytes(), blob.as_bytes()].concat()));
    }
    cases.push((ObjectKind::Tree, [&b"100644 a\0"[..], &vec![0; format().len()]].concat()));

    // People.
    for who in [
        WHO,
        "<a@b> 1 +0000",
        " <a@b> 1 +0000",
        "A<a@b> 1 +0000",
        "A a@b 1 +0000",
        "A a@b> 1 +0000",
        "A <a@b 1 +0000",
        "A <a@<b> 1 +0000",
        "A <a@b>1 +0000",
        "A <a@b> ",
        "A <a@b>",
        "A <a@b> \t1 +0000",
        "A <a@b>  1 +0000",
        "A <a@b> x +0000",
        "A <a@b> 01 +0000",
        "A <a@b> 0 +0000",
        "A <a@b> 0",
        "A <a@b> 00 +0000",
        "A <a@b> 1",
        "A <a@b> 1+0000",
        "A <a@b> -1 +0000",
        "A <a@b> 9223372036854775807 +0000",
        "A <a@b> 9223372036854775808 +0000",
        "A <a@b> 18446744073709551615 +0000",
        "A <a@b> 184467440737095516159999999999 +0000",
        "A <a@b> 1 +000",
        "A <a@b> 1 +00000",
        "A <a@b> 1 0000",
        "A <a@b> 1 -0000",
        "A <a@b> 1 +00a0",
        "A <a@b> 1 +0000 ",
        "A <> 1 +0000",
        "A <a> <b> 1 +0000",
        "",
    ] {
        cases.push(by(who));
        let [_, (_, _, tree), _] = known();
        cases.push(commit(format!("tree {tree}\nauthor {WHO}\ncommitter {who}\n\ntext\n")));
        cases.push(tag(format!("object {tip}\ntype commit\ntag v1\ntagger {who}\n\ntext\n")));
    }

    // Commits.
    let (author, committer) = (format!("author {WHO}\n"), format!("committer {WHO}\n"));
    for text in [
        String::new(),
        "\n".to_owned(),
        format!("{author}{committer}\n"),
        format!("tree {empty}\n{author}{committer}"),
        format!("tree {empty}\n{author}{committer}\n"),
        format!("tree {empty}\n{author}committer {WHO}"),
        format!("tree {empty}\n{committer}\n"),
        format!("tree {empty}\n{author}\n"),
        format!("tree {empty}\n{author}{author}{committer}\n"),
        format!("tree {empty}\n{author}{committer}{committer}\n"),
        format!("tree {empty}\n{committer}{author}\n"),
        format!("tree {empty}\nparent {tip}\n{author}{committer}encoding x\n\n"),
        format!("tree {empty}\nparent {tip}\nparent {tip}\n{author}{committer}\n"),
        format!("tree {empty}\nparent {tip}x\n{author}{committer}\n"),
        format!("tree {empty}\nparent 12\n{author}{committer}\n"),
        format!("tree {empty}x\n{author}{committer}\n"),
        format!("tree {}\n{author}{committer}\n", &empty.to_string()[1..]),
        format!("tree {empty}\n{author}{committer}\nN\0L"),
        format!("tree {empty}\n{author}N\0L\n{committer}\n"),
        format!("tree {empty}\n{author}{committer}x\0\n\n"),
    ] {
        cases.push(commit(text));
    }

    // Tags.
    let (object, tagger) = (format!("object {tip}\ntype commit\n"), format!("tagger {WHO}\n"));
    for text in [
        String::new(),
        format!("{object}tag v1\n{tagger}\ntext\n"),
        format!("{object}tag v1\n{tagger}"),
        format!("{object}tag v1\n{tagger}text"),
        format!("{object}tag v1\n\ntext\n"),
        format!("{object}tag v1\n"),
        format!("{object}tag v 1\n{tagger}\n"),
        format!("{object}tag v..1\n{tagger}\n"),
        format!("{object}tag \n{tagger}\n"),
        format!("{object}tag\n{tagger}\n"),
        format!("{object}{tagger}\n"),
        format!("{object}tag v1\n{tagger}more x\n\n"),
        format!("{object}tag v1\nmore x\n\n"),
        format!("object {tip}\ntag v1\n{tagger}\n"),
        format!("object {tip}\ntype x\ntag v1\n{tagger}\n"),
        format!("object {tip}\ntype commi\ntag v1\n{tagger}\n"),
        format!("type commit\ntag v1\n{tagger}\n"),
        format!("object {tip}x\ntype commit\ntag v1\n{tagger}\n"),
        format!("{object}tag v1\0\n{tagger}\n"),
        format!("{object}tag v1\n{tagger}\nN\0L"),
    ] {
        cases.push(tag(text));
    }
    cases
}
