//! Names that some file system takes for another name than they are.

/// Whether HFS+ or NTFS takes this name for `.git`. What stands behind a backslash is a name of its own for NTFS.
pub(super) fn is_dot_git(name: &[u8]) -> bool {
    is_hfs(name, b"git") || after_backslashes(name).any(is_ntfs_dot_git)
}

/// A file that git itself reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct GitFile {
    /// Its name without the dot.
    name: &'static [u8],
    /// The front of the short name that NTFS falls back on when `~1` to `~4` are taken: a hash of the name.
    short: &'static [u8; 6],
}

pub(super) const MODULES: GitFile = GitFile { name: b"gitmodules", short: b"gi7eba" };
pub(super) const ATTRIBUTES: GitFile = GitFile { name: b"gitattributes", short: b"gi7d29" };
pub(super) const IGNORE: GitFile = GitFile { name: b"gitignore", short: b"gi250a" };
pub(super) const MAILMAP: GitFile = GitFile { name: b"mailmap", short: b"maba30" };

impl GitFile {
    /// Whether HFS+ or NTFS takes this name for that of the file.
    pub(super) fn is(self, name: &[u8]) -> bool {
        is_hfs(name, self.name) || self.is_ntfs(name)
    }

    /// Whether NTFS takes what stands behind a backslash for the name of the file.
    pub(super) fn is_behind_backslash(self, name: &[u8]) -> bool {
        after_backslashes(name).skip(1).any(|name| self.is_ntfs(name))
    }

    fn is_ntfs(self, name: &[u8]) -> bool {
        let long = name.strip_prefix(b".").and_then(|rest| strip_ignoring_case(rest, self.name));
        if let Some(rest) = long {
            return is_ignored_by_ntfs(rest);
        }
        let short = self.name.first_chunk::<6>().and_then(|front| strip_ignoring_case(name, front));
        if let Some([b'~', b'1'..=b'4', rest @ ..]) = short {
            return is_ignored_by_ntfs(rest);
        }
        self.after_fallback(name).is_some_and(is_ignored_by_ntfs)
    }

    /// What follows a fallback name: up to six bytes of the hash, `~`, a digit other than 0, and digits, eight bytes in
    /// all.
    fn after_fallback(self, name: &[u8]) -> Option<&[u8]> {
        let front = self.short.iter().zip(name).take_while(|(short, byte)| byte.to_ascii_lowercase() == **short);
        let [b'~', b'1'..=b'9', rest @ ..] = name.get(front.count()..)? else { return None };
        let digits = 8_usize.saturating_sub(name.len().saturating_sub(rest.len()));
        let (digits, rest) = rest.split_at_checked(digits)?;
        digits.iter().all(u8::is_ascii_digit).then_some(rest)
    }
}

/// The name, and what stands behind each backslash in it.
fn after_backslashes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(name);
    std::iter::from_fn(move || {
        let now = rest?;
        let at = now.iter().position(|byte| *byte == b'\\');
        rest = at.and_then(|at| now.get(at.saturating_add(1)..));
        Some(now)
    })
}

/// Whether HFS+, which folds case and ignores some characters, takes `name` for a dot and `wanted`.
fn is_hfs(name: &[u8], wanted: &[u8]) -> bool {
    // git's decoder takes what is no UTF-8 for the end of the name.
    let text = name.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let is_ignored = |char: &char| matches!(char, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let text = text.chars().take_while(|char| !matches!(char, '\u{fffe}' | '\u{ffff}'));
    let mut text = text.filter(|char| !is_ignored(char));
    text.next() == Some('.')
        && wanted.iter().all(|byte| text.next().is_some_and(|char| char.to_ascii_lowercase() == char::from(*byte)))
        && text.next().is_none_or(|char| char == '/')
}

/// Whether NTFS takes this name for `.git`, or for its short form `git~1`.
fn is_ntfs_dot_git(name: &[u8]) -> bool {
    let rest = strip_ignoring_case(name, b".git").or_else(|| strip_ignoring_case(name, b"git~1"));
    let end = |rest: &[u8]| rest.iter().copied().find(|byte| !matches!(byte, b'.' | b' '));
    rest.is_some_and(|rest| matches!(end(rest), None | Some(b'\\' | b'/' | b':')))
}

/// NTFS drops spaces and periods at the end of a name, and a colon begins the name of a stream.
fn is_ignored_by_ntfs(rest: &[u8]) -> bool {
    matches!(rest.iter().find(|byte| !matches!(byte, b' ' | b'.')), None | Some(b':'))
}

fn strip_ignoring_case<'a>(name: &'a [u8], front: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = name.split_at_checked(front.len())?;
    start.eq_ignore_ascii_case(front).then_some(rest)
}
