use std::fmt::Write as _;

use bytes::Bytes;

use crate::checksum::Hasher;
use crate::proto::{ObjectFormat, ObjectId, is_valid_ref_name};
use crate::store::ref_map::RefMap;
use crate::store::unique::unique_id;
use crate::{Error, ErrorKind};

/// What a repository in an object store is at one moment: its refs and its packs. A push that lands makes a new one.
///
/// It is a text of lines, in this order; its name is the hash of it.
///
/// ```text
/// receive-pack manifest 1
/// object-format sha1
/// repository <letters and digits>                     the same in all of a repository, and in no other
/// parent <id of the manifest before>                  none in the first
/// push <letters and digits that are different each time>
/// prunes <number>                                     how often packs have been removed
/// pack <name> <bytes> <bytes of its index> <objects>  the oldest first
/// ref <id> <name>                                     sorted by name
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    format: ObjectFormat,
    /// Of two repositories that were at the same path, one after the other, each has its own.
    pub(super) repository: String,
    pub(super) parent: Option<ObjectId>,
    push: String,
    /// A pack that was uploaded when it was another number may be gone.
    pub(super) prunes: u64,
    pub(super) packs: Vec<ManifestPack>,
    pub(super) refs: RefMap,
}

/// A pack that a [`Manifest`] names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestPack {
    /// `pack-<id>`.
    pub(super) name: String,
    pub(super) len: u64,
    pub(super) idx_len: u64,
    pub(super) objects: u32,
}

const TITLE: &str = "receive-pack manifest 1";

impl Manifest {
    /// That of a new repository.
    pub(super) fn new(format: ObjectFormat) -> Self {
        Self { repository: unique_id(), push: unique_id(), ..Self::empty(format) }
    }

    /// One that comes after this, and is the same as yet.
    pub(super) fn next(&self, id: ObjectId) -> Self {
        Self { parent: Some(id), push: unique_id(), ..self.clone() }
    }

    /// The object format of the repository.
    pub fn object_format(&self) -> ObjectFormat {
        self.format
    }

    /// The refs: full names and ids, sorted by name.
    pub fn refs(&self) -> impl ExactSizeIterator<Item = (&Bytes, &ObjectId)> {
        self.refs.iter()
    }

    /// The packs, the oldest first. All objects of the repository are in them; one may be in several.
    pub fn packs(&self) -> &[ManifestPack] {
        &self.packs
    }

    /// Its text, and its name.
    ///
    /// # Errors
    ///
    /// If it would not be read again: a store may be given names that no client could send.
    pub(super) fn encode(&self) -> Result<(ObjectId, Vec<u8>), Error> {
        let mut text = format!("{TITLE}\nobject-format {}\nrepository {}\n", self.format.name(), self.repository);
        // A string takes all that is written.
        if let Some(parent) = self.parent {
            let _ = writeln!(text, "parent {parent}");
        }
        let _ = writeln!(text, "push {}\nprunes {}", self.push, self.prunes);
        for ManifestPack { name, len, idx_len, objects } in &self.packs {
            let _ = writeln!(text, "pack {name} {len} {idx_len} {objects}");
        }
        let mut text = text.into_bytes();
        for (name, id) in &self.refs {
            if !is_valid_ref_name(name) {
                let text = format!("a ref cannot have the name '{}'", name.escape_ascii());
                return Err(Error::new(ErrorKind::Store, text));
            }
            text.extend_from_slice(format!("ref {id} ").as_bytes());
            text.extend_from_slice(name);
            text.push(b'\n');
        }
        let mut hasher = Hasher::new(self.format);
        hasher.update(&text);
        let id = hasher.finish().map_err(|error| Error::store("the name of a manifest", error))?;
        Ok((id, text))
    }

    /// Reads the manifest of this name.
    pub(super) fn decode(id: &ObjectId, text: &[u8]) -> Result<Self, Error> {
        let mut hasher = Hasher::new(id.format());
        hasher.update(text);
        if !hasher.finish().is_ok_and(|hash| hash == *id) {
            return Err(Error::new(ErrorKind::Store, format!("the manifest {id} is damaged")));
        }
        let mut lines = text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n').zip(1..);
        let mut manifest = None;
        if lines.next().is_none_or(|(line, _)| line != TITLE.as_bytes()) {
            return Err(Error::new(ErrorKind::Store, format!("{id} is no manifest that this version can read")));
        }
        for (line, number) in lines {
            let read = match &mut manifest {
                None => object_format(line).map(|format| manifest = Some(Self::empty(format))),
                Some(manifest) => manifest.take(line),
            };
            read.ok_or_else(|| Error::new(ErrorKind::Store, format!("line {number} of the manifest {id}")))?;
        }
        manifest
            .filter(|manifest| {
                manifest.format == id.format() && !manifest.repository.is_empty() && !manifest.push.is_empty()
            })
            .ok_or_else(|| Error::new(ErrorKind::Store, format!("the manifest {id} is not complete")))
    }

    fn empty(format: ObjectFormat) -> Self {
        Self {
            format,
            repository: String::new(),
            parent: None,
            push: String::new(),
            prunes: 0,
            packs: Vec::new(),
            refs: RefMap::new(),
        }
    }

    /// Takes a line in; `None` if it is none that may stand there.
    fn take(&mut self, line: &[u8]) -> Option<()> {
        let (word, rest) = line.split_at_checked(line.iter().position(|byte| *byte == b' ')?)?;
        let rest = rest.strip_prefix(b" ")?;
        match word {
            b"repository" if self.push.is_empty() => self.repository = str::from_utf8(rest).ok()?.to_owned(),
            b"parent" if self.push.is_empty() => self.parent = Some(ObjectId::from_hex(self.format, rest)?),
            b"push" if self.push.is_empty() => self.push = str::from_utf8(rest).ok()?.to_owned(),
            b"prunes" if self.packs.is_empty() => self.prunes = str::from_utf8(rest).ok()?.parse().ok()?,
            b"pack" if self.refs.is_empty() => self.packs.push(ManifestPack::decode(str::from_utf8(rest).ok()?)?),
            b"ref" => {
                let (id, name) = rest.split_at_checked(self.format.hex_len())?;
                let (id, name) = (ObjectId::from_hex(self.format, id)?, name.strip_prefix(b" ")?);
                if !is_valid_ref_name(name) {
                    return None;
                }
                self.refs.insert(Bytes::copy_from_slice(name), id);
            }
            _ => return None,
        }
        Some(())
    }
}

fn object_format(line: &[u8]) -> Option<ObjectFormat> {
    ObjectFormat::from_name(line.strip_prefix(b"object-format ")?)
}

impl ManifestPack {
    /// `pack-<id>`: the pack is at `<path of the repository>/packs/<name>.pack`, and beside it are `.idx` and `.rev`, as git
    /// writes them. It has all bases of its deltas, so that git reads it by itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long the pack is, in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no pack is empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// How many objects it holds.
    pub fn objects(&self) -> u32 {
        self.objects
    }

    fn decode(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut next = || words.next();
        let pack = Self {
            name: next().filter(|name| name.starts_with("pack-") && !name.contains('/'))?.to_owned(),
            len: next()?.parse().ok()?,
            idx_len: next()?.parse().ok()?,
            objects: next()?.parse().ok()?,
        };
        next().is_none().then_some(pack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: u8) -> ObjectId {
        ObjectId::from_hex(ObjectFormat::Sha1, &[digit; 40]).unwrap()
    }

    fn manifest() -> Manifest {
        let mut manifest = Manifest::new(ObjectFormat::Sha1).next(id(b'1'));
        for objects in [1, 2] {
            let name = format!("pack-{}", id(b'a'));
            manifest.packs.push(ManifestPack { name, len: 1 << 40, idx_len: 1100, objects });
        }
        manifest.prunes = 7;
        manifest.refs.insert(Bytes::from_static(b"refs/heads/main"), id(b'2'));
        manifest.refs.insert(Bytes::from_static(b"refs/heads/\xff"), id(b'3'));
        manifest
    }

    #[test]
    fn what_is_written_is_read() {
        for manifest in [manifest(), Manifest::new(ObjectFormat::Sha1)] {
            let (id, text) = manifest.encode().unwrap();
            assert_eq!(Manifest::decode(&id, &text).unwrap(), manifest);
        }
        let (one, other) = (manifest().encode().unwrap().0, manifest().encode().unwrap().0);
        assert_ne!(one, other, "two pushes that do the same have manifests of their own");
    }

    #[test]
    fn a_damaged_manifest_is_an_error() {
        let (id, text) = manifest().encode().unwrap();
        for at in 0..text.len() {
            let mut damaged = text.clone();
            damaged[at] ^= 1;
            assert!(Manifest::decode(&id, &damaged).is_err(), "{at}");
            assert!(Manifest::decode(&id, &text[..at]).is_err(), "{at}");
        }
    }

    /// Of the right name, and made by nobody: an error, and no panic.
    #[test]
    fn lines_that_do_not_belong_there_are_named() {
        let (_, text) = manifest().encode().unwrap();
        let text = String::from_utf8_lossy(&text).replace('\u{fffd}', "x");
        let lines: Vec<&str> = text.lines().collect();
        let decode = |lines: &[&str]| {
            let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let mut hasher = Hasher::new(ObjectFormat::Sha1);
            hasher.update(text.as_bytes());
            Manifest::decode(&hasher.finish().unwrap(), text.as_bytes())
        };
        assert_eq!(decode(&lines).unwrap().refs().len(), 2);
        for (number, bad) in [
            (2, "object-format md5"),
            (3, "repository"),
            (4, "parent 1"),
            (5, "push"),
            (6, "prunes -1"),
            (7, "pack pack-1 1 1"),
            (7, "pack pack-1/.. 1 1 1"),
            (7, "pack pack-1 1 1 4294967296"),
            (7, "pack pack-1 1 1 1 more"),
            (9, "ref 1 refs/heads/main"),
            (9, "ref 2222222222222222222222222222222222222222 refs/heads/a..b"),
            (10, "pack pack-1 1 1 1"),
            (10, ""),
        ] {
            let mut changed = lines.clone();
            changed[number - 1] = bad;
            let error = decode(&changed).unwrap_err().to_string();
            assert!(error.starts_with(&format!("line {number} of the manifest ")), "{bad:?}: {error}");
        }
        assert!(decode(&lines[..2]).unwrap_err().to_string().ends_with("is not complete"));
        assert!(decode(&["receive-pack manifest 2"]).is_err());
        let mut manifest = manifest();
        manifest.refs.insert(Bytes::from_static(b"refs/heads/a\nref"), id(b'2'));
        assert!(manifest.encode().is_err());
    }
}
