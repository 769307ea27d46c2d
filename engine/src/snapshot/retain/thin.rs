//! What retention leaves behind and nothing rests on any more, a long time after. Of a forgotten snapshot that is its log of pins and
//! holds: the tombstone says who forgot it, when and why, and nobody can mark it again. Of closed collections it is what they deleted;
//! the newest stays, since the next one's number follows from it.
//!
//! Tombstones stay: without one, the chain of manifests would have a gap that cannot be told from damage.

use std::time::Duration;

use jiff::Timestamp;

use super::{documents::Collected, shelf::Shelf};
use crate::{
    error::{Error, ErrorKind, Result},
    model::SnapshotId,
    snapshot::{AccountStore, SourceStore, documents::Documents, paths},
};

/// So long after a snapshot was forgotten, or a collection closed, its documents go: every worker that could know of the time
/// before has ended, and a year can be looked back on.
pub const THIN_AFTER: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thinned {
    /// Entries of logs.
    pub marks: usize,
    /// Documents of closed collections.
    pub collections: usize,
}

impl SourceStore {
    /// Deletes what nothing rests on any more of a source. Cut off, the next one goes on.
    ///
    /// # Errors
    /// `Corrupt` when a document that would tell its age is damaged; those of the port.
    pub async fn thin(&self, now: Timestamp) -> Result<Thinned> {
        let (before, documents) = (begin_of_memory(now)?, self.segments.documents());
        let marks = self.thin_marks(before).await?;
        Ok(Thinned { marks, collections: thin_collections(&documents, self.segments.shelf(), before).await? })
    }

    async fn thin_marks(&self, before: Timestamp) -> Result<usize> {
        let documents = self.segments.documents();
        let prefix = paths::marks(documents.scope.account_id(), self.segments.source_id);
        let mut paths = documents.list_all(&prefix).await?;
        // From the end of each log, so that what is left is a log without gaps at any moment.
        paths.reverse();
        let (mut removed, mut last) = (0, None::<(SnapshotId, bool)>);
        for entry in paths {
            let Some((snapshot_id, _)) = paths::parse_mark(&entry.path) else { continue };
            let is_over = match last {
                Some((of, is_over)) if of == snapshot_id => is_over,
                _ => self.is_long_gone(snapshot_id, before).await?,
            };
            last = Some((snapshot_id, is_over));
            if is_over {
                documents.blobs.delete(&documents.scope, &entry.path).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// True when it was forgotten before then, and its manifest went.
    async fn is_long_gone(&self, snapshot_id: SnapshotId, before: Timestamp) -> Result<bool> {
        if snapshot_id.instant_ms() > before.as_millisecond() {
            return Ok(false);
        }
        let Some(tombstone) = self.tombstone(snapshot_id).await? else { return Ok(false) };
        // A manifest that was locked after the decision stays for a while; the log says what became of it.
        Ok(tombstone.forgotten.at <= before
            && !self.segments.documents().exists(&self.snapshot_path(snapshot_id)).await?)
    }
}

impl AccountStore {
    /// Deletes what nothing rests on any more of the collections of the account's packs: how many documents. Cut off, the next one
    /// goes on.
    ///
    /// # Errors
    /// As [`SourceStore::thin`].
    pub async fn thin(&self, now: Timestamp) -> Result<usize> {
        let shelf = Shelf::Packs(self.scope.account_id());
        thin_collections(&self.documents(), shelf, begin_of_memory(now)?).await
    }
}

/// What is older may go.
fn begin_of_memory(now: Timestamp) -> Result<Timestamp> {
    now.checked_sub(THIN_AFTER).map_err(|error| {
        Error::new(ErrorKind::Invalid, "the clock stands at the beginning of all times").caused_by(error)
    })
}

async fn thin_collections(documents: &Documents, shelf: Shelf, before: Timestamp) -> Result<usize> {
    let open = documents.list_all(&paths::collections(shelf)).await?;
    // While a closed collection's other documents are there, only this one says that it is closed.
    let oldest_open = open.iter().filter_map(|entry| paths::parse_collection(&entry.path)).map(|(of, _)| of).min();
    let closed = documents.list_all(&paths::all_collected(shelf)).await?;
    let Some((_newest, older)) = closed.split_last() else { return Ok(0) };
    let mut removed = 0;
    for entry in older {
        let Some((number, _)) = paths::parse_collection(&entry.path) else { continue };
        if oldest_open.is_some_and(|open| open <= number) {
            break;
        }
        // Numbers follow time: the first that is younger ends it.
        if documents.read_document::<Collected>(&entry.path).await?.at > before {
            break;
        }
        documents.blobs.delete(&documents.scope, &entry.path).await?;
        removed += 1;
    }
    Ok(removed)
}
