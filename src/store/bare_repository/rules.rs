use super::current_branch::Deny;
use crate::fsck::{Checks, Message, Severity};
use crate::git_config::Config;
use crate::proto::{Command, ObjectKind};
use crate::push::{Progress, UpdateRequest};
use crate::store::ancestry::{Ancestry, Step, Verdict};
use crate::store::complete::Objects;
use crate::{Error, ErrorKind};

/// How many commits are read to find out whether the updates of a push are fast-forwards: of a history of a million commits
/// all, in some 150 MB.
const MAX_COMMITS: usize = 1_000_000;

/// What a repository's own configuration says of the pushes that it takes (git-config, `receive.*`).
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) deny_deletes: bool,
    deny_non_fast_forwards: bool,
    pub(super) deny_current_branch: Deny,
    pub(super) deny_delete_current: Deny,
    pub(super) checks: Option<Checks>,
    /// Pushes of fewer objects are unpacked.
    pub(super) unpack_limit: Option<u32>,
    /// Packs of more bytes are refused.
    pub(super) max_input_size: Option<u64>,
    /// The repository is a partial clone: some of its objects are elsewhere.
    pub(super) is_partial: bool,
}

impl Rules {
    pub(super) fn read(config: &Config) -> Result<Self, Error> {
        let is_set = |key| boolean(config, key).map(Option::unwrap_or_default);
        let fsck = match boolean(config, "receive.fsckobjects")? {
            None => is_set("transfer.fsckobjects")?,
            Some(fsck) => fsck,
        };
        // What is wrong in them is wrong without the checks as well, as to git.
        let checks = checks(config)?;
        Ok(Self {
            deny_deletes: is_set("receive.denydeletes")?,
            deny_non_fast_forwards: is_set("receive.denynonfastforwards")?,
            deny_current_branch: Deny::read(config, "receive.denycurrentbranch")?,
            deny_delete_current: Deny::read(config, "receive.denydeletecurrent")?,
            checks: Some(checks).filter(|_| fsck),
            unpack_limit: unpack_limit(config)?,
            max_input_size: max_input_size(config)?,
            is_partial: is_partial(config)?,
        })
    }

    /// Refuses what the configuration forbids to delete.
    pub(super) fn judge_deletes(&self, request: &mut UpdateRequest, progress: &Progress) {
        if !self.deny_deletes {
            return;
        }
        request.refuse_where(|command| {
            (command.is_delete() && is_branch(command)).then(|| {
                progress.note(format_args!("error: denying ref deletion for {}", name(command)));
                "deletion prohibited"
            })
        });
    }

    /// Refuses branches that would lose some of their history. `objects` are those of the push and of the repository.
    pub(super) fn judge_fast_forwards(
        &self,
        request: &mut UpdateRequest,
        objects: &impl Objects,
        progress: &Progress,
    ) -> Result<(), Error> {
        if !self.deny_non_fast_forwards {
            return Ok(());
        }
        let mut refusals = Vec::new();
        let mut ancestry = Ancestry::new(request.format(), MAX_COMMITS);
        for (place, command) in request.open().filter(|(_, command)| command.is_update() && is_branch(command)) {
            ancestry.ask(command.old, command.new);
            let reason = match judge(&mut ancestry, objects)? {
                Verdict::Ancestor => continue,
                Verdict::NoCommit => "bad ref",
                Verdict::TooLong => "history too long to tell a fast-forward",
                Verdict::Stranger => {
                    let name = name(command);
                    progress.note(format_args!("error: denying non-fast-forward {name} (you should pull first)"));
                    "non-fast-forward"
                }
            };
            refusals.push((place, reason));
        }
        for (place, reason) in refusals {
            request.refuse(place, reason);
        }
        Ok(())
    }
}

fn judge(ancestry: &mut Ancestry, objects: &impl Objects) -> Result<Verdict, Error> {
    loop {
        match ancestry.step() {
            Step::Done(verdict) => return Ok(verdict),
            // On a thread of its own.
            Step::Pause => {}
            Step::Read(id) => {
                let is_commit = objects.kind(&id)? == Some(ObjectKind::Commit);
                let object = if is_commit { objects.object(&id)? } else { None };
                ancestry.give(id, object.as_ref().map(|(kind, data)| (*kind, &data[..])));
            }
        }
    }
}

fn is_branch(command: &Command) -> bool {
    command.name.starts_with(b"refs/heads/")
}

fn name(command: &Command) -> String {
    String::from_utf8_lossy(&command.name).into_owned()
}

/// The checks of `receive.fsckObjects`, with what `receive.fsck.<message>` says of each that is known; the skip list is not
/// read.
fn checks(config: &Config) -> Result<Checks, Error> {
    let mut checks = Checks::new();
    for (name, value) in config.section("receive") {
        let Some(id) = name.strip_prefix(b"fsck.").filter(|id| *id != b"skiplist") else { continue };
        let value = value.ok_or_else(|| missing_value(&format!("receive.{}", String::from_utf8_lossy(name))))?;
        // As git does: there are messages about more than objects, and every version of git has new ones.
        let Some(message) = std::str::from_utf8(id).ok().and_then(Message::from_id) else { continue };
        let severity = match value {
            b"error" => Severity::Error,
            b"warn" => Severity::Warning,
            b"ignore" => Severity::Ignore,
            _ => {
                let name = String::from_utf8_lossy(name);
                let text = format!("a severity that is not error, warn or ignore in 'receive.{name}'");
                return Err(Error::new(ErrorKind::Store, text));
            }
        };
        checks = checks.set(message, severity);
    }
    Ok(checks)
}

/// The one that is about pushes before the one that is about fetches as well; git takes less than zero for not set.
fn unpack_limit(config: &Config) -> Result<Option<u32>, Error> {
    for key in ["receive.unpacklimit", "transfer.unpacklimit"] {
        let limit = config.integer(key).map_err(|value| bad_number(&value, key))?;
        if let Some(limit) = limit.and_then(|limit| u32::try_from(limit).ok()) {
            return Ok(Some(limit));
        }
    }
    Ok(None)
}

/// Zero is no limit; of a limit below that each pack is too large, to git.
fn max_input_size(config: &Config) -> Result<Option<u64>, Error> {
    let key = "receive.maxinputsize";
    let size = config.long(key).map_err(|value| bad_number(&value, key))?;
    Ok(size.filter(|size| *size != 0).map(|size| u64::try_from(size).unwrap_or_default()))
}

/// As git does, by the remotes that promise to have what is not here.
fn is_partial(config: &Config) -> Result<bool, Error> {
    let remotes = config.section("remote").filter(|(name, _)| name.ends_with(b".promisor"));
    for name in remotes.filter_map(|(name, _)| std::str::from_utf8(name).ok()) {
        if boolean(config, &format!("remote.{name}"))?.unwrap_or_default() {
            return Ok(true);
        }
    }
    Ok(config.get("extensions.partialclone").is_some())
}

fn bad_number(value: &[u8], key: &str) -> Error {
    let text = format!("bad numeric config value '{}' for '{key}'", String::from_utf8_lossy(value));
    Error::new(ErrorKind::Store, text)
}

/// A variable that says nothing without `=`.
pub(super) fn missing_value(key: &str) -> Error {
    Error::new(ErrorKind::Store, format!("missing value for '{key}'"))
}

/// A variable that is true or false.
pub(super) fn boolean(config: &Config, key: &str) -> Result<Option<bool>, Error> {
    config.boolean(key).map_err(|value| {
        let text = format!("bad boolean config value '{}' for '{key}'", String::from_utf8_lossy(&value));
        Error::new(ErrorKind::Store, text)
    })
}
