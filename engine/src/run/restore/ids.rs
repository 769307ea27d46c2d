//! The id map of a restore: which key in the product stands for which key in the snapshot, and how far the restore is with
//! each record. Maps of earlier restores from the same source into the same one count too, so that a record that was made once
//! is found, and not made a second time. It is made from the logs at each attempt and lies in a scratch file: memory does not
//! grow with the number of records.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use super::outcome::{Outcome, RecordOutcome};
use crate::{
    error::Result,
    snapshot::{RecordKey, SpillMap},
};

/// What is known of a key of the snapshot.
#[derive(Default)]
struct Known {
    /// Its key in the product.
    new: Option<RecordKey>,
    /// That key was known before this restore.
    is_earlier: bool,
    is_done: bool,
    is_made: bool,
    is_linked: bool,
}

/// A key of the product that stands for one of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewKey {
    /// The key in the product.
    pub(super) key: RecordKey,
    /// It was known before this restore began, and so is in each of its attempts.
    pub(super) is_earlier: bool,
}

struct Maps {
    /// What is known, by stream and key in the snapshot; and which keys in the product stand for one.
    keys: SpillMap,
    /// Streams of which records are made again.
    made: BTreeSet<String>,
    has_links: bool,
}

/// New keys, and which records are done.
pub(super) struct IdMap(Mutex<Maps>);

/// The two maps in one: of keys in the snapshot, of keys in the product.
const OF_SNAPSHOT: u8 = 0;
const OF_PRODUCT: u8 = 1;

impl IdMap {
    /// An empty one.
    pub(super) fn new(keys: SpillMap) -> Self {
        Self(Mutex::new(Maps { keys, made: BTreeSet::new(), has_links: false }))
    }

    /// Notes an outcome of this restore.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file is full.
    pub(super) fn note(&self, outcome: &RecordOutcome) -> Result<()> {
        let maps = &mut *self.lock();
        let (stream, key) = (&*outcome.stream, &outcome.key);
        let mut known = maps.known(stream, key)?;
        if outcome.new_key.is_some() && outcome.new_key != known.new {
            known.new.clone_from(&outcome.new_key);
            known.is_earlier = false;
        }
        match outcome.outcome {
            // It is tried again when the restore goes on.
            Outcome::Failed => {}
            Outcome::Linked => known.is_linked = true,
            Outcome::Create | Outcome::Created => {
                (known.is_done, known.is_made) = (true, true);
                if !maps.made.contains(stream) {
                    maps.made.insert(stream.to_owned());
                }
            }
            _ => known.is_done = true,
        }
        maps.has_links |= outcome.has_open_links();
        maps.keep(stream, key, &known)
    }

    /// Notes an outcome of an earlier restore.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file is full.
    pub(super) fn note_earlier(&self, outcome: RecordOutcome) -> Result<()> {
        let Some(new) = outcome.new_key else { return Ok(()) };
        let known = Known { new: Some(new), is_earlier: true, ..Known::default() };
        self.lock().keep(&outcome.stream, &outcome.key, &known)
    }

    /// The key in the product for a key of the snapshot, where one was noted.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(super) fn new_key(&self, stream: &str, key: &RecordKey) -> Result<Option<NewKey>> {
        let known = self.lock().known(stream, key)?;
        Ok(known.new.map(|key| NewKey { key, is_earlier: known.is_earlier }))
    }

    /// True when a key in the product stands for some key of the snapshot.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(super) fn is_taken(&self, stream: &str, new: &RecordKey) -> Result<bool> {
        Ok(self.lock().keys.get(&place(OF_PRODUCT, stream, new))?.is_some())
    }

    /// True when this restore is done with the record.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(super) fn is_done(&self, stream: &str, key: &RecordKey) -> Result<bool> {
        Ok(self.lock().known(stream, key)?.is_done)
    }

    /// True when this restore makes the record again.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(super) fn is_made(&self, stream: &str, key: &RecordKey) -> Result<bool> {
        Ok(self.lock().known(stream, key)?.is_made)
    }

    /// True when the references of the record that were left open are set.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(super) fn is_linked(&self, stream: &str, key: &RecordKey) -> Result<bool> {
        Ok(self.lock().known(stream, key)?.is_linked)
    }

    /// True when records of the stream are made again.
    pub(super) fn makes(&self, stream: &str) -> bool {
        self.lock().made.contains(stream)
    }

    /// True when references of some record were left open.
    pub(super) fn has_links(&self) -> bool {
        self.lock().has_links
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Maps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maps {
    fn known(&mut self, stream: &str, key: &RecordKey) -> Result<Known> {
        let row = self.keys.get(&place(OF_SNAPSHOT, stream, key))?;
        Ok(row.map(|row| Known::of(&row)).unwrap_or_default())
    }

    fn keep(&mut self, stream: &str, key: &RecordKey, known: &Known) -> Result<()> {
        self.keys.insert(&place(OF_SNAPSHOT, stream, key), &known.row())?;
        match &known.new {
            Some(new) => self.keys.insert(&place(OF_PRODUCT, stream, new), &[]),
            None => Ok(()),
        }
    }
}

impl Known {
    /// One byte of flags, then the key.
    fn row(&self) -> Vec<u8> {
        let flags = [self.new.is_some(), self.is_earlier, self.is_done, self.is_made, self.is_linked];
        let bits = flags.iter().enumerate().fold(0, |bits, (at, flag)| bits | u8::from(*flag) << at);
        let key = self.new.as_ref().map_or(&[][..], RecordKey::as_bytes);
        [&[bits], key].concat()
    }

    fn of(row: &[u8]) -> Self {
        let Some((bits, key)) = row.split_first() else { return Self::default() };
        let [has_new, is_earlier, is_done, is_made, is_linked] = [0, 1, 2, 3, 4].map(|at| bits >> at & 1 == 1);
        let new = has_new.then(|| RecordKey::trusted(key));
        Self { new, is_earlier, is_done, is_made, is_linked }
    }
}

fn place(kind: u8, stream: &str, key: &RecordKey) -> Vec<u8> {
    [&[kind], &(stream.len() as u32).to_le_bytes()[..], stream.as_bytes(), key.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Random;

    struct NotRandom;

    impl Random for NotRandom {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn key(text: &str) -> RecordKey {
        RecordKey::from_json([text.as_bytes()]).unwrap()
    }

    fn outcome(id: &str, outcome: Outcome, new: Option<&str>) -> RecordOutcome {
        RecordOutcome { new_key: new.map(key), ..RecordOutcome::new("contacts", &key(id), outcome) }
    }

    #[test]
    fn a_key_of_an_earlier_restore_holds_until_this_one_gives_another() {
        let ids = IdMap::new(SpillMap::new(None, &NotRandom).unwrap());
        ids.note_earlier(outcome("1", Outcome::Created, Some("101"))).unwrap();
        let new = |is_earlier, text: &str| Some(NewKey { key: key(text), is_earlier });
        assert_eq!(ids.new_key("contacts", &key("1")).unwrap(), new(true, "101"));
        assert!(!ids.is_done("contacts", &key("1")).unwrap());
        ids.note(&outcome("1", Outcome::Skipped, Some("101"))).unwrap();
        assert_eq!(ids.new_key("contacts", &key("1")).unwrap(), new(true, "101"));
        ids.note(&outcome("1", Outcome::Created, Some("201"))).unwrap();
        assert_eq!(ids.new_key("contacts", &key("1")).unwrap(), new(false, "201"));
        assert!(ids.is_done("contacts", &key("1")).unwrap() && ids.is_made("contacts", &key("1")).unwrap());
        assert!(ids.is_taken("contacts", &key("201")).unwrap() && !ids.is_taken("deals", &key("201")).unwrap());
        assert!(ids.makes("contacts") && !ids.makes("deals"));
    }

    #[test]
    fn what_failed_is_not_done_and_what_is_linked_stays_so() {
        let ids = IdMap::new(SpillMap::new(None, &NotRandom).unwrap());
        ids.note(&outcome("1", Outcome::Failed, None)).unwrap();
        assert!(!ids.is_done("contacts", &key("1")).unwrap());
        ids.note(&outcome("2", Outcome::Created, Some("102"))).unwrap();
        ids.note(&outcome("2", Outcome::Linked, None)).unwrap();
        assert!(ids.is_linked("contacts", &key("2")).unwrap() && ids.is_done("contacts", &key("2")).unwrap());
        assert_eq!(ids.new_key("contacts", &key("2")).unwrap().unwrap().key, key("102"));
    }
}
