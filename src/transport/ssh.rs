use bytes::{BufMut, Bytes, BytesMut};

/// The command of an SSH exec request (gitprotocol-pack, "SSH Transport"): `git-receive-pack '/path'`, its quotes
/// undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshCommand {
    service: String,
    path: Bytes,
}

impl SshCommand {
    /// Reads a command line: the service (also as `git receive-pack`) and one word, which clients quote as a shell
    /// would want it: `'...'` with `'\''` and `'\!'` inside, `"..."`, or bare. `None` for anything else.
    ///
    /// No shell is ever given the line.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut words = words(line)?.into_iter();
        let mut service = String::from_utf8(words.next()?.to_vec()).ok()?;
        if service == "git" {
            service = format!("git-{}", std::str::from_utf8(&words.next()?).ok()?);
        }
        let path = words.next()?;
        words.next().is_none().then_some(Self { service, path })
    }

    /// The service: `git-receive-pack` for a push.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The path of the repository. Nothing in it is checked: it may contain `..`.
    pub fn path(&self) -> &[u8] {
        &self.path
    }
}

/// The words of a line, as a POSIX shell splits them when there is nothing to expand; `None` if a quote is not closed.
fn words(line: &[u8]) -> Option<Vec<Bytes>> {
    let mut words = Vec::new();
    let mut word: Option<BytesMut> = None;
    let mut rest = line.iter().copied();
    while let Some(byte) = rest.next() {
        if byte.is_ascii_whitespace() {
            words.extend(word.take().map(BytesMut::freeze));
            continue;
        }
        let word = word.get_or_insert_default();
        match byte {
            b'\'' => loop {
                match rest.next()? {
                    b'\'' => break,
                    quoted => word.put_u8(quoted),
                }
            },
            b'"' => loop {
                match rest.next()? {
                    b'"' => break,
                    b'\\' => match rest.next()? {
                        escaped @ (b'"' | b'\\' | b'$' | b'`') => word.put_u8(escaped),
                        other => word.put_slice(&[b'\\', other]),
                    },
                    quoted => word.put_u8(quoted),
                }
            },
            b'\\' => word.put_u8(rest.next()?),
            bare => word.put_u8(bare),
        }
    }
    words.extend(word.map(BytesMut::freeze));
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(line: &str) -> Option<String> {
        let command = SshCommand::parse(line.as_bytes())?;
        assert_eq!(command.service(), "git-receive-pack");
        Some(String::from_utf8(command.path().to_vec()).unwrap())
    }

    #[test]
    fn quotes_are_undone_as_a_shell_would() {
        assert_eq!(path("git-receive-pack '/a b.git'").unwrap(), "/a b.git");
        assert_eq!(path(r"git-receive-pack '/it'\''s'\!'.git'").unwrap(), "/it's!.git");
        assert_eq!(path(r#"git receive-pack "/a\"b\c""#).unwrap(), r#"/a"b\c"#);
        assert_eq!(path("git-receive-pack /bare").unwrap(), "/bare");
        assert_eq!(path("git-receive-pack ''").unwrap(), "");
    }

    #[test]
    fn anything_else_is_refused() {
        for line in
            ["", "git-receive-pack", "git-receive-pack 'open", "git-receive-pack a b", "git", r"git-receive-pack a\"]
        {
            assert_eq!(SshCommand::parse(line.as_bytes()), None, "{line:?}");
        }
    }
}
