//! Clients other than git, each run as a program: pushes by whatever people have.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::forge::Forge;
use super::git::{self, Output, Repo};

/// A program that pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Git,
    Libgit2,
    Dulwich,
    Jgit,
    Isomorphic,
}

/// Where `.ci/run` installs the clients that are no packages of Debian.
fn installed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(path)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

const JGIT: &str = "/usr/share/java/org.eclipse.jgit.pgm.jar";

impl Client {
    pub const ALL: [Self; 5] = [Self::Git, Self::Libgit2, Self::Dulwich, Self::Jgit, Self::Isomorphic];

    /// The transports that it has a client for.
    pub fn transports(self) -> &'static [&'static str] {
        match self {
            Self::Git => &["http", "ssh", "git", "pipe"],
            Self::Libgit2 | Self::Dulwich => &["http", "ssh", "git"],
            Self::Jgit => &["http", "git"],
            Self::Isomorphic => &["http"],
        }
    }

    /// Whether this machine has it.
    pub fn is_there(self) -> bool {
        match self {
            Self::Git => true,
            Self::Libgit2 => self.answers(Command::new(installed("venv/bin/python")).args(["-c", "import pygit2"])),
            Self::Dulwich => self.answers(Command::new(installed("venv/bin/python")).args(["-c", "import dulwich"])),
            Self::Jgit => Path::new(JGIT).exists() && self.answers(Command::new("java").arg("-version")),
            Self::Isomorphic => installed("node_modules/isomorphic-git").is_dir(),
        }
    }

    fn answers(self, command: &mut Command) -> bool {
        command.output().is_ok_and(|output| output.status.success())
    }

    /// Pushes to `url`; `thin` matters to git only. Ended after two minutes, which is a failure.
    pub fn push(self, forge: &Forge, source: &Repo, url: &str, refspecs: &[&str], thin: bool) -> Output {
        let mut program = Vec::<std::ffi::OsString>::new();
        match self {
            Self::Git => {
                let dir = source.path().to_str().expect("a path of text");
                // Random bytes have no deltas, and looking for some would be most of the time.
                program.extend(["git", "-C", dir, "-c", "core.bigFileThreshold=1m", "push"].map(Into::into));
                program.push(if thin { "--thin" } else { "--no-thin" }.into());
                if !url.contains("://") {
                    let example = super::server::example("receive_pack");
                    program.push(format!("--receive-pack={}", example.display()).into());
                }
            }
            Self::Libgit2 => {
                program.extend([installed("venv/bin/python"), script("libgit2.py"), source.git_dir()].map(Into::into));
            }
            Self::Dulwich => {
                program.extend([installed("venv/bin/python"), script("dulwich.py"), source.git_dir()].map(Into::into));
            }
            Self::Jgit => {
                // Debian's own start script leaves out a jar that the program needs.
                let jars = format!("{JGIT}:/usr/share/java/*");
                program.extend(["java", "-cp", &jars, "org.eclipse.jgit.pgm.Main", "--git-dir"].map(Into::into));
                program.extend([source.git_dir().into(), "push".into()]);
            }
            Self::Isomorphic => {
                program.extend(["node".into(), script("isomorphic.js").into(), source.git_dir().into()])
            }
        }
        let mut command = git::command(source.path(), [] as [&str; 0]);
        let environment: Vec<_> =
            command.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
        command = Command::new("timeout");
        command.arg(Duration::from_secs(120).as_secs().to_string()).args(program).arg(url).args(refspecs);
        command.env_clear().envs(environment).current_dir(source.path());
        command.env("GIT_SSH_COMMAND", forge.ssh_command()).env("CLIENT_KEY", forge.key());
        command.env("NODE_PATH", installed("node_modules")).env("HOME", source.path());
        git::run(command, b"")
    }
}
