use bytes::Bytes;

/// Refs that a server keeps to itself: patterns as in git's `receive.hideRefs` (git-config).
///
/// A pattern is the beginning of a name up to a `/` or to its end: `refs/pull` hides `refs/pull/1/head`, and not
/// `refs/pulls`. One that begins with `!` shows again what others hide; of all that match, the last decides. A `^` in
/// front (behind the `!`) has the whole name matched where namespaces are in use; this crate has none, so it changes
/// nothing.
///
/// A hidden ref is not advertised, cannot be pushed to, and what it reaches is not taken to be complete. It is no secret:
/// who knows the id of an object that the repository has can make another ref point at it (gitnamespaces, "Security"). By
/// this name: a symbolic ref that is shown leads to the one it leads to.
///
/// ```
/// use receive_pack::proto::HiddenRefs;
///
/// let hidden = HiddenRefs::new(["refs/pull/", "!refs/pull/public"]);
/// assert!(hidden.hides(b"refs/pull/1/head"));
/// assert!(!hidden.hides(b"refs/pull/public/head") && !hidden.hides(b"refs/pulls"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HiddenRefs {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    prefix: Bytes,
    hides: bool,
}

impl HiddenRefs {
    /// These patterns, in the order in which a configuration has them.
    pub fn new<P: AsRef<[u8]>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self { patterns: patterns.into_iter().map(|pattern| Pattern::parse(pattern.as_ref())).collect() }
    }

    /// Whether a ref of this full name is hidden.
    pub fn hides(&self, name: &[u8]) -> bool {
        let matches = |pattern: &&Pattern| {
            name.strip_prefix(&pattern.prefix[..]).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        self.patterns.iter().rev().find(matches).is_some_and(|pattern| pattern.hides)
    }

    /// Whether there is no pattern, and so nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

impl Pattern {
    fn parse(text: &[u8]) -> Self {
        let (hides, text) = match text.strip_prefix(b"!") {
            Some(rest) => (false, rest),
            None => (true, text),
        };
        let mut prefix = text.strip_prefix(b"^").unwrap_or(text);
        while let Some(shorter) = prefix.strip_suffix(b"/") {
            prefix = shorter;
        }
        Self { prefix: Bytes::copy_from_slice(prefix), hides }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What git shows of a repository with all these refs, to whoever pushes.
    fn shown_by_git(names: &[&str], patterns: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let git = |args: &[&str], input: &str| {
            let mut command = std::process::Command::new("git");
            command.current_dir(dir.path()).args(args).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", "/nonexistent");
            for role in ["AUTHOR", "COMMITTER"] {
                command.env(format!("GIT_{role}_NAME"), "a").env(format!("GIT_{role}_EMAIL"), "a@b");
            }
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
            let mut child = command.spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
            String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
        };
        git(&["init", "-q", "--bare", "."], "");
        let tree = git(&["hash-object", "-t", "tree", "-w", "--stdin"], "");
        let commit = git(&["commit-tree", "-m", "m", tree.trim()], "");
        let updates: String = names.iter().map(|name| format!("create {name} {commit}")).collect();
        git(&["update-ref", "--stdin"], &updates);
        for pattern in patterns {
            git(&["config", "--add", "receive.hideRefs", pattern], "");
        }
        let said = git(&["receive-pack", "--http-backend-info-refs", "."], "");
        names
            .iter()
            .filter(|name| said.contains(&format!(" {name}\n")) || said.contains(&format!(" {name}\0")))
            .map(|name| (*name).to_owned())
            .collect()
    }

    #[test]
    #[cfg_attr(miri, ignore = "it asks git")]
    fn what_is_hidden_is_what_git_hides() {
        let names =
            ["refs/heads/a", "refs/heads/ab", "refs/heads/a-b", "refs/pull/1/head", "refs/pull/2/x/y", "refs/pulls/1"];
        for patterns in [
            &["refs/pull"][..],
            &["refs/pull/"],
            &["refs/pull//"],
            &["refs/heads/a", "!refs/heads/a"],
            &["!refs/heads/a", "refs/heads/a"],
            &["refs", "!refs/heads", "refs/heads/ab"],
            &["^refs/pull/1", "!^refs/pull/1/head"],
            &["refs/pul", "heads", "", "!"],
        ] {
            let hidden = HiddenRefs::new(patterns);
            let ours: Vec<_> = names.iter().filter(|name| !hidden.hides(name.as_bytes())).copied().collect();
            assert_eq!(ours, shown_by_git(&names, patterns), "{patterns:?}");
        }
    }
}
