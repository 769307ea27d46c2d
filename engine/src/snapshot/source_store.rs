//! One source's part of the store: its manifests, its checkpoints, and the writers and readers of its streams.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    chunks::Chunks,
    document,
    manifest::{FORMAT_VERSION, LoadedManifest, Manifest},
    paths,
    reader::SnapshotReader,
    segment::SegmentId,
    segments::Segments,
    signature::Signed,
    store::{Sealers, StoreSettings},
    stream_writer::{StreamWriter, WriterSpec},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{RunId, SnapshotId},
    ports::PutOutcome,
};

/// One source's part of the store.
#[derive(Clone)]
pub struct SourceStore {
    pub(super) segments: Segments,
    pub(super) chunks: Chunks,
    settings: Arc<StoreSettings>,
    sealers: Arc<Sealers>,
}

impl SourceStore {
    pub(super) fn new(segments: Segments, chunks: Chunks, settings: Arc<StoreSettings>, sealers: Arc<Sealers>) -> Self {
        Self { segments, chunks, settings, sealers }
    }

    /// A snapshot's manifest.
    ///
    /// # Errors
    /// `NotFound`, with what became of it when it was forgotten; `Corrupt` when it was altered or is that of another
    /// snapshot; `Invalid` when it was written by a newer program.
    pub async fn load(&self, snapshot_id: SnapshotId) -> Result<LoadedManifest> {
        let tombstone = self.tombstone_path(snapshot_id);
        let documents = self.segments.documents();
        let (forgotten, loaded) = tokio::join!(documents.exists(&tombstone), self.load_stored(snapshot_id));
        match (forgotten?, loaded) {
            (true, _) => Err(self.not_there(snapshot_id).await),
            (false, loaded) => loaded,
        }
    }

    /// The manifest that is stored for a snapshot, whatever was decided about it.
    ///
    /// # Errors
    /// Those of [`SourceStore::load`].
    pub(super) async fn load_stored(&self, snapshot_id: SnapshotId) -> Result<LoadedManifest> {
        let path = self.snapshot_path(snapshot_id);
        let object = self.segments.blobs.get(&self.segments.scope, &path).await?;
        let text = document::open(&self.segments.ring, &path, &object).await?;
        let named = |error: Error| error.with("path", &path);
        let Versioned { format } = document::parse(&text).map_err(named)?;
        if format > FORMAT_VERSION {
            return Err(named(Error::new(
                ErrorKind::Invalid,
                format!("the snapshot has format {format}, this program reads up to {FORMAT_VERSION}: update it"),
            )));
        }
        let manifest: Manifest = document::parse(&text).map_err(named)?;
        if manifest.snapshot_id != snapshot_id
            || manifest.source_id != self.segments.source_id
            || manifest.account_id != self.segments.scope.account_id()
        {
            return Err(named(Error::new(ErrorKind::Corrupt, "the manifest is that of another snapshot")));
        }
        Ok(LoadedManifest {
            manifest,
            digest: blake3::hash(&object).to_hex().to_string(),
            size_bytes: object.len() as u64,
        })
    }

    /// Ids of the source's snapshots, oldest first, after `after`; at most `max`. Forgotten ones are left out.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn list(&self, after: Option<SnapshotId>, max: usize) -> Result<Vec<SnapshotId>> {
        let (scope, source_id) = (&self.segments.scope, self.segments.source_id);
        let prefix = paths::snapshots(scope.account_id(), source_id);
        let mut after = after.map(|id| self.snapshot_path(id));
        let (mut ids, mut forgotten) = (Vec::new(), None);
        while ids.len() < max {
            let entries = self.segments.blobs.list(scope, &prefix, after.as_deref(), max).await?;
            for entry in &entries {
                // A tombstone comes right before the manifest, as long as that is still there.
                forgotten = paths::parse_tombstone(&entry.path).or(forgotten);
                let id = paths::parse_snapshot(&entry.path).map(|(_, _, id)| id);
                ids.extend(id.filter(|id| forgotten != Some(*id)).filter(|_| ids.len() < max));
            }
            match entries.last() {
                Some(last) if entries.len() == max => after = Some(last.path.clone()),
                _ => break,
            }
        }
        Ok(ids)
    }

    /// Stores a manifest. A run makes at most one: when it made one before, that one is returned.
    ///
    /// # Errors
    /// `Bug` for the manifest of another source; `Denied` when the account's keys were destroyed since the run began; those of
    /// [`SourceStore::load`].
    pub async fn put_manifest(&self, manifest: &Manifest) -> Result<LoadedManifest> {
        if manifest.source_id != self.segments.source_id || manifest.account_id != self.segments.scope.account_id() {
            return Err(Error::new(ErrorKind::Bug, "a manifest was given to another source's store")
                .with("source", manifest.source_id));
        }
        self.segments.ring.refresh().await?;
        let path = self.snapshot_path(manifest.snapshot_id);
        let object = document::seal(&self.segments.ring, &path, manifest)?;
        let loaded = LoadedManifest {
            manifest: manifest.clone(),
            digest: blake3::hash(&object).to_hex().to_string(),
            size_bytes: object.len() as u64,
        };
        match self.segments.blobs.put_if_absent(&self.segments.scope, &path, object).await? {
            PutOutcome::Created => Ok(loaded),
            PutOutcome::Exists => self.load(manifest.snapshot_id).await,
        }
    }

    /// Stores a checkpoint of a run, the `number`-th under `epoch` of the source's lease, and returns its path; `None` when
    /// there is one of that number already, which stays.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn put_checkpoint(
        &self,
        run_id: RunId,
        epoch: u64,
        number: u64,
        body: &(impl Serialize + Sync),
    ) -> Result<Option<String>> {
        let scope = &self.segments.scope;
        let path = paths::checkpoint(scope.account_id(), self.segments.source_id, run_id, epoch, number);
        let object = document::seal(&self.segments.ring, &path, body)?;
        let outcome = self.segments.blobs.put_if_absent(scope, &path, object).await?;
        Ok((outcome == PutOutcome::Created).then_some(path))
    }

    /// The body of a checkpoint.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` when it was altered or has another shape; `Denied` for a path that is not one of this
    /// source's checkpoints.
    pub async fn load_checkpoint<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.check_checkpoint_path(path)?;
        self.segments.documents().read_document(path).await
    }

    /// Removes a checkpoint; an absent one is no error.
    ///
    /// # Errors
    /// `Denied` for a path that is not one of this source's checkpoints.
    pub async fn delete_checkpoint(&self, path: &str) -> Result<()> {
        self.check_checkpoint_path(path)?;
        self.segments.blobs.delete(&self.segments.scope, path).await
    }

    /// Removes segments that a run made for its checkpoints only, after its snapshot became the head. What the snapshot
    /// names stays: an earlier attempt of the run may have written it, and merged less. An absent one is no error.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn delete_superseded(&self, segments: &[SegmentId], snapshot: &Manifest) -> Result<()> {
        let (scope, source_id) = (&self.segments.scope, self.segments.source_id);
        let named: BTreeSet<SegmentId> =
            snapshot.streams.values().flat_map(|stream| &stream.segments).map(|segment| segment.id).collect();
        for id in segments.iter().filter(|id| !named.contains(id)) {
            self.segments.blobs.delete(scope, &paths::segment(scope.account_id(), source_id, *id)).await?;
        }
        Ok(())
    }

    /// Keeps the signed report of a drill that began at that instant. When there is one already, it stays.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn put_drill(&self, snapshot_id: SnapshotId, started_at: Timestamp, report: &Signed) -> Result<()> {
        let (account_id, source_id) = (self.segments.scope.account_id(), self.segments.source_id);
        let path = paths::drill(account_id, source_id, snapshot_id, started_at.as_millisecond());
        self.segments.documents().put_document(&path, report).await.map(drop)
    }

    /// A writer for one stream of a new snapshot.
    ///
    /// # Errors
    /// `Conflict` when the checkpoint to resume from was made over another parent; those of reading its segments.
    pub async fn stream_writer(&self, spec: WriterSpec) -> Result<StreamWriter> {
        StreamWriter::open(self.segments.clone().for_writing(), self.settings.clone(), self.sealers.clone(), spec).await
    }

    /// A reader of a snapshot of this source.
    pub fn reader(&self, manifest: &Manifest) -> SnapshotReader {
        SnapshotReader::new(self.clone(), self.segments.clone(), manifest.clone())
    }

    /// Where a snapshot's manifest is stored.
    pub(super) fn snapshot_path(&self, snapshot_id: SnapshotId) -> String {
        paths::snapshot(self.segments.scope.account_id(), self.segments.source_id, snapshot_id)
    }

    fn check_checkpoint_path(&self, path: &str) -> Result<()> {
        let source = paths::source(self.segments.scope.account_id(), self.segments.source_id);
        if path.starts_with(&format!("{source}runs/")) && path.ends_with(".checkpoint") {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Denied, "this path is not one of the source's checkpoints").with("path", path))
    }
}

/// What every version of a manifest has.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}
