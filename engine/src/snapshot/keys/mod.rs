//! The keys of one account: data keys, one an epoch, wrapped by the keys port and stored beside the data; and the root
//! of its digests, which every epoch carries on.
//!
//! * `stored`: a key as it is stored, made and read.
//! * `opened`: the keys that were opened, for all tasks.
//! * `rewrap`: the same keys under another master key.
//! * `destruction`: the end of all keys of an account.
//! * `usage`: what is sealed under which.

mod destruction;
mod opened;
mod rewrap;
mod stored;
mod usage;

use std::sync::Arc;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use zeroize::Zeroizing;

pub(super) use self::stored::{is_data_key, is_shaped};
pub use self::{
    destruction::{Doom, KeyDestruction, Protected, StoredKeys},
    usage::KeyUsage,
};
use self::{
    opened::Opened,
    stored::{create, create_first, load, load_living},
};
use super::{chunks::PackId, digest::Hashers, paths, seal::SealKey, segment::SegmentId, signature::Signer};
use crate::{
    error::{Error, ErrorKind, Result},
    model::scope::AccountScope,
    ports::{Blobs, Keys, PutOutcome},
};

const SALT: &[u8] = b"listbackup 1";
/// Every account's first; only destroying its keys removes it.
const FIRST_EPOCH: u32 = 1;
/// More epochs than anybody rotates through.
const MAX_EPOCHS: usize = 10_000;

/// What a rotation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRotation {
    /// The epoch of new objects before.
    pub from: u32,
    /// The epoch of new objects now.
    pub to: u32,
    /// Somebody else rotated at the same moment: theirs holds.
    pub by_another: bool,
}

/// A key of 32 bytes, wiped on drop.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// What is derived from the data key of one epoch.
pub(crate) struct EpochKeys {
    epoch: u32,
    prk: Prk,
}

impl EpochKeys {
    fn new(epoch: u32, data_key: &[u8; 32]) -> Self {
        Self { epoch, prk: Salt::new(HKDF_SHA256, SALT).extract(data_key) }
    }

    /// The epoch.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Seals the parts of one segment.
    pub(crate) fn segment_key(&self, id: SegmentId) -> Result<SealKey> {
        SealKey::new(&*derive(&self.prk, "segment", id.as_bytes())?)
    }

    /// Hashes a segment's content to its id.
    pub(crate) fn segment_id_hasher(&self) -> Result<blake3::Hasher> {
        Ok(blake3::Hasher::new_keyed(&*derive(&self.prk, "segment id", &[])?))
    }

    /// Seals the chunks of one pack.
    pub(crate) fn pack_key(&self, id: PackId) -> Result<SealKey> {
        SealKey::new(&*derive(&self.prk, "pack", id.as_bytes())?)
    }

    /// Hashes a pack's content to its id.
    pub(crate) fn pack_id_hasher(&self) -> Result<blake3::Hasher> {
        Ok(blake3::Hasher::new_keyed(&*derive(&self.prk, "pack id", &[])?))
    }

    /// Seals one document.
    pub(crate) fn document_key(&self, digest: &[u8; 32]) -> Result<SealKey> {
        SealKey::new(&*derive(&self.prk, "document", digest)?)
    }

    /// Digest from which a document's key is derived.
    pub(crate) fn document_digest(&self, path: &str, compressed: &[u8]) -> Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new_keyed(&*derive(&self.prk, "document digest", &[])?);
        hasher.update(&(path.len() as u64).to_le_bytes()).update(path.as_bytes()).update(compressed);
        Ok(*hasher.finalize().as_bytes())
    }
}

/// The keys of one account, opened when they are needed.
pub(crate) struct KeyRing {
    blobs: Arc<dyn Blobs>,
    keys: Arc<dyn Keys>,
    scope: AccountScope,
    hashers: Hashers,
    signer: Signer,
    opened: Opened,
}

impl KeyRing {
    /// The account's keys; an account without any gets its first.
    ///
    /// # Errors
    /// `Denied` when they were destroyed; `Corrupt` when a stored key was altered, or all are missing although there is data;
    /// and the errors of the ports.
    pub(crate) async fn open(blobs: Arc<dyn Blobs>, keys: Arc<dyn Keys>, scope: &AccountScope) -> Result<Self> {
        let epoch = match StoredKeys::look(&*blobs, scope).await?.living()?.newest() {
            Some(epoch) => epoch,
            None => create_first(&*blobs, &*keys, scope).await?,
        };
        let loaded = load_living(&*blobs, &*keys, scope, epoch).await?;
        Self::of(blobs, keys, scope, loaded)
    }

    /// The account's keys with those of `epoch` for new objects, whatever was decided about them.
    ///
    /// # Errors
    /// `Corrupt` when the key is missing or was altered; those of the ports.
    pub(super) async fn open_at(
        blobs: Arc<dyn Blobs>,
        keys: Arc<dyn Keys>,
        scope: &AccountScope,
        epoch: u32,
    ) -> Result<Self> {
        let loaded = load(&*blobs, &*keys, scope, epoch).await?;
        Self::of(blobs, keys, scope, loaded)
    }

    fn of(
        blobs: Arc<dyn Blobs>,
        keys: Arc<dyn Keys>,
        scope: &AccountScope,
        (newest, root): (EpochKeys, Secret),
    ) -> Result<Self> {
        let root = Salt::new(HKDF_SHA256, SALT).extract(&*root);
        let hashers = Hashers::new(|label| derive(&root, label, &[]))?;
        let signer = Signer::new(&derive(&root, "report signature", &[])?)?;
        Ok(Self { blobs, keys, scope: *scope, hashers, signer, opened: Opened::new(newest) })
    }

    /// Learns what became of the stored keys since: a newer epoch is used for new objects from now on, destroyed keys are let
    /// go of. One listing.
    ///
    /// # Errors
    /// `Denied` when they were destroyed; `Corrupt` when the key for new objects is missing; those of the ports.
    pub(crate) async fn refresh(&self) -> Result<()> {
        // Before the listing: another task may learn of a newer one than that shows.
        let current = self.current()?.epoch();
        let stored = StoredKeys::look(&*self.blobs, &self.scope).await?;
        if let Some(destruction) = stored.destruction {
            return Err(self.opened.destroy(destruction));
        }
        if !stored.epochs.contains(&current) {
            // What were sealed under it now could never be read.
            return Err(altered("the account's data key is missing; put its copy back")
                .with("path", paths::key(self.scope.account_id(), current)));
        }
        match stored.newest() {
            Some(epoch) if epoch > current => self.use_for_new(epoch).await,
            _ => Ok(()),
        }
    }

    /// Opens the next epoch: a new data key, under which all new objects are sealed, also by others as soon as they look. When
    /// somebody else opens it at this moment, theirs is used.
    ///
    /// # Errors
    /// Those of [`KeyRing::refresh`]; `Exhausted` when there are too many epochs.
    pub(crate) async fn rotate(&self) -> Result<KeyRotation> {
        self.refresh().await?;
        let epoch = self.current()?.epoch();
        if epoch as usize >= MAX_EPOCHS {
            return Err(
                Error::new(ErrorKind::Exhausted, "the account's key was rotated too often").with("epochs", MAX_EPOCHS)
            );
        }
        let (_, root) = load_living(&*self.blobs, &*self.keys, &self.scope, epoch).await?;
        let outcome = create(&*self.blobs, &*self.keys, &self.scope, epoch + 1, Some(&root)).await?;
        self.refresh().await?;
        Ok(KeyRotation { from: epoch, to: epoch + 1, by_another: outcome == PutOutcome::Exists })
    }

    async fn use_for_new(&self, epoch: u32) -> Result<()> {
        self.opened.use_for_new(self.epoch(epoch).await?);
        Ok(())
    }

    /// The keys for new objects.
    ///
    /// # Errors
    /// `Denied` when they were destroyed.
    pub(crate) fn current(&self) -> Result<Arc<EpochKeys>> {
        self.opened.newest()
    }

    /// Stands before what is answered from memory.
    ///
    /// # Errors
    /// `Denied` when this process knows that the keys were destroyed.
    pub(crate) fn check(&self) -> Result<()> {
        self.opened.newest().map(drop)
    }

    /// The keyed hash functions.
    pub(crate) fn hashers(&self) -> &Hashers {
        &self.hashers
    }

    /// Signs the account's reports.
    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The keys of an epoch.
    ///
    /// # Errors
    /// `Denied` when they were destroyed; `Corrupt` when there is no such epoch or its key was altered.
    pub(crate) async fn epoch(&self, epoch: u32) -> Result<Arc<EpochKeys>> {
        if let Some(keys) = self.opened.get(epoch)? {
            return Ok(keys);
        }
        let (keys, _) = load_living(&*self.blobs, &*self.keys, &self.scope, epoch).await?;
        self.opened.keep(keys)
    }
}

/// HKDF-Expand to 32 bytes with info = length of the label (one byte) || label || context.
fn derive(prk: &Prk, label: &str, context: &[u8]) -> Result<Secret> {
    let mut key = Zeroizing::new([0; 32]);
    prk.expand(&[&[label.len() as u8], label.as_bytes(), context], Key256)
        .and_then(|okm| okm.fill(&mut *key))
        .map_err(|_| Error::new(ErrorKind::Bug, "a key could not be derived").with("label", label))?;
    Ok(key)
}

struct Key256;

impl KeyType for Key256 {
    fn len(&self) -> usize {
        32
    }
}

fn altered(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
