//! The indexer's work: one snapshot object becomes the rows that people browse, one a stream. Safe to repeat.

use serde::Deserialize;

use super::RunContext;
use crate::{
    error::{Error, ErrorKind, Result},
    model::{FileEntry, FileId, Run, SnapshotId, scope::AccountScope},
    ports::{Condition, Query, SortRange},
    snapshot::{LoadedManifest, StreamState, paths},
    store,
    tables::RUNS,
};

/// Writes of one transaction, at most.
const BATCH: usize = 25;

/// An object that came to be, as the data queue tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectCreated {
    /// Its path.
    pub path: String,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexed {
    /// So many rows tell of it.
    Rows(usize),
    /// Its run is still live and has not committed it: an uncommitted snapshot must not be shown.
    NotYet,
    /// Its run has ended without it: nobody will ever see it.
    Never,
}

/// Writes the `files` rows of a snapshot, once it is committed.
///
/// # Errors
/// `Invalid` for a path that is no snapshot's; `NotFound` when its run is not known; `Corrupt` for a damaged manifest;
/// `Retry` from the stores.
pub async fn index_object(ctx: &RunContext, created: &ObjectCreated) -> Result<Indexed> {
    let (account_id, source_id, snapshot_id) = paths::parse_snapshot(&created.path)
        .ok_or_else(|| Error::new(ErrorKind::Invalid, "the object is not a snapshot").with("path", &created.path))?;
    let scope = ctx.system.account(account_id);
    let store = ctx.snapshots.source(&scope, source_id).await?;
    let loaded = store.load(snapshot_id).await?;
    let run = run_of(ctx, &scope, &loaded).await?;
    // A run's row names its snapshot in the very write that commits it.
    if run.snapshot_id != Some(snapshot_id) {
        return Ok(if run.status.has_ended() { Indexed::Never } else { Indexed::NotYet });
    }
    let entries: Vec<FileEntry> =
        loaded.manifest.streams.iter().map(|(name, state)| entry(&loaded, name, state)).collect();
    for batch in entries.chunks(BATCH) {
        let writes = batch.iter().map(|entry| store::put(entry, Condition::Any)).collect::<Result<_>>()?;
        ctx.store.transact(&scope, writes).await?;
    }
    Ok(Indexed::Rows(entries.len()))
}

async fn run_of(ctx: &RunContext, scope: &AccountScope, loaded: &LoadedManifest) -> Result<Run> {
    let run_id = loaded.manifest.run_id;
    let query = Query {
        table: &RUNS,
        index: Some("by-id"),
        partition: run_id.to_string(),
        sort: SortRange::All,
        descending: false,
        limit: 1,
        after: None,
    };
    let found = ctx.store.query::<Run>(scope, query).await?.rows.into_iter().next();
    found
        .map(|run| run.row)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "the snapshot's run is not known").with("run", run_id))
}

fn entry(loaded: &LoadedManifest, stream: &str, state: &StreamState) -> FileEntry {
    let manifest = &loaded.manifest;
    let path = format!("{stream}.jsonl");
    FileEntry {
        account_source: format!("{}#{}", manifest.account_id, manifest.source_id),
        path_snapshot: format!("{path}#{}", manifest.snapshot_id),
        file_id: file_id(manifest.snapshot_id, stream),
        account_id: manifest.account_id,
        source_id: manifest.source_id,
        snapshot_id: manifest.snapshot_id,
        path,
        stream: stream.to_owned(),
        records: state.records,
        size_bytes: state.body_bytes,
        content_digest: state.content_digest.to_string(),
        created_at: manifest.created_at,
    }
}

/// The same for every delivery of the same object.
fn file_id(snapshot_id: SnapshotId, stream: &str) -> FileId {
    let mut hasher = blake3::Hasher::new_derive_key("listbackup file id of snapshot and stream");
    hasher.update(snapshot_id.as_bytes()).update(stream.as_bytes());
    let mut digest = [0; 10];
    hasher.finalize_xof().fill(&mut digest);
    FileId::derived(snapshot_id.instant_ms(), digest)
}
