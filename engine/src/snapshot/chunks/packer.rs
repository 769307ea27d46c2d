//! Filling packs: each new chunk once, several contents side by side.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use tokio::sync::Mutex;

use super::{
    ChunkId, PackId, PackRef, Spot,
    pack::{self, PackDraft},
    store::Chunks,
};
use crate::{error::Result, offload::offload, ports::PutOutcome};

/// What is done on other threads here.
pub(super) const STORING: &str = "storing a chunk";

/// Where a chunk is, or will be once its pack is stored.
#[derive(Debug)]
pub(crate) struct Slot {
    pack: OnceLock<PackRef>,
    spot: Spot,
}

impl Slot {
    /// Its place; `None` while its pack is open.
    pub(super) fn place(&self) -> Option<(PackRef, Spot)> {
        self.pack.get().map(|pack| (*pack, self.spot))
    }
}

/// Stores chunks in packs. After an error it is of no use.
pub(crate) struct Packer {
    chunks: Chunks,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    draft: PackDraft,
    slots: HashMap<ChunkId, Arc<Slot>>,
    /// Packs that were stored, or in which a chunk was found, since this was last asked for.
    used: BTreeSet<PackId>,
    bytes_stored: u64,
}

impl Packer {
    /// An empty one, that knows what is stored.
    ///
    /// # Errors
    /// Those of listing the account's packs.
    pub(crate) async fn begin(chunks: Chunks, bytes_stored: u64) -> Result<Self> {
        chunks.refresh().await?;
        Ok(Self { chunks, open: Mutex::new(Open { bytes_stored, ..Open::default() }) })
    }

    /// The account's chunks.
    pub(super) fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// Bytes of the packs that it stored.
    pub(crate) async fn bytes_stored(&self) -> u64 {
        self.open.lock().await.bytes_stored
    }

    /// The packs that slots are in, beside those that were taken before.
    pub(crate) async fn take_used(&self) -> BTreeSet<PackId> {
        std::mem::take(&mut self.open.lock().await.used)
    }

    /// Sees to it that a chunk is stored. Waits while a full pack is on its way.
    ///
    /// # Errors
    /// Those of storing a pack.
    pub(super) async fn add(&self, id: ChunkId, plain: Bytes) -> Result<Arc<Slot>> {
        if let Some((pack, spot)) = self.chunks.find(&id).await? {
            self.open.lock().await.used.insert(pack.id());
            return Ok(Arc::new(Slot { pack: OnceLock::from(pack), spot }));
        }
        if let Some(slot) = self.open.lock().await.slots.get(&id) {
            return Ok(slot.clone());
        }
        let (level, plain_bytes) = (self.chunks.settings().zstd_level, plain.len());
        let encoded = offload(STORING, move || pack::encode_chunk(&plain, level)).await?;
        let mut open = self.open.lock().await;
        // Another content may have brought the same chunk meanwhile.
        if let Some(slot) = open.slots.get(&id) {
            return Ok(slot.clone());
        }
        let spot = open.draft.push(id, &encoded, plain_bytes);
        let slot = Arc::new(Slot { pack: OnceLock::new(), spot });
        open.slots.insert(id, slot.clone());
        if open.draft.len() >= self.chunks.settings().pack_bytes {
            self.close(&mut open).await?;
        }
        Ok(slot)
    }

    /// Stores the open pack, if anything is in it: every slot has a place then.
    ///
    /// # Errors
    /// Those of storing it.
    pub(crate) async fn flush(&self) -> Result<()> {
        let mut open = self.open.lock().await;
        self.close(&mut open).await
    }

    async fn close(&self, open: &mut Open) -> Result<()> {
        if open.draft.is_empty() {
            return Ok(());
        }
        let draft = std::mem::take(&mut open.draft);
        let (account_id, keys) = (self.chunks.account_id(), self.chunks.ring().current()?);
        let sealed = offload(STORING, move || draft.seal(account_id, &keys)).await??;
        if self.chunks.put(&sealed).await? == PutOutcome::Created {
            open.bytes_stored += sealed.object.len() as u64;
        }
        open.used.insert(sealed.reference.id());
        for slot in std::mem::take(&mut open.slots).into_values() {
            // It is set here only.
            let _ = slot.pack.set(sealed.reference);
        }
        Ok(())
    }
}
