use std::io;
use std::path::Path;

use crate::git_config::value;

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
        match value {
            b"" | b"umask" => return Some(Self::Umask),
            b"group" => return Some(Self::GROUP),
            b"all" | b"world" | b"everybody" => return Some(Self::EVERYBODY),
            _ => {}
        }
        match value::octal(value) {
            // What is no octal number may still be one, or be true or false.
            None => value::boolean(value).map(|is_shared| if is_shared { Self::GROUP } else { Self::Umask }),
            Some(0) => Some(Self::Umask),
            Some(1) => Some(Self::GROUP),
            Some(2) => Some(Self::EVERYBODY),
            // git insists that the owner can read and write, and leaves the execute bits to the kind of file.
            Some(mode) if mode & 0o600 == 0o600 => u32::try_from(mode & 0o666).ok().map(Self::Exactly),
            Some(_) => None,
        }
    }

    const GROUP: Self = Self::AtLeast(0o660);
    const EVERYBODY: Self = Self::AtLeast(0o664);

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
        // Who may read a directory may enter it. What is created in one that a group shares belongs to the group.
        let new_dir = new | ((new & 0o444) >> 2);
        match (is_dir, new_dir & 0o060 != 0) {
            (true, true) => new_dir | 0o2000,
            (true, false) => new_dir,
            (false, _) => new,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::Shared;
    use crate::store::bare_repository::fs::Fs;
    use crate::store::bare_repository::testing::{Sandbox, format, git, try_git};

    /// The permissions of a directory, and of a file in it.
    fn modes(dir: &Path) -> [u32; 2] {
        [dir, &dir.join("new")].map(|path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777)
    }

    #[test]
    fn values_are_read_as_git_reads_them() {
        let sandbox = Sandbox::new(format());
        let commit = sandbox.commit("file", "text").to_string();
        git(&sandbox.work(), &["push", "-q", "origin", "HEAD:refs/heads/main"]);
        let (mut taken, mut refused) = (0, 0);
        for value in [
            "umask",
            "Umask",
            "group",
            "Group",
            "all",
            "world",
            "everybody",
            "Everybody",
            "False",
            "true",
            "YES",
            "",
            "0",
            "1",
            "2",
            "3",
            "01",
            "02",
            "0x1",
            "0x0",
            "9",
            "1k",
            "-1",
            " 0660",
            "0640",
            "640",
            "0660",
            "0600",
            "0606",
            "0666",
            "0777",
            "0400",
            "0660k",
            "nonsense",
            " ",
            "0660 ",
            "\n",
        ] {
            let text = value.replace('\n', "\\n");
            let config = format!("[core]\nrepositoryFormatVersion = 0\nsharedRepository = \"{text}\"\n");
            let config = if format() == "sha1" { config } else { config.replace("= 0\n", "= 1\n") + SHA256 };
            std::fs::write(sandbox.bare().join("config"), config).unwrap();
            let [theirs, ours] = ["theirs", "ours"].map(|name| sandbox.bare().join("refs/heads").join(name));
            let git_takes =
                try_git(&sandbox.bare(), &["update-ref", "refs/heads/theirs/new", &commit]).status.success();
            let shared = Shared::from_config(value.as_bytes());
            assert_eq!(shared.is_some(), git_takes, "{value:?}");
            if let Some(shared) = shared {
                let fs = Fs::default().with_shared(shared);
                fs.create_dir(&ours).unwrap();
                fs.create_new(&ours.join("new")).unwrap();
                assert_eq!(modes(&ours), modes(&theirs), "{value:?}");
                std::fs::remove_dir_all(&ours).unwrap();
                taken += 1;
            } else {
                refused += 1;
            }
            let _ = std::fs::remove_dir_all(&theirs);
        }
        assert!(taken > 20 && refused > 5, "{taken}, {refused}");
    }

    const SHA256: &str = "[extensions]\nobjectFormat = sha256\n";

    #[test]
    fn bits_are_those_that_git_sets() {
        assert_eq!(Shared::AtLeast(0o660).mode(0o600, false), 0o660);
        assert_eq!(Shared::AtLeast(0o660).mode(0o400, false), 0o440);
        assert_eq!(Shared::AtLeast(0o664).mode(0o700, true), 0o2775);
        assert_eq!(Shared::Exactly(0o640).mode(0o644, false), 0o640);
        assert_eq!(Shared::Exactly(0o640).mode(0o755, true), 0o2750);
    }
}
