#[cfg(feature = "bare-repository")]
mod config;
#[cfg(feature = "bare-repository")]
pub(crate) mod value;

#[cfg(feature = "bare-repository")]
pub(crate) use config::Config;

/// A configuration file that git would not read either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadLine(pub(crate) usize);

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bad config line {}", self.0)
    }
}

impl std::error::Error for BadLine {}

/// A variable of a configuration file, as `git config --list` prints it: the names in lower case, the subsection as it
/// stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variable<'a> {
    /// Its section, with the subsection behind a dot; `None` before the first header.
    pub(crate) section: Option<&'a [u8]>,
    /// Whether it is the first below that header: the section may be too long to be looked at for each.
    pub(crate) is_first: bool,
    pub(crate) name: &'a [u8],
    /// What stands behind `=`.
    pub(crate) value: Option<&'a [u8]>,
}

/// Reads a configuration file as git-config(1) defines it under "Syntax", and shows each variable, up to the first line
/// that cannot be read.
///
/// Holds one header and one variable at a time: never more than the file is long, however its author wrote it.
pub(crate) fn read(text: &[u8], mut show: impl FnMut(Variable<'_>)) -> Result<(), BadLine> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut parser = Parser { rest: text.iter(), line: 1 };
    let mut section: Option<Vec<u8>> = None;
    let mut is_first = true;
    // For git a text ends at a NUL, whatever follows. A header that has one is all there is to the names below it.
    let mut whole_name: Option<Vec<u8>> = None;
    let (mut name, mut value) = (Vec::new(), Vec::new());
    while let Some(byte) = parser.next() {
        match byte {
            b'#' | b';' => parser.skip_line(),
            b'[' => {
                let section = section.get_or_insert_default();
                parser.section(section)?;
                whole_name = name_before_nul(section);
                is_first = true;
            }
            byte if is_space(byte) => {}
            byte if byte.is_ascii_alphabetic() => {
                name.clear();
                name.push(byte.to_ascii_lowercase());
                let has_value = parser.variable(&mut name, &mut value)?;
                let value = has_value.then(|| until_nul(&value));
                let name = whole_name.as_deref().unwrap_or(&name);
                show(Variable { section: section.as_deref(), is_first, name, value });
                is_first = false;
            }
            _ => return Err(BadLine(parser.line)),
        }
    }
    Ok(())
}

/// What git takes for white space.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// If there is a NUL in the name of a section: leaves what git takes for the section in it, and gives what it then takes
/// for the name of each variable.
fn name_before_nul(section: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = section.iter().position(|byte| *byte == 0)?;
    section.truncate(end);
    let dot = section.iter().rposition(|byte| *byte == b'.')?;
    let name = section.split_off(dot.saturating_add(1));
    section.truncate(dot);
    Some(name)
}

/// Reads byte by byte, CR LF as LF.
struct Parser<'a> {
    rest: std::slice::Iter<'a, u8>,
    line: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        match *self.rest.as_slice() {
            [b'\r', b'\n', ..] => Some(b'\n'),
            [byte, ..] => Some(byte),
            [] => None,
        }
    }

    fn next(&mut self) -> Option<u8> {
        let mut byte = *self.rest.next()?;
        if byte == b'\r' && self.rest.as_slice().first() == Some(&b'\n') {
            byte = *self.rest.next()?;
        }
        if byte == b'\n' {
            self.line = self.line.saturating_add(1);
        }
        Some(byte)
    }

    fn bad(&self) -> BadLine {
        BadLine(self.line)
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|byte| byte != b'\n') {}
    }

    /// The rest of `[section]`, `[section.sub]` or `[section "sub"]`.
    fn section(&mut self, name: &mut Vec<u8>) -> Result<(), BadLine> {
        name.clear();
        loop {
            match self.next().ok_or_else(|| self.bad())? {
                b']' if name.is_empty() => return Err(self.bad()),
                b']' => return Ok(()),
                byte if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' => {
                    name.push(byte.to_ascii_lowercase());
                }
                byte if is_space(byte) && byte != b'\n' => break,
                _ => return Err(self.bad()),
            }
        }
        let quote = loop {
            match self.next() {
                Some(byte) if is_space(byte) && byte != b'\n' => {}
                other => break other,
            }
        };
        if quote != Some(b'"') {
            return Err(self.bad());
        }
        name.push(b'.');
        loop {
            match self.next().ok_or_else(|| self.bad())? {
                b'"' => break,
                b'\n' => return Err(self.bad()),
                b'\\' => match self.next() {
                    None | Some(b'\n') => return Err(self.bad()),
                    Some(byte) => name.push(byte),
                },
                byte => name.push(byte),
            }
        }
        if self.next() == Some(b']') { Ok(()) } else { Err(self.bad()) }
    }

    /// The rest of a variable's name, and its value; says whether it has one.
    fn variable(&mut self, name: &mut Vec<u8>, value: &mut Vec<u8>) -> Result<bool, BadLine> {
        while let Some(byte) = self.peek() {
            if !(byte.is_ascii_alphanumeric() || byte == b'-') {
                break;
            }
            name.push(byte.to_ascii_lowercase());
            self.next();
        }
        loop {
            match self.next() {
                Some(b' ' | b'\t') => {}
                None | Some(b'\n') => return Ok(false),
                Some(b'=') => return self.value(value).map(|()| true),
                // git takes a comment here for an error, too.
                Some(_) => return Err(self.bad()),
            }
        }
    }

    fn value(&mut self, value: &mut Vec<u8>) -> Result<(), BadLine> {
        value.clear();
        let mut quoted = false;
        // White space counts only between other bytes: the last of it goes again.
        let mut end = 0;
        loop {
            let byte = match self.next() {
                None | Some(b'\n') if quoted => return Err(self.bad()),
                None | Some(b'\n') => break,
                Some(byte) => byte,
            };
            match byte {
                byte if is_space(byte) && !quoted => {
                    if !value.is_empty() {
                        value.push(byte);
                    }
                    continue;
                }
                b'#' | b';' if !quoted => {
                    self.skip_line();
                    break;
                }
                b'"' => quoted = !quoted,
                b'\\' => match self.next() {
                    // The end of the file is the end of a line, escaped or not.
                    None | Some(b'\n') => {}
                    Some(b't') => value.push(b'\t'),
                    Some(b'b') => value.push(8),
                    Some(b'n') => value.push(b'\n'),
                    Some(byte @ (b'\\' | b'"')) => value.push(byte),
                    _ => return Err(self.bad()),
                },
                byte => value.push(byte),
            }
            end = value.len();
        }
        value.truncate(end);
        Ok(())
    }
}

#[cfg(all(test, feature = "bare-repository"))]
mod tests {
    use super::*;

    const FILES: &[&str] = &[
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n",
        "[a]b=c\n[A]B=d ; comment\n[a \"Sub\"]x\n[a.Sub]y = 1 # c\n",
        "# c\n[x]\ty = \"  a # b \" c  \n z = a\\\n  b\\tc\\\"\n q =\n[s \"a\\\"b\\\\c\"] k = v\n",
        "[x]\r\n y = 1\r\n z\r\n",
        "\u{feff}[x]\ny=1",
        "x = 1\n[a]\ny\n",
        "[x]\n  y  =   spaces   between   \n",
        "[x] y = \"\" \n w = a\\\\b\n[x \"\"] e = 1\n",
        "[receive]\n\tdenyDeletes = on\n[extensions]\n\tobjectFormat = sha256\n",
        "[a\r\"b\"]\nx = 1\n[a \r\t\r \"../b\"]\ny = \r1\r2\r\n[ \"a\"]\nz\r\n",
        "[x]\ny = a \\",
        "[a \"b.c\0d\"]\nx = 1\n[a]\ny = 1\0 2\n[a \"\0\"]\nz\n",
    ];

    /// What git lists, and whether it can read all of it.
    fn listed(path: &std::path::Path, text: &[u8]) -> (Vec<u8>, bool) {
        std::fs::write(path, text).unwrap();
        let args = ["config", "--list", "-z", "--file"];
        let output = std::process::Command::new("git").args(args).arg(path).output().unwrap();
        (output.stdout, output.status.success())
    }

    /// The same of ours.
    fn shown(text: &[u8]) -> (Vec<u8>, bool) {
        let mut shown = Vec::new();
        let read = read(text, |variable| {
            if let Some(section) = variable.section {
                shown.extend_from_slice(section);
                shown.push(b'.');
            }
            shown.extend_from_slice(variable.name);
            if let Some(value) = variable.value {
                shown.push(b'\n');
                shown.extend_from_slice(value);
            }
            shown.push(0);
        });
        (shown, read.is_ok())
    }

    #[test]
    fn files_are_read_as_git_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let mut seed = 7_u64;
        let mut below = |n: usize| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize % n
        };
        let (mut read, mut refused) = (0, 0);
        for text in FILES {
            assert_eq!(listed(&path, text.as_bytes()), shown(text.as_bytes()), "{text:?}");
            assert!(shown(text.as_bytes()).1, "{text:?}");
            // The same with a few other bytes in it, or cut off.
            for _ in 0..TIMES {
                let mut text = text.as_bytes().to_vec();
                for _ in 0..=below(3) {
                    let at = below(text.len());
                    let byte = *b"[]\"\\=#; \t\r\n\x0b\x0c\0.-aB1\xef".get(below(20)).unwrap();
                    match below(8) {
                        0 => text.truncate(at + 1),
                        1..4 => text[at] = byte,
                        _ => text.insert(at, byte),
                    }
                }
                let ours = shown(&text);
                assert_eq!(listed(&path, &text), ours, "{}", text.escape_ascii());
                if ours.1 { read += 1 } else { refused += 1 }
            }
        }
        assert!(read > TIMES && refused > TIMES, "{read} read, {refused} refused");
    }

    const TIMES: usize = 30;

    #[test]
    fn what_stands_before_a_bad_line_is_shown() {
        let mut shown = Vec::new();
        let read = read(b"x = 1\n[A \"B\"]\ny\nz = \"2 \" ;\n[A \"B\"] y = 3\n!\nz = 4\n", |variable| {
            let Variable { section, is_first, name, value } = variable;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            shown.push((section.map(text), is_first, text(name), value.map(text)));
        });
        assert_eq!(read, Err(BadLine(6)));
        let a = |is_first, name: &str, value: Option<&str>| {
            (Some("a.B".to_owned()), is_first, name.to_owned(), value.map(str::to_owned))
        };
        let first = (None, true, "x".to_owned(), Some("1".to_owned()));
        assert_eq!(shown, [first, a(true, "y", None), a(false, "z", Some("2 ")), a(true, "y", Some("3"))]);
    }

    #[test]
    fn what_git_refuses_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for text in [
            "1 = 1",
            "[x",
            "[x]\n1y = 2",
            "[x]\ny = \"a\nb\"",
            "[x]\ny = \\q",
            "[x \"a]\ny",
            "[x]\n y z = 1",
            "[]\nx",
            "[x]\x0c",
        ] {
            let path = dir.path().join("config");
            std::fs::write(&path, text).unwrap();
            let refused =
                std::process::Command::new("git").arg("config").arg("--list").arg("--file").arg(&path).output();
            assert!(!refused.unwrap().status.success(), "git reads {text:?}");
            assert!(!shown(text.as_bytes()).1, "{text:?}");
        }
    }
}
