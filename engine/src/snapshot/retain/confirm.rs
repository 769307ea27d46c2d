//! The writers' side of collecting: before a segment is named in a checkpoint or manifest, it is made sure that no collection
//! takes it away. Why this suffices stands in [`super::collect`].

use std::{collections::BTreeSet, time::Duration};

use super::documents::{Collected, Doomed, Rescue};
use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::{SegmentId, SegmentRef, paths, segments::Segments},
};

/// A sweep takes seconds.
const WAIT: Duration = Duration::from_secs(15);

/// The collections that were open when a writer began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(BTreeSet<u32>);

impl Watch {
    /// To be called before the first segment is put.
    ///
    /// # Errors
    /// Those of the port.
    pub(crate) async fn begin(segments: &Segments) -> Result<Self> {
        open_collections(segments).await.map(Self)
    }

    /// Makes sure that segments, which were put, stay. To be called before they are named.
    ///
    /// # Errors
    /// `Retry` when a collection is deleting one of them, or has: they must be put again, after a while.
    pub(crate) async fn confirm(&self, segments: &Segments, own: &[SegmentRef]) -> Result<()> {
        if own.is_empty() {
            return Ok(());
        }
        let own: BTreeSet<SegmentId> = own.iter().map(|reference| reference.id).collect();
        let mut numbers = open_collections(segments).await?;
        numbers.extend(&self.0);
        for number in numbers {
            confirm_against(segments, number, &own).await?;
        }
        Ok(())
    }
}

async fn open_collections(segments: &Segments) -> Result<BTreeSet<u32>> {
    let prefix = paths::collections(segments.scope.account_id(), segments.source_id);
    let entries = segments.list_all(&prefix).await?;
    let kinds = entries.iter().filter_map(|entry| paths::parse_collection(&entry.path));
    Ok(kinds.filter(|(_, kind)| *kind == "doomed").map(|(number, _)| number).collect())
}

async fn confirm_against(segments: &Segments, number: u32, own: &BTreeSet<SegmentId>) -> Result<()> {
    let (account_id, source_id) = (segments.scope.account_id(), segments.source_id);
    let collected = paths::collected(account_id, source_id, number);
    if let Some(collected) = segments.find_document::<Collected>(&collected).await? {
        let candidates = collected.deleted.iter().chain(&collected.kept).map(|candidate| candidate.id);
        return all_there(segments, candidates.filter(|id| own.contains(id))).await;
    }
    let path = |kind: &str| paths::collection(account_id, source_id, number, kind);
    // It was there a moment ago: by now the collection is closed.
    let Some(doomed) = segments.find_document::<Doomed>(&path("doomed")).await? else {
        return Err(try_again("a collection has just ended"));
    };
    let needed: Vec<SegmentId> =
        doomed.candidates.iter().map(|candidate| candidate.id).filter(|id| own.contains(id)).collect();
    for id in &needed {
        segments.put_document(&path(&paths::rescue(*id)), &Rescue { id: *id }).await?;
    }
    // In this order: that sweeping has begun is forgotten only after the collection was closed.
    if !needed.is_empty() && (segments.exists(&path("sweeping")).await? || segments.exists(&collected).await?) {
        return Err(try_again("a segment of the same content is being deleted"));
    }
    Ok(())
}

async fn all_there(segments: &Segments, ids: impl Iterator<Item = SegmentId>) -> Result<()> {
    for id in ids {
        let path = paths::segment(segments.scope.account_id(), segments.source_id, id);
        if !segments.exists(&path).await? {
            return Err(try_again("a segment of the same content was deleted meanwhile"));
        }
    }
    Ok(())
}

fn try_again(what: &'static str) -> Error {
    Error::new(ErrorKind::Retry, format!("{what}; the stream goes on from its last checkpoint")).after(WAIT)
}
