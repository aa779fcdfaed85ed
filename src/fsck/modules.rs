//! What a `.gitmodules` may say: nothing that a clone would take for an option, a command, or another place.

use super::finding::{Reporter, quoted};
use super::url;
use crate::fsck::Message;
use crate::git_config::{self, Variable};

/// Checks the content of a `.gitmodules`.
pub(super) fn check(data: &[u8], report: &mut Reporter<'_>) {
    if git_config::read(data, |variable| judge(&variable, report)).is_err() {
        report.note(Message::GitmodulesParse, "could not parse gitmodules blob");
    }
}

fn judge(variable: &Variable<'_>, report: &mut Reporter<'_>) {
    let Some(name) = variable.section.and_then(|section| section.strip_prefix(b"submodule.")) else { return };
    let said = |what: &str, value: &[u8]| format!("disallowed submodule {what}: {}", quoted(value));
    if variable.is_first && !is_good_name(name) {
        report.note(Message::GitmodulesName, said("name", name));
    }
    let Some(value) = variable.value else { return };
    match variable.name {
        b"url" if !url::is_good(value) => report.note(Message::GitmodulesUrl, said("url", value)),
        b"path" if value.starts_with(b"-") => report.note(Message::GitmodulesPath, said("path", value)),
        b"update" if value.starts_with(b"!") => {
            report.note(Message::GitmodulesUpdate, said("update setting", value));
        }
        _ => {}
    }
}

/// A name becomes a directory below `modules`.
fn is_good_name(name: &[u8]) -> bool {
    !name.is_empty() && name.split(|byte| matches!(byte, b'/' | b'\\')).all(|part| part != b"..")
}

#[cfg(test)]
mod tests {
    use crate::fsck::{Checks, Findings, SpecialContent, SpecialFile};
    use crate::proto::{ObjectFormat, ObjectId};

    fn found(data: &[u8]) -> Vec<String> {
        let id = ObjectId::zero(ObjectFormat::Sha1);
        let mut found = Findings::default();
        Checks::new().special_file(SpecialFile::Modules, &id, SpecialContent::Blob(data), &mut found);
        let text = |line: String| line.split_once(": ").unwrap().1.to_owned();
        found.iter().map(|finding| text(finding.to_string())).collect()
    }

    #[test]
    fn each_rule_is_broken_once() {
        let section = "[submodule \"../a\"]\nother\nurl = -a\npath = -b\nupdate = !c\n";
        let next = "[submodule \"../d\"]\nurl = -d\npath = -e\nupdate = !f\n";
        let data = [section, &next.repeat(100_000), &"other\n".repeat(100_000), "bad line"].concat();
        let expected = [
            "gitmodulesName: disallowed submodule name: ../a",
            "gitmodulesUrl: disallowed submodule url: -a",
            "gitmodulesPath: disallowed submodule path: -b",
            "gitmodulesUpdate: disallowed submodule update setting: !c",
            "gitmodulesParse: could not parse gitmodules blob",
        ];
        assert_eq!(found(data.as_bytes()), expected);
    }

    /// For each variable again, the name would take 400 GB to keep and minutes to look at.
    #[test]
    fn a_long_name_is_looked_at_once() {
        let name = "a".repeat(4 << 20);
        let section = |name: &str| format!("[submodule \"{name}\"]\n{}", "a\n".repeat(100_000));
        assert!(found(section(&name).as_bytes()).is_empty());
        let said = found(section(&format!("{name}/..")).as_bytes());
        assert_eq!(said, [format!("gitmodulesName: disallowed submodule name: {}", &name[..4096])]);
    }
}
