//! Commits and tags: header lines, one after the other, each with its rules.

use super::finding::{Reporter, Stop, quoted};
use crate::fsck::Message;
use crate::proto::{ObjectId, is_valid_ref_name};

/// Checks a commit.
pub(super) fn commit(data: &[u8], report: &mut Reporter<'_>) -> Result<(), Stop> {
    terminated(data, report)?;
    let Some(rest) = data.strip_prefix(b"tree ") else {
        return report.report(Message::MissingTree, "invalid format - expected 'tree' line");
    };
    let mut rest = id_line(rest, Message::BadTreeSha1, "invalid 'tree' line format - bad sha1", report)?;
    while let Some(parent) = rest.strip_prefix(b"parent ") {
        rest = id_line(parent, Message::BadParentSha1, "invalid 'parent' line format - bad sha1", report)?;
    }
    let mut authors = 0_usize;
    while let Some(author) = rest.strip_prefix(b"author ") {
        authors = authors.saturating_add(1);
        rest = person(author, report)?;
    }
    match authors {
        0 => report.report(Message::MissingAuthor, "invalid format - expected 'author' line")?,
        1 => {}
        _ => report.report(Message::MultipleAuthors, "invalid format - multiple 'author' lines")?,
    }
    let Some(committer) = rest.strip_prefix(b"committer ") else {
        return report.report(Message::MissingCommitter, "invalid format - expected 'committer' line");
    };
    person(committer, report)?;
    if data.contains(&0) {
        report.report(Message::NulInCommit, "NUL byte in the commit object body")?;
    }
    Ok(())
}

/// Checks a tag.
pub(super) fn tag(data: &[u8], report: &mut Reporter<'_>) -> Result<(), Stop> {
    terminated(data, report)?;
    let Some(rest) = data.strip_prefix(b"object ") else {
        return report.report(Message::MissingObject, "invalid format - expected 'object' line");
    };
    let rest = id_line(rest, Message::BadObjectSha1, "invalid 'object' line format - bad sha1", report)?;
    let Some(rest) = rest.strip_prefix(b"type ") else {
        return report.report(Message::MissingTypeEntry, "invalid format - expected 'type' line");
    };
    let Some((kind, rest)) = line(rest) else {
        return report.report(Message::MissingType, "invalid format - unexpected end after 'type' line");
    };
    if !matches!(kind, b"commit" | b"tree" | b"blob" | b"tag") {
        report.report(Message::BadType, "invalid 'type' value")?;
    }
    let Some(rest) = rest.strip_prefix(b"tag ") else {
        return report.report(Message::MissingTagEntry, "invalid format - expected 'tag' line");
    };
    let Some((name, rest)) = line(rest) else {
        return report.report(Message::MissingTag, "invalid format - unexpected end after 'type' line");
    };
    if !is_valid_ref_name(&[b"refs/tags/", name].concat()) {
        let text = format!("invalid 'tag' name: {}", quoted(name));
        report.report(Message::BadTagName, text)?;
    }
    let rest = match rest.strip_prefix(b"tagger ") {
        Some(tagger) => person(tagger, report)?,
        // Early tags have none.
        None => {
            report.report(Message::MissingTaggerEntry, "invalid format - expected 'tagger' line")?;
            rest
        }
    };
    if !rest.is_empty() && !rest.starts_with(b"\n") {
        report.report(Message::ExtraHeaderEntry, "invalid format - extra header(s) after 'tagger'")?;
    }
    Ok(())
}

/// The headers end in an empty line, or the object ends with the last of them.
fn terminated(data: &[u8], report: &mut Reporter<'_>) -> Result<(), Stop> {
    let end = data.windows(2).position(|two| two == b"\n\n");
    let headers = end.and_then(|end| data.get(..end)).unwrap_or(data);
    if let Some(at) = headers.iter().position(|byte| *byte == 0) {
        return report.report(Message::NulInHeader, format!("unterminated header: NUL at offset {at}"));
    }
    if end.is_none() && !data.ends_with(b"\n") {
        return report.report(Message::UnterminatedHeader, "unterminated header");
    }
    Ok(())
}

/// The first line, without its LF, and what follows it.
fn line(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    Some((data.get(..end)?, data.get(end.saturating_add(1)..)?))
}

/// The rest of a line that is an id and nothing else; gives what follows the line.
fn id_line<'a>(
    data: &'a [u8],
    message: Message,
    text: &'static str,
    report: &mut Reporter<'_>,
) -> Result<&'a [u8], Stop> {
    let (id, rest) = line(data).unwrap_or((data, b""));
    if ObjectId::from_hex(report.object.format(), id).is_none() {
        report.report(message, text)?;
    }
    Ok(rest)
}

/// The rest of a line that says who and when; gives what follows the line.
fn person<'a>(data: &'a [u8], report: &mut Reporter<'_>) -> Result<&'a [u8], Stop> {
    let (who, rest) = line(data).unwrap_or((data, b""));
    if let Err((message, text)) = judge_person(who) {
        report.report(message, text)?;
    }
    Ok(rest)
}

/// `name <email> seconds zone`
fn judge_person(who: &[u8]) -> Result<(), (Message, &'static str)> {
    if who.starts_with(b"<") {
        let text = "invalid author/committer line - missing space before email";
        return Err((Message::MissingNameBeforeEmail, text));
    }
    let (name, bracket, email) =
        split_at_any(who, b"<>").ok_or((Message::MissingEmail, "invalid author/committer line - missing email"))?;
    if bracket == b'>' {
        return Err((Message::BadName, "invalid author/committer line - bad name"));
    }
    if !name.ends_with(b" ") {
        let text = "invalid author/committer line - missing space before email";
        return Err((Message::MissingSpaceBeforeEmail, text));
    }
    let Some((_, b'>', when)) = split_at_any(email, b"<>") else {
        return Err((Message::BadEmail, "invalid author/committer line - bad email"));
    };
    let when = when
        .strip_prefix(b" ")
        .ok_or((Message::MissingSpaceBeforeDate, "invalid author/committer line - missing space before date"))?;
    judge_date(when)
}

fn judge_date(when: &[u8]) -> Result<(), (Message, &'static str)> {
    const BAD_DATE: (Message, &str) = (Message::BadDate, "invalid author/committer line - bad date");
    let spaces = when.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let when = when.get(spaces..).unwrap_or_default();
    let digits = when.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (seconds, zone) = when.split_at_checked(digits).unwrap_or_default();
    match (seconds, zone) {
        ([], _) => return Err(BAD_DATE),
        ([b'0'], [b' ', ..]) => {}
        ([b'0', ..], _) => {
            return Err((Message::ZeroPaddedDate, "invalid author/committer line - zero-padded date"));
        }
        _ => {}
    }
    if std::str::from_utf8(seconds).ok().and_then(|seconds| seconds.parse::<i64>().ok()).is_none() {
        let text = "invalid author/committer line - date causes integer overflow";
        return Err((Message::BadDateOverflow, text));
    }
    match zone.strip_prefix(b" ") {
        None => Err(BAD_DATE),
        Some([b'+' | b'-', zone @ ..]) if zone.len() == 4 && zone.iter().all(u8::is_ascii_digit) => Ok(()),
        Some(_) => Err((Message::BadTimezone, "invalid author/committer line - bad time zone")),
    }
}

/// What stands before the first of some bytes, that byte, and what stands behind it.
fn split_at_any<'a>(data: &'a [u8], bytes: &[u8]) -> Option<(&'a [u8], u8, &'a [u8])> {
    let at = data.iter().position(|byte| bytes.contains(byte))?;
    let (before, rest) = data.split_at_checked(at)?;
    let (byte, after) = rest.split_first()?;
    Some((before, *byte, after))
}
