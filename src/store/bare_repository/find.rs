use std::io;
use std::path::{Path, PathBuf};

use super::fs::Fs;
use super::name;
use crate::{Error, ErrorKind};

/// The repository that git finds at a path (`enter_repo`): `.git` within, being a directory or a file that names one; the
/// path itself, likewise. A `.git` that is a file has the last word, even if what it names is no repository.
pub(super) fn git_dir(fs: &Fs, path: &Path) -> Result<Option<PathBuf>, Error> {
    for place in [path.join(".git"), path.to_path_buf()] {
        let is_file = fs.is_file(&place).map_err(unreadable)?;
        let git_dir = if is_file { named_by(fs, &place)? } else { Some(place) };
        let git_dir = match git_dir {
            Some(git_dir) => is_git_dir(fs, &git_dir).map_err(unreadable)?.then_some(git_dir),
            None => None,
        };
        if is_file || git_dir.is_some() {
            return Ok(git_dir);
        }
    }
    Ok(None)
}

/// The directory that a file `.git` names.
fn named_by(fs: &Fs, file: &Path) -> Result<Option<PathBuf>, Error> {
    let text = fs.read(file).map_err(unreadable)?;
    let Some(target) = text.strip_prefix(b"gitdir: ") else { return Ok(None) };
    let target = name::os_path(target.trim_ascii_end())
        .ok_or_else(|| Error::new(ErrorKind::Store, "the path in a .git file cannot be used on this system"))?;
    let git_dir = file.parent().unwrap_or(Path::new(".")).join(target);
    if fs.exists(&git_dir.join("commondir")).map_err(unreadable)? {
        return Err(Error::new(ErrorKind::Store, "this is a linked work tree; open the main repository"));
    }
    Ok(Some(git_dir))
}

/// What git takes for a git directory: a valid `HEAD`, `objects` and `refs`.
pub(super) fn is_git_dir(fs: &Fs, path: &Path) -> io::Result<bool> {
    Ok(fs.is_dir(&path.join("objects"))? && fs.is_dir(&path.join("refs"))? && is_head(fs, &path.join("HEAD"))?)
}

fn is_head(fs: &Fs, path: &Path) -> io::Result<bool> {
    if let Ok(target) = fs.read_link(path) {
        return Ok(target.starts_with("refs"));
    }
    let Some(text) = fs.read_if_there(path)? else { return Ok(false) };
    Ok(match text.strip_prefix(b"ref:") {
        Some(target) => target.trim_ascii_start().starts_with(b"refs/"),
        None => [40, 64].iter().any(|len| {
            text.get(..*len).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
                && text.get(*len).is_none_or(u8::is_ascii_whitespace)
        }),
    })
}

pub(super) fn unreadable(error: io::Error) -> Error {
    Error::store("the repository cannot be read", error)
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::Repository;
    use super::super::testing::{Sandbox, format, git, try_git};
    use super::*;

    /// git decides which repository it is. Whoever may push to one with a work tree decides what the work tree has.
    #[test]
    fn the_repository_is_the_one_that_git_finds() {
        type Arrange = fn(&Path, &dyn Fn(&str) -> PathBuf);
        let arrangements: [(Option<&str>, Arrange); 12] = [
            (Some("plain"), |place, make| std::fs::rename(make("plain"), place).unwrap()),
            (None, |place, _| std::fs::create_dir(place).unwrap()),
            (Some("inner"), |place, make| {
                std::fs::rename(make("outer"), place).unwrap();
                std::fs::rename(make("inner"), place.join(".git")).unwrap();
            }),
            (Some("outer"), |place, make| {
                std::fs::rename(make("outer"), place).unwrap();
                std::fs::create_dir(place.join(".git")).unwrap();
            }),
            (Some("outer"), |place, make| {
                std::fs::rename(make("outer"), place).unwrap();
                std::os::unix::fs::symlink("nowhere", place.join(".git")).unwrap();
            }),
            (Some("linked"), |place, make| {
                std::fs::rename(make("outer"), place).unwrap();
                std::os::unix::fs::symlink(make("linked"), place.join(".git")).unwrap();
            }),
            (Some("named"), |place, make| {
                std::fs::rename(make("outer"), place).unwrap();
                std::fs::write(place.join(".git"), format!("gitdir: {}\n", make("named").display())).unwrap();
            }),
            (None, |place, make| {
                std::fs::rename(make("outer"), place).unwrap();
                std::fs::write(place.join(".git"), "gitdir: nowhere\n").unwrap();
            }),
            (None, |place, make| {
                std::fs::rename(make("outer"), place).unwrap();
                std::fs::write(place.join(".git"), "nothing of that kind").unwrap();
            }),
            (Some("named"), |place, make| {
                std::fs::write(place, format!("gitdir: {}\n", make("named").display())).unwrap();
            }),
            (None, |place, _| std::fs::write(place, "gitdir: nowhere\n").unwrap()),
            (None, |place, _| std::fs::write(place, "nothing of that kind").unwrap()),
        ];
        let sandbox = Sandbox::new(format());
        let commit = sandbox.commit("file", "text").to_string();
        for (number, (expected, arrange)) in arrangements.into_iter().enumerate() {
            let dir = sandbox.dir.path().join(number.to_string());
            std::fs::create_dir(&dir).unwrap();
            arrange(&dir.join("place"), &|name| {
                git(&sandbox.work(), &["clone", "-q", "--bare", "--shared", ".", dir.join(name).to_str().unwrap()]);
                git(&dir.join(name), &["update-ref", &format!("refs/heads/{name}"), &commit]);
                git(&dir.join(name), &["update-ref", "-d", "refs/heads/main"]);
                dir.join(name)
            });
            let said = try_git(&dir, &["receive-pack", "--http-backend-info-refs", "place"]);
            let gits = String::from_utf8(said.stdout).unwrap();
            let gits = gits.split_once("refs/heads/").and_then(|(_, rest)| rest.split('\0').next());
            assert_eq!((gits, said.status.success()), (expected, expected.is_some()), "{number}");
            let ours = Repository::open(&dir.join("place")).and_then(|opened| opened.refs().list(b"refs/heads/"));
            let ours = ours.map(|listed| listed.into_iter().map(|listed| listed.name).collect::<Vec<_>>());
            match (ours, expected) {
                (Ok(names), Some(name)) => assert_eq!(names, [format!("refs/heads/{name}").into_bytes()], "{number}"),
                (Err(error), None) => assert_eq!(error.kind(), ErrorKind::NotFound, "{number}"),
                (ours, _) => panic!("{number}: {ours:?}"),
            }
        }
    }
}
