//! Orders of restores: a document in the store that says what to restore, then a run that carries it out.

use std::pin::pin;

use futures::TryStreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Problem, Result},
    model::{
        Job, JobId, RestoreId, Run, RunId, RunRestore, SnapshotId, Source, SourceId, SourceState, id::kind,
        run::Trigger, scope::AccountScope,
    },
    ports::{Ports, Query, SortRange},
    run::{RunContext, connect, order},
    snapshot::{AccountStore, KeyRange, Manifest, RecordKey},
    store::Store,
    tables::RUNS,
};

/// Runs of one read.
const PAGE: usize = 100;

/// The streams of a snapshot that its source's connector can write, in the connector's order. No request is sent for
/// connectors that know their streams.
///
/// # Errors
/// As for connecting the source.
pub async fn writable_streams(
    ctx: &RunContext,
    scope: &AccountScope,
    source: &Source,
    manifest: &Manifest,
) -> Result<Vec<String>> {
    let connector = connect::connect_source(ctx, scope, source).await?;
    let is_read = |name: &String| source.streams.as_ref().is_none_or(|streams| streams.contains(name));
    let streams = connector.discover().await?.streams.into_iter().filter(|stream| stream.write.is_some());
    let names = streams.map(|stream| stream.name);
    Ok(names.filter(|name| manifest.streams.contains_key(name) && is_read(name)).collect())
}

/// Whether the records of a snapshot can go into the product of another source: every problem at once, none when they can.
pub fn problems_into(manifest: &Manifest, target: &Source, against: Against) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |message: String| problems.push(Problem { place: format!("source {}", target.name), message });
    if target.integration != manifest.integration {
        wrong(format!("is connected to {}, and the snapshot is of {}", target.integration, manifest.integration));
    }
    match target.state {
        SourceState::Active => {}
        SourceState::Paused => wrong("is paused; resume it first".to_owned()),
        SourceState::NeedsAuthorisation => wrong("must be signed in again; reconnect it".to_owned()),
    }
    if against == Against::Head && target.head.is_none() {
        wrong("has no snapshot to compare with; compare with the product instead".to_owned());
    }
    problems
}

/// What the product is compared with the snapshot by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// By a fresh read of the streams.
    #[default]
    Product,
    /// By the source's newest snapshot.
    Head,
}

/// Which records of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// The stream.
    pub stream: String,
    /// Only these keys; without any, those in the range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<RecordKey>,
    /// Keys from this one on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<RecordKey>,
    /// Keys below this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<RecordKey>,
}

impl Selection {
    /// All records of a stream.
    pub fn all(stream: &str) -> Self {
        Self { stream: stream.to_owned(), ..Self::default() }
    }

    /// The range of keys, when no single ones are named.
    pub(super) fn range(&self) -> KeyRange {
        KeyRange { after: None, from: self.from.clone(), until: self.until.clone() }
    }

    /// True for every record of the stream.
    pub(super) fn is_all(&self) -> bool {
        self.keys.is_empty() && self.from.is_none() && self.until.is_none()
    }

    /// True when a record with this key is asked for.
    pub(super) fn contains(&self, key: &RecordKey) -> bool {
        if !self.keys.is_empty() {
            return self.keys.contains(key);
        }
        self.from.as_ref().is_none_or(|from| key >= from) && self.until.as_ref().is_none_or(|until| key < until)
    }
}

/// A restore that somebody ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreOrder {
    /// Its id; its first run has the same 128 bits.
    pub restore_id: RestoreId,
    /// The source that is written to.
    pub source_id: SourceId,
    /// The source whose snapshot it is, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<SourceId>,
    /// The job whose runs carry it out.
    pub job_id: JobId,
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// Which records, by stream.
    pub selections: Vec<Selection>,
    /// What the product is compared by.
    pub against: Against,
    /// Also records that changed in the product after the last backup are changed back.
    pub overwrite: bool,
    /// Only plan: nothing is written to the product.
    pub dry_run: bool,
    /// The newest snapshot when it was ordered: what is not as this says was changed by somebody since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<SnapshotId>,
    /// Who ordered it.
    pub by: String,
    /// When.
    pub created_at: Timestamp,
}

impl RestoreOrder {
    /// The source whose snapshot it is.
    pub fn snapshot_source(&self) -> SourceId {
        self.origin.unwrap_or(self.source_id)
    }

    /// Stores it, or returns the one of its id that is there already.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn keep(self, store: &AccountStore) -> Result<Self> {
        store.put_restore(self.restore_id, &self).await?;
        store.load_restore(self.restore_id).await
    }

    /// Up to `max` restores, newest first, after the one with id `after`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(store: &AccountStore, after: Option<RestoreId>, max: usize) -> Result<Vec<Self>> {
        let mut orders = Vec::new();
        for id in store.list_restores(after, max).await? {
            orders.push(store.load_restore(id).await?);
        }
        Ok(orders)
    }

    /// Writes the row of the restore's first run, without a message; an earlier call's row is returned as it is.
    ///
    /// # Errors
    /// `Retry` from the store.
    pub async fn write_run(&self, ports: &Ports, scope: &AccountScope, job: &Job) -> Result<Run> {
        let restore = RunRestore { restore_id: self.restore_id, dry_run: self.dry_run };
        let trigger = Trigger::Manual { by: self.by.clone() };
        let run_id: RunId = self.restore_id.of::<kind::Run>();
        let run = Run { run_id, restore: Some(restore), ..order::new_run(ports, job, trigger, None) };
        Ok(order::write_run(ports, scope, run).await?.0)
    }

    /// Writes the row, then sends the message.
    ///
    /// # Errors
    /// `Retry` when a store cannot be reached; a run whose row was written is not lost then.
    pub async fn order_run(&self, ports: &Ports, scope: &AccountScope, job: &Job) -> Result<Run> {
        let run = self.write_run(ports, scope, job).await?;
        if !run.status.has_ended() {
            order::send(ports, &run).await?;
        }
        Ok(run)
    }

    /// The newest run that works or worked on it.
    ///
    /// # Errors
    /// `NotFound` when it has none yet; `Retry` from the store.
    pub async fn latest_run(&self, ports: &Ports, scope: &AccountScope) -> Result<Run> {
        let store = Store::new(ports.tables.clone());
        let first: RunId = self.restore_id.of::<kind::Run>();
        let query = Query {
            table: &RUNS,
            index: None,
            partition: self.job_id.to_string(),
            sort: SortRange::All,
            descending: true,
            limit: PAGE,
            after: None,
        };
        let mut runs = pin!(store.rows::<Run>(scope, query));
        while let Some(run) = runs.try_next().await? {
            if run.restore.is_some_and(|restore| restore.restore_id == self.restore_id) {
                return Ok(run);
            }
            if run.run_id < first {
                break;
            }
        }
        let message = "no run works on this restore; order it again";
        Err(Error::new(ErrorKind::NotFound, message).with("restore", self.restore_id))
    }
}
