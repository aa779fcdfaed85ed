use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::Repository;
use super::fs::{Fs, is_absent};
use crate::git_config::Config;
use crate::proto::ObjectId;
use crate::{BoxError, Error, ErrorKind};

/// The values of the refs of all repositories that this one borrows objects from (`objects/info/alternates`, and
/// theirs in turn): a client need not send what these reach.
///
/// It is an offer, no more: an alternate that is no repository, or cannot be read, has none; and the configuration says
/// which refs of theirs are meant.
pub(super) fn tips(repository: &Repository) -> BTreeSet<ObjectId> {
    let objects = repository.objects_dir();
    let mut tips = BTreeSet::new();
    if matches!(repository.lent(), LentRefs::None) {
        return tips;
    }
    if !repository.fs().exists(&objects.join(ALTERNATES)).unwrap_or_default() {
        return tips;
    }
    for directory in directories(&objects) {
        // As git finds the refs: the objects of a repository lie beside them.
        let Some(git_dir) = directory.parent().filter(|_| directory.file_name() == Some("objects".as_ref())) else {
            continue;
        };
        tips.extend(refs_of(git_dir, repository).unwrap_or_default());
    }
    tips
}

/// The `objects` directories that this one borrows from, as far as they can be followed.
pub(super) fn directories(objects: &Path) -> Vec<PathBuf> {
    resolve(objects).unwrap_or_default()
}

/// Refuses a repository whose alternates `gix-odb`, which reads the objects, follows in another way than git.
///
/// git leaves out what is no directory, or leads in a circle; `gix-odb` fails on that, though not before a push has
/// arrived. And a relative path in an alternate's own file, or too many alternates in a row, lead it where git does not go.
pub(super) fn check(repository: &Repository) -> Result<(), Error> {
    let (fs, objects) = (repository.fs(), repository.objects_dir());
    let unreadable = |error| Error::store("the list of alternates cannot be read", error);
    if !fs.exists(&objects.join(ALTERNATES)).map_err(unreadable)? {
        return Ok(());
    }
    let theirs = resolve(&objects).map_err(|error| {
        Error::store("the alternates (objects/info/alternates, and theirs in turn) cannot be followed", error)
    })?;
    let theirs: BTreeSet<_> = theirs.into_iter().filter_map(directory).collect();
    if theirs != as_git(fs, objects).map_err(unreadable)? {
        let text = "the alternates of an alternate (its info/alternates) are nested too deep, or relative";
        return Err(Error::new(ErrorKind::Store, text));
    }
    Ok(())
}

const ALTERNATES: &str = "info/alternates";

/// Of how many alternates in a row git reads the list.
const MAX_DEPTH: u32 = 5;

fn resolve(objects: &Path) -> Result<Vec<PathBuf>, BoxError> {
    Ok(gix_odb::alternate::resolve(objects.to_path_buf(), objects)?)
}

/// The directories that git borrows from (`link_alt_odb_entries`).
fn as_git(fs: &Fs, objects: PathBuf) -> io::Result<BTreeSet<PathBuf>> {
    let own = directory(objects.clone());
    let mut found = BTreeSet::new();
    let mut todo = vec![(objects, 0)];
    while let Some((lender, depth)) = todo.pop() {
        if depth > MAX_DEPTH {
            continue;
        }
        let lines = match fs.read(&lender.join(ALTERNATES)) {
            Err(error) if is_absent(&error) => continue,
            lines => lines?,
        };
        for path in gix_odb::alternate::parse(&lines).unwrap_or_default() {
            let Some(path) = directory(lender.join(path)).filter(|path| Some(path) != own.as_ref()) else { continue };
            if found.insert(path.clone()) {
                todo.push((path, depth.saturating_add(1)));
            }
        }
    }
    Ok(found)
}

/// The one name of a directory, if there is one at this path.
fn directory(path: PathBuf) -> Option<PathBuf> {
    path.canonicalize().ok().filter(|path| path.is_dir())
}

fn refs_of(git_dir: &Path, borrower: &Repository) -> Option<Vec<ObjectId>> {
    let lender = Repository::open_exactly(git_dir, borrower.fs())
        .ok()
        .filter(|lender| lender.object_format() == borrower.object_format())?;
    let refs = lender.refs().list(b"refs/").ok()?;
    let refs = refs.into_iter().filter(|listed| borrower.lent().includes(&listed.name));
    // A broken ref has the zero id.
    Some(refs.map(|listed| listed.id).filter(|id| !id.is_zero()).collect())
}

/// The refs of alternates that are offered to those who push (git-config, `core.alternateRefsPrefixes` and
/// `core.alternateRefsCommand`).
#[derive(Clone, Debug)]
pub(super) enum LentRefs {
    All,
    /// Those that begin with one of these.
    Below(Vec<Vec<u8>>),
    /// A program would say which, and we run none.
    None,
}

impl LentRefs {
    /// What the configuration of the borrower says.
    pub(super) fn read(config: &Config) -> Self {
        if config.get("core.alternaterefscommand").is_some() {
            return Self::None;
        }
        let Some(prefixes) = config.get("core.alternaterefsprefixes") else { return Self::All };
        let prefixes = prefixes.split(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).filter(|prefix| !prefix.is_empty());
        let prefixes: Vec<_> = prefixes.map(<[u8]>::to_vec).collect();
        if prefixes.is_empty() { Self::All } else { Self::Below(prefixes) }
    }

    /// Whether a ref is meant. A prefix ends where a level does; one with wildcards fits no name.
    fn includes(&self, name: &[u8]) -> bool {
        let is_below = |prefix: &Vec<u8>| {
            let rest = name.strip_prefix(prefix.as_slice());
            rest.is_some_and(|rest| prefix.ends_with(b"/") || rest.is_empty() || rest.starts_with(b"/"))
        };
        match self {
            Self::All => true,
            Self::Below(prefixes) => prefixes.iter().any(is_below),
            Self::None => false,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::BareRepository;
    use super::super::testing::{Sandbox, format, git};
    use super::*;

    /// The lines of `objects/info/alternates` of some repositories.
    type Lists<'a> = &'a [(usize, &'a str)];

    /// Bare repositories `0`, `1` and so on.
    fn chain(repositories: usize, lists: Lists<'_>) -> Sandbox {
        let sandbox = Sandbox::new(format());
        let dir = sandbox.dir.path();
        for number in 0..repositories {
            git(dir, &["init", "-q", "--bare", &format!("--object-format={}", format()), &number.to_string()]);
        }
        for (number, lines) in lists {
            let lines = lines.replace("DIR", dir.to_str().unwrap());
            std::fs::write(dir.join(format!("{number}/objects/info/alternates")), lines).unwrap();
        }
        sandbox
    }

    #[test]
    fn alternates_are_followed_as_git_follows_them_or_refused() {
        let long: Vec<_> = (0..8).map(|number| (number, format!("DIR/{}/objects\n", number + 1))).collect();
        let long: Vec<_> = long.iter().map(|(number, line)| (*number, line.as_str())).collect();
        let nested = "the alternates of an alternate (its info/alternates) are nested too deep, or relative";
        let lost = "the alternates (objects/info/alternates, and theirs in turn) cannot be followed";
        let cases: &[(Lists<'_>, usize, Option<&str>)] = &[
            (&[], 0, None),
            (&[(0, "../../1/objects\n")], 1, None),
            (&[(0, "# one\n\nDIR/1/objects\nDIR/1/objects/\n\"DIR/2/obj\\145cts\"\n")], 2, None),
            (&[(0, "DIR/nowhere\nDIR/1/objects\n")], 1, None),
            (&[(0, "DIR/1/objects\n"), (1, "DIR/2/objects\n")], 2, None),
            (&[(0, "DIR/1/objects\nDIR/2/objects"), (1, "DIR/3/objects\n"), (2, "DIR/3/objects\n")], 3, None),
            // Relative to either it is the same.
            (&[(0, "../../1/objects\n"), (1, "../../2/objects\n")], 2, None),
            (&long[..6], 6, None),
            (&long[..7], 6, Some(nested)),
            (&[(0, "DIR/1/objects\n"), (1, "pack/..//../../2/objects\n")], 2, None),
            (&[(0, "DIR/1/objects\n"), (1, "../other\n")], 2, Some(nested)),
            (&[(0, "DIR/0/objects\n")], 0, Some(lost)),
            (&[(0, "DIR/1/objects\n"), (1, "DIR/0/objects\n")], 1, Some(lost)),
            (&[(0, "DIR/0/config\nDIR/1/objects\n")], 1, Some(lost)),
        ];
        for (lists, found, refusal) in cases {
            let sandbox = chain(9, lists);
            std::fs::create_dir(sandbox.dir.path().join("1/other")).unwrap();
            let path = sandbox.dir.path().join("0");
            let listed = git(&path, &["count-objects", "-v"]);
            let listed = listed.lines().filter_map(|line| line.strip_prefix("alternate: "));
            let listed: BTreeSet<_> = listed.filter_map(|path| directory(path.trim_matches('"').into())).collect();
            assert_eq!(listed.len(), *found, "{lists:?}");
            let repository = Repository::open(&path).unwrap();
            assert_eq!(as_git(repository.fs(), repository.objects_dir()).unwrap(), listed, "{lists:?}");
            match (BareRepository::open(&path), refusal) {
                (Ok(_), None) => {
                    let directories = directories(&repository.objects_dir()).into_iter().filter_map(directory);
                    assert_eq!(directories.collect::<BTreeSet<_>>(), listed, "{lists:?}");
                }
                (Err(error), Some(refusal)) => assert_eq!(error.to_string(), *refusal, "{lists:?}"),
                (opened, _) => panic!("{lists:?}: {opened:?}"),
            }
        }
    }
}
