//! How far the bounded verifications of a source have come: kept in the store, so that any worker goes on.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Damage, VerifyPosition, VerifyReport};
use crate::{
    error::{Error, ErrorKind, Result},
    model::SnapshotId,
    snapshot::{paths, source_store::SourceStore},
};

/// How far a verification has come, over all of its calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyProgress {
    /// The snapshot from which on it looks back.
    pub snapshot_id: SnapshotId,
    /// When the last call ended.
    pub at: Timestamp,
    /// From where the next call goes on; absent when all was covered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<VerifyPosition>,
    /// All damage that its calls found.
    pub damages: Vec<Damage>,
}

impl VerifyProgress {
    /// After a call whose report is this; `before` is what the calls before it had come to, if it went on from there.
    pub fn after(report: &VerifyReport, snapshot_id: SnapshotId, before: Option<Self>, at: Timestamp) -> Self {
        let mut damages = before.map(|before| before.damages).unwrap_or_default();
        for damage in &report.damages {
            match damages.iter_mut().find(|known| known.path == damage.path && known.what == damage.what) {
                Some(known) => *known = damage.clone(),
                None => damages.push(damage.clone()),
            }
        }
        Self { snapshot_id, at, position: report.next.clone(), damages }
    }
}

impl SourceStore {
    /// How far the newest verification of this source has come. What cannot be read any more is not worth keeping: the
    /// verification begins anew.
    ///
    /// # Errors
    /// Those of the ports.
    pub async fn verify_progress(&self) -> Result<Option<VerifyProgress>> {
        let Some((_, path)) = self.progress_objects().await?.pop() else { return Ok(None) };
        match self.segments.documents().find_document(&path).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
            found => found,
        }
    }

    /// Keeps how far a verification has come, in place of what was kept before.
    ///
    /// # Errors
    /// `Conflict` when another verification of the source kept its own at this moment; those of the ports.
    pub async fn keep_verify_progress(&self, progress: &VerifyProgress) -> Result<()> {
        let before = self.progress_objects().await?;
        let number = before.last().map_or(0, |(number, _)| number + 1);
        let path = paths::verification(self.segments.scope.account_id(), self.segments.source_id, number);
        if !self.segments.documents().put_document(&path, progress).await? {
            return Err(
                Error::new(ErrorKind::Conflict, "another verification of this source is under way").with("path", path)
            );
        }
        for (_, path) in before {
            self.segments.blobs.delete(&self.segments.scope, &path).await?;
        }
        Ok(())
    }

    async fn progress_objects(&self) -> Result<Vec<(u32, String)>> {
        let prefix = paths::verifications(self.segments.scope.account_id(), self.segments.source_id);
        let entries = self.segments.documents().list_all(&prefix).await?;
        Ok(entries
            .into_iter()
            .filter_map(|entry| Some((paths::parse_verification(&entry.path)?, entry.path)))
            .collect())
    }
}
