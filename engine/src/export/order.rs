//! Exports that were ordered: what to write, remembered for as long as it may be downloaded. The file itself is made anew
//! with each download, so that nothing is stored twice.

use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{ExportSpec, Format, Selection};
use crate::{
    error::Result,
    model::{ExportId, SnapshotId, SourceId, UserId},
    snapshot::AccountStore,
};

/// How long an export may be downloaded.
const LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Exports read at a time.
const READS: usize = 8;

/// An export that somebody ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    /// Its id.
    pub export_id: ExportId,
    /// Of which source.
    pub source_id: SourceId,
    /// Of which snapshot.
    pub snapshot_id: SnapshotId,
    /// Of which streams, at least one.
    pub streams: Vec<String>,
    /// The form of each stream's file.
    pub format: Format,
    /// True for a zip archive; without it there is one stream.
    pub is_archive: bool,
    /// Who ordered it.
    pub user_id: UserId,
    /// When.
    pub created_at: Timestamp,
    /// It cannot be downloaded from then on.
    pub expires_at: Timestamp,
}

impl Export {
    /// When an export that is ordered at `created_at` ends.
    pub fn end(created_at: Timestamp) -> Timestamp {
        created_at.saturating_add(LIFE).unwrap_or(Timestamp::MAX)
    }

    /// True when it cannot be downloaded any more.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// What to write.
    pub fn spec(&self) -> ExportSpec {
        let selection = match &self.streams[..] {
            [stream] if !self.is_archive => Selection::Stream(stream.clone()),
            streams => Selection::Archive(streams.to_vec()),
        };
        ExportSpec { selection, format: self.format }
    }

    /// Stores it, or returns the one of its id that is there already.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn keep(self, store: &AccountStore) -> Result<Self> {
        store.put_export(self.export_id, &self).await?;
        store.load_export(self.export_id).await
    }

    /// Up to `max` exports, newest first, after the one with id `after`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(store: &AccountStore, after: Option<ExportId>, max: usize) -> Result<Vec<Self>> {
        let ids = store.list_exports(after, max).await?;
        stream::iter(ids).map(|id| store.load_export(id)).buffered(READS).try_collect().await
    }
}
