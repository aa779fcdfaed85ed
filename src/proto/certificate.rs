use std::convert::Infallible;
use std::fmt;

use bytes::Bytes;

use crate::proto::{Command, ObjectFormat};

/// A push certificate (gitprotocol-pack, "Push Certificate"): the commands of a push, and a signature over them.
///
/// It is parsed, not believed: whether the signature is good and the nonce is ours is for
/// [`certificate`](crate::certificate) to find out. What git does not insist on is optional here as well.
///
/// ```
/// use receive_pack::proto::{Certificate, ObjectFormat};
///
/// let zero = "0".repeat(40);
/// let text = format!(
///     "certificate version 0.1\npusher Ada <ada@example.org> 1700000000 +0000\nnonce 17-af\n\n\
///      {zero} {} refs/heads/main\n-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n",
///     "1".repeat(40)
/// );
/// let certificate = Certificate::parse(text.into(), ObjectFormat::Sha1).unwrap();
/// assert_eq!(certificate.pusher().unwrap(), "Ada <ada@example.org> 1700000000 +0000");
/// assert_eq!(&certificate.commands()[0].name[..], b"refs/heads/main");
/// assert!(certificate.payload().ends_with(b"refs/heads/main\n"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    raw: Bytes,
    /// Where the blank line behind the headers begins, that is, where the last header has ended.
    headers: usize,
    signature: usize,
    push_options: Vec<Bytes>,
    commands: Vec<Command>,
}

/// What a certificate may have any number of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    PushOption(&'a [u8]),
    Command(&'a Command),
}

/// What the first line of a signature begins with: OpenPGP, X.509, SSH.
const ARMORS: [&[u8]; 4] = [
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SIGNED MESSAGE-----",
    b"-----BEGIN SSH SIGNATURE-----",
];

/// Why a text is no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedCertificate {
    line: Option<Bytes>,
}

impl fmt::Display for MalformedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.line {
            None => f.write_str("malformed push certificate"),
            Some(line) => {
                let shown = line.get(..200).unwrap_or(line).escape_ascii();
                write!(f, "protocol error: expected old/new/ref, got '{shown}'")
            }
        }
    }
}

impl std::error::Error for MalformedCertificate {}

impl Certificate {
    /// Parses the whole text: everything between the pkt-lines `push-cert` and `push-cert-end`.
    ///
    /// # Errors
    ///
    /// If no blank line ends the headers, if there is a NUL in the text, or if a line between the headers and the
    /// signature is no command.
    pub fn parse(raw: Bytes, format: ObjectFormat) -> Result<Self, MalformedCertificate> {
        match Self::parse_counted(raw, format, |_| Ok::<(), Infallible>(())) {
            Ok(parsed) => parsed,
            Err(never) => match never {},
        }
    }

    /// As [`parse`](Self::parse), up to the first part that is one too many for `count`.
    pub(super) fn parse_counted<E>(
        raw: Bytes,
        format: ObjectFormat,
        mut count: impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<Result<Self, MalformedCertificate>, E> {
        let malformed = |line: Option<&[u8]>| MalformedCertificate { line: line.map(Bytes::copy_from_slice) };
        if raw.contains(&0) {
            return Ok(Err(malformed(None)));
        }
        let Some(blank) = raw.windows(2).position(|pair| pair == b"\n\n") else { return Ok(Err(malformed(None))) };
        let headers = blank.saturating_add(1);
        let signature = signature(&raw);
        let mut push_options = Vec::new();
        for option in values(raw.get(..headers).unwrap_or_default(), "push-option") {
            count(Part::PushOption(option))?;
            push_options.push(Bytes::copy_from_slice(option));
        }
        let mut commands = Vec::new();
        for line in lines(raw.get(headers.saturating_add(1)..signature).unwrap_or_default()) {
            let Some(command) = Command::parse(line, format) else { return Ok(Err(malformed(Some(line)))) };
            count(Part::Command(&command))?;
            commands.push(command);
        }
        Ok(Ok(Self { raw, headers, signature, push_options, commands }))
    }

    /// The version of the certificate's form: `0.1` is the only one that there is.
    pub fn version(&self) -> Option<&str> {
        self.header("certificate")?.strip_prefix("version ")
    }

    /// Who pushes, as they call themselves: name, address, and the time of signing.
    pub fn pusher(&self) -> Option<&str> {
        self.header("pusher")
    }

    /// The URL that the pusher means to push to, without a password.
    pub fn pushee(&self) -> Option<&str> {
        self.header("pushee")
    }

    /// The nonce that the pusher was given.
    pub fn nonce(&self) -> Option<&str> {
        self.header("nonce")
    }

    /// The push options that were signed. Those that follow the commands must be the same.
    pub fn push_options(&self) -> &[Bytes] {
        &self.push_options
    }

    /// The commands that were signed: those of the push.
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// What the signature is over: headers and commands.
    pub fn payload(&self) -> &[u8] {
        self.raw.get(..self.signature).unwrap_or(&self.raw)
    }

    /// The signature, armored; empty if there is none.
    pub fn signature(&self) -> &[u8] {
        self.raw.get(self.signature..).unwrap_or_default()
    }

    /// The whole text, as git would keep it as a blob.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The value of the first header of this name, if it is text.
    fn header(&self, name: &'static str) -> Option<&str> {
        let value = values(self.raw.get(..self.headers)?, name).next()?;
        std::str::from_utf8(value).ok()
    }
}

/// Where the signature begins: at the last line that begins an armor, as git looks for it, so that everything before is
/// signed. At the end if there is none.
fn signature(raw: &[u8]) -> usize {
    let (mut at, mut found) = (0_usize, raw.len());
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if ARMORS.iter().any(|armor| line.starts_with(armor)) {
            found = at;
        }
        at = at.saturating_add(line.len());
    }
    found
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

fn values<'a>(headers: &'a [u8], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    lines(headers).filter_map(move |line| line.strip_prefix(name.as_bytes())?.strip_prefix(b" "))
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("pusher", &self.pusher())
            .field("nonce", &self.nonce())
            .field("commands", &self.commands)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Certificate, MalformedCertificate> {
        Certificate::parse(Bytes::copy_from_slice(text.as_bytes()), ObjectFormat::Sha1)
    }

    #[test]
    fn all_parts_are_found() {
        let (old, new) = ("1".repeat(40), "2".repeat(40));
        let headers = "certificate version 0.1\npusher A <a@b> 1 +0000\npushee git://h/r\nnonce 5-ab\n\
                       push-option x y\npush-option \n";
        let payload = format!("{headers}\n{old} {new} refs/heads/a\n{new} {old} refs/heads/b c\n");
        let signature = "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n";
        let certificate = parse(&(payload.clone() + signature)).unwrap();
        assert_eq!(certificate.version(), Some("0.1"));
        assert_eq!(certificate.pusher(), Some("A <a@b> 1 +0000"));
        assert_eq!(certificate.pushee(), Some("git://h/r"));
        assert_eq!(certificate.nonce(), Some("5-ab"));
        assert_eq!(certificate.push_options(), ["x y", ""]);
        let names: Vec<_> = certificate.commands().iter().map(|command| &command.name[..]).collect();
        assert_eq!(names, [&b"refs/heads/a"[..], b"refs/heads/b c"]);
        assert_eq!(certificate.payload(), payload.as_bytes());
        assert_eq!(certificate.signature(), signature.as_bytes());
    }

    #[test]
    fn what_git_would_die_of_is_refused() {
        assert_eq!(parse("certificate version 0.1\n").unwrap_err().to_string(), "malformed push certificate");
        let error = parse("certificate version 0.1\n\nnonsense\n").unwrap_err();
        assert_eq!(error.to_string(), "protocol error: expected old/new/ref, got 'nonsense'");
        assert!(parse("nonce a\0b\n\n").is_err());
        assert!(parse("nonce a\n\n").unwrap().commands().is_empty());
    }

    #[test]
    fn only_what_stands_before_the_last_armor_is_signed_and_nothing_hides_between_two() {
        let armor = "-----BEGIN SSH SIGNATURE-----\n";
        let error = parse(&format!("nonce a\n\n{armor}{armor}")).unwrap_err();
        assert!(error.to_string().contains("BEGIN SSH SIGNATURE"), "{error}");
    }
}
