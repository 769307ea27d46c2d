//! Letting go of one snapshot.
//!
//! 1. The decision is a mark in the snapshot's log ([`super::marks`]): made once, only when nothing protects the snapshot.
//! 2. A tombstone says what the manifest was, so that the chain can be proved through the gap.
//! 3. The manifest goes. From 2 on the snapshot is gone for everybody.
//!
//! Each step finds out by itself whether it was taken before, so a forgetting that was cut off goes on when it is repeated;
//! [`SourceStore::unfinished_forgets`] knows those that were.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::marks::{Act, Mark, MarkKind, gone};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{AccountId, RunId, SnapshotId, SourceId},
    snapshot::{FORMAT_VERSION, LoadedManifest, ParentRef, SourceStore, paths},
};

/// What is left of a forgotten snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tombstone {
    /// Version of the format.
    pub format: u32,
    /// Its id.
    pub snapshot_id: SnapshotId,
    /// Whose.
    pub account_id: AccountId,
    /// Of which source.
    pub source_id: SourceId,
    /// The run that made it.
    pub run_id: RunId,
    /// BLAKE3 of its stored manifest, in hex: what the next manifest names.
    pub digest: String,
    /// The snapshot before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentRef>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Live records that it had.
    pub records: u64,
    /// Who forgot it, why and when.
    pub forgotten: Act,
}

/// One place in the chain of a source's snapshots.
#[derive(Clone, Debug, PartialEq)]
pub enum Link {
    /// The snapshot is there.
    Kept(Box<LoadedManifest>),
    /// It was forgotten.
    Forgotten(Box<Tombstone>),
}

impl Link {
    /// The snapshot before.
    pub fn parent(&self) -> Option<&ParentRef> {
        match self {
            Self::Kept(loaded) => loaded.manifest.parent.as_ref(),
            Self::Forgotten(tombstone) => tombstone.parent.as_ref(),
        }
    }

    /// BLAKE3 of its stored manifest, in hex.
    pub fn digest(&self) -> &str {
        match self {
            Self::Kept(loaded) => &loaded.digest,
            Self::Forgotten(tombstone) => &tombstone.digest,
        }
    }
}

impl SourceStore {
    /// A snapshot of the chain, or what is left of it.
    ///
    /// # Errors
    /// `NotFound` when it is neither there nor forgotten; those of [`SourceStore::load`].
    pub async fn link(&self, snapshot_id: SnapshotId) -> Result<Link> {
        if let Some(tombstone) = self.tombstone(snapshot_id).await? {
            return Ok(Link::Forgotten(Box::new(tombstone)));
        }
        match self.load_stored(snapshot_id).await {
            Ok(loaded) => Ok(Link::Kept(Box::new(loaded))),
            // Forgotten since: the tombstone is there before the manifest goes.
            Err(error) if error.kind() == ErrorKind::NotFound => match self.tombstone(snapshot_id).await? {
                Some(tombstone) => Ok(Link::Forgotten(Box::new(tombstone))),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// What is left of a forgotten snapshot; `None` when it was not forgotten.
    ///
    /// # Errors
    /// `Corrupt` when it was altered or is that of another snapshot.
    pub async fn tombstone(&self, snapshot_id: SnapshotId) -> Result<Option<Tombstone>> {
        let path = self.tombstone_path(snapshot_id);
        let Some(tombstone) = self.segments.documents().find_document::<Tombstone>(&path).await? else {
            return Ok(None);
        };
        if tombstone.snapshot_id != snapshot_id || tombstone.source_id != self.segments.source_id {
            return Err(Error::new(ErrorKind::Corrupt, "the tombstone is that of another snapshot").with("path", path));
        }
        Ok(Some(tombstone))
    }

    /// Decides to forget a snapshot: from now on it can only go. `head` is the newest snapshot of the source.
    ///
    /// # Errors
    /// `Denied` for the head, and for a snapshot that is pinned, held or locked: nothing has happened then. `NotFound`.
    pub async fn decide_to_forget(&self, snapshot_id: SnapshotId, head: SnapshotId, act: Act) -> Result<()> {
        let refused = |why: String| {
            Error::new(ErrorKind::Denied, format!("the snapshot stays: {why}")).with("snapshot", snapshot_id)
        };
        if snapshot_id == head {
            return Err(refused("it is the newest of its source".to_owned()));
        }
        if !self.has_manifest(snapshot_id).await? {
            return Err(self.not_there(snapshot_id).await);
        }
        if let Some(until) = self.locked_until(snapshot_id).await?.filter(|until| *until > act.at) {
            return Err(refused(format!("it is locked until {until:.0}")));
        }
        // A manifest that cannot be read has no digest worth keeping: damage is looked at, not tidied away.
        self.load_stored(snapshot_id).await?;
        let now = act.at;
        let mark = Mark { kind: MarkKind::Forget, act };
        self.append(snapshot_id, &mark, |marks| match marks.protections(now).first() {
            _ if marks.forgotten.is_some() => Ok(false),
            Some(protection) => Err(refused(protection.to_string())),
            None => Ok(true),
        })
        .await
        .map(drop)
    }

    /// Carries a decision out: tombstone, then the manifest goes. Safe to repeat.
    ///
    /// # Errors
    /// `Bug` when nobody decided so; `Denied` when the manifest has been locked since: it stays until then, forgotten.
    pub async fn finish_forgetting(&self, snapshot_id: SnapshotId) -> Result<Tombstone> {
        let tombstone = match self.tombstone(snapshot_id).await? {
            Some(tombstone) => tombstone,
            None => self.bury(snapshot_id).await?,
        };
        self.segments.blobs.delete(&self.segments.scope, &self.snapshot_path(snapshot_id)).await?;
        Ok(tombstone)
    }

    async fn bury(&self, snapshot_id: SnapshotId) -> Result<Tombstone> {
        let Some(decision) = self.marks(snapshot_id).await?.forgotten else {
            return Err(Error::new(ErrorKind::Bug, "nobody decided to forget this snapshot").with("id", snapshot_id));
        };
        let LoadedManifest { manifest, digest, .. } = self.load_stored(snapshot_id).await?;
        let tombstone = Tombstone {
            format: FORMAT_VERSION,
            snapshot_id,
            account_id: self.segments.scope.account_id(),
            source_id: self.segments.source_id,
            run_id: manifest.run_id,
            digest,
            parent: manifest.parent,
            created_at: manifest.created_at,
            records: manifest.totals.records,
            forgotten: decision.act,
        };
        let path = self.tombstone_path(snapshot_id);
        if self.segments.documents().put_document(&path, &tombstone).await? {
            return Ok(tombstone);
        }
        self.segments.documents().read_document(&path).await
    }

    /// Snapshots that somebody decided to forget and whose manifest is still there.
    ///
    /// # Errors
    /// `Corrupt` when a mark is damaged.
    pub async fn unfinished_forgets(&self) -> Result<Vec<SnapshotId>> {
        let stored: BTreeSet<SnapshotId> = self.stored_manifests().await?.into_iter().collect();
        let marks = self.all_marks().await?;
        let decided = marks.into_iter().filter(|(_, marks)| marks.forgotten.is_some()).map(|(id, _)| id);
        Ok(decided.filter(|id| stored.contains(id)).collect())
    }

    /// The ids of all stored manifests, whatever was decided about them.
    pub(in crate::snapshot) async fn stored_manifests(&self) -> Result<Vec<SnapshotId>> {
        let prefix = paths::snapshots(self.segments.scope.account_id(), self.segments.source_id);
        let entries = self.segments.documents().list_all(&prefix).await?;
        Ok(entries.iter().filter_map(|entry| Some(paths::parse_snapshot(&entry.path)?.2)).collect())
    }

    /// True when the snapshot is there and not forgotten.
    pub(super) async fn has_manifest(&self, snapshot_id: SnapshotId) -> Result<bool> {
        Ok(!self.segments.documents().exists(&self.tombstone_path(snapshot_id)).await?
            && self.segments.documents().exists(&self.snapshot_path(snapshot_id)).await?)
    }

    /// The error for a snapshot that is not there: what became of it, where that is known.
    pub(crate) async fn not_there(&self, snapshot_id: SnapshotId) -> Error {
        match self.tombstone(snapshot_id).await {
            Ok(Some(tombstone)) => gone(snapshot_id, &Mark { kind: MarkKind::Forget, act: tombstone.forgotten }),
            Ok(None) => Error::new(ErrorKind::NotFound, "there is no such snapshot").with("snapshot", snapshot_id),
            Err(error) => error,
        }
    }

    pub(crate) fn tombstone_path(&self, snapshot_id: SnapshotId) -> String {
        paths::tombstone(self.segments.scope.account_id(), self.segments.source_id, snapshot_id)
    }
}
