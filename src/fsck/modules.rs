//! What a `.gitmodules` may say: nothing that a clone would take for an option, a command, or another place.

use super::finding::{Reporter, quoted};
use super::url;
use crate::fsck::Message;
use crate::git_config::Config;

/// Checks the content of a `.gitmodules`.
pub(super) fn check(data: &[u8], report: &mut Reporter<'_>) {
    let (config, bad_line) = Config::parse_front(data);
    for (key, value) in config.section("submodule") {
        // The name of the submodule may have dots in it, that of the variable has none.
        let Some(dot) = key.iter().rposition(|byte| *byte == b'.') else { continue };
        let Some((name, variable)) = key.split_at_checked(dot) else { continue };
        let said = |what: &str, value: &[u8]| format!("disallowed submodule {what}: {}", quoted(value));
        if !is_good_name(name) {
            report.note(Message::GitmodulesName, said("name", name));
        }
        let Some(value) = value else { continue };
        match variable {
            b".url" if !url::is_good(value) => report.note(Message::GitmodulesUrl, said("url", value)),
            b".path" if value.starts_with(b"-") => report.note(Message::GitmodulesPath, said("path", value)),
            b".update" if value.starts_with(b"!") => {
                report.note(Message::GitmodulesUpdate, said("update setting", value));
            }
            _ => {}
        }
    }
    if bad_line.is_some() {
        report.note(Message::GitmodulesParse, "could not parse gitmodules blob");
    }
}

/// A name becomes a directory below `modules`.
fn is_good_name(name: &[u8]) -> bool {
    !name.is_empty() && name.split(|byte| matches!(byte, b'/' | b'\\')).all(|part| part != b"..")
}
