use std::io;
use std::path::Path;

/// Who besides the owner may use the repository's files (`core.sharedRepository` in git-config).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shared {
    /// Whoever the umask lets in.
    #[default]
    Umask,
    /// At least these permission bits: the group's (0660) or everybody's (0664).
    AtLeast(u32),
    /// Exactly these permission bits.
    Exactly(u32),
}

impl Shared {
    /// Reads the value as git does: `None` for one that git refuses.
    pub(crate) fn from_config(value: &[u8]) -> Option<Self> {
        match value.to_ascii_lowercase().as_slice() {
            b"" | b"umask" | b"false" | b"no" | b"off" | b"0" => return Some(Self::Umask),
            b"group" | b"true" | b"yes" | b"on" | b"1" => return Some(Self::AtLeast(0o660)),
            b"all" | b"world" | b"everybody" | b"2" => return Some(Self::AtLeast(0o664)),
            _ => {}
        }
        let mode = u32::from_str_radix(std::str::from_utf8(value).ok()?, 8).ok()?;
        // git insists that the owner can read and write, and leaves the execute bits to the kind of file.
        (mode & 0o600 == 0o600).then_some(Self::Exactly(mode & 0o666))
    }

    /// Gives a new file or directory its permissions.
    #[cfg(unix)]
    pub(crate) fn adjust(self, path: &Path, is_dir: bool) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let old = std::fs::metadata(path)?.permissions().mode() & 0o7777;
        let new = self.mode(old, is_dir);
        if new == old { Ok(()) } else { std::fs::set_permissions(path, std::fs::Permissions::from_mode(new)) }
    }

    /// Elsewhere there are no such permissions.
    #[cfg(not(unix))]
    pub(crate) fn adjust(self, _: &Path, _: bool) -> io::Result<()> {
        Ok(())
    }

    /// The bits that a file with the bits `mode` should have.
    #[cfg(unix)]
    fn mode(self, mode: u32, is_dir: bool) -> u32 {
        let (tweak, exact) = match self {
            Self::Umask => return mode,
            Self::AtLeast(bits) => (bits, false),
            Self::Exactly(bits) => (bits, true),
        };
        let tweak = if mode & 0o200 == 0 { tweak & !0o222 } else { tweak };
        let tweak = if mode & 0o100 == 0 { tweak } else { tweak | ((tweak & 0o444) >> 2) };
        let new = if exact { (mode & !0o777) | tweak } else { mode | tweak };
        // What is created in a shared directory belongs to the directory's group; who may read it may enter it.
        if is_dir { new | ((new & 0o444) >> 2) | 0o2000 } else { new }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::Shared;

    #[test]
    fn values_are_read_as_git_reads_them() {
        for (value, expected) in [
            ("umask", Some(Shared::Umask)),
            ("False", Some(Shared::Umask)),
            ("group", Some(Shared::AtLeast(0o660))),
            ("1", Some(Shared::AtLeast(0o660))),
            ("everybody", Some(Shared::AtLeast(0o664))),
            ("0640", Some(Shared::Exactly(0o640))),
            ("0777", Some(Shared::Exactly(0o666))),
            ("0400", None),
            ("nonsense", None),
        ] {
            assert_eq!(Shared::from_config(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn bits_are_those_that_git_sets() {
        assert_eq!(Shared::AtLeast(0o660).mode(0o600, false), 0o660);
        assert_eq!(Shared::AtLeast(0o660).mode(0o400, false), 0o440);
        assert_eq!(Shared::AtLeast(0o664).mode(0o700, true), 0o2775);
        assert_eq!(Shared::Exactly(0o640).mode(0o644, false), 0o640);
        assert_eq!(Shared::Exactly(0o640).mode(0o755, true), 0o2750);
    }
}
