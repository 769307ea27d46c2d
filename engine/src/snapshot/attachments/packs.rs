//! Which packs the attachments of a stream need: told by their records, and kept in a list, so that collecting does not read the
//! same records again every day.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::StoredAttachment;
use crate::{
    error::{ErrorKind, Result},
    snapshot::{
        KeyRange, SourceStore, StreamState,
        chunks::{NeededPacks, PackId, PackRef},
        codec::hex,
        merge::{Merge, Reading},
        paths,
    },
};

/// The packs of one state of a stream's attachments: a document that follows from the state's segments.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PackList {
    /// Id, epoch, and how many bytes are needed at least.
    packs: Vec<(PackId, u32, u64)>,
}

impl SourceStore {
    /// The packs that a state of an attachments stream needs. With `keeps` they are kept in a list, unless that is there already.
    ///
    /// # Errors
    /// `Corrupt` when what names them is damaged or missing.
    pub(crate) async fn needed_packs(&self, stream: &str, state: &StreamState, keeps: bool) -> Result<NeededPacks> {
        let (documents, path) = (self.segments.documents(), self.pack_list_path(stream, state));
        match documents.find_document::<PackList>(&path).await {
            Ok(Some(list)) => {
                return Ok(list.packs.into_iter().map(|(id, epoch, needed)| (PackRef(id, epoch), needed)).collect());
            }
            Ok(None) => {}
            // It follows from what is read below.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::warn!(%error, "a list of packs is damaged; it is made anew");
                if keeps {
                    documents.blobs.delete(&documents.scope, &path).await?;
                }
            }
            Err(error) => return Err(error),
        }
        let needed = self.read_needed_packs(stream, state).await?;
        if keeps {
            let packs = needed.iter().map(|(pack, needed)| (pack.id(), pack.epoch(), *needed)).collect();
            documents.put_document(&path, &PackList { packs }).await?;
        }
        Ok(needed)
    }

    async fn read_needed_packs(&self, stream: &str, state: &StreamState) -> Result<NeededPacks> {
        let mut needed = NeededPacks::new();
        let range = KeyRange::default();
        let mut merge = Merge::new(self.segments.clone(), stream, &state.segments, &range, Reading::Once);
        while let Some(merged) = merge.next().await? {
            if let Some(body) = merged.body() {
                self.chunks.packs(&StoredAttachment::from_body(body)?.content, &mut needed).await?;
            }
        }
        Ok(needed)
    }

    /// Where the list of a state is kept.
    pub(crate) fn pack_list_path(&self, stream: &str, state: &StreamState) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(stream.as_bytes());
        state.segments.iter().for_each(|segment| {
            hasher.update(segment.id.as_bytes());
        });
        let digest = hex(&hasher.finalize().as_bytes()[..20]);
        paths::pack_list(self.segments.scope.account_id(), self.segments.source_id, &digest)
    }

    /// Deletes all lists but these.
    ///
    /// # Errors
    /// Those of the port.
    pub(crate) async fn delete_pack_lists_but(&self, needed: &BTreeSet<String>) -> Result<()> {
        let documents = self.segments.documents();
        let prefix = paths::pack_lists(self.segments.scope.account_id(), self.segments.source_id);
        for entry in documents.list_all(&prefix).await? {
            if !needed.contains(&entry.path) {
                documents.blobs.delete(&documents.scope, &entry.path).await?;
            }
        }
        Ok(())
    }
}
