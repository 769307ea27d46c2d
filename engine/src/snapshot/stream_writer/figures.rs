//! Counting what a run did to a stream, one key at a time, so that a key that comes twice counts once.

use serde::{Deserialize, Serialize};

use crate::snapshot::{
    digest::{ContentDigest, Fingerprint},
    manifest::StreamState,
};

/// Figures of one stream of a run. `records` = `added` + `changed` + `unchanged`, each a number of distinct keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamFigures {
    /// Live records that came.
    pub records: u64,
    /// Records whose key was not in the parent.
    pub added: u64,
    /// Records whose content differs from the parent's.
    pub changed: u64,
    /// Records that the parent had and that are gone.
    pub removed: u64,
    /// Records equal to the parent's.
    pub unchanged: u64,
    /// Bytes of all bodies that came, those that came twice included.
    pub body_bytes: u64,
    /// Bytes of new segments.
    pub bytes_stored: u64,
    /// After a reconcile read: the drift, records in which it differed from what reading only changes had led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<u64>,
}

/// What this run did to a key, compared with the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    /// Nothing, so far.
    Untouched,
    /// New.
    Added,
    /// Other content.
    Changed,
    /// Came, with equal content.
    Unchanged,
    /// Gone.
    Removed,
}

impl Category {
    /// Of a key, from its newest entry in this run, its live entry in the parent, and whether it came in this run.
    pub(super) fn of(own: Option<&Fingerprint>, parent: Option<&Fingerprint>, is_seen: bool) -> Self {
        match (own, parent) {
            (Some(own), Some(_)) if own.is_tombstone() => Self::Removed,
            (Some(own), None) if own.is_tombstone() => Self::Untouched,
            (Some(own), Some(parent)) if own.digest == parent.digest => Self::Unchanged,
            (Some(_), Some(_)) => Self::Changed,
            (Some(_), None) => Self::Added,
            (None, Some(_)) if is_seen => Self::Unchanged,
            (None, _) => Self::Untouched,
        }
    }

    /// True for a key that is live and came in this run.
    pub(super) fn is_live(self) -> bool {
        matches!(self, Self::Added | Self::Changed | Self::Unchanged)
    }
}

/// All that is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tally {
    /// The public figures.
    pub(super) figures: StreamFigures,
    /// Digest of the records that are live now.
    pub(super) content: ContentDigest,
    /// Bytes of the live bodies that came.
    pub(super) read_bytes: i64,
    /// By how much the bytes of all live bodies grew.
    pub(super) grown_bytes: i64,
    /// True when a key was stored by this run more than once, so that the order of its segments matters.
    pub(super) has_rewrites: bool,
}

impl Tally {
    /// At the beginning of a run.
    pub(super) fn new(parent: Option<&StreamState>) -> Self {
        Self { content: parent.map(|parent| parent.content_digest).unwrap_or_default(), ..Self::default() }
    }

    /// Moves a key from one category to another.
    pub(super) fn move_key(&mut self, from: Category, to: Category) {
        if let Some(count) = self.count(from) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.count(to) {
            *count += 1;
        }
        let figures = &mut self.figures;
        figures.records = figures.added + figures.changed + figures.unchanged;
    }

    fn count(&mut self, category: Category) -> Option<&mut u64> {
        match category {
            Category::Untouched => None,
            Category::Added => Some(&mut self.figures.added),
            Category::Changed => Some(&mut self.figures.changed),
            Category::Unchanged => Some(&mut self.figures.unchanged),
            Category::Removed => Some(&mut self.figures.removed),
        }
    }
}
