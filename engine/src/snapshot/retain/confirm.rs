//! The writers' side of collecting: before a segment or pack is named in a checkpoint or manifest, it is made sure that no
//! collection takes it away. Why this suffices stands in [`super::collect`].

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    collect::AT_A_TIME,
    documents::{Collected, Doomed, Rescue},
    shelf::{ItemId, Shelf},
};
use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::{SegmentRef, documents::Documents, paths, segments::Segments},
};

/// A sweep takes seconds.
const WAIT: Duration = Duration::from_secs(15);

/// The collections of a source's segments that were open when a writer began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(BTreeSet<u32>);

impl Watch {
    /// To be called before the first segment is put.
    ///
    /// # Errors
    /// Those of the port.
    pub(crate) async fn begin(segments: &Segments) -> Result<Self> {
        open_collections(&segments.documents(), segments.shelf()).await.map(Self)
    }

    /// Makes sure that segments, which were put, stay. To be called before they are named.
    ///
    /// # Errors
    /// `Retry` when a collection is deleting one of them, or has: they must be put again, after a while.
    pub(crate) async fn confirm(&self, segments: &Segments, own: &[SegmentRef]) -> Result<()> {
        if own.is_empty() {
            return Ok(());
        }
        let own: BTreeSet<ItemId> = own.iter().map(|reference| ItemId::from(reference.id)).collect();
        let (documents, shelf) = (segments.documents(), segments.shelf());
        let mut numbers = open_collections(&documents, shelf).await?;
        numbers.extend(&self.0);
        for number in numbers {
            confirm_against(&documents, shelf, number, &own).await?;
        }
        Ok(())
    }
}

/// Makes sure that packs, which were put or found, stay. To be called before they are named.
///
/// # Errors
/// `Retry` when a collection is deleting one of them, or has: their chunks must be looked up and put again, after a while.
pub(crate) async fn confirm_packs(documents: &Documents, own: &BTreeSet<ItemId>) -> Result<()> {
    if own.is_empty() {
        return Ok(());
    }
    let shelf = Shelf::Packs(documents.scope.account_id());
    for number in open_collections(documents, shelf).await? {
        confirm_against(documents, shelf, number, own).await?;
    }
    all_there(documents, shelf, own.iter().copied()).await
}

async fn open_collections(documents: &Documents, shelf: Shelf) -> Result<BTreeSet<u32>> {
    let entries = documents.list_all(&paths::collections(shelf)).await?;
    let kinds = entries.iter().filter_map(|entry| paths::parse_collection(&entry.path));
    Ok(kinds.filter(|(_, kind)| *kind == "doomed").map(|(number, _)| number).collect())
}

async fn confirm_against(documents: &Documents, shelf: Shelf, number: u32, own: &BTreeSet<ItemId>) -> Result<()> {
    let collected = paths::collected(shelf, number);
    if let Some(collected) = documents.find_document::<Collected>(&collected).await? {
        let candidates = collected.deleted.iter().chain(&collected.kept).map(|candidate| candidate.id);
        return all_there(documents, shelf, candidates.filter(|id| own.contains(id))).await;
    }
    let path = |kind: &str| paths::collection(shelf, number, kind);
    // It was there a moment ago: by now the collection is closed.
    let Some(doomed) = documents.find_document::<Doomed>(&path("doomed")).await? else {
        return Err(try_again("a collection has just ended"));
    };
    let needed: Vec<ItemId> =
        doomed.candidates.iter().map(|candidate| candidate.id).filter(|id| own.contains(id)).collect();
    for id in &needed {
        documents.put_document(&path(&paths::rescue(*id)), &Rescue { id: *id }).await?;
    }
    // In this order: that sweeping has begun is forgotten only after the collection was closed.
    if !needed.is_empty() && (documents.exists(&path("sweeping")).await? || documents.exists(&collected).await?) {
        return Err(try_again(&format!("a {} of the same content is being deleted", shelf.noun())));
    }
    Ok(())
}

async fn all_there(documents: &Documents, shelf: Shelf, ids: impl Iterator<Item = ItemId> + Send) -> Result<()> {
    let paths: Vec<String> = ids.map(|id| paths::item(shelf, id)).collect();
    let looks = stream::iter(paths).map(|path| async move { documents.exists(&path).await }).buffered(AT_A_TIME);
    if looks.try_all(|is_there| async move { is_there }).await? {
        return Ok(());
    }
    Err(try_again(&format!("a {} of the same content was deleted meanwhile", shelf.noun())))
}

fn try_again(what: &str) -> Error {
    Error::new(ErrorKind::Retry, format!("{what}; the stream goes on from its last checkpoint")).after(WAIT)
}
