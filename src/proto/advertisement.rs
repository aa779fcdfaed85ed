use std::collections::HashSet;

use bytes::{Bytes, BytesMut};

use crate::Error;
use crate::proto::pkt_line::{encode_flush, encode_parts};
use crate::proto::{Capabilities, HiddenRefs, ObjectFormat, ObjectId, default_capabilities};

/// What the server says first (gitprotocol-pack, "Reference Discovery"): its refs, and what it can do.
///
/// ```
/// use receive_pack::proto::{Advertisement, ObjectFormat};
///
/// let empty = Advertisement::new(ObjectFormat::Sha1);
/// let mut wire = bytes::BytesMut::new();
/// empty.encode(&mut wire)?;
/// assert!(wire[4..].starts_with(b"0000000000000000000000000000000000000000 capabilities^{}\0report-status "));
/// # Ok::<(), receive_pack::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    format: ObjectFormat,
    capabilities: Capabilities,
    refs: Vec<(Bytes, ObjectId)>,
    haves: Vec<ObjectId>,
    shallow: Vec<ObjectId>,
    version_1: bool,
}

impl Advertisement {
    /// Of an empty repository of this format, with every capability that this crate has.
    pub fn new(format: ObjectFormat) -> Self {
        Self {
            format,
            capabilities: default_capabilities(format),
            refs: Vec::new(),
            haves: Vec::new(),
            shallow: Vec::new(),
            version_1: false,
        }
    }

    /// Sets the refs: full names and ids. They are sorted by name here, bytewise, as clients expect them.
    #[must_use]
    pub fn with_refs(mut self, refs: impl IntoIterator<Item = (Bytes, ObjectId)>) -> Self {
        self.refs = refs.into_iter().collect();
        self.refs.sort();
        self
    }

    /// Sets ids that the repository has although no ref of it has them: those of its alternates.
    #[must_use]
    pub fn with_haves(mut self, haves: impl IntoIterator<Item = ObjectId>) -> Self {
        self.haves = haves.into_iter().collect();
        self.haves.sort();
        self.haves.dedup();
        self
    }

    /// Sets the commits at which the repository's own history is cut off.
    #[must_use]
    pub fn with_shallow(mut self, shallow: impl IntoIterator<Item = ObjectId>) -> Self {
        self.shallow = shallow.into_iter().collect();
        self
    }

    /// Sets the capabilities.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Whether push options are taken (`push-options`). Default no, as with git: a server at which nobody reads them
    /// leaves it to the client to say so to whoever uses `git push --push-option`.
    #[must_use]
    pub fn with_push_options(mut self, take: bool) -> Self {
        self.capabilities = self.capabilities.without("push-options");
        if take {
            self.insert("push-options");
        }
        self
    }

    /// Whether atomic pushes are offered (`atomic`). Default yes; without it `git push --atomic` fails on the client's
    /// side.
    #[must_use]
    pub fn with_atomic(mut self, offer: bool) -> Self {
        self.capabilities = self.capabilities.without("atomic");
        if offer {
            self.insert("atomic");
        }
        self
    }

    /// Offers signed pushes (`push-cert`), and asks for this nonce in their certificates: one of
    /// [`NonceSeed::issue`](crate::certificate::NonceSeed::issue). Characters that are not printable ASCII
    /// become dots.
    #[must_use]
    pub fn with_nonce(mut self, nonce: impl AsRef<[u8]>) -> Self {
        self.capabilities = self.capabilities.without("push-cert");
        self.insert(&format!("push-cert={}", word(nonce.as_ref())));
        self
    }

    /// Tells the client what the server calls this session in its logs (`session-id`), and asks for the
    /// [client's own](crate::push::UpdateRequest::session_id). Characters that are not printable ASCII become dots.
    #[must_use]
    pub fn with_session_id(mut self, id: impl AsRef<[u8]>) -> Self {
        self.capabilities = self.capabilities.without("session-id");
        self.insert(&format!("session-id={}", word(id.as_ref())));
        self
    }

    /// Adds a capability where git has it: before the object format and the agent.
    fn insert(&mut self, word: &str) {
        let is_last = |word: &&[u8]| word.starts_with(b"object-format=") || word.starts_with(b"agent=");
        let mut words: Vec<&[u8]> = self.capabilities.iter().filter(|word| !is_last(word)).collect();
        words.push(word.as_bytes());
        words.extend(self.capabilities.iter().filter(is_last));
        self.capabilities = Capabilities::parse(&words.join(&b' '));
    }

    /// Says `version 1` first, for a client that asked for it (gitprotocol-pack, "Extra Parameters").
    #[must_use]
    pub fn with_version_1(mut self, version_1: bool) -> Self {
        self.version_1 = version_1;
        self
    }

    /// The object format of the repository.
    pub fn format(&self) -> ObjectFormat {
        self.format
    }

    /// The capabilities.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The refs, sorted by name.
    pub fn refs(&self) -> &[(Bytes, ObjectId)] {
        &self.refs
    }

    /// Leaves out the refs that `is_visible` says no to.
    pub fn retain_refs(&mut self, mut is_visible: impl FnMut(&[u8]) -> bool) {
        self.refs.retain(|(name, _)| is_visible(name));
    }

    /// Leaves out the refs that are hidden.
    #[must_use]
    pub fn without_hidden(mut self, hidden: &HiddenRefs) -> Self {
        self.retain_refs(|name| !hidden.hides(name));
        self
    }

    /// Appends the advertisement as pkt-lines, its flush-pkt included.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if a ref's name does not fit a pkt-line.
    pub fn encode(&self, dst: &mut BytesMut) -> Result<(), Error> {
        if self.version_1 {
            encode_parts(&[b"version 1\n"], dst)?;
        }
        // A client that reads capabilities takes them from the first line; a `.have` may be the first, too.
        let have = Bytes::from_static(b".have");
        let listed: HashSet<&ObjectId> = self.refs.iter().map(|(_, id)| id).collect();
        let haves = self.haves.iter().filter(|id| !listed.contains(id)).map(|id| (&have, id));
        let mut capabilities = Some(&self.capabilities);
        for (name, id) in self.refs.iter().map(|(name, id)| (name, id)).chain(haves) {
            self.encode_ref(id, name, capabilities.take(), dst)?;
        }
        if let Some(capabilities) = capabilities.take() {
            self.encode_ref(&ObjectId::zero(self.format), b"capabilities^{}", Some(capabilities), dst)?;
        }
        for id in &self.shallow {
            encode_parts(&[b"shallow ", id.to_string().as_bytes(), b"\n"], dst)?;
        }
        encode_flush(dst);
        Ok(())
    }

    fn encode_ref(
        &self,
        id: &ObjectId,
        name: &[u8],
        capabilities: Option<&Capabilities>,
        dst: &mut BytesMut,
    ) -> Result<(), Error> {
        let id = id.to_string();
        match capabilities {
            None => encode_parts(&[id.as_bytes(), b" ", name, b"\n"], dst),
            Some(list) => encode_parts(&[id.as_bytes(), b" ", name, b"\0", list.as_bytes(), b"\n"], dst),
        }
    }
}

/// A value of one word, as git makes one of any text.
fn word(text: &[u8]) -> String {
    text.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_adds_stands_where_git_has_it() {
        let advertisement = Advertisement::new(ObjectFormat::Sha1)
            .with_capabilities(Capabilities::parse(b"quiet atomic ofs-delta object-format=sha1 agent=x"))
            .with_nonce("1-a b")
            .with_push_options(true)
            .with_session_id("s")
            .with_atomic(false);
        let expected = b"quiet ofs-delta push-cert=1-a.b push-options session-id=s object-format=sha1 agent=x";
        assert_eq!(advertisement.capabilities().as_bytes(), expected);
        let without = advertisement.with_push_options(false).with_session_id("t");
        let expected = b"quiet ofs-delta push-cert=1-a.b session-id=t object-format=sha1 agent=x";
        assert_eq!(without.capabilities().as_bytes(), expected);
    }

    #[test]
    fn refs_are_sorted_and_each_have_is_said_once_and_last() {
        let id = |byte| ObjectId::from_bytes(&[byte; 20]).unwrap();
        let name = Bytes::from_static;
        let advertisement = Advertisement::new(ObjectFormat::Sha1)
            .with_capabilities(Capabilities::parse(b"report-status"))
            .with_refs([(name(b"refs/tags/v1"), id(2)), (name(b"refs/heads/main"), id(1))])
            .with_haves([id(3), id(1), id(3)])
            .with_shallow([id(4)]);
        let mut wire = BytesMut::new();
        advertisement.encode(&mut wire).unwrap();
        let expected = [
            format!("004b{} refs/heads/main\0report-status\n", "01".repeat(20)),
            format!("003a{} refs/tags/v1\n", "02".repeat(20)),
            format!("0033{} .have\n", "03".repeat(20)),
            format!("0035shallow {}\n0000", "04".repeat(20)),
        ];
        assert_eq!(std::str::from_utf8(&wire).unwrap(), expected.concat());
    }
}
