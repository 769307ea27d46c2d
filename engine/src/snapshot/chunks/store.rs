//! The chunks of one account: which are stored, putting packs, reading a chunk.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::{
    ChunkId, PackId, PackRef, Spot, corrupt,
    known::Known,
    pack::{self, SealedPack, TRAILER_BYTES, Trailer},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{AccountId, scope::AccountScope},
    offload::offload,
    ports::{Blobs, PutOutcome},
    snapshot::{
        documents::Documents,
        keys::KeyRing,
        paths,
        retain::{ItemId, confirm::confirm_packs},
        store::StoreSettings,
    },
};

/// The first read of a pack's index takes so many bytes from the end: a pack of usual chunks needs a twentieth.
const TAIL_BYTES: u64 = 16 << 10;

type SharedKnown = Arc<tokio::sync::Mutex<Known>>;

/// What is known of the chunks of each account that this process wrote attachments for.
#[derive(Clone, Default)]
pub(crate) struct ChunkTables(Arc<Mutex<BTreeMap<AccountId, SharedKnown>>>);

impl ChunkTables {
    fn of(&self, account_id: AccountId, scratch_dir: Option<&PathBuf>) -> SharedKnown {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(tokio::sync::Mutex::new(Known::new(scratch_dir.cloned())));
        tables.entry(account_id).or_insert_with(new).clone()
    }

    /// Forgets an account.
    pub(crate) fn remove(&self, account_id: AccountId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&account_id);
    }
}

/// The chunks of one account.
#[derive(Clone)]
pub(crate) struct Chunks {
    blobs: Arc<dyn Blobs>,
    scope: AccountScope,
    ring: Arc<KeyRing>,
    known: SharedKnown,
    settings: Arc<StoreSettings>,
}

impl Chunks {
    /// Over an account's objects.
    pub(crate) fn new(
        blobs: Arc<dyn Blobs>,
        scope: AccountScope,
        ring: Arc<KeyRing>,
        tables: &ChunkTables,
        settings: Arc<StoreSettings>,
    ) -> Self {
        let known = tables.of(scope.account_id(), settings.scratch_dir.as_ref());
        Self { blobs, scope, ring, known, settings }
    }

    /// The account's keys.
    pub(super) fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    /// Whose.
    pub(super) fn account_id(&self) -> AccountId {
        self.scope.account_id()
    }

    /// How the store works.
    pub(super) fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// Learns what other writers stored: reads the index of every pack that is not known yet. A damaged one is passed over:
    /// its chunks will be stored again.
    ///
    /// # Errors
    /// Those of the port.
    pub(super) async fn refresh(&self) -> Result<()> {
        let stored = self.list().await?;
        let mut known = self.known.lock().await;
        known.keep_within(&stored.keys().copied().collect())?;
        for (id, size_bytes) in stored {
            if known.has(id) {
                continue;
            }
            match self.index(&paths::pack(self.account_id(), id), size_bytes, id, None).await {
                Ok((pack, chunks)) => known.add(pack, &chunks)?,
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                    tracing::warn!(%error, "a pack cannot be used again: its chunks will be stored anew");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The sizes of all stored packs, in bytes.
    ///
    /// # Errors
    /// Those of the port.
    pub(crate) async fn list(&self) -> Result<BTreeMap<PackId, u64>> {
        let entries = self.documents().list_all(&self.prefix()).await?;
        Ok(entries.iter().filter_map(|entry| Some((paths::parse_pack(&entry.path)?, entry.size_bytes))).collect())
    }

    /// Makes sure that packs, which were put or found, stay: to be called before they are named.
    ///
    /// # Errors
    /// `Retry` when one of them is being collected, or was: it must not be named.
    pub(crate) async fn confirm(&self, packs: &BTreeSet<PackId>) -> Result<()> {
        let packs = packs.iter().map(|pack| ItemId::from(*pack)).collect();
        confirm_packs(&self.documents(), &packs).await
    }

    fn documents(&self) -> Documents {
        Documents { blobs: self.blobs.clone(), scope: self.scope, ring: self.ring.clone() }
    }

    /// A pack's index; `epoch` is what names of it say, where there are any.
    async fn index(
        &self,
        path: &str,
        size_bytes: u64,
        id: PackId,
        epoch: Option<u32>,
    ) -> Result<(PackRef, Vec<(ChunkId, Spot)>)> {
        let named = |error: Error| error.with("path", path);
        let start = size_bytes.saturating_sub(TAIL_BYTES);
        let tail = self.blobs.get_range(&self.scope, path, start..size_bytes).await?;
        let (_, trailer) =
            tail.split_last_chunk::<TRAILER_BYTES>().ok_or_else(|| named(corrupt("the pack is cut short")))?;
        let trailer = Trailer::read(trailer, size_bytes).map_err(named)?;
        if epoch.is_some_and(|epoch| epoch != trailer.epoch) {
            return Err(named(corrupt("the pack says another epoch than those who name it")));
        }
        let end = size_bytes - TRAILER_BYTES as u64;
        let sealed = match trailer.footer_offset.checked_sub(start) {
            Some(from) => tail.slice(from as usize..(end - start) as usize),
            None => self.blobs.get_range(&self.scope, path, trailer.footer_offset..end).await?,
        };
        let key = self.ring.epoch(trailer.epoch).await?.pack_key(id)?;
        let chunks = trailer.open_footer(&key, path, sealed).map_err(named)?;
        Ok((PackRef(id, trailer.epoch), chunks))
    }

    /// The chunks that a pack lists, with their ids.
    ///
    /// # Errors
    /// `Corrupt` when the pack is missing, or its index was altered or belongs elsewhere.
    pub(crate) async fn listed(&self, pack: PackRef) -> Result<Vec<(ChunkId, Spot)>> {
        let path = self.path(pack);
        let Some(size_bytes) = self.blobs.size(&self.scope, &path).await? else {
            return Err(corrupt("a pack is missing").with("path", path));
        };
        let (_, chunks) = self.index(&path, size_bytes, pack.id(), Some(pack.epoch())).await?;
        Ok(chunks)
    }

    /// Reads a chunk and makes sure that it is the one of that id.
    ///
    /// # Errors
    /// `Corrupt`, with the pack's path, when it is not, or is missing or damaged.
    pub(crate) async fn check(&self, pack: PackRef, id: ChunkId, spot: Spot) -> Result<()> {
        if self.ring.hashers().chunk(&self.read(pack, spot).await?) == id {
            return Ok(());
        }
        Err(corrupt("a chunk is not the one that the pack lists").with("path", self.path(pack)))
    }

    /// Where a chunk is stored, if it is.
    ///
    /// # Errors
    /// `Exhausted` when the scratch file cannot be read.
    pub(super) async fn find(&self, id: &ChunkId) -> Result<Option<(PackRef, Spot)>> {
        self.known.lock().await.find(id)
    }

    /// Stores a pack. One with this content may be there already; it is compared and kept.
    ///
    /// # Errors
    /// `Corrupt` when the object in its place is another one; those of the port.
    pub(super) async fn put(&self, pack: &SealedPack) -> Result<PutOutcome> {
        let outcome = self.blobs.put_if_absent(&self.scope, &pack.path, pack.object.clone()).await?;
        if outcome == PutOutcome::Exists && self.blobs.get(&self.scope, &pack.path).await? != pack.object {
            let message = "a damaged object is in the place of a pack: remove it";
            return Err(Error::new(ErrorKind::Corrupt, message).with("path", &pack.path));
        }
        self.known.lock().await.add(pack.reference, &pack.chunks)?;
        Ok(outcome)
    }

    /// Where a pack is stored.
    pub(crate) fn path(&self, pack: PackRef) -> String {
        paths::pack(self.account_id(), pack.id())
    }

    /// Where the account's packs are stored.
    pub(crate) fn prefix(&self) -> String {
        paths::packs(self.account_id())
    }

    /// Size of a pack's object; `None` when it is not there.
    ///
    /// # Errors
    /// Those of the port.
    pub(crate) async fn size(&self, pack: PackRef) -> Result<Option<u64>> {
        self.blobs.size(&self.scope, &self.path(pack)).await
    }

    /// The plain bytes of a chunk, authenticated.
    ///
    /// # Errors
    /// `Corrupt`, with the pack's path, when the chunk is missing, damaged, or belongs elsewhere.
    pub(super) async fn read(&self, pack: PackRef, spot: Spot) -> Result<Bytes> {
        let path = self.path(pack);
        let named = |error: Error| error.with("path", &path).with("chunk", spot.number);
        let key = self.ring.epoch(pack.epoch()).await?.pack_key(pack.id())?;
        let range = u64::from(spot.offset)..u64::from(spot.offset) + u64::from(spot.sealed_bytes);
        let sealed = self.blobs.get_range(&self.scope, &path, range).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => named(corrupt("a pack is missing").caused_by(error)),
            ErrorKind::Corrupt => named(corrupt("the pack is cut short").caused_by(error)),
            _ => error,
        })?;
        let opening_path = path.clone();
        let open = move || pack::open_chunk(&key, &opening_path, &spot, sealed);
        offload("reading a chunk", open).await?.map_err(named)
    }
}
