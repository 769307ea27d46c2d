//! What a product held, and when.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::time::Instant;

/// The records of a stream, by id.
pub type Records = BTreeMap<u64, Value>;

/// What its streams held, each version with its beginning.
#[derive(Default)]
pub struct History(BTreeMap<String, Vec<(Instant, Records)>>);

impl History {
    /// From now on a stream holds these.
    pub fn note(&mut self, stream: &str, records: &Records) {
        self.0.entry(stream.to_owned()).or_default().push((Instant::now(), records.clone()));
    }

    /// All that a stream held from one instant to another, in order.
    pub fn within(&self, stream: &str, from: Instant, to: Instant) -> Vec<Records> {
        let versions = self.0.get(stream).map_or(&[][..], Vec::as_slice);
        // Of what changed in that very instant nobody knows which came first.
        let first = versions.iter().rposition(|(began, _)| *began < from).unwrap_or(0);
        let versions = versions[first..].iter().take_while(|(began, _)| *began <= to);
        versions.map(|(_, records)| records.clone()).collect()
    }
}
