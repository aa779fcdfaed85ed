use std::fmt;

use bytes::Bytes;

use crate::proto::{ObjectFormat, ObjectId};

/// One wish of the client: move this ref from the old id to the new one (gitprotocol-pack, "Reference Update
/// Request").
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Command {
    /// The id that the client believes the ref to have; zero if the ref is to be created.
    pub old: ObjectId,
    /// The id that the ref is to have; zero if the ref is to be deleted.
    pub new: ObjectId,
    /// The full name of the ref, as sent: any bytes but NUL. See [`has_valid_name`](Self::has_valid_name).
    pub name: Bytes,
}

impl Command {
    /// Reads `old SP new SP name`; `None` for anything else.
    pub(crate) fn parse(line: &[u8], format: ObjectFormat) -> Option<Self> {
        let hex = format.hex_len();
        let (old, rest) = line.split_at_checked(hex)?;
        let (new, rest) = rest.strip_prefix(b" ")?.split_at_checked(hex)?;
        let name = rest.strip_prefix(b" ")?;
        Some(Self {
            old: ObjectId::from_hex(format, old)?,
            new: ObjectId::from_hex(format, new)?,
            // A copy, so that a few names do not keep a whole read buffer alive for the length of a push.
            name: Bytes::copy_from_slice(name),
        })
    }

    /// Whether the ref is to be created.
    pub fn is_create(&self) -> bool {
        self.old.is_zero() && !self.new.is_zero()
    }

    /// Whether the ref is to be deleted.
    pub fn is_delete(&self) -> bool {
        self.new.is_zero()
    }

    /// Whether the ref is to be moved from one object to another.
    pub fn is_update(&self) -> bool {
        !self.old.is_zero() && !self.new.is_zero()
    }

    /// Whether git would take the name in a push: it begins with `refs/`, and the rest passes
    /// [`is_valid_ref_name`] and has at least two levels (one is enough to delete a ref).
    pub fn has_valid_name(&self) -> bool {
        self.name
            .strip_prefix(b"refs/")
            .is_some_and(|rest| is_valid_ref_name(rest) && (self.is_delete() || rest.contains(&b'/')))
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} {} {})", self.old, self.new, self.name.escape_ascii())
    }
}

/// The rules of `git check-ref-format --allow-onelevel`.
///
/// ```
/// use receive_pack::proto::is_valid_ref_name;
///
/// assert!(is_valid_ref_name(b"refs/heads/main"));
/// assert!(!is_valid_ref_name(b"refs/heads/../config"));
/// assert!(!is_valid_ref_name(b"refs/heads/main.lock"));
/// ```
pub fn is_valid_ref_name(name: &[u8]) -> bool {
    let forbidden = |byte: &u8| byte.is_ascii_control() || b" ~^:?*[\\".contains(byte);
    !name.iter().any(forbidden)
        && name != b"@"
        && !name.ends_with(b".")
        && !contains(name, b"..")
        && !contains(name, b"@{")
        && name
            .split(|byte| *byte == b'/')
            .all(|part| !part.is_empty() && !part.starts_with(b".") && !part.ends_with(b".lock"))
}

fn contains(name: &[u8], part: &[u8]) -> bool {
    name.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "it asks git")]
    fn names_are_judged_as_git_check_ref_format_does() {
        let git = |name: &str| {
            std::process::Command::new("git")
                .args(["check-ref-format", "--allow-onelevel", name])
                .status()
                .expect("git runs")
                .success()
        };
        for name in [
            "refs/heads/main",
            "a",
            "@",
            "a@",
            "@a",
            "a@{b",
            "a{",
            "a..b",
            "a.b",
            ".a",
            "a/.b",
            "a.",
            "a./b",
            "a.lock",
            "a.lock/b",
            "a.lockb",
            "/a",
            "a/",
            "a//b",
            "a b",
            "a~b",
            "a^b",
            "a:b",
            "a?b",
            "a*b",
            "a[b",
            "a]b",
            "a\\b",
            "a\x7fb",
            "a\tb",
            "ä",
            "",
            "refs/heads/-",
            "a/@/b",
            "HEAD",
        ] {
            assert_eq!(is_valid_ref_name(name.as_bytes()), git(name), "{name:?}");
        }
    }
}
