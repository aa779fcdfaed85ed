use std::iter;

use super::offsets::Offsets;
use crate::proto::{EntryKind, ObjectFormat, ObjectId, ObjectKind};

/// No entry: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// What is known of the entries of a pack, in the order of the pack.
///
/// The columns are what counts in the memory of a push: 30 bytes per entry here (42 with SHA-256) and, until all are
/// resolved, 12 in the [`Tree`], 4 for the deltas that are kept, and 13 for an entry that names its base by its id.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) format: ObjectFormat,
    /// Where each entry begins.
    offsets: Offsets,
    /// The crc of the bytes of each entry.
    pub(super) crcs: Vec<u32>,
    /// The id of each object; of a delta against an id that is not resolved yet, the id of its base.
    pub(super) ids: Vec<u8>,
    /// What each entry is.
    pub(super) kinds: Vec<Kind>,
    /// Where the last entry ends.
    pub(super) end: u64,
}

/// What an entry is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The object is of this kind and its id is known.
    Object(ObjectKind),
    /// A whole object that nobody has looked into yet.
    Unseen(ObjectKind),
    /// A delta against an entry before it; not resolved.
    OfsDelta,
    /// A delta against an id; not resolved.
    RefDelta,
}

impl Kind {
    /// The kind of an entry that has just begun.
    pub(super) fn of(entry: &EntryKind) -> Self {
        match entry {
            EntryKind::OfsDelta { .. } => Self::OfsDelta,
            EntryKind::RefDelta { .. } => Self::RefDelta,
            EntryKind::Commit => Self::Object(ObjectKind::Commit),
            EntryKind::Tree => Self::Object(ObjectKind::Tree),
            EntryKind::Blob => Self::Object(ObjectKind::Blob),
            EntryKind::Tag => Self::Object(ObjectKind::Tag),
        }
    }

    /// The kind of object, once it is known.
    pub(super) fn object(self) -> Option<ObjectKind> {
        match self {
            Self::Object(kind) | Self::Unseen(kind) => Some(kind),
            Self::OfsDelta | Self::RefDelta => None,
        }
    }
}

impl Table {
    pub(super) fn new(format: ObjectFormat) -> Self {
        Self {
            format,
            offsets: Offsets::default(),
            crcs: Vec::new(),
            ids: Vec::new(),
            kinds: Vec::new(),
            end: crate::proto::PackHeader::LEN as u64,
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> u32 {
        self.offsets.len()
    }

    /// Adds the entry that begins at the end.
    pub(super) fn push(&mut self, kind: Kind, id: &ObjectId) {
        self.offsets.push(self.end);
        self.crcs.push(0);
        self.kinds.push(kind);
        self.ids.extend_from_slice(id.as_bytes());
    }

    /// The entry that was added last.
    pub(super) fn last(&self) -> u32 {
        self.len().saturating_sub(1)
    }

    pub(super) fn offset(&self, entry: u32) -> u64 {
        self.offsets.get(entry).unwrap_or(self.end)
    }

    /// Where an entry ends: at the next one, or at the end.
    pub(super) fn end_of(&self, entry: u32) -> u64 {
        self.offset(entry.saturating_add(1))
    }

    /// The entry that begins at `offset`, if one does.
    pub(super) fn entry_at(&self, offset: u64) -> Option<u32> {
        self.offsets.find(offset)
    }

    pub(super) fn kind(&self, entry: u32) -> Option<Kind> {
        self.kinds.get(entry as usize).copied()
    }

    /// The bytes of an entry's id.
    pub(super) fn id_bytes(&self, entry: u32) -> &[u8] {
        id_bytes(&self.ids, self.format, entry)
    }

    pub(super) fn id(&self, entry: u32) -> ObjectId {
        ObjectId::from_bytes(self.id_bytes(entry)).unwrap_or(ObjectId::zero(self.format))
    }
}

/// The bytes of one id in a column of ids.
pub(super) fn id_bytes(ids: &[u8], format: ObjectFormat, entry: u32) -> &[u8] {
    let start = (entry as usize).saturating_mul(format.len());
    ids.get(start..).and_then(|ids| ids.get(..format.len())).unwrap_or_default()
}

/// Puts an id into its place in a column of ids.
pub(super) fn set_id(ids: &mut [u8], entry: u32, id: &ObjectId) {
    let id = id.as_bytes();
    let start = (entry as usize).saturating_mul(id.len());
    if let Some(slot) = ids.get_mut(start..).and_then(|ids| ids.get_mut(..id.len())) {
        slot.copy_from_slice(id);
    }
}

/// Which delta is made from which entry.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    first_child: u32,
    next_sibling: u32,
    weight: u32,
}

impl Tree {
    /// Adds the next entry: `weight` is the work that it is alone.
    pub(super) fn push(&mut self, weight: u32) {
        self.nodes.push(Node { first_child: NONE, next_sibling: NONE, weight });
    }

    /// Makes `child` a child of `parent`.
    pub(super) fn link(&mut self, parent: u32, child: u32) {
        let Some(parent_node) = self.nodes.get_mut(parent as usize) else { return };
        let first_child = std::mem::replace(&mut parent_node.first_child, child);
        if let Some(child_node) = self.nodes.get_mut(child as usize) {
            child_node.next_sibling = first_child;
        }
    }

    /// Puts `entry` before `next` in a list of siblings that have no parent yet.
    pub(super) fn chain(&mut self, entry: u32, next: u32) {
        if let Some(node) = self.nodes.get_mut(entry as usize) {
            node.next_sibling = next;
        }
    }

    /// The first of the deltas that are made from `entry`.
    pub(super) fn first_child(&self, entry: u32) -> u32 {
        self.nodes.get(entry as usize).map_or(NONE, |node| node.first_child)
    }

    /// The next delta with the same base.
    pub(super) fn next_sibling(&self, entry: u32) -> u32 {
        self.nodes.get(entry as usize).map_or(NONE, |node| node.next_sibling)
    }

    /// Says what work `entry` is alone, where that was not known when it was added.
    pub(super) fn set_weight(&mut self, entry: u32, weight: u32) {
        if let Some(node) = self.nodes.get_mut(entry as usize) {
            node.weight = weight;
        }
    }

    /// The work that an entry is; after [`weigh`](Self::weigh), together with all deltas that come of it.
    pub(super) fn weight(&self, entry: u32) -> u32 {
        self.nodes.get(entry as usize).map_or(0, |node| node.weight)
    }

    /// The siblings from `first` on.
    pub(super) fn siblings(&self, first: u32) -> impl Iterator<Item = u32> + '_ {
        let next = |entry: u32| (entry != NONE).then_some(entry);
        iter::successors(next(first), move |&entry| next(self.next_sibling(entry)))
    }

    /// Adds the weight of each entry to that of its parent.
    ///
    /// Deltas come behind their bases, nearly always. What comes of one that does not may be missing above its base: a
    /// weight is for the order of the work, not for its result.
    pub(super) fn weigh(&mut self) {
        for entry in (0..u32::try_from(self.nodes.len()).unwrap_or(NONE)).rev() {
            let below = self.siblings(self.first_child(entry)).map(|child| self.weight(child));
            let below = below.fold(0, u32::saturating_add);
            if let Some(node) = self.nodes.get_mut(entry as usize) {
                node.weight = node.weight.saturating_add(below);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_whole_subtrees() {
        let mut tree = Tree::default();
        for _ in 0..6 {
            tree.push(1);
        }
        for (parent, child) in [(0, 1), (0, 2), (2, 3), (2, 4)] {
            tree.link(parent, child);
        }
        tree.weigh();
        assert_eq!([0, 1, 2, 3, 4, 5].map(|entry| tree.weight(entry)), [5, 1, 3, 1, 1, 1]);
        assert_eq!(tree.siblings(tree.first_child(2)).collect::<Vec<_>>(), [4, 3]);
    }
}
