/// Where the entries of a pack begin, in their order: four bytes for each.
///
/// An offset has eight, but the entries of a pack come in the order of their offsets, so that the upper four hardly ever
/// change.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    /// The lower half of each offset.
    low: Vec<u32>,
    /// The first entries that begin at 4 GiB or beyond, at 8 GiB, and so on.
    steps: Vec<u32>,
}

impl Offsets {
    /// How many entries there are. There are never more than `u32::MAX`: a pack counts them with 32 bits.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.low.len()).unwrap_or(u32::MAX)
    }

    /// Adds an entry; it begins behind all others, or, where nobody will [`find`](Self::find) it, where the last one does.
    pub(super) fn push(&mut self, offset: u64) {
        let (high, low) = halves(offset);
        while self.steps.len() < high {
            self.steps.push(self.len());
        }
        self.low.push(low);
    }

    /// Where an entry begins.
    #[inline]
    pub(super) fn get(&self, entry: u32) -> Option<u64> {
        let low = *self.low.get(entry as usize)?;
        let high = self.steps.partition_point(|&first| first <= entry);
        Some(((high as u64) << 32) | u64::from(low))
    }

    /// The entry that begins at `offset`, if one does.
    pub(super) fn find(&self, offset: u64) -> Option<u32> {
        let (high, low) = halves(offset);
        let begin = match high.checked_sub(1) {
            Some(step) => *self.steps.get(step)? as usize,
            None => 0,
        };
        let end = self.steps.get(high).map_or(self.low.len(), |&end| end as usize);
        let place = self.low.get(begin..end)?.binary_search(&low).ok()?;
        u32::try_from(begin.saturating_add(place)).ok()
    }
}

/// How often 4 GiB go into an offset, and what remains.
fn halves(offset: u64) -> (usize, u32) {
    (usize::try_from(offset >> 32).unwrap_or(usize::MAX), (offset & u64::from(u32::MAX)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_on_both_sides_of_every_step() {
        const GIB: u64 = 1 << 30;
        let all = [12, 13, 4 * GIB - 1, 4 * GIB, 4 * GIB + 12, 7 * GIB, 21 * GIB, 24 * GIB - 1, 24 * GIB];
        for count in 0..=all.len() {
            let mut offsets = Offsets::default();
            all[..count].iter().for_each(|&offset| offsets.push(offset));
            assert_eq!(offsets.len() as usize, count);
            for (entry, &offset) in (0..).zip(&all) {
                let is_there = (entry as usize) < count;
                assert_eq!(offsets.get(entry), is_there.then_some(offset));
                assert_eq!(offsets.find(offset), is_there.then_some(entry));
            }
            for nowhere in [0, 14, 4 * GIB + 13, 8 * GIB + 12, 12 * GIB, 16 * GIB, 28 * GIB, u64::MAX] {
                assert_eq!(offsets.find(nowhere), None, "{nowhere}");
            }
        }
    }
}
