use std::io;
use std::path::{Path, PathBuf};

use super::fs::Fs;
use super::name;
use super::rules::missing_value;
use crate::git_config::Config;
use crate::{Error, ErrorKind};

/// How deep files may include each other: git's own bound.
const MAX_DEPTH: usize = 10;

/// How many files one may include, and these in turn. Of two that each are included twice there soon are thousands.
const MAX_FILES: usize = 100;

/// Follows `include.path` (git-config, "Includes"): what an included file says stands behind the line that names it.
///
/// Whether an `includeIf` counts is not judged, and what it includes may be a rule: it is refused.
pub(super) struct Includes<'a> {
    fs: &'a Fs,
    files: usize,
}

impl<'a> Includes<'a> {
    pub(super) fn new(fs: &'a Fs) -> Self {
        Self { fs, files: 0 }
    }

    /// The configuration of this file, with that of those that it includes.
    pub(super) fn follow(&mut self, file: &Path, config: Config) -> Result<Config, Error> {
        self.follow_from(file, config, 0)
    }

    fn follow_from(&mut self, file: &Path, config: Config, depth: usize) -> Result<Config, Error> {
        let mut whole = Config::default();
        for (key, value) in config.into_variables() {
            if is_conditional(&key) {
                let key = String::from_utf8_lossy(&key).into_owned();
                return Err(refusal(format!("'{key}' in the configuration: conditional includes are not followed")));
            }
            let path = match value.as_deref() {
                _ if key != b"include.path" => None,
                None => return Err(missing_value("include.path")),
                Some(b"") => None,
                Some(path) => Some(place(file, path)?),
            };
            whole.push(key, value);
            // As to git, one without a name says nothing, nor does one that is not there.
            let Some(path) = path else { continue };
            if let Some(included) = read_file(self.fs, &path)? {
                self.files = self.files.saturating_add(1);
                if depth >= MAX_DEPTH || self.files > MAX_FILES {
                    return Err(refusal("the configuration includes too many files, or nested too deep".to_owned()));
                }
                whole.append(self.follow_from(&path, included, depth.saturating_add(1))?);
            }
        }
        Ok(whole)
    }
}

/// Reads a configuration file; `None` if there is none.
pub(super) fn read_file(fs: &Fs, path: &Path) -> Result<Option<Config>, Error> {
    let unreadable = "the configuration cannot be read";
    match fs.read(path) {
        Ok(text) => Config::parse(&text).map(Some).map_err(|error| Error::store(unreadable, error)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::store(unreadable, error)),
    }
}

/// Whether it is a file included on one of the conditions that git knows.
fn is_conditional(key: &[u8]) -> bool {
    let condition = key.strip_prefix(b"includeif.").and_then(|rest| rest.strip_suffix(b".path"));
    let known: [&[u8]; 4] = [b"gitdir:", b"gitdir/i:", b"onbranch:", b"hasconfig:remote.*.url:"];
    condition.is_some_and(|condition| known.iter().any(|known| condition.starts_with(known)))
}

/// Where an included file is: below the home directory, or seen from the file that includes it.
fn place(file: &Path, path: &[u8]) -> Result<PathBuf, Error> {
    let unknown = || refusal(format!("could not expand include path '{}'", String::from_utf8_lossy(path)));
    if path.starts_with(b"%(prefix)/") {
        return Err(unknown());
    }
    let Some(below) = path.strip_prefix(b"~") else {
        let path = name::os_path(path).ok_or_else(unknown)?;
        return Ok(file.parent().unwrap_or(Path::new("")).join(path));
    };
    // Others' homes only the system knows.
    let below = below.strip_prefix(b"/").ok_or_else(unknown)?;
    let below = name::os_path(below).filter(|below| below.is_relative()).ok_or_else(unknown)?;
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).ok_or_else(unknown)?;
    Ok(Path::new(&home).join(below))
}

fn refusal(text: String) -> Error {
    Error::new(ErrorKind::Store, text)
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::Repository;
    use super::super::testing::{Sandbox, git, try_git};
    use super::*;

    const FIRST: &str = "[core]\nbare\nrepositoryFormatVersion = 1\n[extensions]\nworktreeConfig\n";

    /// A bare repository with these files in it, of which `config` has more at its end.
    fn repository(files: &[(&str, &str)]) -> Sandbox {
        let sandbox = Sandbox::new("sha1");
        for (name, text) in files {
            let text = text.replace("DIR", sandbox.bare().to_str().unwrap());
            let text = if *name == "config" { format!("{FIRST}{text}") } else { text };
            std::fs::write(sandbox.bare().join(name), text).unwrap();
        }
        sandbox
    }

    #[test]
    fn files_are_included_as_git_includes_them() {
        let deny = ("deny", "[receive]\ndenyDeletes = true\n");
        let mut denied = 0;
        let cases: &[&[(&str, &str)]] = &[
            &[("config", "[include]\npath = deny\n"), deny],
            &[("config", "[INCLUDE]\nPath = DIR/deny\n"), deny],
            &[("config", "[include]\npath = refs/../deny\n"), deny],
            &[("config", "[include]\npath = \"deny\"\n[receive]\ndenyDeletes = false\n"), deny],
            &[("config", "[receive]\ndenyDeletes = false\n[include]\npath = deny\n"), deny],
            &[("config", "[include]\npath = none\npath = deny/none\npath = DIR/none\npath = ~/no/such/file\n"), deny],
            &[("config", "[include]\npath = none\npath = deny\n"), deny],
            &[("config", "[include \"x\"]\npath = deny\n"), deny],
            &[("config", "[includeIf]\npath = deny\n"), deny],
            &[("config", "[includeIf \"phase:moon\"]\npath = deny\n"), deny],
            &[("config", "[include]\npath = info/a\n"), ("info/a", "[include]\npath = ../deny\n"), deny],
            &[("config", "[include]\npath = info/a\n"), ("info/a", "[include]\npath = deny\n"), deny],
            &[("config", ""), ("config.worktree", "[include]\npath = deny\n"), deny],
            &[("config", "[include]\npath = a\n"), ("a", "[receive\n")],
            &[("config", "[include]\npath = a\n"), ("a", "[core]\nbare = false\nrepositoryFormatVersion = 9\n")],
            &[("config", "[include]\npath = a\n[core]\nbare\n"), ("a", "[core]\nbare = false\n")],
            &[("config", "[include]\npath = a\n"), ("a", "[extensions]\nnew = x\n")],
            &[("config", "[include]\npath = a\n"), ("a", "[receive]\ndenyDeletes = perhaps\n")],
            &[("config", "[include]\npath\n")],
            &[("config", "[include]\npath =\n")],
            &[("config", "[include]\npath = refs\n")],
            &[("config", "[include]\npath = config\n")],
            &[("config", "[include]\npath = ~no-such-user/deny\n")],
        ];
        for files in cases {
            let sandbox = repository(files);
            let bare = sandbox.bare();
            let opened = Repository::open(&bare);
            let gits = try_git(&bare, &["receive-pack", "--http-backend-info-refs", "."]);
            assert_eq!(opened.is_ok(), gits.status.success(), "{files:?}: {opened:?}, {gits:?}");
            let Ok(opened) = opened else { continue };
            assert_eq!(opened.is_bare().to_string(), git(&bare, &["rev-parse", "--is-bare-repository"]), "{files:?}");
            let deny = try_git(&bare, &["config", "--type=bool", "receive.denyDeletes"]);
            assert_eq!(opened.rules().deny_deletes, deny.stdout == b"true\n", "{files:?}");
            denied += usize::from(opened.rules().deny_deletes);
        }
        assert_eq!(denied, 7);
    }

    #[test]
    fn files_include_each_other_as_deep_as_git_lets_them() {
        for depth in 9..=11 {
            let names: Vec<_> = (1..=depth).map(|n| n.to_string()).collect();
            let includes: Vec<_> = names.iter().map(|name| format!("[include]\npath = {name}\n")).collect();
            let texts = includes.iter().map(String::as_str).chain(["[receive]\ndenyDeletes\n"]);
            let files: Vec<_> = ["config"].into_iter().chain(names.iter().map(String::as_str)).zip(texts).collect();
            let sandbox = repository(&files);
            let opened = Repository::open(&sandbox.bare());
            assert_eq!(opened.is_ok(), try_git(&sandbox.bare(), &["for-each-ref"]).status.success(), "{depth}");
            assert_eq!(opened.is_ok_and(|opened| opened.rules().deny_deletes), depth < 11, "{depth}");
        }
    }

    #[test]
    fn what_would_take_too_long_or_is_not_judged_is_refused() {
        let text = |files: &[(&str, &str)]| Repository::open(&repository(files).bare()).unwrap_err().to_string();
        let too_many = "the configuration includes too many files, or nested too deep";
        assert_eq!(text(&[("config", "[include]\npath = config\n")]), too_many);
        let twice = "[include]\npath = a\n".repeat(MAX_FILES);
        Repository::open(&repository(&[("config", &twice), ("a", "")]).bare()).unwrap();
        assert_eq!(text(&[("config", &format!("{twice}path = a\n")), ("a", "")]), too_many);
        for condition in ["gitdir:/", "gitdir/i:x", "onbranch:main", "hasconfig:remote.*.url:x"] {
            let expected =
                format!("'includeif.{condition}.path' in the configuration: conditional includes are not followed");
            let config = format!("[includeIf \"{condition}\"]\npath = a\n");
            assert_eq!(text(&[("config", &config)]), expected);
            assert_eq!(text(&[("config", "[include]\npath = a\n"), ("a", &config)]), expected);
        }
    }
}
