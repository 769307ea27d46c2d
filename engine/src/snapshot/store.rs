//! The store as a whole: settings, shared caches, and the way to a source's part of it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    account_store::AccountStore,
    chunks::{ChunkTables, Chunks},
    keys::{KeyRing, KeyRotation},
    lookup::{LookupSettings, SpillMap},
    segment::{Packer, SealedSegment, SegmentContext, SortBuffer},
    segments::Caches,
    source_store::SourceStore,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{AccountId, SourceId, scope::AccountScope},
    offload::offload,
    ports::{Blobs, Keys, Random},
};

/// How the store works. Reading never depends on it.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// How hard blocks are compressed. On contacts of 1 KB in blocks of 512 KiB, level 3 takes 4 % less space than level 1 and
    /// a fifth more of its time, which is two fifths of a first backup's.
    pub zstd_level: i32,
    /// A block is closed when its records take so many bytes. 256 KiB instead of 512 KiB costs 6 bytes a record of 1 KB.
    pub block_bytes: usize,
    /// A segment is made when its records take so many bytes of memory. Each stream being read has one such buffer.
    pub segment_bytes: usize,
    /// Segments being compressed, sealed and put at a time, over all streams.
    pub sealers_max: usize,
    /// Memory for blocks read lately, in bytes.
    pub block_cache_bytes: u64,
    /// Memory for the parent's fingerprints while a stream is read, and as much again for those of the run itself, in
    /// bytes. Those that do not fit are in a scratch file, 14 bytes a record.
    pub lookup_bytes: usize,
    /// What chunks of attachments take on the average, in bytes; at most 1 MiB. None is larger than four of these, and none
    /// but the last of an attachment smaller than a quarter. Another value finds none of the chunks stored before.
    pub chunk_bytes: usize,
    /// A pack of chunks is closed when it is larger, in bytes.
    pub pack_bytes: usize,
    /// Directory of scratch files; the system's directory for temporary files when absent.
    pub scratch_dir: Option<PathBuf>,
}

impl StoreSettings {
    pub(super) fn lookup(&self) -> LookupSettings {
        LookupSettings { rows_bytes: self.lookup_bytes, scratch_dir: self.scratch_dir.clone() }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            zstd_level: 1,
            block_bytes: 512 << 10,
            segment_bytes: 8 << 20,
            sealers_max: 2,
            block_cache_bytes: 16 << 20,
            lookup_bytes: 8 << 20,
            chunk_bytes: 1 << 20,
            pack_bytes: 16 << 20,
            scratch_dir: None,
        }
    }
}

/// The snapshot store.
pub struct SnapshotStore {
    blobs: Arc<dyn Blobs>,
    keys: Arc<dyn Keys>,
    settings: Arc<StoreSettings>,
    caches: Caches,
    sealers: Arc<Sealers>,
    rings: Mutex<BTreeMap<AccountId, Arc<KeyRing>>>,
    chunk_tables: ChunkTables,
}

impl SnapshotStore {
    /// Over the ports for objects and keys.
    pub fn new(blobs: Arc<dyn Blobs>, keys: Arc<dyn Keys>, settings: StoreSettings) -> Self {
        Self {
            blobs,
            keys,
            caches: Caches::new(settings.block_cache_bytes),
            sealers: Arc::new(Sealers::new(&settings)),
            settings: Arc::new(settings),
            rings: Mutex::default(),
            chunk_tables: ChunkTables::default(),
        }
    }

    /// The part of one source. An account without data key gets its first. What other processes did to the account's keys is
    /// learnt here, by one listing: new objects are sealed under the newest.
    ///
    /// # Errors
    /// `Denied` when the account's keys were destroyed, `Corrupt` when a stored one was altered or is missing, and those of the
    /// ports.
    pub async fn source(&self, scope: &AccountScope, source_id: SourceId) -> Result<SourceStore> {
        Ok(self.account(scope).await?.source(source_id))
    }

    /// What an account keeps beside its sources. An account without data key gets its first.
    ///
    /// # Errors
    /// Those of [`SnapshotStore::source`].
    pub async fn account(&self, scope: &AccountScope) -> Result<AccountStore> {
        Ok(self.account_with(self.ring(scope).await?, scope))
    }

    /// The part of an account, with keys that are open.
    pub(super) fn account_with(&self, ring: Arc<KeyRing>, scope: &AccountScope) -> AccountStore {
        let (blobs, settings) = (self.blobs.clone(), self.settings.clone());
        let chunks = Chunks::new(blobs.clone(), *scope, ring.clone(), &self.chunk_tables, settings.clone());
        let (caches, sealers) = (self.caches.clone(), self.sealers.clone());
        AccountStore { blobs, ring, scope: *scope, chunks, caches, settings, sealers }
    }

    /// Gives an account a new data key, under which all new objects are sealed from now on: by this process at once, by others
    /// when they next open the account. What is stored stays as it is and readable, and so does what is being written.
    ///
    /// # Errors
    /// `Denied` when the account's keys were destroyed; `Exhausted` after 10,000 rotations; those of the ports.
    pub async fn rotate_key(&self, scope: &AccountScope) -> Result<KeyRotation> {
        self.ring(scope).await?.rotate().await
    }

    /// An empty map for work on stored records that must not grow in memory. Its secrets are drawn from `random`.
    ///
    /// # Errors
    /// Those of [`SpillMap::new`].
    pub(crate) fn spill_map(&self, random: &dyn Random) -> Result<SpillMap> {
        SpillMap::new(self.settings.scratch_dir.clone(), random)
    }

    pub(super) fn blobs(&self) -> &Arc<dyn Blobs> {
        &self.blobs
    }

    /// What wraps data keys.
    pub(super) fn master(&self) -> &dyn Keys {
        &*self.keys
    }

    /// Keys that nobody else uses, as they are now.
    pub(super) async fn own_ring(&self, scope: &AccountScope) -> Result<KeyRing> {
        KeyRing::open(self.blobs.clone(), self.keys.clone(), scope).await
    }

    /// Keys that are to be destroyed.
    pub(super) async fn condemned_ring(&self, scope: &AccountScope, epoch: u32) -> Result<KeyRing> {
        KeyRing::open_at(self.blobs.clone(), self.keys.clone(), scope, epoch).await
    }

    /// Forgets an account whose keys were destroyed: its keys, and what was read with them.
    pub(super) async fn let_go_of(&self, account_id: AccountId) {
        let ring = self.rings().remove(&account_id);
        if let Some(ring) = ring {
            // Whoever still holds them learns it by this; that they are gone is no news here.
            let _ = ring.refresh().await;
        }
        self.chunk_tables.remove(account_id);
        self.caches.clear();
    }

    async fn ring(&self, scope: &AccountScope) -> Result<Arc<KeyRing>> {
        let account_id = scope.account_id();
        let known = self.rings().get(&account_id).cloned();
        if let Some(ring) = known {
            match ring.refresh().await {
                Ok(()) => return Ok(ring),
                Err(error) if ring.check().is_ok() => return Err(error),
                // Destroyed, unless that was taken back: opening anew tells.
                Err(_) => self.let_go_of(account_id).await,
            }
        }
        let ring = Arc::new(self.own_ring(scope).await?);
        Ok(self.rings().entry(account_id).or_insert(ring).clone())
    }

    fn rings(&self) -> std::sync::MutexGuard<'_, BTreeMap<AccountId, Arc<KeyRing>>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bounded number of places where segments are made, each with its memory for compression.
pub(crate) struct Sealers {
    permits: Arc<Semaphore>,
    packers: Mutex<Vec<Packer>>,
    zstd_level: i32,
}

impl Sealers {
    fn new(settings: &StoreSettings) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(settings.sealers_max.max(1))),
            packers: Mutex::default(),
            zstd_level: settings.zstd_level,
        }
    }

    /// Waits for a free place.
    ///
    /// # Errors
    /// `Cancelled` when the store is going away.
    pub(crate) async fn place(&self) -> Result<OwnedSemaphorePermit> {
        self.permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| Error::new(ErrorKind::Cancelled, "the store is closing").caused_by(error))
    }

    /// Makes a segment on a thread for blocking work.
    ///
    /// # Errors
    /// Those of [`Packer::pack`].
    pub(crate) async fn pack(
        self: Arc<Self>,
        buffer: Arc<SortBuffer>,
        context: Arc<SegmentContext>,
    ) -> Result<SealedSegment> {
        offload("making a segment", move || {
            let idle = self.packers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut packer = idle.map_or_else(|| Packer::new(self.zstd_level), Ok)?;
            let segment = packer.pack(&buffer, &context);
            self.packers.lock().unwrap_or_else(PoisonError::into_inner).push(packer);
            segment
        })
        .await?
    }
}
