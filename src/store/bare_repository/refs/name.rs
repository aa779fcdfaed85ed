use std::path::{Path, PathBuf};

/// Whether a name is one that a ref may have: it begins with `refs/` and follows git-check-ref-format.
///
/// Such a name is also safe as a path: it has no `..`, no empty component, none that begins with a dot, and none that
/// a lock file could have.
pub(crate) fn is_valid(name: &[u8]) -> bool {
    name.starts_with(b"refs/") && is_well_formed(name)
}

/// The rules of git-check-ref-format for a name of at least two components.
pub(crate) fn is_well_formed(name: &[u8]) -> bool {
    name.contains(&b'/')
        && !name.ends_with(b".")
        && name.split(|byte| *byte == b'/').all(is_component)
        && !name.windows(2).any(|pair| pair == b".." || pair == b"@{")
}

/// Whether each work tree has a ref of this name for itself. These are never in `packed-refs`, which all work trees share.
pub(crate) fn is_per_work_tree(name: &[u8]) -> bool {
    let kinds: [&[u8]; 3] = [b"refs/worktree/", b"refs/bisect/", b"refs/rewritten/"];
    kinds.iter().any(|kind| name.starts_with(kind))
}

fn is_component(component: &[u8]) -> bool {
    !component.is_empty()
        && !component.starts_with(b".")
        && !component.ends_with(b".lock")
        && !component
            .iter()
            .any(|byte| matches!(byte, 0..=b' ' | 0x7f | b'~' | b'^' | b':' | b'?' | b'*' | b'[' | b'\\'))
}

/// The proper prefixes of a name that could be refs themselves: `refs/heads` and `refs/heads/a` of `refs/heads/a/b`.
pub(crate) fn prefixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.skip(1).filter_map(|at| name.get(..at))
}

/// Bytes as a path, if the system can have such a path.
#[cfg(unix)]
pub(crate) fn os_path(bytes: &[u8]) -> Option<&Path> {
    Some(Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes)))
}

/// Bytes as a path, if the system can have such a path.
#[cfg(not(unix))]
pub(crate) fn os_path(bytes: &[u8]) -> Option<&Path> {
    std::str::from_utf8(bytes).ok().map(Path::new)
}

/// Where the ref of a valid name lies below a directory.
pub(crate) fn path_below(dir: &Path, name: &[u8]) -> PathBuf {
    // A name that the system cannot have as a path is no file; the empty component leads to the directory itself,
    // which reads as "no ref here".
    dir.join(os_path(name).unwrap_or(Path::new("")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::bare_repository::testing::try_git;

    #[test]
    fn the_rules_are_those_of_check_ref_format() {
        let dir = tempfile::tempdir().unwrap();
        let mut names: Vec<Vec<u8>> = [
            "refs/heads/main",
            "refs/heads/a/b",
            "refs/x",
            "refs/heads/",
            "refs//heads",
            "/refs/heads/a",
            "a",
            "refs/.a/b",
            "refs/heads/.a",
            "refs/heads/a.",
            "refs/heads/a./b",
            "refs/heads/a..b",
            "refs/heads/a.lock",
            "refs/a.lock/b",
            "refs/heads/a.lockx",
            "refs/heads/@",
            "refs/heads/@{",
            "refs/heads/a@{b",
            "refs/heads/-a",
            "refs/heads/a\\b",
            "refs/heads/ä",
            "refs/@/b",
            "refs/heads/a b",
            "refs/heads/.lock",
            "refs/heads/{",
            "refs/heads/a@b",
        ]
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
        names.extend((1..=127_u8).map(|byte| [b"refs/heads/a".as_slice(), &[byte], b"b"].concat()));
        for name in names {
            let text = String::from_utf8(name.clone()).unwrap();
            let git = try_git(dir.path(), &["check-ref-format", &text]).status.success();
            assert_eq!(is_well_formed(&name), git, "{text:?}");
        }
    }

    #[test]
    fn prefixes_are_the_names_above() {
        let above: Vec<_> = prefixes(b"refs/heads/a/b").collect();
        assert_eq!(above, [b"refs/heads".as_slice(), b"refs/heads/a"]);
        assert_eq!(prefixes(b"refs/x").count(), 0);
    }
}
