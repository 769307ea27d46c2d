//! Whether each snapshot holds what the product held while it was read, and not only the newest one.

use std::collections::BTreeMap;

use listbackup_engine::{
    invariants::{self, Held},
    snapshot::{KeyRange, Manifest, SourceStore},
};
use serde_json::Value;

use super::hour::Tenant;
use crate::{scripted::Records, watch::Watch};

/// Goes through the snapshots of a source, from the newest on.
pub struct AsRead<'a> {
    tenant: &'a Tenant,
    watch: &'a Watch,
    stored: &'a SourceStore,
    /// What snapshots hold of streams that failed in their runs, and so have from an older one.
    inherited: BTreeMap<&'static str, Vec<(String, Records)>>,
}

impl<'a> AsRead<'a> {
    pub fn new(tenant: &'a Tenant, watch: &'a Watch, stored: &'a SourceStore) -> Self {
        Self { tenant, watch, stored, inherited: BTreeMap::new() }
    }

    /// The next older snapshot.
    pub async fn judge(&mut self, manifest: &Manifest) -> Vec<Held> {
        let mut all = Vec::new();
        for stream in self.tenant.streams {
            let name = format!("{stream} of {}", manifest.snapshot_id);
            let mut held = self.inherited.remove(stream).unwrap_or_default();
            held.push((name, records(self.stored, manifest, stream).await));
            if manifest.failed_streams.contains_key(*stream) {
                self.inherited.insert(stream, held);
                continue;
            }
            let (began, ended) = self.watch.window(manifest.run_id, manifest.snapshot_id);
            let versions = self.tenant.product.held_within(stream, began, ended);
            all.extend(held.iter().map(|(name, records)| invariants::as_read(name, &versions, records)));
        }
        all
    }

    /// What is left has no older snapshot to be from.
    pub fn end(self) -> Vec<Held> {
        let left = self.inherited.into_values().flatten();
        left.map(|(name, records)| invariants::as_read(&name, &[Records::new()], &records)).collect()
    }
}

/// What a snapshot holds of a stream, by id.
pub async fn records(stored: &SourceStore, manifest: &Manifest, stream: &str) -> Records {
    if !manifest.streams.contains_key(stream) {
        return Records::new();
    }
    let page = stored.reader(manifest).browse(stream, &KeyRange::default(), &[], 100_000).await.expect("records");
    by_id(page.records.iter().map(|record| serde_json::from_slice(&record.body).expect("JSON")))
}

/// Records by their ids.
pub fn by_id(records: impl IntoIterator<Item = Value>) -> Records {
    records.into_iter().map(|record| (record["id"].as_u64().expect("an id"), record)).collect()
}
