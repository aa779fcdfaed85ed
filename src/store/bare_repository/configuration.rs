use std::path::Path;

use super::fs::Fs;
use super::includes::{Includes, read_file};
use super::rules::boolean;
use crate::git_config::Config;
use crate::proto::ObjectFormat;
use crate::{Error, ErrorKind};

/// What a repository's own files say: `config`, behind it `config.worktree` where the extension says that there is one, and
/// those that they include.
pub(super) fn read(fs: &Fs, git_dir: &Path) -> Result<(Config, ObjectFormat), Error> {
    let (file, another) = (git_dir.join("config"), git_dir.join("config.worktree"));
    let config = read_file(fs, &file)?.unwrap_or_default();
    let version = config.integer("core.repositoryformatversion").unwrap_or(Some(-1));
    // Version and extensions are those of the first file, whatever it includes.
    let format = object_format(&config, version.unwrap_or(0))?;
    // To git a repository that names no version has no extensions.
    let has_another = boolean(&config, "extensions.worktreeconfig")?.unwrap_or_default() && version.is_some();
    let mut includes = Includes::new(fs);
    let mut config = includes.follow(&file, config)?;
    if has_another && let Some(later) = read_file(fs, &another)? {
        config.append(includes.follow(&another, later)?);
    }
    Ok((config, format))
}

/// Checks the repository's version and extensions (gitrepository-layout, "Git Repository Format Versions").
fn object_format(config: &Config, version: i32) -> Result<ObjectFormat, Error> {
    if !(0..=1).contains(&version) {
        return Err(Error::new(ErrorKind::Store, "core.repositoryFormatVersion is neither 0 nor 1"));
    }
    let mut format = ObjectFormat::Sha1;
    for (name, value) in config.section("extensions") {
        let value = value.unwrap_or(b"true");
        match name {
            b"noop" | b"preciousobjects" | b"partialclone" | b"worktreeconfig" => {}
            b"noop-v1" | b"relativeworktrees" if version == 1 => {}
            b"objectformat" if version == 1 => {
                format = ObjectFormat::from_name(value).ok_or_else(|| {
                    let name = String::from_utf8_lossy(value).into_owned();
                    Error::new(ErrorKind::Store, format!("this build does not know the object format '{name}'"))
                })?;
            }
            b"refstorage" if version == 1 => {
                if value != b"files" {
                    let name = String::from_utf8_lossy(value).into_owned();
                    let text = format!("the refs are stored as '{name}'; only 'files' is supported");
                    return Err(Error::new(ErrorKind::Store, text));
                }
            }
            // A version 0 repository may carry extensions that nobody knows; git minds only those that it knows.
            b"noop-v1" | b"relativeworktrees" | b"objectformat" | b"refstorage" | b"compatobjectformat" => {
                let name = String::from_utf8_lossy(name).into_owned();
                let text = format!("extensions.{name} cannot be honoured in a repository of version {version}");
                return Err(Error::new(ErrorKind::Store, text));
            }
            _ if version == 0 => {}
            _ => {
                let name = String::from_utf8_lossy(name).into_owned();
                return Err(Error::new(ErrorKind::Store, format!("unknown repository extension '{name}'")));
            }
        }
    }
    Ok(format)
}
