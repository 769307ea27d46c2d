//! What the stored manifests of a source, or of all sources of an account, name.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    collect::AT_A_TIME,
    shelf::{ItemId, Shelf},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::SnapshotId,
    ports::BlobEntry,
    snapshot::{AccountStore, Manifest, SourceStore, documents::Documents, owner_of, paths},
};

/// What can be collected.
#[derive(Clone)]
pub enum Collectable {
    /// The segments of a source.
    Segments(SourceStore),
    /// The packs of an account.
    Packs(AccountStore),
}

impl Collectable {
    /// The shelf.
    pub(super) fn shelf(&self) -> Shelf {
        match self {
            Self::Segments(store) => store.segments.shelf(),
            Self::Packs(account) => Shelf::Packs(account.scope.account_id()),
        }
    }

    /// The documents beside it.
    pub(super) fn documents(&self) -> Documents {
        match self {
            Self::Segments(store) => store.segments.documents(),
            Self::Packs(account) => account.documents(),
        }
    }

    /// What any stored manifest names, also one that was never committed. With `keeps`, lists of packs that had to be made are kept
    /// for the next time, and those that nothing needs any more go.
    ///
    /// # Errors
    /// `Corrupt` when a manifest, or what names the packs of its attachments, cannot be read.
    pub(super) async fn named(&self, keeps: bool) -> Result<BTreeSet<ItemId>> {
        self.named_by(keeps, &Which::All).await
    }

    /// What these snapshots name and no other stored one does: how many objects, and their bytes together. Changes nothing.
    ///
    /// # Errors
    /// `Corrupt` when a manifest, or what names the packs of its attachments, cannot be read.
    pub async fn named_only_by(&self, snapshots: &BTreeSet<SnapshotId>) -> Result<(u64, u64)> {
        let mut lost = self.named_by(false, &Which::These(snapshots)).await?;
        let kept = self.named_by(false, &Which::AllBut(snapshots)).await?;
        lost.retain(|id| !kept.contains(id));
        let stored = self.documents().list_all(&paths::items(self.shelf())).await?;
        let is_lost =
            |entry: &&BlobEntry| paths::parse_item(self.shelf(), &entry.path).is_some_and(|id| lost.contains(&id));
        let (count, bytes) =
            stored.iter().filter(is_lost).fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.size_bytes));
        Ok((count, bytes))
    }

    async fn named_by(&self, keeps: bool, which: &Which<'_>) -> Result<BTreeSet<ItemId>> {
        match self {
            Self::Segments(store) => Names::of(store, false, keeps).read(which).await,
            Self::Packs(account) => {
                let mut all = BTreeSet::new();
                for source_id in account.sources().await? {
                    all.extend(Names::of(&account.source(source_id), true, keeps).read(which).await?);
                }
                Ok(all)
            }
        }
    }
}

/// Which snapshots are asked.
enum Which<'a> {
    All,
    These(&'a BTreeSet<SnapshotId>),
    AllBut(&'a BTreeSet<SnapshotId>),
}

impl Which<'_> {
    fn has(&self, snapshot_id: SnapshotId) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.contains(&snapshot_id),
            Self::AllBut(others) => !others.contains(&snapshot_id),
        }
    }
}

/// Reading what the manifests of one source name.
struct Names<'a> {
    store: &'a SourceStore,
    /// Of packs, not of segments.
    of_packs: bool,
    keeps: bool,
    found: BTreeSet<ItemId>,
    /// Lists of packs that were read, by their paths.
    lists: BTreeSet<String>,
}

impl<'a> Names<'a> {
    fn of(store: &'a SourceStore, of_packs: bool, keeps: bool) -> Self {
        Self { store, of_packs, keeps, found: BTreeSet::new(), lists: BTreeSet::new() }
    }

    /// Reads all manifests, and those that came meanwhile when one was forgotten meanwhile: why stands in [`super::collect`].
    async fn read(mut self, which: &Which<'_>) -> Result<BTreeSet<ItemId>> {
        let (store, mut known) = (self.store, BTreeSet::new());
        loop {
            let mut new = store.stored_manifests().await?;
            new.retain(|id| which.has(*id) && known.insert(*id));
            let mut manifests =
                stream::iter(new).map(|id| async move { present(store, id).await }).buffer_unordered(AT_A_TIME);
            let mut is_whole = true;
            while let Some(manifest) = manifests.try_next().await? {
                is_whole &= match manifest {
                    Some(manifest) => self.take(&manifest).await?,
                    None => false,
                };
            }
            if is_whole {
                break;
            }
        }
        if self.of_packs && self.keeps {
            self.store.delete_pack_lists_but(&self.lists).await?;
        }
        Ok(self.found)
    }

    /// Takes what a manifest names; false when it was forgotten meanwhile.
    ///
    /// # Errors
    /// `Corrupt` with the way out when what names its attachments cannot be read.
    async fn take(&mut self, manifest: &Manifest) -> Result<bool> {
        if !self.of_packs {
            let segments = manifest.streams.values().flat_map(|stream| &stream.segments);
            self.found.extend(segments.map(|segment| ItemId::from(segment.id)));
            return Ok(true);
        }
        for (stream, state) in manifest.streams.iter().filter(|(name, _)| owner_of(name).is_some()) {
            let list = self.store.pack_list_path(stream, state);
            if self.lists.contains(&list) {
                continue;
            }
            match self.store.needed_packs(stream, state, self.keeps).await {
                Ok(needed) => {
                    self.found.extend(needed.keys().map(|pack| ItemId::from(pack.id())));
                    self.lists.insert(list);
                }
                // Its segments may be gone with it.
                Err(error)
                    if error.kind() == ErrorKind::Corrupt
                        && self.store.tombstone(manifest.snapshot_id).await?.is_some() =>
                {
                    return Ok(false);
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => return Err(unknowable(manifest, &error)),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// What names the attachments of a snapshot is damaged or gone. Nobody knows which packs it needs then, and each of them may be
/// the last copy of a file that comes back with the missing object: so nothing is deleted until a person has decided. That holds
/// for a manifest too that was never committed: its run may still do so.
fn unknowable(manifest: &Manifest, error: &Error) -> Error {
    let message = "nobody can tell which attachments this snapshot needs, so none are deleted; bring the object back from a \
                   copy, or let go of the snapshot with `listbackup forget --snapshot ID`";
    let mut unknowable = Error::new(ErrorKind::Corrupt, message).with("snapshot", manifest.snapshot_id);
    unknowable = unknowable.with("because", error.message());
    error.context().iter().fold(unknowable, |told, (name, value)| told.with(name, value))
}

/// A manifest that was listed; `None` when it was forgotten since.
async fn present(store: &SourceStore, snapshot_id: SnapshotId) -> Result<Option<Manifest>> {
    match store.load_stored(snapshot_id).await {
        Ok(loaded) => Ok(Some(loaded.manifest)),
        Err(error) if error.kind() == ErrorKind::NotFound && store.tombstone(snapshot_id).await?.is_some() => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let message = "a manifest vanished while it was to be read for collecting; nothing is deleted";
            Err(Error::new(ErrorKind::Corrupt, message).with("snapshot", snapshot_id))
        }
        Err(error) => Err(error),
    }
}
