//! The second phase of a collection: deleting what is still unreferenced. Why that is safe stands in [`super::collect`].

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{
    collect::{AT_A_TIME, Collection, SWEEP_MAX, TAKE_OVER_AFTER},
    documents::{Candidate, Collected, Doomed, Sweeping},
    shelf::ItemId,
};
use crate::{
    error::{ErrorKind, Result},
    invariants,
    snapshot::paths,
};

impl Collection<'_> {
    /// Sweeps the open collection and closes it; `None` when that is another worker's affair.
    ///
    /// # Errors
    /// As [`Collection::advance`].
    pub(super) async fn sweep(&self, number: u32) -> Result<Option<Collected>> {
        let Some(began_at) = self.begin(number).await? else { return Ok(None) };
        let Some(doomed) = self.document::<Doomed>(number, "doomed").await? else { return Ok(None) };
        // The order of these three is part of the argument: rescues, checkpoints, manifests.
        let mut needed = self.rescued(number).await?;
        let live = (self.live)().await?.named(self.shelf());
        let kept_by_snapshots = self.what.named(true).await?;
        needed.extend(live.iter().chain(&kept_by_snapshots).copied());
        let (mut kept, to_delete): (Vec<_>, Vec<_>) =
            doomed.candidates.into_iter().partition(|candidate| needed.contains(&candidate.id));
        invariants::held(|| {
            to_delete.iter().try_for_each(|candidate| {
                let (is_live, is_kept) = (live.contains(&candidate.id), kept_by_snapshots.contains(&candidate.id));
                invariants::collectable(candidate.id, is_live, is_kept)
            })
        });
        let swept = stream::iter(to_delete)
            .map(|candidate| async move { self.delete(&candidate, began_at).await.map(|done| (done, candidate)) })
            .buffered(AT_A_TIME);
        let swept: Vec<(bool, Candidate)> = swept.try_collect().await?;
        let (deleted, left): (Vec<_>, Vec<_>) = swept.into_iter().partition(|(is_deleted, _)| *is_deleted);
        kept.extend(left.into_iter().map(|(_, candidate)| candidate));
        let deleted = deleted.into_iter().map(|(_, candidate)| candidate).collect();
        self.close(number, Collected { doomed_at: doomed.at, at: self.clock.now(), deleted, kept }).await.map(Some)
    }

    /// Takes the right to delete; the instant from which it counts.
    async fn begin(&self, number: u32) -> Result<Option<Timestamp>> {
        let (now, path) = (self.clock.now(), self.path(number, "sweeping"));
        let ours = Sweeping { at: now, by: self.by.clone() };
        if !self.documents().put_document(&path, &ours).await? {
            let Some(theirs) = self.document::<Sweeping>(number, "sweeping").await? else { return Ok(None) };
            // The answer to our own put may have got lost.
            let is_ours = theirs == ours;
            if !is_ours && !self.is_sole_worker && theirs.at + TAKE_OVER_AFTER > now {
                return Ok(None);
            }
        }
        // One that was slow to begin may come after another has ended, whose documents are gone again.
        let is_closed = self.documents().exists(&self.collected_path(number)).await?;
        Ok((!is_closed).then_some(now))
    }

    async fn rescued(&self, number: u32) -> Result<BTreeSet<ItemId>> {
        let entries = self.documents().list_all(&paths::collections(self.shelf())).await?;
        let kinds = entries.iter().filter_map(|entry| paths::parse_collection(&entry.path));
        Ok(kinds.filter(|(of, _)| *of == number).filter_map(|(_, kind)| paths::parse_rescue(kind)).collect())
    }

    /// False when it stays: it is locked, or the sweeper's time is up.
    async fn delete(&self, candidate: &Candidate, began_at: Timestamp) -> Result<bool> {
        if self.clock.now() >= began_at + SWEEP_MAX {
            return Ok(false);
        }
        let (documents, path) = (self.documents(), paths::item(self.shelf(), candidate.id));
        match documents.blobs.delete(&documents.scope, &path).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Denied => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn close(&self, number: u32, collected: Collected) -> Result<Collected> {
        let path = self.collected_path(number);
        if self.documents().put_document(&path, &collected).await? {
            return Ok(collected);
        }
        self.documents().read_document(&path).await
    }

    fn collected_path(&self, number: u32) -> String {
        paths::collected(self.shelf(), number)
    }
}
