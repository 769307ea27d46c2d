//! What a test has set of a product.

use std::collections::{BTreeMap, BTreeSet};

use listbackup_connectors::ErrorKind;
use serde_json::Value;

use super::{
    File,
    history::{History, Records},
};
use crate::desk::Desk;

/// What the product holds, and how it fails.
#[derive(Default)]
pub struct Script {
    pub streams: BTreeMap<String, Records>,
    /// What they held before, where that is remembered.
    pub history: Option<History>,
    /// Streams that are read incrementally, with the number of the change that last touched each record.
    pub changes: BTreeMap<String, BTreeMap<u64, u64>>,
    pub last_change: u64,
    pub page_records: usize,
    /// A page has so many ids, whether there are records of them or not.
    pub is_paged_by_id: bool,
    pub failing: BTreeMap<String, ErrorKind>,
    /// Streams whose reads of everything fail, while those of changes work.
    pub failing_whole: BTreeSet<String>,
    pub panicking: BTreeSet<String>,
    pub hanging: BTreeSet<String>,
    pub served: BTreeMap<String, Vec<usize>>,
    pub files: BTreeMap<u64, BTreeMap<String, File>>,
    /// Where each download began.
    pub opened: Vec<(String, u64)>,
    pub is_incremental: bool,
    /// How the question for its streams fails.
    pub refusing: Option<ErrorKind>,
    /// So many questions for its streams are never answered.
    pub silent: u32,
    /// Where one has to sign in.
    pub desk: Option<Desk>,
}

impl Script {
    /// Keeps what a stream holds now, where that is remembered.
    pub fn remember(&mut self, stream: &str) {
        if let (Some(history), Some(records)) = (&mut self.history, self.streams.get(stream)) {
            history.note(stream, records);
        }
    }

    /// The records of a page, or of the next one that has any, and its number; `None` after the last one.
    pub fn page(&self, stream: &str, since: Option<u64>, number: usize) -> Option<(usize, Vec<Value>)> {
        let changes = self.changes.get(stream);
        let has_changed = |id: &u64| changes.is_some_and(|changes| changes.get(id).copied() > since);
        let is_new = |id: &u64, record: &Value| record["new"] == true || has_changed(id);
        let wanted = self.streams.get(stream)?.iter().filter(|(id, record)| since.is_none() || is_new(id, record));
        let first = number * self.page_records;
        if !self.is_paged_by_id {
            let on_page: Vec<_> =
                wanted.skip(first).take(self.page_records).map(|(_, record)| record.clone()).collect();
            return (!on_page.is_empty()).then_some((number, on_page));
        }
        let mut left = wanted.filter(|(id, _)| **id > first as u64).peekable();
        let number = (*left.peek()?.0 as usize - 1) / self.page_records;
        let on_page = left.take_while(|(id, _)| **id <= ((number + 1) * self.page_records) as u64);
        Some((number, on_page.map(|(_, record)| record.clone()).collect()))
    }
}
