use super::options::Hashing;
use super::table::Table;
use crate::proto::{ObjectFormat, ObjectId, ObjectKind};
use crate::{Error, ErrorKind};

/// What a pack holds: its entries, in the order of the pack and in the order of their ids.
#[derive(Debug)]
pub(crate) struct Index {
    pub(super) table: Table,
    pub(super) hashing: Hashing,
    /// The entries in the order of their ids.
    pub(super) order: Vec<u32>,
    /// Up to where in `order` the ids go that begin with each byte.
    pub(super) fanout: Vec<u32>,
    /// The same for the first two bytes; of a small pack there is none.
    buckets: Vec<u32>,
    pub(super) external: Vec<ObjectId>,
}

impl Index {
    pub(super) fn new(table: Table, hashing: Hashing, mut external: Vec<ObjectId>) -> Self {
        external.sort_unstable();
        external.dedup();
        let mut index = Self { table, hashing, order: Vec::new(), fanout: Vec::new(), buckets: Vec::new(), external };
        index.sort();
        index
    }

    /// Puts the entries into the order of their ids; those with the same id stay in the order of the pack.
    ///
    /// Ids are hashes, so that a bucket for each first two bytes leaves little to be sorted.
    pub(super) fn sort(&mut self) {
        let table = &self.table;
        if table.len() < FEW {
            self.order = (0..table.len()).collect();
            self.order.sort_unstable_by(|&a, &b| table.id_bytes(a).cmp(table.id_bytes(b)).then(a.cmp(&b)));
            let first = |entry: &u32| table.id_bytes(*entry).first().copied().unwrap_or_default();
            let up_to = |byte: u8| self.order.partition_point(|entry| first(entry) <= byte);
            self.fanout = (0..=u8::MAX).map(|byte| u32::try_from(up_to(byte)).unwrap_or(u32::MAX)).collect();
            return;
        }
        // `places[b]` is where the next id of bucket `b` goes; once all have gone there, it is where the bucket ends.
        let mut places = vec![0_u32; 0x1_0000];
        for entry in 0..table.len() {
            if let Some(count) = places.get_mut(bucket(table.id_bytes(entry))) {
                *count = count.saturating_add(1);
            }
        }
        let mut sum = 0_u32;
        for place in &mut places {
            let count = std::mem::replace(place, sum);
            sum = sum.saturating_add(count);
        }
        self.order = vec![0; table.len() as usize];
        for entry in 0..table.len() {
            let Some(place) = places.get_mut(bucket(table.id_bytes(entry))) else { continue };
            if let Some(slot) = self.order.get_mut(*place as usize) {
                *slot = entry;
            }
            *place = place.saturating_add(1);
        }
        let mut rest = self.order.as_mut_slice();
        let mut start = 0_u32;
        for &end in &places {
            let (same_bucket, after) =
                rest.split_at_mut_checked(end.saturating_sub(start) as usize).unwrap_or_default();
            same_bucket.sort_unstable_by(|&a, &b| table.id_bytes(a).cmp(table.id_bytes(b)).then(a.cmp(&b)));
            (rest, start) = (after, end);
        }
        self.fanout = places.iter().skip(0xff).step_by(0x100).copied().collect();
        self.buckets = places;
    }

    /// How many entries the pack has.
    pub(crate) fn len(&self) -> u32 {
        self.table.len()
    }

    /// The hash of the repository that the pack belongs to.
    pub(crate) fn format(&self) -> ObjectFormat {
        self.table.format
    }

    /// The length of the pack, its trailer included.
    pub(crate) fn pack_len(&self) -> u64 {
        self.table.end.saturating_add(self.table.format.len() as u64)
    }

    /// The objects that deltas of the pack are made from and that the pack itself does not hold: the pack is *thin*
    /// unless there are none.
    pub(crate) fn external_bases(&self) -> &[ObjectId] {
        &self.external
    }

    /// The ids of all objects in their order, each with what it is.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (ObjectId, ObjectKind)> + '_ {
        self.order.iter().filter_map(|&entry| Some((self.table.id(entry), self.table.kind(entry)?.object()?)))
    }

    /// As [`objects`](Self::objects), but one that the pack holds twice is there once.
    pub(crate) fn distinct_objects(&self) -> impl Iterator<Item = (ObjectId, ObjectKind)> + '_ {
        let mut last = None;
        self.objects().filter(move |(id, _)| last.replace(*id) != Some(*id))
    }

    /// What the object with this id is, if the pack holds it.
    pub(crate) fn kind_of(&self, id: &ObjectId) -> Option<ObjectKind> {
        self.table.kind(self.entry_of(id)?)?.object()
    }

    /// An id that the pack holds more than once, if there is one, or would when it is completed.
    pub(crate) fn duplicate(&self) -> Option<ObjectId> {
        let mut last = super::table::NONE;
        let twice = self.order.iter().find(|&&entry| {
            let before = std::mem::replace(&mut last, entry);
            before != super::table::NONE && self.table.id_bytes(before) == self.table.id_bytes(entry)
        });
        let twice = twice.map(|&entry| self.table.id(entry));
        twice.or_else(|| self.external.iter().find(|id| self.entry_of(id).is_some()).copied())
    }

    /// Refuses a pack that holds an object twice: some that read it later would go in circles among objects that are
    /// made of each other's twins.
    pub(crate) fn refuse_duplicates(&self) -> Result<(), Error> {
        match self.duplicate() {
            Some(id) => {
                Err(Error::new(ErrorKind::InvalidPack, format!("the same object {id} appears twice in the pack")))
            }
            None => Ok(()),
        }
    }

    /// The first entry with this id.
    pub(super) fn entry_of(&self, id: &ObjectId) -> Option<u32> {
        let wanted = id.as_bytes();
        let (ends, place) = match self.buckets.is_empty() {
            true => (&self.fanout, usize::from(*wanted.first()?)),
            false => (&self.buckets, bucket(wanted)),
        };
        let end = *ends.get(place)? as usize;
        let start = place.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |&start| start as usize);
        let candidates = self.order.get(start..end)?;
        let place = candidates.partition_point(|&entry| self.table.id_bytes(entry) < wanted);
        candidates.get(place).copied().filter(|&entry| self.table.id_bytes(entry) == wanted)
    }
}

/// Fewer entries than this are sorted sooner than the buckets are laid out.
const FEW: u32 = 1 << 12;

/// The first two bytes of an id.
fn bucket(id: &[u8]) -> usize {
    id.first_chunk().map_or(0, |front| u16::from_be_bytes(*front).into())
}
