//! The id map of a restore: which key in the product stands for which key in the snapshot. Maps of earlier restores of the
//! same source count too, so that a record that was made again once is found, and not made a second time.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use super::outcome::{Outcome, RecordOutcome};
use crate::snapshot::RecordKey;

/// Keys of one stream each.
#[derive(Default)]
struct OfStream {
    new: HashMap<RecordKey, RecordKey>,
    done: HashSet<RecordKey>,
}

/// New keys, and which records are done.
#[derive(Default)]
pub(super) struct IdMap(Mutex<HashMap<String, OfStream>>);

impl IdMap {
    /// Notes an outcome of this restore.
    pub(super) fn note(&self, outcome: &RecordOutcome) {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_stream = streams.entry(outcome.stream.clone()).or_default();
        if let Some(new) = &outcome.new_key {
            of_stream.new.insert(outcome.key.clone(), new.clone());
        }
        // What failed is tried again when the restore goes on.
        if outcome.outcome != Outcome::Failed {
            of_stream.done.insert(outcome.key.clone());
        }
    }

    /// Notes an outcome of an earlier restore.
    pub(super) fn note_earlier(&self, outcome: RecordOutcome) {
        if let Some(new) = outcome.new_key {
            let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            streams.entry(outcome.stream).or_default().new.insert(outcome.key, new);
        }
    }

    /// The key in the product for a key of the snapshot, where it is another one.
    pub(super) fn new_key(&self, stream: &str, key: &RecordKey) -> Option<RecordKey> {
        let streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        streams.get(stream)?.new.get(key).cloned()
    }

    /// True when this restore is done with the record.
    pub(super) fn is_done(&self, stream: &str, key: &RecordKey) -> bool {
        let streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        streams.get(stream).is_some_and(|of_stream| of_stream.done.contains(key))
    }
}
