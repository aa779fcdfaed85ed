//! Trees: names, modes and their order.

use std::collections::BTreeSet;

use super::finding::Reporter;
use super::name::{ATTRIBUTES, IGNORE, MAILMAP, MODULES, is_dot_git};
use crate::fsck::{Message, SpecialFile};
use crate::proto::ObjectId;

/// Names longer than this are too long.
const MAX_NAME: usize = 4096;

/// Checks a tree, and writes down the special files that it names.
pub(super) fn check(data: &[u8], special: &mut BTreeSet<(SpecialFile, ObjectId)>, report: &mut Reporter<'_>) {
    let id_len = report.object.format().len();
    let (mut faults, mut order) = (Faults::default(), Order::default());
    let mut before: Option<Entry<'_>> = None;
    let mut next = Entry::read(data, id_len);
    if next.is_none() && !data.is_empty() {
        return report.note(Message::BadTree, "cannot be parsed as a tree");
    }
    while let Some((entry, rest)) = next {
        faults.judge_name(&entry);
        special_files(&entry, special, report);
        next = Entry::read(rest, id_len);
        if next.is_none() && !rest.is_empty() {
            report.note(Message::BadTree, "cannot be parsed as a tree");
            break;
        }
        faults.mode |= !entry.has_good_mode(report.checks.is_strict());
        match before.map(|before| order.compare(&before, &entry)) {
            None | Some(Relation::InOrder) => {}
            Some(Relation::Unordered) => faults.unordered = true,
            Some(Relation::Duplicate) => faults.duplicate = true,
        }
        before = Some(entry);
    }
    faults.report(report);
}

/// One entry.
#[derive(Clone, Copy)]
struct Entry<'a> {
    mode: u16,
    zero_padded: bool,
    name: &'a [u8],
    id: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads the first entry of what is left of a tree. The whole must end in a NUL and an id, whatever there is before.
    fn read(data: &'a [u8], id_len: usize) -> Option<(Self, &'a [u8])> {
        let nul = data.len().checked_sub(id_len.saturating_add(1))?;
        if data.len() < id_len.saturating_add(3) || data.get(nul) != Some(&0) {
            return None;
        }
        let space = data.iter().position(|byte| *byte == b' ').filter(|at| *at > 0)?;
        let (digits, rest) = data.split_at_checked(space)?;
        let mut mode = 0_u32;
        for digit in digits {
            match digit {
                b'0'..=b'7' => mode = (mode << 3) | u32::from(digit & 7),
                _ => return None,
            }
        }
        let rest = rest.get(1..)?;
        let end = rest.iter().position(|byte| *byte == 0).filter(|at| *at > 0)?;
        let (name, rest) = rest.split_at_checked(end)?;
        let (id, rest) = rest.get(1..)?.split_at_checked(id_len)?;
        // git looks at sixteen bits of it.
        let mode = (mode & 0xffff) as u16;
        Some((Self { mode, zero_padded: digits.starts_with(b"0"), name, id }, rest))
    }

    fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    fn is_symlink(&self) -> bool {
        self.mode & 0o170_000 == 0o120_000
    }

    fn has_good_mode(&self, strict: bool) -> bool {
        match self.mode {
            0o100_755 | 0o100_644 | 0o120_000 | 0o040_000 | 0o160_000 => true,
            // Early versions of git made these.
            0o100_664 => !strict,
            _ => false,
        }
    }
}

/// Files that git itself reads must not be symbolic links; into some of them somebody looks later.
fn special_files(entry: &Entry<'_>, special: &mut BTreeSet<(SpecialFile, ObjectId)>, report: &mut Reporter<'_>) {
    let mut is_special = |file| special.extend(ObjectId::from_bytes(entry.id).map(|id| (file, id)));
    for found in [MODULES.is(entry.name), MODULES.is_behind_backslash(entry.name)] {
        match (found, entry.is_symlink()) {
            (false, _) => {}
            (true, false) => is_special(SpecialFile::Modules),
            (true, true) => report.note(Message::GitmodulesSymlink, ".gitmodules is a symbolic link"),
        }
    }
    match (ATTRIBUTES.is(entry.name), entry.is_symlink()) {
        (false, _) => {}
        (true, false) => is_special(SpecialFile::Attributes),
        (true, true) => report.note(Message::GitattributesSymlink, ".gitattributes is a symlink"),
    }
    if entry.is_symlink() && IGNORE.is(entry.name) {
        report.note(Message::GitignoreSymlink, ".gitignore is a symlink");
    }
    if entry.is_symlink() && MAILMAP.is(entry.name) {
        report.note(Message::MailmapSymlink, ".mailmap is a symlink");
    }
}

/// What is wrong somewhere in a tree; said once, however often.
#[derive(Default)]
struct Faults {
    null_id: bool,
    full_path: bool,
    dot: bool,
    dot_dot: bool,
    dot_git: bool,
    zero_padded: bool,
    mode: bool,
    duplicate: bool,
    unordered: bool,
    large: bool,
}

impl Faults {
    fn judge_name(&mut self, entry: &Entry<'_>) {
        self.null_id |= entry.id.iter().all(|byte| *byte == 0);
        self.full_path |= entry.name.contains(&b'/');
        self.dot |= entry.name == b".";
        self.dot_dot |= entry.name == b"..";
        self.dot_git |= is_dot_git(entry.name);
        self.zero_padded |= entry.zero_padded;
        self.large |= entry.name.len() > MAX_NAME;
    }

    fn report(&self, report: &mut Reporter<'_>) {
        for (is_so, message, text) in [
            (self.null_id, Message::NullSha1, "contains entries pointing to null sha1"),
            (self.full_path, Message::FullPathname, "contains full pathnames"),
            (self.dot, Message::HasDot, "contains '.'"),
            (self.dot_dot, Message::HasDotdot, "contains '..'"),
            (self.dot_git, Message::HasDotgit, "contains '.git'"),
            (self.zero_padded, Message::ZeroPaddedFilemode, "contains zero-padded file modes"),
            (self.mode, Message::BadFilemode, "contains bad file modes"),
            (self.duplicate, Message::DuplicateEntries, "contains duplicate file entries"),
            (self.unordered, Message::TreeNotSorted, "not properly sorted"),
            (self.large, Message::LargePathname, "contains excessively large pathname"),
        ] {
            if is_so {
                report.note(message, text);
            }
        }
    }
}

enum Relation {
    InOrder,
    Unordered,
    Duplicate,
}

/// Whether entries follow each other in git's order, in which the name of a directory ends in `/`.
///
/// For that slash a file and a directory of one name need not stand side by side: `foo`, `foo.bar`, `foo/`. So the files
/// that may yet meet such a directory are kept in mind.
#[derive(Default)]
struct Order<'a> {
    files: Vec<&'a [u8]>,
}

impl<'a> Order<'a> {
    fn compare(&mut self, before: &Entry<'a>, entry: &Entry<'a>) -> Relation {
        let (first, second) = (before.name, entry.name);
        let len = first.len().min(second.len());
        match first.get(..len).cmp(&second.get(..len)) {
            std::cmp::Ordering::Less => return Relation::InOrder,
            std::cmp::Ordering::Greater => return Relation::Unordered,
            std::cmp::Ordering::Equal => {}
        }
        let next = |entry: &Entry<'_>| match entry.name.get(len) {
            None if entry.is_directory() => Some(b'/'),
            byte => byte.copied(),
        };
        if first.len() == second.len() {
            return Relation::Duplicate;
        }
        let (one, two) = (next(before), next(entry));
        let is_below_slash = |byte: Option<u8>| byte.is_some_and(|byte| byte < b'/');
        if one.is_none() && is_below_slash(two) {
            self.files.push(first);
        } else if two == Some(b'/') && is_below_slash(one) && self.has_file(second) {
            return Relation::Duplicate;
        }
        if one < two { Relation::InOrder } else { Relation::Unordered }
    }

    /// Whether a file of this name is in mind; forgets those that no later directory can meet.
    fn has_file(&mut self, name: &[u8]) -> bool {
        while let Some(file) = self.files.pop() {
            match name.strip_prefix(file) {
                None => {}
                Some([]) => return true,
                Some([byte, ..]) if *byte < b'/' => {
                    self.files.push(file);
                    return false;
                }
                Some(_) => {}
            }
        }
        false
    }
}
