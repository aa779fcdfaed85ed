use super::options::limit_exceeded;
use super::table::{Kind, NONE, Table, Tree, id_bytes};
use crate::Error;
use crate::proto::{ObjectFormat, ObjectId};

/// How many groups may have the same key. Chance does not make two.
const SAME_KEY: usize = 16;

/// The deltas that name their base by its id, in groups of those with the same base.
///
/// A group is claimed by the first object that turns out to have the id: from then on its deltas are that object's
/// children. Which other objects have the id does not matter any more, so that nothing is resolved twice.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// The front of the id of each group's base, sorted. Eight bytes of a hash tell all groups apart that chance makes.
    keys: Vec<u64>,
    /// The first delta of each group; the others are its siblings in the tree.
    heads: Vec<u32>,
}

/// Which groups have been claimed. A claim is the one thing that threads must agree on.
#[derive(Debug, Default)]
pub(super) struct Claims {
    claimed: Vec<bool>,
    open: usize,
}

impl Claims {
    pub(super) fn new(groups: &Groups) -> Self {
        Self { claimed: vec![false; groups.heads.len()], open: groups.heads.len() }
    }
}

impl Groups {
    /// Groups all deltas of `table` that name their base by its id.
    ///
    /// # Errors
    ///
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if more bases than chance would have it begin with the same bytes.
    pub(super) fn new(table: &Table, tree: &mut Tree) -> Result<Self, Error> {
        let mut heads: Vec<u32> = (0..table.len()).filter(|&entry| table.kind(entry) == Some(Kind::RefDelta)).collect();
        heads.sort_unstable_by(|&a, &b| table.id_bytes(a).cmp(table.id_bytes(b)).then(a.cmp(&b)));
        let mut last = NONE;
        heads.retain(|&entry| {
            let same = last != NONE && table.id_bytes(last) == table.id_bytes(entry);
            if same {
                tree.chain(last, entry);
            }
            last = entry;
            !same
        });
        heads.shrink_to_fit();
        let keys: Vec<u64> = heads.iter().map(|&head| key(table.id_bytes(head))).collect();
        // A claim looks at all groups with its key, and anybody may name bases that do not exist: without this a pack of
        // many such names, and many copies of the one object that has their key, would cost hours.
        if let Some(place) = keys.windows(SAME_KEY.saturating_add(1)).position(|run| run.first() == run.last()) {
            let error = limit_exceeded("the number of bases whose ids begin with the same 8 bytes", SAME_KEY as u64);
            return Err(heads.get(place).map_or(error.clone(), |&head| error.with_offset(table.offset(head))));
        }
        Ok(Self { keys, heads })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a group with this base may exist: a question that needs no lock.
    pub(super) fn may_want(&self, id: &ObjectId) -> bool {
        self.keys.binary_search(&key(id.as_bytes())).is_ok()
    }

    /// Claims the group whose base is `id`, if there is one that nobody has claimed: gives its first delta.
    ///
    /// `ids` is the column of ids. That of an unclaimed group's head is still the id of its base.
    pub(super) fn claim(&self, id: &ObjectId, claims: &mut Claims, ids: &[u8], format: ObjectFormat) -> Option<u32> {
        let wanted = key(id.as_bytes());
        let first = self.keys.partition_point(|&key| key < wanted);
        let same_key = self.keys.iter().zip(&self.heads).zip(&mut claims.claimed).skip(first);
        for ((_, &head), claimed) in same_key.take_while(|((key, _), _)| **key == wanted) {
            if !*claimed && id_bytes(ids, format, head) == id.as_bytes() {
                *claimed = true;
                claims.open = claims.open.saturating_sub(1);
                return Some(head);
            }
        }
        None
    }

    /// The first deltas of the groups that nobody has claimed, in the order of the pack.
    pub(super) fn unclaimed(&self, claims: &Claims) -> Vec<u32> {
        let open = self.heads.iter().zip(&claims.claimed).filter(|(_, claimed)| !**claimed);
        let mut heads: Vec<u32> = open.map(|(&head, _)| head).collect();
        heads.sort_unstable();
        heads
    }

    /// Gives the groups whose base is a whole object of the pack to that object.
    pub(super) fn claim_by_whole_objects(&self, claims: &mut Claims, table: &Table, tree: &mut Tree) {
        if self.is_empty() {
            return;
        }
        for entry in (0..table.len()).filter(|&entry| table.kind(entry).is_some_and(|kind| kind.object().is_some())) {
            let id = table.id(entry);
            let mut delta = self.claim(&id, claims, &table.ids, table.format).unwrap_or(NONE);
            while delta != NONE {
                let next = tree.next_sibling(delta);
                tree.link(entry, delta);
                delta = next;
            }
        }
    }
}

/// The first eight bytes of an id.
fn key(id: &[u8]) -> u64 {
    id.first_chunk().map_or(0, |front| u64::from_be_bytes(*front))
}
