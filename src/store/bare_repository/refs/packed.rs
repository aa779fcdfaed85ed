use std::collections::BTreeMap;
use std::ops::Range;

use crate::Error;
use crate::ErrorKind;
use crate::proto::{ObjectFormat, ObjectId};

/// The text of a `packed-refs` file and where its records stand in it.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    text: Vec<u8>,
    // Sorted by name, whatever the file's order was.
    records: Vec<Record>,
    traits: Traits,
}

/// One line of `packed-refs`, with the line of its peeled value.
#[derive(Debug)]
pub(crate) struct Record {
    name: Range<usize>,
    /// What the ref names.
    pub(crate) id: ObjectId,
    /// What that peels to, if it is an annotated tag and the file says so.
    pub(crate) peeled: Option<ObjectId>,
}

/// What the header line promises.
#[derive(Clone, Copy, Debug)]
struct Traits {
    peeled: bool,
    fully_peeled: bool,
}

/// A file that does not exist yet promises everything, for it will be ours.
impl Default for Traits {
    fn default() -> Self {
        Self { peeled: true, fully_peeled: true }
    }
}

/// What becomes of the names in a rewritten file: a new value with what it peels to, or nothing.
pub(crate) type Changes = BTreeMap<Vec<u8>, Option<(ObjectId, Option<ObjectId>)>>;

impl Packed {
    /// Reads the text of a `packed-refs` file.
    pub(crate) fn parse(format: ObjectFormat, text: Vec<u8>) -> Result<Self, Error> {
        let mut traits = Traits { peeled: false, fully_peeled: false };
        let mut records: Vec<Record> = Vec::new();
        let mut at = 0_usize;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let begin = at;
            at = at.saturating_add(line.len());
            let line = line.strip_suffix(b"\n").ok_or_else(|| bad("unterminated line in packed-refs", line))?;
            if let Some(header) = line.strip_prefix(b"# pack-refs with:").filter(|_| begin == 0) {
                let mut words = header.split(|byte| *byte == b' ');
                traits.peeled = words.clone().any(|word| word == b"peeled");
                traits.fully_peeled = words.any(|word| word == b"fully-peeled");
            } else if let Some(hex) = line.strip_prefix(b"^") {
                let record = records.last_mut().filter(|record| record.peeled.is_none());
                let record = record.ok_or_else(|| bad("unexpected line in packed-refs", line))?;
                let peeled = ObjectId::from_hex(format, hex);
                record.peeled = Some(peeled.ok_or_else(|| bad("unexpected line in packed-refs", line))?);
            } else {
                let (hex, name) = line.split_at_checked(format.hex_len()).unwrap_or_default();
                let id = ObjectId::from_hex(format, hex).filter(|_| name.len() > 1 && name.starts_with(b" "));
                let id = id.ok_or_else(|| bad("unexpected line in packed-refs", line))?;
                let name = begin.saturating_add(hex.len()).saturating_add(1)..begin.saturating_add(line.len());
                records.push(Record { name, id, peeled: None });
            }
        }
        let name = |record: &Record| text.get(record.name.clone()).unwrap_or_default();
        if !records.is_sorted_by(|a, b| name(a) < name(b)) {
            records.sort_by(|a, b| name(a).cmp(name(b)));
            records.dedup_by(|a, b| name(a) == name(b));
        }
        Ok(Self { text, records, traits })
    }

    /// The name that a record gives a value to.
    pub(crate) fn name(&self, record: &Record) -> &[u8] {
        self.text.get(record.name.clone()).unwrap_or_default()
    }

    /// The record of a name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Record> {
        let at = self.records.binary_search_by(|record| self.name(record).cmp(name)).ok()?;
        self.records.get(at)
    }

    /// The records whose names begin with `prefix`, by name.
    pub(crate) fn with_prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = &'a Record> {
        let first = self.records.partition_point(|record| self.name(record) < prefix);
        let rest = self.records.get(first..).unwrap_or_default();
        rest.iter().take_while(move |record| self.name(record).starts_with(prefix))
    }

    /// The text of the file after the changes: git's header, the records by name, their peeled lines.
    pub(crate) fn rewrite(&self, changes: &Changes) -> Vec<u8> {
        let mut text = b"# pack-refs with:".to_vec();
        // What the old file did not promise cannot be promised of the records that are taken over from it.
        for (word, promised) in
            [(" peeled", self.traits.peeled), (" fully-peeled", self.traits.fully_peeled), (" sorted \n", true)]
        {
            if promised {
                text.extend_from_slice(word.as_bytes());
            }
        }
        let mut changes = changes.iter().peekable();
        let mut put = |name: &[u8], id: &ObjectId, peeled: Option<&ObjectId>| {
            text.extend_from_slice(format!("{id} ").as_bytes());
            text.extend_from_slice(name);
            text.push(b'\n');
            if let Some(peeled) = peeled {
                text.extend_from_slice(format!("^{peeled}\n").as_bytes());
            }
        };
        for record in &self.records {
            let name = self.name(record);
            let mut replaced = false;
            while let Some((changed, value)) = changes.next_if(|(changed, _)| changed.as_slice() <= name) {
                replaced |= changed == name;
                if let Some((id, peeled)) = value {
                    put(changed, id, peeled.as_ref());
                }
            }
            if !replaced {
                put(name, &record.id, record.peeled.as_ref());
            }
        }
        for (name, value) in changes {
            if let Some((id, peeled)) = value {
                put(name, id, peeled.as_ref());
            }
        }
        text
    }
}

fn bad(what: &'static str, line: &[u8]) -> Error {
    let line = line.get(..line.len().min(200)).unwrap_or_default();
    Error::new(ErrorKind::Store, format!("{what}: {}", String::from_utf8_lossy(line)))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::oid;
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn parse(text: &str) -> Result<Packed, Error> {
        Packed::parse(ObjectFormat::Sha1, text.as_bytes().to_vec())
    }

    #[test]
    fn records_are_found_by_name_in_any_order() {
        let packed = parse(&format!("{A} refs/tags/b\n^{B}\n{B} refs/heads/a\n")).unwrap();
        assert_eq!(packed.get(b"refs/tags/b").unwrap().peeled, Some(oid(B)));
        assert_eq!(packed.get(b"refs/heads/a").unwrap().id, oid(B));
        assert!(packed.get(b"refs/heads/b").is_none());
        assert_eq!(packed.with_prefix(b"refs/heads/").count(), 1);
        // The old file promised nothing, so the new one does not either.
        let text = packed.rewrite(&Changes::new());
        assert_eq!(
            String::from_utf8(text).unwrap(),
            format!("# pack-refs with: sorted \n{B} refs/heads/a\n{A} refs/tags/b\n^{B}\n")
        );
    }

    #[test]
    fn changes_are_merged_by_name() {
        let header = "# pack-refs with: peeled fully-peeled sorted \n";
        let packed = parse(&format!("{header}{A} refs/b\n{A} refs/d\n^{B}\n{A} refs/f\n")).unwrap();
        let changes = Changes::from([
            (b"refs/a".to_vec(), Some((oid(B), None))),
            (b"refs/b".to_vec(), None),
            (b"refs/c".to_vec(), None),
            (b"refs/d".to_vec(), Some((oid(B), None))),
            (b"refs/e".to_vec(), Some((oid(B), Some(oid(A))))),
            (b"refs/g".to_vec(), Some((oid(B), None))),
        ]);
        let text = String::from_utf8(packed.rewrite(&changes)).unwrap();
        let expected = format!("{header}{B} refs/a\n{B} refs/d\n{B} refs/e\n^{A}\n{A} refs/f\n{B} refs/g\n");
        assert_eq!(text, expected);
    }

    #[test]
    fn damaged_files_are_refused() {
        for text in [
            format!("{A} refs/a"),
            "nonsense\n".to_owned(),
            format!("^{A}\n"),
            format!("{A} refs/a\n^{A}\n^{A}\n"),
            format!("{A}\n"),
            format!("{A} \n"),
            format!("{A}\trefs/a\n"),
            format!("{A} refs/a\n# pack-refs with: sorted \n"),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Store, "{text:?}");
        }
    }
}
