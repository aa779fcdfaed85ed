//! What objects point at, read without allocation and as git's own walk reads it: what it could not walk through would
//! make a repository that git cannot clone, and what it takes is not ours to refuse.
#![cfg_attr(not(feature = "_index"), allow(dead_code, reason = "without a store only commits are read"))]

use crate::proto::{ObjectFormat, ObjectId, ObjectKind};

/// An object that git could not walk through; the text is what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Gives every link of an object to `each`: the kind that the target must have, and the raw bytes of its id.
///
/// Links of a tree to commits of other repositories (gitlinks) are no links. The target of a tag has the kind that
/// the tag says.
pub(crate) fn for_each(
    kind: ObjectKind,
    data: &[u8],
    format: ObjectFormat,
    mut each: impl FnMut(ObjectKind, &[u8]),
) -> Result<(), Malformed> {
    match kind {
        ObjectKind::Blob => Ok(()),
        ObjectKind::Tree => tree(data, format, each),
        ObjectKind::Commit => {
            let commit = Commit::parse(data, format)?;
            each(ObjectKind::Tree, commit.tree.as_bytes());
            for parent in commit.parents() {
                each(ObjectKind::Commit, parent.as_bytes());
            }
            Ok(())
        }
        ObjectKind::Tag => {
            let (id, kind) = tag(data, format)?;
            each(kind, id.as_bytes());
            Ok(())
        }
    }
}

/// The links of a tree. Entries are `<octal mode> SP <name> NUL <raw id>`.
fn tree(mut data: &[u8], format: ObjectFormat, mut each: impl FnMut(ObjectKind, &[u8])) -> Result<(), Malformed> {
    const REGULAR: u32 = 0o10;
    const SYMLINK: u32 = 0o12;
    const DIRECTORY: u32 = 0o04;
    let len = format.len();
    while !data.is_empty() {
        let (mode, name) = mode(data).ok_or(Malformed("malformed mode in tree entry"))?;
        let end = name.iter().position(|byte| *byte == 0).ok_or(Malformed("too-short tree file"))?;
        if end == 0 {
            return Err(Malformed("empty filename in tree entry"));
        }
        let rest = name.get(end.saturating_add(1)..).unwrap_or_default();
        let (id, rest) = rest.split_at_checked(len).ok_or(Malformed("too-short tree file"))?;
        // git takes every type of file that is none of these for a gitlink.
        match (mode >> 12) & 0o17 {
            REGULAR | SYMLINK => each(ObjectKind::Blob, id),
            DIRECTORY => each(ObjectKind::Tree, id),
            _ => {}
        }
        data = rest;
    }
    Ok(())
}

/// The mode that an entry of a tree begins with, and what follows it.
fn mode(entry: &[u8]) -> Option<(u32, &[u8])> {
    // Nearly all entries have one of these.
    if let Some(rest) = entry.strip_prefix(b"100644 ") {
        return Some((0o100_644, rest));
    }
    if let Some(rest) = entry.strip_prefix(b"40000 ") {
        return Some((0o40_000, rest));
    }
    let mut mode = 0_u32;
    let mut digits = entry.iter();
    let mut begun = false;
    loop {
        match digits.next() {
            Some(digit @ b'0'..=b'7') => mode = (mode << 3) | u32::from(digit & 7),
            Some(b' ') if begun => return Some((mode, digits.as_slice())),
            _ => return None,
        }
        begun = true;
    }
}

/// What a commit says about its place in history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commit<'a> {
    /// Its tree.
    pub(crate) tree: ObjectId,
    parents: &'a [u8],
    format: ObjectFormat,
    /// When it was committed, in seconds; 0 if it does not say so.
    pub(crate) time: u64,
}

impl<'a> Commit<'a> {
    /// Reads a commit up to its committer.
    ///
    /// As git does it: something must follow each of the lines that are read, and what is too short for a line of a
    /// parent is none, whatever it begins with.
    pub(crate) fn parse(data: &'a [u8], format: ObjectFormat) -> Result<Self, Malformed> {
        let line =
            |data: &'a [u8], keyword: &[u8]| hex_line(data, keyword, format).filter(|(_, rest)| !rest.is_empty());
        let (tree, rest) = line(data, b"tree ").ok_or(Malformed("bogus commit object"))?;
        let parent = b"parent ".len().saturating_add(format.hex_len());
        let mut after = rest;
        while after.len() > parent && after.starts_with(b"parent ") {
            (_, after) = line(after, b"parent ").ok_or(Malformed("bad parents in commit"))?;
        }
        let parents = rest.get(..rest.len().saturating_sub(after.len())).unwrap_or_default();
        Ok(Self { tree, parents, format, time: time(after) })
    }

    /// Its parents.
    pub(crate) fn parents(&self) -> impl Iterator<Item = ObjectId> {
        let (format, mut rest) = (self.format, self.parents);
        std::iter::from_fn(move || {
            let (parent, after) = hex_line(rest, b"parent ", format)?;
            rest = after;
            Some(parent)
        })
    }
}

/// The time at the end of the committer's line: behind the last `> `.
fn time(headers: &[u8]) -> u64 {
    let mut lines = headers.split(|byte| *byte == b'\n');
    let committer = match (lines.next(), lines.next()) {
        (Some(author), Some(committer)) if author.starts_with(b"author ") && committer.starts_with(b"committer ") => {
            committer
        }
        _ => return 0,
    };
    let after = committer.iter().rposition(|byte| *byte == b'>').map_or(committer.len(), |at| at.saturating_add(1));
    let digits = committer.get(after..).unwrap_or_default().trim_ascii_start();
    let digits = digits.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// What a tag points at, and the kind it says that has.
pub(crate) fn tag(data: &[u8], format: ObjectFormat) -> Result<(ObjectId, ObjectKind), Malformed> {
    const BOGUS: Malformed = Malformed("bogus tag object");
    // The shortest of all tags are too short for git.
    if data.len() < format.hex_len().saturating_add(24) {
        return Err(BOGUS);
    }
    let (id, rest) = hex_line(data, b"object ", format).ok_or(BOGUS)?;
    let (kind, rest) = text_line(rest, b"type ").filter(|(kind, _)| kind.len() < 20).ok_or(BOGUS)?;
    // For git its name ends at a NUL.
    let kind = match kind.split(|byte| *byte == 0).next() {
        Some(b"commit") => ObjectKind::Commit,
        Some(b"tree") => ObjectKind::Tree,
        Some(b"blob") => ObjectKind::Blob,
        Some(b"tag") => ObjectKind::Tag,
        _ => return Err(Malformed("unknown tag type")),
    };
    text_line(rest, b"tag ").ok_or(BOGUS)?;
    Ok((id, kind))
}

/// A line of a keyword and an id, and what follows it.
fn hex_line<'a>(data: &'a [u8], keyword: &[u8], format: ObjectFormat) -> Option<(ObjectId, &'a [u8])> {
    let (hex, rest) = data.strip_prefix(keyword)?.split_at_checked(format.hex_len())?;
    Some((ObjectId::from_hex(format, hex)?, rest.strip_prefix(b"\n")?))
}

/// What stands behind a keyword in its line, and what follows the line, whose LF must be there.
fn text_line<'a>(data: &'a [u8], keyword: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let text = data.strip_prefix(keyword)?;
    let (text, rest) = text.split_at_checked(text.iter().position(|byte| *byte == b'\n')?)?;
    Some((text, rest.strip_prefix(b"\n")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn links(kind: ObjectKind, data: &[u8]) -> Result<Vec<(ObjectKind, String)>, Malformed> {
        let mut links = Vec::new();
        for_each(kind, data, ObjectFormat::Sha1, |kind, id| {
            links.push((kind, ObjectId::from_bytes(id).unwrap().to_string()));
        })?;
        Ok(links)
    }

    #[test]
    fn a_tree_links_blobs_and_trees_and_no_gitlinks() {
        let mut tree = Vec::new();
        for (mode, byte) in [("100644", 1), ("100755", 2), ("120000", 3), ("40000", 4), ("160000", 5), ("040000", 6)] {
            tree.extend_from_slice(format!("{mode} name\0").as_bytes());
            tree.extend_from_slice(&[byte; 20]);
        }
        let kinds: Vec<_> =
            links(ObjectKind::Tree, &tree).unwrap().into_iter().map(|(kind, id)| (kind, id[..2].to_owned())).collect();
        let (blob, tree_) = (ObjectKind::Blob, ObjectKind::Tree);
        let expected = [(blob, "01"), (blob, "02"), (blob, "03"), (tree_, "04"), (tree_, "06")];
        assert_eq!(kinds, expected.map(|(kind, id)| (kind, id.to_owned())));
        for cut in 1..tree.len() {
            let whole = cut % 32 == 0 && cut <= 96;
            let first = links(ObjectKind::Tree, &tree[..cut]);
            assert!(first.is_err() || whole || (cut == 127 || cut == 159), "cut at {cut}");
        }
    }

    #[test]
    fn a_commit_links_its_tree_and_parents() {
        let text = format!(
            "tree {A}\nparent {B}\nparent {A}\nauthor X <x> 1 +0000\ncommitter Y <y> 1234 +0100\n\nparent {B}\n"
        );
        let expected = [(ObjectKind::Tree, A), (ObjectKind::Commit, B), (ObjectKind::Commit, A)];
        assert_eq!(
            links(ObjectKind::Commit, text.as_bytes()).unwrap(),
            expected.map(|(kind, id)| (kind, id.to_owned()))
        );
        assert_eq!(Commit::parse(text.as_bytes(), ObjectFormat::Sha1).unwrap().time, 1234);
        for bad in [
            format!("tree {A}"),
            format!("tree {A}\n"),
            format!("tree {A}\nparent {A}\n"),
            format!("tree {A}\nparent {A}x\n"),
            format!("parent {A}\n"),
            String::new(),
        ] {
            assert!(links(ObjectKind::Commit, bad.as_bytes()).is_err(), "{bad:?}");
        }
        // git reads these; the time is then unknown.
        for odd in ["\n", "author x\ncommitter y\n", "parent abc\n"] {
            let odd = format!("tree {A}\n{odd}");
            assert_eq!(links(ObjectKind::Commit, odd.as_bytes()).unwrap(), [(ObjectKind::Tree, A.to_owned())]);
            assert_eq!(Commit::parse(odd.as_bytes(), ObjectFormat::Sha1).unwrap().time, 0, "{odd:?}");
        }
    }

    #[test]
    fn a_tag_links_its_object() {
        let text = format!("object {A}\ntype tree\ntag x\n\n");
        assert_eq!(links(ObjectKind::Tag, text.as_bytes()).unwrap(), [(ObjectKind::Tree, A.to_owned())]);
        for bad in
            ["type x\ntag x\n\n", "type commit", "type commit\n\nsaid\n", "type commit\ntag x", "type tag\ntag a\n", ""]
        {
            assert!(links(ObjectKind::Tag, format!("object {A}\n{bad}").as_bytes()).is_err(), "{bad:?}");
        }
    }
}
