use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::alternates::LentRefs;
use super::find::{self, is_git_dir};
use super::fs::Fs;
use super::refs::{Logging, Refs, RefsOptions};
use super::rules::{Rules, boolean, missing_value};
use super::shared::Shared;
use super::{Odb, configuration};
use crate::Error;
use crate::proto::{HiddenRefs, ObjectFormat};
use crate::store::unique::unique_suffix;

/// A Git repository on disk (gitrepository-layout): where its parts are and what its configuration says.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    git_dir: PathBuf,
    format: ObjectFormat,
    bare: bool,
    refs: Refs,
    hidden: HiddenRefs,
    rules: Rules,
    lent: LentRefs,
    fs: Fs,
}

impl Repository {
    /// Opens a bare repository, or the `.git` directory of one that is not, or the directory around that.
    ///
    /// As with git, a `.git` in the directory counts before the directory itself: whatever is pushed and then checked out
    /// may look like a repository.
    ///
    /// Only the repository's own configuration counts, and what it includes. What this crate cannot do right is refused by
    /// name: an unknown repository version or extension, reftables, a linked work tree, conditional includes.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with(path, &Fs::default())
    }

    /// The same, its files read and written in another way.
    pub(crate) fn open_with(path: &Path, fs: &Fs) -> Result<Self, Error> {
        // Whoever opens it may work in another directory later, or have that one removed.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        Self::open_git_dir(find::git_dir(fs, &path)?.ok_or_else(not_a_repository)?, fs)
    }

    /// Opens the repository that this very directory is.
    pub(super) fn open_exactly(git_dir: &Path, fs: &Fs) -> Result<Self, Error> {
        match is_git_dir(fs, git_dir).map_err(find::unreadable)? {
            true => Self::open_git_dir(git_dir.to_path_buf(), fs),
            false => Err(not_a_repository()),
        }
    }

    fn open_git_dir(git_dir: PathBuf, fs: &Fs) -> Result<Self, Error> {
        let (config, format) = configuration::read(fs, &git_dir)?;
        let bare = boolean(&config, "core.bare")?.unwrap_or(git_dir.file_name() != Some(".git".as_ref()));
        let shared = match config.get("core.sharedrepository") {
            None => Shared::Umask,
            Some(value) => {
                Shared::from_config(&value).ok_or_else(|| refusal("core.sharedRepository has a bad value"))?
            }
        };
        let logging = match config.get("core.logallrefupdates") {
            Some(value) if value.eq_ignore_ascii_case(b"always") => Logging::Always,
            Some(_) if boolean(&config, "core.logallrefupdates")? == Some(true) => Logging::Normal,
            None if !bare => Logging::Normal,
            _ => Logging::Existing,
        };
        let timeout = |key, default| match config.integer(key) {
            Ok(Some(ms)) => Duration::from_millis(u64::try_from(ms).unwrap_or(MAX_TIMEOUT).min(MAX_TIMEOUT)),
            _ => Duration::from_millis(default),
        };
        let options = RefsOptions {
            logging,
            lock_timeout: timeout("core.filesreflocktimeout", 100),
            packed_timeout: timeout("core.packedrefstimeout", 1000),
        };
        let hidden = config.all(&["receive.hiderefs", "transfer.hiderefs"]).map_err(missing_value)?;
        let (hidden, rules, lent) = (HiddenRefs::new(hidden), Rules::read(&config)?, LentRefs::read(&config));
        let fs = fs.with_shared(shared);
        let refs = Refs::new(git_dir.clone(), format, fs.clone(), options);
        Ok(Self { git_dir, format, bare, refs, hidden, rules, lent, fs })
    }

    /// Makes a new bare repository, or opens the one that is there already, bare or not.
    ///
    /// The repository appears whole by one rename: of two that make the same one at the same time, one does and the
    /// other opens it. `HEAD` names the branch `main`.
    pub(crate) fn init(path: &Path, format: ObjectFormat) -> Result<Self, Error> {
        Self::init_with(path, format, &Fs::default())
    }

    /// The same, its files read and written in another way.
    pub(super) fn init_with(path: &Path, format: ObjectFormat, fs: &Fs) -> Result<Self, Error> {
        let repository = match Self::open_with(path, fs) {
            Err(error) if error.kind() == crate::ErrorKind::NotFound => {
                init_new(path, format, fs).map_err(|error| Error::store("the repository cannot be created", error))?;
                Self::open_with(path, fs)?
            }
            opened => opened?,
        };
        if repository.format != format {
            return Err(refusal("a repository of another object format is there already"));
        }
        Ok(repository)
    }

    /// The directory that holds `HEAD`.
    pub(crate) fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// The directory that holds the objects.
    pub(crate) fn objects_dir(&self) -> PathBuf {
        self.git_dir.join("objects")
    }

    /// The hash that names its objects.
    pub(crate) fn object_format(&self) -> ObjectFormat {
        self.format
    }

    /// Whether nobody works in it: a push into the branch that is checked out would surprise them.
    pub(crate) fn is_bare(&self) -> bool {
        self.bare
    }

    /// How its files are read and changed.
    pub(crate) fn fs(&self) -> &Fs {
        &self.fs
    }

    /// Its refs. All values share what they know of `packed-refs`.
    pub(crate) fn refs(&self) -> Refs {
        self.refs.clone()
    }

    /// The refs that its own configuration hides from those who push.
    pub(crate) fn hidden_refs(&self) -> &HiddenRefs {
        &self.hidden
    }

    /// The refs of its alternates that are offered to those who push.
    pub(super) fn lent(&self) -> &LentRefs {
        &self.lent
    }

    /// What the configuration says of pushes.
    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Its objects; those larger than `max_object` bytes are not read.
    pub(crate) fn odb(&self, max_object: u64) -> Result<Odb, Error> {
        Odb::open(self.objects_dir(), self.format, max_object)
    }
}

/// Where git would wait for a lock without end, we wait for a minute.
const MAX_TIMEOUT: u64 = 60_000;

fn not_a_repository() -> Error {
    Error::new(crate::ErrorKind::NotFound, "this is not a Git repository")
}

fn refusal(text: &'static str) -> Error {
    Error::new(crate::ErrorKind::Store, text)
}

/// Builds a repository beside its place and renames it into it; gives way to another that is quicker.
fn init_new(path: &Path, format: ObjectFormat, fs: &Fs) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no name"))?;
    fs.create_dirs(parent)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".init-{}", unique_suffix()));
    let temporary = parent.join(temporary);
    let done = fill(&temporary, format, fs).and_then(|()| fs.rename(&temporary, path));
    let Err(error) = done else { return fs.sync_dir(parent) };
    // What we built and could not put in place is only in the way.
    let _ = fs.remove_all(&temporary);
    if is_git_dir(fs, path)? { Ok(()) } else { Err(error) }
}

fn fill(dir: &Path, format: ObjectFormat, fs: &Fs) -> io::Result<()> {
    fs.create_dir(dir)?;
    let dirs = ["objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags", "info", "hooks"];
    for name in dirs {
        fs.create_dir(&dir.join(name))?;
    }
    let config = match format {
        ObjectFormat::Sha1 => "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n".to_owned(),
        #[cfg(feature = "sha256")]
        ObjectFormat::Sha256 => format!(
            "[core]\n\trepositoryformatversion = 1\n\tfilemode = true\n\tbare = true\n[extensions]\n\tobjectformat = {}\n",
            format.name()
        ),
    };
    for (name, text) in [("config", config.as_str()), ("HEAD", "ref: refs/heads/main\n")] {
        let mut file = fs.create_new(&dir.join(name))?;
        file.write_all(text.as_bytes())?;
        file.sync()?;
    }
    for name in ["objects", "refs"] {
        fs.sync_dir(&dir.join(name))?;
    }
    fs.sync_dir(dir)
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::testing::{Sandbox, git, try_git};
    use super::*;

    #[test]
    fn git_takes_what_init_makes() {
        for format in formats() {
            let sandbox = Sandbox::new(format.name());
            let commit = sandbox.commit("file", "text");
            let path = sandbox.dir.path().join("deep/new.git");
            let repository = Repository::init(&path, format).unwrap();
            assert_eq!((repository.object_format(), repository.is_bare()), (format, true));
            git(&path, &["fsck", "--strict"]);
            assert_eq!(git(&path, &["symbolic-ref", "HEAD"]), "refs/heads/main");
            assert_eq!(git(&path, &["rev-parse", "--is-bare-repository"]), "true");
            git(&sandbox.work(), &["push", "-q", path.to_str().unwrap(), "main"]);
            assert_eq!(git(&path, &["rev-parse", "HEAD"]), commit.to_string());
            git(&path, &["gc", "-q"]);
            // Once more is no harm.
            Repository::init(&path, format).unwrap();
            assert_eq!(git(&path, &["rev-parse", "HEAD"]), commit.to_string());
            // An empty directory is as good as none; anything else is not touched.
            let empty = sandbox.dir.path().join("empty");
            std::fs::create_dir(&empty).unwrap();
            Repository::init(&empty, format).unwrap();
            let full = sandbox.dir.path().join("full");
            std::fs::create_dir(&full).unwrap();
            std::fs::write(full.join("file"), "").unwrap();
            Repository::init(&full, format).unwrap_err();
            assert_eq!(std::fs::read_dir(&full).unwrap().count(), 1);
            let left: Vec<_> =
                std::fs::read_dir(sandbox.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(left.iter().all(|name| !name.to_string_lossy().contains("init")), "{left:?}");
        }
    }

    #[test]
    fn of_many_that_init_one_makes_it_and_all_have_it() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let path = dir.path().join(round.to_string());
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| Repository::init(&path, ObjectFormat::Sha1).unwrap());
                }
            });
            assert!(is_git_dir(&Fs::default(), &path).unwrap());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 50);
    }

    #[test]
    fn what_git_makes_is_opened() {
        for format in formats() {
            let sandbox = Sandbox::new(format.name());
            let bare = Repository::open(&sandbox.bare()).unwrap();
            assert_eq!((bare.object_format(), bare.is_bare()), (format, true));
            for path in [sandbox.work(), sandbox.work().join(".git")] {
                let work = Repository::open(&path).unwrap();
                assert_eq!((work.object_format(), work.is_bare()), (format, false));
                assert_eq!(work.git_dir(), sandbox.work().join(".git"));
            }
            let moved = sandbox.dir.path().join("moved.git");
            git(&sandbox.work(), &["init", "-q", "--separate-git-dir", moved.to_str().unwrap()]);
            assert_eq!(Repository::open(&sandbox.work()).unwrap().git_dir(), moved);
        }
    }

    #[test]
    fn what_open_takes_init_opens() {
        let sandbox = Sandbox::new("sha1");
        for path in [sandbox.bare(), sandbox.work(), sandbox.work().join(".git")] {
            let opened = Repository::open(&path).unwrap();
            assert_eq!(Repository::init(&path, ObjectFormat::Sha1).unwrap().git_dir(), opened.git_dir());
        }
    }

    /// git decides which of the two files counts.
    #[test]
    fn a_second_configuration_file_counts_where_the_extension_says_so() {
        let sandbox = Sandbox::new("sha1");
        let second =
            "[core]\nbare = false\nrepositoryFormatVersion = 9\n[extensions]\nnew = x\n[receive]\ndenyDeletes\n";
        let version = "repositoryFormatVersion = 1\n";
        let on = "[extensions]\nworktreeConfig\n";
        for (version, extensions, second) in [
            (version, on, Some(second)),
            (version, on, None),
            (version, "", Some(second)),
            (version, "[extensions]\nworktreeConfig = 0\n", Some(second)),
            (version, "[extensions]\nworktreeConfig = perhaps\n", None),
            (version, on, Some("[core\n")),
            ("repositoryFormatVersion = 0\n", on, Some(second)),
            ("", on, Some(second)),
        ] {
            let (bare, context) = (sandbox.bare(), format!("{version:?}, {extensions:?}, {second:?}"));
            std::fs::write(bare.join("config"), format!("[core]\nbare\n{version}{extensions}")).unwrap();
            let _ = std::fs::remove_file(bare.join("config.worktree"));
            if let Some(second) = second {
                std::fs::write(bare.join("config.worktree"), second).unwrap();
            }
            let opened = Repository::open(&bare);
            assert_eq!(opened.is_ok(), try_git(&bare, &["for-each-ref"]).status.success(), "{context}");
            let Ok(opened) = opened else { continue };
            assert_eq!(opened.is_bare().to_string(), git(&bare, &["rev-parse", "--is-bare-repository"]), "{context}");
            let deny = try_git(&bare, &["config", "--type=bool", "receive.denyDeletes"]);
            assert_eq!(opened.rules().deny_deletes, deny.stdout == b"true\n", "{context}");
        }
    }

    #[test]
    fn what_cannot_be_done_right_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q", "--bare", "--ref-format=reftable", "reftable.git"]);
        let text = |path: &Path| Repository::open(path).unwrap_err().to_string();
        assert_eq!(
            text(&dir.path().join("reftable.git")),
            "the refs are stored as 'reftable'; only 'files' is supported"
        );
        assert_eq!(text(dir.path()), "this is not a Git repository");
        assert_eq!(text(&dir.path().join("none")), "this is not a Git repository");
        let sandbox = Sandbox::new("sha1");
        sandbox.commit("file", "text");
        git(&sandbox.work(), &["worktree", "add", "-q", "../linked"]);
        assert!(text(&sandbox.dir.path().join("linked")).contains("linked work tree"));
        for (config, expected) in [
            ("[core]\nrepositoryformatversion = 2\n", Some("core.repositoryFormatVersion is neither 0 nor 1")),
            (
                "[core]\nrepositoryformatversion = 1\n[extensions]\nnew = x\n",
                Some("unknown repository extension 'new'"),
            ),
            ("[core]\nrepositoryformatversion = 0\n[extensions]\nnew = x\n", None),
            (
                "[core]\nrepositoryformatversion = 0\n[extensions]\nobjectFormat = sha1\n",
                Some("extensions.objectformat"),
            ),
            ("[core]\nrepositoryformatversion = 1\n[extensions]\nobjectFormat = md5\n", Some("object format 'md5'")),
            ("[core]\nrepositoryformatversion = 1\n[extensions]\nnoop\npreciousObjects\n", None),
            ("[core]\nrepositoryformatversion = x\n", Some("core.repositoryFormatVersion")),
            ("[core]\nrepositoryformatversion = 0x1\n[extensions]\nobjectFormat = sha1\n", None),
            ("[core]\nrepositoryformatversion = 3000000000\n", Some("core.repositoryFormatVersion")),
            ("[core]\nbare = 0x1\n", None),
            ("[core]\nbare = maybe\n", Some("bad boolean config value 'maybe' for 'core.bare'")),
            ("[core\n", Some("the configuration cannot be read")),
            ("", None),
        ] {
            std::fs::write(sandbox.bare().join("config"), config).unwrap();
            let opened = Repository::open(&sandbox.bare());
            let git_opens = try_git(&sandbox.bare(), &["for-each-ref"]).status.success();
            assert_eq!(opened.is_ok(), git_opens, "{config:?}");
            match (opened, expected) {
                (Ok(_), None) => {}
                (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (opened, _) => panic!("{config:?}: {opened:?}"),
            }
        }
    }

    #[test]
    fn a_shared_repository_stays_shared() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q", "--bare", "--shared=group", "shared.git"]);
        let repository = Repository::open(&dir.path().join("shared.git")).unwrap();
        let path = repository.git_dir().join("refs/heads/new");
        repository.fs().create_dir(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&path), mode(&repository.git_dir().join("refs/heads")));
        drop(repository.fs().create_new(&path.join("file")).unwrap());
        assert_eq!(mode(&path.join("file")) & 0o660, 0o660);
        let private = repository.git_dir().join("private");
        repository.fs().create_private_dir(&private).unwrap();
        assert_eq!(mode(&private) & 0o777, 0o700);
    }

    fn formats() -> Vec<ObjectFormat> {
        vec![
            ObjectFormat::Sha1,
            #[cfg(feature = "sha256")]
            ObjectFormat::Sha256,
        ]
    }
}
