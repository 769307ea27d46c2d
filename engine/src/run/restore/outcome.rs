//! What became of a record, and the log that keeps it: documents in the store that are only ever added.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    error::{Error, ErrorKind, Result},
    model::{RestoreFigures, RestoreId},
    ports::PutOutcome,
    snapshot::{AccountStore, RecordKey},
};

/// Outcomes of one part of the log.
const PART_MAX: usize = 500;

/// What is to become of a record in a dry run, or what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It would be made again.
    Create,
    /// It would be changed back.
    Update,
    /// It was made again, under a new key.
    Created,
    /// It was changed back.
    Updated,
    /// References of a record that was made or changed earlier were set, after what they refer to was made.
    Linked,
    /// Nothing that can be written differs.
    Skipped,
    /// It is left alone, for the reason told.
    Conflict,
    /// It could not be written, for the reason told.
    Failed,
}

/// What became of one record. Records equal to the product's are counted, and have none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordOutcome {
    /// Its stream.
    pub stream: String,
    /// Its key in the snapshot.
    pub key: RecordKey,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was left alone or failed, or by what it was found in the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its key in the product, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_key: Option<RecordKey>,
    /// The fields that differ, of a record that is changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Fields whose references are set at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deferred: Vec<Vec<String>>,
}

impl RecordOutcome {
    /// An outcome without particulars.
    pub(super) fn new(stream: &str, key: &RecordKey, outcome: Outcome) -> Self {
        let (stream, key) = (stream.to_owned(), key.clone());
        Self { stream, key, outcome, reason: None, new_key: None, fields: Vec::new(), deferred: Vec::new() }
    }

    /// Left alone, or failed, and why.
    pub(super) fn because(stream: &str, key: &RecordKey, outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::new(stream, key, outcome) }
    }

    /// True when references of the record are set at the end.
    pub(super) fn has_open_links(&self) -> bool {
        matches!(self.outcome, Outcome::Created | Outcome::Updated) && !self.deferred.is_empty()
    }

    /// Counts it.
    pub(super) fn count(&self, figures: &mut RestoreFigures) {
        match self.outcome {
            Outcome::Create | Outcome::Created => figures.created += 1,
            Outcome::Update | Outcome::Updated => figures.updated += 1,
            Outcome::Skipped => figures.skipped += 1,
            Outcome::Conflict => figures.conflicts += 1,
            Outcome::Failed => figures.failed += 1,
            Outcome::Linked => {}
        }
    }
}

/// One part of a log, as stored.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Part {
    records: Vec<RecordOutcome>,
}

/// The log of a restore, open at its end.
pub(super) struct Log {
    store: AccountStore,
    restore_id: RestoreId,
    next: u32,
    part: Part,
    saved_at: Instant,
}

impl Log {
    /// Opens the log, and hands everything in it to `visit`.
    ///
    /// # Errors
    /// `Corrupt` when a part was altered.
    pub(super) async fn open(
        store: AccountStore,
        restore_id: RestoreId,
        mut visit: impl FnMut(RecordOutcome) -> Result<()>,
    ) -> Result<Self> {
        let mut next = 0;
        while let Some(part) = store.find_restore_log::<Part>(restore_id, next).await? {
            part.records.into_iter().try_for_each(&mut visit)?;
            next += 1;
        }
        Ok(Self { store, restore_id, next, part: Part { records: Vec::new() }, saved_at: Instant::now() })
    }

    /// How many parts are durable.
    pub(super) fn parts(&self) -> u32 {
        self.next
    }

    /// The outcomes of a durable part.
    ///
    /// # Errors
    /// `Corrupt` when it was altered; those of the store.
    pub(super) async fn part(&self, number: u32) -> Result<Vec<RecordOutcome>> {
        let part = self.store.find_restore_log::<Part>(self.restore_id, number).await?;
        Ok(part.map(|part| part.records).unwrap_or_default())
    }

    /// Adds an outcome; it is durable after the next [`Log::save`].
    pub(super) fn push(&mut self, outcome: RecordOutcome) {
        self.part.records.push(outcome);
    }

    /// True when a part is full, or a second is over.
    pub(super) fn is_due(&self) -> bool {
        self.part.records.len() >= PART_MAX || self.saved_at.elapsed().as_secs() >= 1
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// `Fenced` when another worker writes the log; those of the store.
    pub(super) async fn save(&mut self) -> Result<()> {
        self.saved_at = Instant::now();
        if self.part.records.is_empty() {
            return Ok(());
        }
        let outcome = self.store.put_restore_log(self.restore_id, self.next, &self.part).await?;
        if outcome == PutOutcome::Exists {
            // A put whose answer got lost meets its own object.
            let there = self.store.find_restore_log::<Part>(self.restore_id, self.next).await?;
            if there.as_ref() != Some(&self.part) {
                return Err(Error::new(ErrorKind::Fenced, "another worker carries this restore out"));
            }
        }
        self.next += 1;
        self.part.records.clear();
        Ok(())
    }
}

/// A page of a restore's outcomes.
#[derive(Clone, Debug)]
pub struct OutcomePage {
    /// The outcomes, in the order in which they were kept.
    pub records: Vec<RecordOutcome>,
    /// The part of the log that comes next.
    pub next: Option<u32>,
}

/// The outcomes in the part of a log with this number, from 0: at most 500.
///
/// # Errors
/// `Corrupt` when it was altered; those of the store.
pub async fn page(store: &AccountStore, restore_id: RestoreId, part: u32) -> Result<OutcomePage> {
    let Some(found) = store.find_restore_log::<Part>(restore_id, part).await? else {
        return Ok(OutcomePage { records: Vec::new(), next: None });
    };
    let next = part.saturating_add(1);
    let has_more = store.find_restore_log::<Part>(restore_id, next).await?.is_some();
    Ok(OutcomePage { records: found.records, next: has_more.then_some(next) })
}
