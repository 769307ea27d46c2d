//! What is sealed under which data key, as far as manifests tell: nothing else has to be read.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::Result,
    model::scope::AccountScope,
    snapshot::{seal::DocumentHeader, source_store::SourceStore, store::SnapshotStore},
};

/// What is sealed under the data key of one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyUsage {
    /// Manifests of snapshots.
    pub snapshots: u64,
    /// Segments that those or other snapshots name.
    pub segments: u64,
    /// Size of these segments, in bytes.
    pub segment_bytes: u64,
}

impl SnapshotStore {
    /// What is sealed under each data key of an account. Packs, marks and reports are not counted. Reads every manifest.
    ///
    /// # Errors
    /// Those of [`SnapshotStore::source`] and of loading manifests.
    pub async fn key_usage(&self, scope: &AccountScope) -> Result<BTreeMap<u32, KeyUsage>> {
        let mut usage = BTreeMap::new();
        for source_id in self.account(scope).await?.sources().await? {
            self.source(scope, source_id).await?.add_usage(&mut usage).await?;
        }
        Ok(usage)
    }
}

impl SourceStore {
    async fn add_usage(&self, usage: &mut BTreeMap<u32, KeyUsage>) -> Result<()> {
        let mut seen = BTreeSet::new();
        for snapshot_id in self.stored_manifests().await? {
            let object = self.segments.blobs.get(&self.segments.scope, &self.snapshot_path(snapshot_id)).await?;
            let epoch = DocumentHeader::read(&object)?.epoch;
            usage.entry(epoch).or_default().snapshots += 1;
            let manifest = self.load_stored(snapshot_id).await?.manifest;
            for segment in manifest.streams.values().flat_map(|stream| &stream.segments) {
                if seen.insert(segment.id) {
                    let used = usage.entry(segment.epoch).or_default();
                    used.segments += 1;
                    used.segment_bytes += segment.size_bytes;
                }
            }
        }
        Ok(())
    }
}
