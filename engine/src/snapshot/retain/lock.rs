//! Object lock: until an instant nobody can delete anything that a snapshot consists of.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::{
    error::Result,
    model::SnapshotId,
    snapshot::{Manifest, SourceStore},
};

/// Objects that are locked at a time.
const AT_A_TIME: usize = 8;

impl SourceStore {
    /// Locks a snapshot's manifest, every segment that it names and every pack of its attachments, also those of older
    /// snapshots, until an instant.
    /// What is locked longer already stays so. Returns how many locks were set or extended.
    ///
    /// # Errors
    /// `Invalid` when the store was not set up for locks; `NotFound` when a segment is missing; `Denied` when the account's keys
    /// are being destroyed.
    pub async fn lock(&self, manifest: &Manifest, until: Timestamp) -> Result<usize> {
        let segments = manifest.streams.values().flat_map(|stream| &stream.segments);
        let mut paths: BTreeSet<String> = segments.map(|segment| self.segments.path(segment)).collect();
        paths.insert(self.snapshot_path(manifest.snapshot_id));
        paths.extend(self.reader(manifest).packs().await?);
        let locked = stream::iter(paths)
            .map(|path| async move { self.lock_object(&path, until).await })
            .buffer_unordered(AT_A_TIME);
        let count = locked.try_fold(0, |sum, is_new| async move { Ok(sum + usize::from(is_new)) }).await?;
        // Whoever destroys the account's keys looks for locks again after they have marked that.
        self.segments.ring.refresh().await?;
        Ok(count)
    }

    /// Until when a snapshot's manifest is locked; the instant may have passed.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn locked_until(&self, snapshot_id: SnapshotId) -> Result<Option<Timestamp>> {
        let path = self.snapshot_path(snapshot_id);
        self.segments.blobs.retained_until(&self.segments.scope, &path).await
    }

    async fn lock_object(&self, path: &str, until: Timestamp) -> Result<bool> {
        let locked = self.segments.blobs.retained_until(&self.segments.scope, path).await?;
        if locked.is_some_and(|locked| locked >= until) {
            return Ok(false);
        }
        self.segments.blobs.retain_until(&self.segments.scope, path, until).await?;
        Ok(true)
    }
}
