//! An index from key tags to entry numbers: open addressing over 8-byte slots, each with 32 bits of the tag and the
//! number. Several entries may have one tag; the caller compares further.

use crate::snapshot::digest::Tag;

/// From tags to the numbers of entries.
#[derive(Default)]
pub(crate) struct TagIndex {
    /// 0, or the tag's upper 32 bits above the entry's number plus one.
    slots: Vec<u64>,
    len: usize,
}

const LEAST_SLOTS: usize = 64;

impl TagIndex {
    /// Forgets all entries and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.slots.fill(0);
        self.len = 0;
    }

    /// Adds an entry. Its number is below `u32::MAX`.
    pub(crate) fn insert(&mut self, tag: Tag, entry: u32) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.resize(self.slots.len() * 2);
        }
        self.place(u64::from(check(tag)) << 32 | (u64::from(entry) + 1));
        self.len += 1;
    }

    /// How many entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes all entries out, as slots in rising order, and keeps the room.
    pub(crate) fn take_sorted(&mut self) -> Vec<u64> {
        let mut slots: Vec<u64> = self.slots.iter().copied().filter(|slot| *slot != 0).collect();
        slots.sort_unstable();
        self.clear();
        slots
    }

    /// The least and the greatest slot of a tag.
    pub(crate) fn slots_of(tag: Tag) -> (u64, u64) {
        let least = u64::from(check(tag)) << 32;
        (least, least | u64::from(u32::MAX))
    }

    /// The entry of a slot.
    pub(crate) fn entry_of(slot: u64) -> u32 {
        (slot as u32).wrapping_sub(1)
    }

    /// The entries that may have this tag.
    pub(crate) fn candidates(&self, tag: Tag) -> impl Iterator<Item = u32> + '_ {
        let check = check(tag);
        let mut at = if self.slots.is_empty() { 0 } else { self.home(check) };
        std::iter::from_fn(move || {
            loop {
                let slot = *self.slots.get(at)?;
                if slot == 0 {
                    return None;
                }
                at = (at + 1) & (self.slots.len() - 1);
                if (slot >> 32) as u32 == check {
                    return Some(Self::entry_of(slot));
                }
            }
        })
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![0; slots.max(LEAST_SLOTS)]);
        old.into_iter().filter(|slot| *slot != 0).for_each(|slot| self.place(slot));
    }

    fn place(&mut self, slot: u64) {
        let mut at = self.home((slot >> 32) as u32);
        while self.slots[at] != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = slot;
    }

    /// Where the search begins. Tags are keyed hashes already, so their own bits spread well.
    fn home(&self, check: u32) -> usize {
        ((u64::from(check) * self.slots.len() as u64) >> 32) as usize
    }
}

fn check(tag: Tag) -> u32 {
    (tag >> 8) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_entry_is_among_the_candidates_of_its_tag(tags in prop::collection::vec(0u64..1 << 40, 0..500)) {
            let mut index = TagIndex::default();
            for (entry, tag) in tags.iter().enumerate() {
                index.insert(*tag, entry as u32);
                index.insert(*tag, entry as u32 + 1000);
            }
            for (entry, tag) in tags.iter().enumerate() {
                let found: Vec<u32> = index.candidates(*tag).collect();
                prop_assert!(found.contains(&(entry as u32)) && found.contains(&(entry as u32 + 1000)));
            }
            prop_assert!(TagIndex::default().candidates(7).next().is_none());
        }
    }
}
