use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use crate::Error;
use crate::proto::pkt_line::{self, MAX_DATA};
use crate::proto::{Command, ObjectId, ReportVersion};

/// The answer to a push (gitprotocol-pack, "Report Status"): whether the pack was unpacked, and what became of each
/// ref.
///
/// Refusals are values in here, as a status of 4xx is a value in an HTTP response. Reports that tell the client the same
/// are equal.
#[derive(Clone, Debug)]
pub struct Report {
    unpack: Option<Cow<'static, str>>,
    refs: Vec<RefReport>,
    error: Option<Error>,
}

impl PartialEq for Report {
    fn eq(&self, other: &Self) -> bool {
        (&self.unpack, &self.refs) == (&other.unpack, &other.refs)
    }
}

impl Eq for Report {}

/// What became of one ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefReport {
    name: Bytes,
    refusal: Option<Cow<'static, str>>,
    rewritten: Vec<Rewritten>,
}

/// What a server did in place of what the client asked for (`option` lines of `report-status-v2`). What is not set is as
/// the client asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewritten {
    /// The ref that was really updated.
    pub name: Option<Bytes>,
    /// The id that it had.
    pub old: Option<ObjectId>,
    /// The id that it has.
    pub new: Option<ObjectId>,
    /// Whether the update was not a fast-forward: `git push` shows it with a `+`.
    pub forced: bool,
}

impl Rewritten {
    /// This ref was moved, from this old id; the zero id if it was created.
    pub fn of(name: impl Into<Bytes>, old: ObjectId) -> Self {
        Self { name: Some(name.into()), old: Some(old), ..Self::default() }
    }

    /// The command that would have asked for this.
    pub(crate) fn command(&self, asked: &Command) -> Command {
        Command {
            old: self.old.unwrap_or(asked.old),
            new: self.new.unwrap_or(asked.new),
            name: self.name.as_ref().unwrap_or(&asked.name).clone(),
        }
    }

    /// Only what the client did not ask for.
    pub(crate) fn beside(self, asked: &Command) -> Self {
        Self {
            name: self.name.filter(|name| *name != asked.name),
            old: self.old.filter(|old| *old != asked.old),
            new: self.new.filter(|new| *new != asked.new),
            forced: self.forced,
        }
    }
}

impl Report {
    /// The server's own trouble behind a refusal, for its log: the disk was full when a ref should have moved, and others
    /// have moved. The client is not told.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// The report with the server's own trouble.
    #[must_use]
    pub fn with_error(mut self, error: impl Into<Option<Error>>) -> Self {
        self.error = error.into();
        self
    }

    /// The pack was unpacked; the refs follow.
    pub fn unpacked() -> Self {
        Self { unpack: None, refs: Vec::new(), error: None }
    }

    /// The pack could not be taken, for this reason; so every command is refused with `unpacker error`, as git has it.
    pub fn unpack_failed(reason: impl Into<Cow<'static, str>>, commands: &[Command]) -> Self {
        let refs = Vec::with_capacity(commands.len());
        let mut report = Self { unpack: Some(reason.into()), refs, error: None };
        for command in commands {
            report.refuse(command, "unpacker error");
        }
        report
    }

    /// The head could not be read to its end, for this reason: it answers the request as a whole, and each command that
    /// was read before. Here git's own receive-pack dies without a word.
    pub fn head_failed(reason: impl Into<Cow<'static, str>>, commands: &[Command]) -> Self {
        let reason = reason.into();
        Self { unpack: Some(reason.clone()), ..Self::refused(reason, commands) }
    }

    /// The pack is not at fault, but every command is refused for this one reason.
    pub fn refused(reason: impl Into<Cow<'static, str>>, commands: &[Command]) -> Self {
        let reason = reason.into();
        let mut report = Self::unpacked();
        for command in commands {
            report.refuse(command, reason.clone());
        }
        report
    }

    /// What an error of the body means for the client: a refusal by policy keeps its words for every ref; a malformed
    /// or incomplete pack is an unpack error; the server's own trouble is not told in detail.
    pub fn from_error(error: &Error, commands: &[Command]) -> Self {
        match error.kind() {
            crate::ErrorKind::Refused => Self::refused(error.to_string(), commands),
            _ => Self::unpack_failed(error.reason(), commands),
        }
    }

    /// Adds: the ref was updated.
    pub fn accept(&mut self, command: &Command) {
        self.push(command, None, Vec::new());
    }

    /// Adds: something was done in place of what the client wished. Only a client with `report-status-v2` is told what.
    pub fn accept_rewritten(&mut self, command: &Command, rewritten: Vec<Rewritten>) {
        self.push(command, None, rewritten);
    }

    /// Adds: the ref was not updated, for this reason of one line.
    pub fn refuse(&mut self, command: &Command, reason: impl Into<Cow<'static, str>>) {
        self.push(command, Some(reason.into()), Vec::new());
    }

    fn push(&mut self, command: &Command, refusal: Option<Cow<'static, str>>, rewritten: Vec<Rewritten>) {
        self.refs.push(RefReport { name: command.name.clone(), refusal, rewritten });
    }

    /// Why the pack could not be taken, if it could not.
    pub fn unpack_error(&self) -> Option<&str> {
        self.unpack.as_deref()
    }

    /// What became of each ref, in the order of the commands.
    pub fn refs(&self) -> &[RefReport] {
        &self.refs
    }

    /// Whether the pack was unpacked and every ref updated.
    pub fn is_ok(&self) -> bool {
        self.unpack.is_none() && self.refs.iter().all(RefReport::is_ok)
    }

    /// The report as pkt-lines, its flush-pkt included.
    pub fn encode(&self, version: ReportVersion, dst: &mut BytesMut) {
        match &self.unpack {
            None => line(&[b"unpack ok"], dst),
            Some(reason) => line(&[b"unpack ", one_line(reason).as_bytes()], dst),
        }
        for entry in &self.refs {
            entry.encode(version, dst);
        }
        pkt_line::encode_flush(dst);
    }
}

impl RefReport {
    /// The name of the ref, as the client sent it.
    pub fn name(&self) -> &Bytes {
        &self.name
    }

    /// Why the ref was not updated, if it was not.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Whether the ref was updated.
    pub fn is_ok(&self) -> bool {
        self.refusal.is_none()
    }

    fn encode(&self, version: ReportVersion, dst: &mut BytesMut) {
        if let Some(reason) = &self.refusal {
            return line(&[b"ng ", &self.name, b" ", one_line(reason).as_bytes()], dst);
        }
        if self.rewritten.is_empty() || version == ReportVersion::V1 {
            return line(&[b"ok ", &self.name], dst);
        }
        for rewritten in &self.rewritten {
            line(&[b"ok ", &self.name], dst);
            if let Some(name) = &rewritten.name {
                line(&[b"option refname ", name], dst);
            }
            if let Some(old) = &rewritten.old {
                line(&[b"option old-oid ", old.to_string().as_bytes()], dst);
            }
            if let Some(new) = &rewritten.new {
                line(&[b"option new-oid ", new.to_string().as_bytes()], dst);
            }
            if rewritten.forced {
                line(&[b"option forced-update"], dst);
            }
        }
    }
}

/// A reason must stay on its line, or it would forge others.
fn one_line(reason: &str) -> Cow<'_, str> {
    if reason.contains(['\n', '\r', '\0']) {
        Cow::Owned(reason.replace(['\n', '\r', '\0'], " "))
    } else {
        Cow::Borrowed(reason)
    }
}

/// One line of a report. A name and a reason that do not fit one pkt-line lose the end of the reason: the longest name
/// that a command can carry still leaves it room for the first words.
fn line(parts: &[&[u8]], dst: &mut BytesMut) {
    let mut text = parts.concat();
    text.truncate(MAX_DATA.saturating_sub(1));
    text.push(b'\n');
    let _ = pkt_line::encode(&text, dst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ObjectFormat;

    fn command(name: &str) -> Command {
        let zero = ObjectId::zero(ObjectFormat::Sha1);
        Command { old: zero, new: zero, name: Bytes::copy_from_slice(name.as_bytes()) }
    }

    #[test]
    fn a_report_is_what_gitprotocol_pack_shows() {
        let mut report = Report::unpacked();
        report.accept(&command("refs/heads/debug"));
        report.refuse(&command("refs/heads/master"), "non-fast-forward");
        let mut wire = BytesMut::new();
        report.encode(ReportVersion::V1, &mut wire);
        let expected = "000eunpack ok\n0018ok refs/heads/debug\n002ang refs/heads/master non-fast-forward\n0000";
        assert_eq!(std::str::from_utf8(&wire).unwrap(), expected);
    }

    #[test]
    fn option_lines_are_for_version_two_only() {
        let mut report = Report::unpacked();
        let mut rewritten = Rewritten { forced: true, ..Rewritten::default() };
        rewritten.name = Some(Bytes::from_static(b"refs/changes/1"));
        report.accept_rewritten(&command("refs/for/main"), vec![rewritten]);
        let encode = |version| {
            let mut wire = BytesMut::new();
            report.encode(version, &mut wire);
            String::from_utf8(wire.to_vec()).unwrap()
        };
        assert_eq!(encode(ReportVersion::V1), "000eunpack ok\n0015ok refs/for/main\n0000");
        assert!(encode(ReportVersion::V2).contains("option refname refs/changes/1\n0019option forced-update\n"));
    }

    #[test]
    fn a_reason_cannot_forge_a_line() {
        let report = Report::refused("no\nok refs/heads/x", &[command("refs/heads/x")]);
        let mut wire = BytesMut::new();
        report.encode(ReportVersion::V1, &mut wire);
        assert!(wire.ends_with(b"ng refs/heads/x no ok refs/heads/x\n0000"));
    }
}
