use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use super::name;
use crate::proto::{ObjectFormat, ObjectId};
use crate::store::bare_repository::fs::{Fs, is_absent};

/// What the file of one ref says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loose {
    /// The id of an object.
    Id(ObjectId),
    /// The name of another ref.
    Symbolic(Vec<u8>),
    /// Nothing that git understands.
    Broken,
}

/// Reads the file of a ref; `None` if there is none.
pub(crate) fn read(fs: &Fs, git_dir: &Path, name: &[u8], format: ObjectFormat) -> io::Result<Option<Loose>> {
    let path = name::path_below(git_dir, name);
    let mut metadata = match fs.symlink_metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    if metadata.is_symlink() {
        // Old repositories have symbolic links for symbolic refs.
        #[cfg(unix)]
        if let Ok(target) = fs.read_link(&path) {
            let target = std::os::unix::ffi::OsStrExt::as_bytes(target.as_os_str());
            if name::is_valid(target) {
                return Ok(Some(Loose::Symbolic(target.to_vec())));
            }
        }
        metadata = match fs.metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Loose::Broken)),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
    }
    if metadata.is_dir() {
        return Ok(None);
    }
    // Whoever opens a pipe waits for its other end, and nobody knows for how long.
    if !metadata.is_file() {
        return Ok(Some(Loose::Broken));
    }
    Ok(fs.read_if_there(&path)?.map(|text| parse(&text, format)))
}

fn parse(text: &[u8], format: ObjectFormat) -> Loose {
    if let Some(target) = text.strip_prefix(b"ref:") {
        let target = target.trim_ascii();
        let valid = name::is_valid(target);
        return if valid { Loose::Symbolic(target.to_vec()) } else { Loose::Broken };
    }
    let (hex, rest) = text.split_at_checked(format.hex_len()).unwrap_or_default();
    match ObjectId::from_hex(format, hex) {
        Some(id) if !id.is_zero() && rest.first().is_none_or(u8::is_ascii_whitespace) => Loose::Id(id),
        _ => Loose::Broken,
    }
}

/// The names of the files below a directory of refs, given as `refs/` or `refs/heads/a/`, in no order. Symbolic links are
/// followed, also to directories; but not to one that the name leads through already.
pub(crate) fn names(fs: &Fs, git_dir: &Path, below: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    let mut dirs = vec![below.to_vec()];
    while let Some(dir) = dirs.pop() {
        let entries = match fs.read_dir(&name::path_below(git_dir, &dir)) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let Some(component) = component(&entry.file_name()) else { continue };
            let mut name = dir.clone();
            name.extend_from_slice(&component);
            // The names of temporary and lock files are none that a ref can have.
            if !name::is_valid(&name) && !name::is_valid(&[name.as_slice(), b"/x"].concat()) {
                continue;
            }
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error),
            };
            let (is_file, is_dir) = if kind.is_symlink() {
                // A link to nothing is no ref to git.
                let Ok(target) = fs.metadata(&entry.path()) else { continue };
                (target.is_file(), target.is_dir() && !leads_back(fs, git_dir, &name, &target)?)
            } else {
                (kind.is_file(), kind.is_dir())
            };
            if is_dir {
                name.push(b'/');
                dirs.push(name);
            } else if is_file {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// Whether a directory is one of those above a name: who follows a link to it goes in circles.
#[cfg(unix)]
fn leads_back(fs: &Fs, git_dir: &Path, name: &[u8], dir: &Metadata) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    for above in std::iter::once(b"refs".as_slice()).chain(name::prefixes(name)) {
        match fs.metadata(&name::path_below(git_dir, above)) {
            Ok(above) if (above.dev(), above.ino()) == (dir.dev(), dir.ino()) => return Ok(true),
            Err(error) if !is_absent(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(false)
}

/// Elsewhere directories have no number to know them by, and links to them are not followed.
#[cfg(not(unix))]
fn leads_back(_: &Fs, _: &Path, _: &[u8], _: &Metadata) -> io::Result<bool> {
    Ok(true)
}

#[cfg(unix)]
fn component(name: &std::ffi::OsStr) -> Option<Vec<u8>> {
    Some(std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec())
}

#[cfg(not(unix))]
fn component(name: &std::ffi::OsStr) -> Option<Vec<u8>> {
    name.to_str().map(|name| name.as_bytes().to_vec())
}

/// The directories whose entries changed, and which have to be made durable before anybody is told so.
#[derive(Debug, Default)]
pub(crate) struct Touched(BTreeSet<PathBuf>);

impl Touched {
    /// Remembers the directory that a path lies in.
    pub(crate) fn parent_of(&mut self, path: &Path) {
        if let Some(parent) = path.parent() {
            self.0.insert(parent.to_path_buf());
        }
    }

    /// Remembers the directories that lead to a ref. Another push may have made them a moment ago and not be done yet:
    /// then a crash could take them, and what we put into them.
    pub(crate) fn above(&mut self, git_dir: &Path, name: &[u8]) {
        if !name.starts_with(b"refs/heads/") && !name.starts_with(b"refs/tags/") {
            self.0.insert(git_dir.join("refs"));
        }
        self.0.extend(name::prefixes(name).map(|prefix| name::path_below(git_dir, prefix)));
    }

    /// Makes them durable, and forgets them.
    pub(crate) fn sync(&mut self, fs: &Fs) -> io::Result<()> {
        for dir in std::mem::take(&mut self.0) {
            match fs.sync_dir(&dir) {
                // Somebody deleted the last ref in it, and perhaps made one whose name leads there: then its removal is
                // what has to last, and that is theirs.
                Err(error) if is_absent(&error) => {}
                other => other?,
            }
        }
        Ok(())
    }
}

/// How often a race with the removal of empty directories is run again; git gives up after a few rounds, too.
const ROUNDS: usize = 16;

/// Does something that needs the directories between `root` and `path`, making them where they are missing.
///
/// Others remove directories that they find empty, so what was made may be gone again before it is used. `root` itself is
/// not made, nor anything above it: then the repository was moved or deleted, and shall not come back as a stub.
pub(crate) fn with_parents<T>(
    fs: &Fs,
    root: &Path,
    path: &Path,
    touched: &mut Touched,
    mut act: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    for _ in 0..ROUNDS {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_parents(fs, root, path, touched)?,
            other => return other,
        }
    }
    act()
}

fn make_parents(fs: &Fs, root: &Path, path: &Path, touched: &mut Touched) -> io::Result<()> {
    // From the nearest directory up to the first that is there, then down again.
    let mut missing: Vec<&Path> = Vec::new();
    for dir in path.ancestors().skip(1) {
        match fs.metadata(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && dir != root => missing.push(dir),
            Err(error) => return Err(error),
            Ok(metadata) if metadata.is_dir() => break,
            Ok(_) => return Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
    }
    for dir in missing.into_iter().rev() {
        match fs.create_dir(dir) {
            Ok(()) => touched.parent_of(dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => touched.parent_of(dir),
            // It was removed above us: the caller tries again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes a directory that holds nothing but empty directories; an error if there is more in it.
pub(crate) fn remove_empty_dirs(fs: &Fs, dir: &Path) -> io::Result<()> {
    // A directory is removed when it is met the second time, after all that was below it.
    let mut stack = vec![(dir.to_path_buf(), false)];
    while let Some((dir, listed)) = stack.pop() {
        if listed {
            match fs.remove_dir(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => continue,
            }
        }
        let entries = match fs.read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        stack.push((dir, true));
        for entry in entries {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                return Err(io::Error::from(io::ErrorKind::DirectoryNotEmpty));
            }
            stack.push((entry.path(), false));
        }
    }
    Ok(())
}

/// Removes the directories that a ref's removal left empty, but never `refs/heads` and its like.
///
/// `root` is what the name lies below: the git directory, or its `logs`.
pub(crate) fn remove_empty_parents(fs: &Fs, root: &Path, name: &[u8]) {
    let above: Vec<&[u8]> = name::prefixes(name).skip(1).collect();
    for dir in above.into_iter().rev() {
        if fs.remove_dir(&name::path_below(root, dir)).is_err() {
            // It is in use, or another was quicker.
            return;
        }
    }
}
