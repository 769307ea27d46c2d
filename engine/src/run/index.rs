//! The indexer's work: one snapshot object becomes the rows that people browse, one a stream and one an
//! attachment. Safe to repeat.

use serde::Deserialize;

use super::{RunContext, files};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{FileEntry, FileId, Run, RunId, SnapshotId, scope::AccountScope},
    ports::{Condition, Key, Write},
    snapshot::{LoadedManifest, Manifest, StreamState, paths},
    store::{self, Versioned, key},
    tables::RUNS,
};

/// Rows of one transaction: with the check of the run's row the most that it may have.
pub(super) const BATCH: usize = 24;

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
    let loaded = match store.load(snapshot_id).await {
        Err(error) if error.kind() == ErrorKind::NotFound && store.tombstone(snapshot_id).await?.is_some() => {
            return Ok(Indexed::Never);
        }
        loaded => loaded?,
    };
    let Versioned { row: run, version } = run_of(ctx, &scope, &loaded).await?;
    // A run's row names its snapshot in the very write that commits it.
    if run.snapshot_id != Some(snapshot_id) {
        return Ok(if run.status.has_ended() { Indexed::Never } else { Indexed::NotYet });
    }
    write_rows_of(ctx, &scope, &loaded, &run, version).await.map(Indexed::Rows)
}

/// Writes the `files` rows of a snapshot whose run is known to have made it. How many.
///
/// # Errors
/// Those of [`index_object`].
pub async fn write_rows(ctx: &RunContext, scope: &AccountScope, loaded: &LoadedManifest) -> Result<usize> {
    let Versioned { row: run, version } = run_of(ctx, scope, loaded).await?;
    write_rows_of(ctx, scope, loaded, &run, version).await
}

async fn write_rows_of(
    ctx: &RunContext,
    scope: &AccountScope,
    loaded: &LoadedManifest,
    run: &Run,
    version: u64,
) -> Result<usize> {
    // No row may come after the snapshot was forgotten, which changes the run's row.
    let check = Write::Check { table: &RUNS, key: key(run.job_id, run.run_id), condition: Condition::Version(version) };
    let entries = entries(loaded);
    for batch in entries.chunks(BATCH) {
        let mut writes: Vec<Write> =
            batch.iter().map(|entry| store::put(entry, Condition::Any)).collect::<Result<_>>()?;
        writes.push(check.clone());
        ctx.store.transact(scope, writes).await?;
    }
    let reader = ctx.snapshots.source(scope, loaded.manifest.source_id).await?.reader(&loaded.manifest);
    let attachments = files::write(ctx, scope, &reader, BATCH, &check).await?;
    Ok(entries.len() + attachments)
}

/// How the `files` rows of a snapshot stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownRows {
    /// Rows that are as its manifest wants them.
    pub same: u64,
    /// Rows that say something else.
    pub different: u64,
    /// Rows that are not there.
    pub missing: u64,
}

/// Compares the `files` rows of a snapshot with its manifest.
///
/// # Errors
/// `Retry` from the store.
pub async fn known_rows(ctx: &RunContext, scope: &AccountScope, loaded: &LoadedManifest) -> Result<KnownRows> {
    let mut known = KnownRows::default();
    for entry in entries(loaded) {
        let place = key(&entry.account_source, &entry.path_snapshot);
        match ctx.store.find::<FileEntry>(scope, place).await? {
            Some(found) if found.row == entry => known.same += 1,
            Some(_) => known.different += 1,
            None => known.missing += 1,
        }
    }
    Ok(known)
}

fn entries(loaded: &LoadedManifest) -> Vec<FileEntry> {
    loaded.manifest.streams.iter().map(|(name, state)| entry(loaded, name, state)).collect()
}

async fn run_of(ctx: &RunContext, scope: &AccountScope, loaded: &LoadedManifest) -> Result<Versioned<Run>> {
    let run_id = loaded.manifest.run_id;
    find_run(ctx, scope, run_id)
        .await?
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "the snapshot's run is not known").with("run", run_id))
}

/// A run's row, by the run's id alone.
///
/// # Errors
/// `Retry` from the store.
pub async fn find_run(ctx: &RunContext, scope: &AccountScope, run_id: RunId) -> Result<Option<Versioned<Run>>> {
    ctx.store.find_by::<Run>(scope, "by-id", run_id).await
}

/// The key of the row of one stream of a snapshot.
pub(super) fn place(manifest: &Manifest, stream: &str) -> Key {
    key(
        format!("{}#{}", manifest.account_id, manifest.source_id),
        format!("{}#{}", path_of(stream), manifest.snapshot_id),
    )
}

fn path_of(stream: &str) -> String {
    format!("{stream}.jsonl")
}

fn entry(loaded: &LoadedManifest, stream: &str, state: &StreamState) -> FileEntry {
    let manifest = &loaded.manifest;
    let (path, place) = (path_of(stream), place(manifest, stream));
    FileEntry {
        account_source: place.partition,
        path_snapshot: place.sort,
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
        attachment: None,
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
