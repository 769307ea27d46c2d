//! What a record that came no longer has.

use super::{AttachmentsWriter, StoredAttachment};
use crate::{
    error::Result,
    snapshot::{
        key::{self, RecordKey},
        merge::{Merge, Reading},
        reader::KeyRange,
    },
};

impl AttachmentsWriter {
    /// Ids of the attachments that a record had in the snapshot before.
    ///
    /// # Errors
    /// `Corrupt` when what should hold them is damaged.
    pub async fn ids_before(&self, record: &str) -> Result<Vec<String>> {
        let Some(parent) = self.parent.as_ref().filter(|parent| parent.records > 0) else { return Ok(Vec::new()) };
        let mut first = Vec::new();
        key::encode(serde_json::Value::from(record).to_string().as_bytes(), &mut first)?;
        let range = KeyRange::after(Some(RecordKey::trusted(&first)));
        let mut merge =
            Merge::new(self.store.segments.clone(), &self.stream, &parent.segments, &range, Reading::Cached);
        let mut ids = Vec::new();
        while let Some(merged) = merge.next().await?.filter(|merged| merged.key().starts_with(&first)) {
            let Some(body) = merged.body() else { continue };
            let stored = StoredAttachment::from_body(body)?;
            if stored.record != record {
                break;
            }
            ids.push(stored.attachment);
        }
        Ok(ids)
    }
}
