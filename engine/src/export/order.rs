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
/// An export that has ended is told as such for so long, and then deleted.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Exports of one listing.
const PAGE: usize = 200;
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

    /// Deletes the exports that ended more than seven days ago. Returns how many. An order that cannot be read stays.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove_ended(store: &AccountStore, now: Timestamp) -> Result<usize> {
        let ended_by = now.saturating_sub(REMEMBERED).unwrap_or(Timestamp::MIN);
        let made_by = ended_by.saturating_sub(LIFE).unwrap_or(Timestamp::MIN);
        // Ids tell when they were made, and the listing has the newest first: it begins where exports may have ended.
        let mut after = ExportId::derived(made_by.as_millisecond().max(0), [0xff; 10]);
        let mut removed = 0;
        loop {
            let ids = store.list_exports(Some(after), PAGE).await?;
            for id in &ids {
                match store.load_export::<Self>(*id).await {
                    Ok(export) if export.is_expired(ended_by) => {
                        store.delete_export(*id).await?;
                        removed += 1;
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, export = %id, "an export's order cannot be read"),
                }
            }
            match ids.last() {
                Some(last) if ids.len() == PAGE => after = *last,
                _ => return Ok(removed),
            }
        }
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
