use super::repository::Repository;
use super::rules::boolean;
use crate::Error;
use crate::git_config::Config;
use crate::proto::Command;
use crate::push::{Progress, UpdateRequest};

/// What becomes of a push that surprises whoever works on the branch (git-config, `receive.denyCurrentBranch` and
/// `receive.denyDeleteCurrent`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Deny {
    Ignore,
    Warn,
    Refuse,
    /// As `Refuse`, and the pusher is told which variable it was.
    #[default]
    Unset,
}

impl Deny {
    /// What the configuration says. To write to a work tree (`updateInstead`) is not ours: such a branch stays.
    pub(super) fn read(config: &Config, key: &str) -> Result<Self, Error> {
        let Some(value) = config.get(key) else { return Ok(Self::Unset) };
        Ok(match value.to_ascii_lowercase().as_slice() {
            b"ignore" => Self::Ignore,
            b"warn" => Self::Warn,
            b"refuse" | b"updateinstead" => Self::Refuse,
            _ => Self::from(boolean(config, key)?.unwrap_or_default()),
        })
    }

    fn refuses(self) -> bool {
        matches!(self, Self::Refuse | Self::Unset)
    }
}

impl From<bool> for Deny {
    fn from(deny: bool) -> Self {
        if deny { Self::Refuse } else { Self::Ignore }
    }
}

/// The branches that somebody works on.
#[derive(Debug)]
pub(super) struct CurrentBranches {
    /// What `HEAD` leads to, in a bare repository too: the branch that a clone checks out.
    head: Option<Vec<u8>>,
    /// What the work trees have checked out, or are at work on with `HEAD` elsewhere; the linked ones as well.
    checked_out: Vec<Vec<u8>>,
}

impl CurrentBranches {
    pub(super) fn read(repository: &Repository) -> Result<Self, Error> {
        let refs = repository.refs();
        Ok(Self { head: refs.current_branch()?, checked_out: refs.branches_of_work_trees(repository.is_bare())? })
    }

    /// A branch must not change under those who have it checked out, nor go away.
    pub(super) fn judge_updates(&self, deny: Deny, request: &mut UpdateRequest, progress: &Progress) {
        request.refuse_where(|command| {
            if !self.is_checked_out(command) {
                return None;
            }
            if deny == Deny::Warn {
                progress.note("warning: updating the current branch");
            }
            deny.refuses().then(|| {
                let name = String::from_utf8_lossy(&command.name);
                progress.note(format_args!("error: refusing to update checked out branch: {name}"));
                if deny == Deny::Unset {
                    progress.note(UPDATES_ARE_DENIED);
                }
                "branch is currently checked out"
            })
        });
    }

    /// The branch that a clone checks out must not go away.
    pub(super) fn judge_deletes(&self, deny: Deny, request: &mut UpdateRequest, progress: &Progress) {
        request.refuse_where(|command| {
            let is_current = self.head.as_deref() == Some(&*command.name) || self.is_checked_out(command);
            if !command.is_delete() || !is_current {
                return None;
            }
            if deny == Deny::Warn {
                progress.note("warning: deleting the current branch");
            }
            deny.refuses().then(|| {
                if deny == Deny::Unset {
                    progress.note(DELETIONS_ARE_DENIED);
                }
                let name = String::from_utf8_lossy(&command.name);
                progress.note(format_args!("error: refusing to delete the current branch: {name}"));
                "deletion of the current branch prohibited"
            })
        });
    }

    fn is_checked_out(&self, command: &Command) -> bool {
        self.checked_out.iter().any(|name| name[..] == command.name)
    }
}

/// git's words.
const UPDATES_ARE_DENIED: &str = "\
error: By default, updating the current branch in a non-bare repository
is denied, because it will make the index and work tree inconsistent
with what you pushed, and will require 'git reset --hard' to match
the work tree to HEAD.

You can set the 'receive.denyCurrentBranch' configuration variable
to 'ignore' or 'warn' in the remote repository to allow pushing into
its current branch; however, this is not recommended unless you
arranged to update its work tree to match what you pushed in some
other way.

To squelch this message and still keep the default behaviour, set
'receive.denyCurrentBranch' configuration variable to 'refuse'.";

const DELETIONS_ARE_DENIED: &str = "\
error: By default, deleting the current branch is denied, because the next
'git clone' won't result in any file checked out, causing confusion.

You can set 'receive.denyDeleteCurrent' configuration variable to
'warn' or 'ignore' in the remote repository to allow deleting the
current branch, with or without a warning message.

To squelch this message, you can set it to 'refuse'.";
