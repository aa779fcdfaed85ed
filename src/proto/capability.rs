use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::proto::ObjectFormat;

/// A list of capabilities as it stands on the wire: words, some of them `name=value` (gitprotocol-capabilities).
///
/// Unknown words are kept and ignored, as git does, although gitprotocol-capabilities would have a server refuse them.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Capabilities {
    words: Bytes,
}

impl Capabilities {
    /// No capabilities.
    pub const fn none() -> Self {
        Self { words: Bytes::from_static(b"") }
    }

    /// The list in this text: words separated by white space.
    pub fn parse(text: &[u8]) -> Self {
        let mut words = BytesMut::with_capacity(text.len());
        for word in split(text) {
            if !words.is_empty() {
                words.extend_from_slice(b" ");
            }
            words.extend_from_slice(word);
        }
        Self { words: words.freeze() }
    }

    /// This list and one more word, `name` or `name=value`. White space in it would make two of it.
    #[must_use]
    pub fn with(&self, word: impl AsRef<[u8]>) -> Self {
        Self::parse(&[self.as_bytes(), word.as_ref()].join(&b' '))
    }

    /// This list, and behind it another one.
    pub(crate) fn and(&self, more: &Self) -> Self {
        match (self.is_empty(), more.is_empty()) {
            (true, _) => more.clone(),
            (_, true) => self.clone(),
            _ => Self { words: [self.as_bytes(), more.as_bytes()].join(&b' ').into() },
        }
    }

    /// This list without the words of this name.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut kept = Vec::new();
        for word in self.iter().filter(|word| split_word(word).0 != name.as_bytes()) {
            kept.push(word);
        }
        Self::parse(&kept.join(&b' '))
    }

    /// Whether the word `name`, or one beginning with `name=`, is there.
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|word| split_word(word).0 == name.as_bytes())
    }

    /// The value of the first word of this name; `None` if that has none, whatever a later one says.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.iter().map(split_word).find(|(word, _)| *word == name.as_bytes()).and_then(|(_, value)| value)
    }

    /// The words, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        split(&self.words)
    }

    /// Whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The words, one space between each two.
    pub fn as_bytes(&self) -> &[u8] {
        &self.words
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capabilities({})", self.words.escape_ascii())
    }
}

fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn split_word(word: &[u8]) -> (&[u8], Option<&[u8]>) {
    match word.iter().position(|byte| *byte == b'=') {
        Some(at) => (word.get(..at).unwrap_or(word), word.get(at.saturating_add(1)..)),
        None => (word, None),
    }
}

/// Which kind of report the client reads (gitprotocol-pack, "Report Status").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportVersion {
    /// `report-status`
    V1,
    /// `report-status-v2`: option lines may follow an `ok`.
    V2,
}

/// What both sides have: the advertised capabilities that the client asked for, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Negotiated {
    /// The kind of report that the client reads, `None` if it reads none.
    pub report: Option<ReportVersion>,
    /// Whether replies are multiplexed into bands.
    pub side_band_64k: bool,
    /// Whether the client asked for silence about progress.
    pub quiet: bool,
    /// Whether all refs move or none.
    pub atomic: bool,
    /// Whether push options follow the commands.
    pub push_options: bool,
    /// Whether each side has told the other what it calls this session.
    pub session_id: bool,
    /// The nonce that was given out for a push certificate (`push-cert`). A client answers this capability with the
    /// certificate itself, so it stands here whenever it was advertised.
    pub nonce: Option<Bytes>,
}

impl Negotiated {
    /// The one place where capabilities are negotiated.
    pub fn new(advertised: &Capabilities, requested: &Capabilities) -> Self {
        let both = |name| advertised.contains(name) && requested.contains(name);
        let report = if both("report-status-v2") {
            Some(ReportVersion::V2)
        } else if both("report-status") {
            Some(ReportVersion::V1)
        } else {
            None
        };
        Self {
            report,
            side_band_64k: both("side-band-64k"),
            quiet: both("quiet"),
            atomic: both("atomic"),
            push_options: both("push-options"),
            session_id: both("session-id"),
            nonce: advertised.value("push-cert").map(Bytes::copy_from_slice),
        }
    }

    /// Adds what a later list of the same request brought.
    pub(crate) fn merge(&mut self, more: &Self) {
        if self.report != Some(ReportVersion::V2) {
            self.report = more.report.or(self.report);
        }
        self.side_band_64k |= more.side_band_64k;
        self.quiet |= more.quiet;
        self.atomic |= more.atomic;
        self.push_options |= more.push_options;
        self.session_id |= more.session_id;
        self.nonce = more.nonce.clone().or(self.nonce.take());
    }
}

/// What a server advertises unless it is told otherwise, for a repository of this format: every capability that this
/// crate honours by itself, in git's order.
///
/// Three more need something of the server, and are added by it: push options need somebody who reads them
/// ([`Advertisement::with_push_options`]), signed pushes a nonce ([`Advertisement::with_nonce`]), and a session id a log
/// in which to find it again ([`Advertisement::with_session_id`]). git does not advertise them by default either.
///
/// [`Advertisement::with_push_options`]: crate::proto::Advertisement::with_push_options
/// [`Advertisement::with_nonce`]: crate::proto::Advertisement::with_nonce
/// [`Advertisement::with_session_id`]: crate::proto::Advertisement::with_session_id
pub fn default_capabilities(format: ObjectFormat) -> Capabilities {
    let text = format!(
        "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta object-format={} agent=receive-pack/{}",
        format.name(),
        env!("CARGO_PKG_VERSION")
    );
    Capabilities::parse(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whole_and_values_by_name() {
        let list = Capabilities::parse(b" report-status-v2  agent=git/2.47.3\tobject-format=sha1 ");
        assert!(list.contains("report-status-v2") && !list.contains("report-status"));
        assert_eq!(list.value("agent"), Some(&b"git/2.47.3"[..]));
        assert_eq!(Capabilities::parse(b"agent agent=x").value("agent"), None);
        assert_eq!(list.as_bytes(), b"report-status-v2 agent=git/2.47.3 object-format=sha1");
        assert_eq!(list.without("agent").with("quiet").as_bytes(), b"report-status-v2 object-format=sha1 quiet");
    }

    #[test]
    fn only_what_both_sides_have_is_negotiated() {
        let advertised = Capabilities::parse(b"report-status side-band-64k quiet");
        let requested = Capabilities::parse(b"report-status-v2 report-status side-band-64k atomic");
        let negotiated = Negotiated::new(&advertised, &requested);
        assert_eq!(negotiated.report, Some(ReportVersion::V1));
        assert!(negotiated.side_band_64k && !negotiated.quiet && !negotiated.atomic);
    }
}
