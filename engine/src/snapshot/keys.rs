//! The keys of one account: data keys, one an epoch, wrapped by the keys port and stored beside the data; and the root
//! of its digests, which every epoch carries on.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use bytes::Bytes;
use zeroize::Zeroizing;

use super::{
    chunks::PackId,
    codec::{Input, put_string},
    destruction::{KeyDestruction, StoredKeys},
    digest::Hashers,
    paths,
    seal::{SealKey, Section, TAG_BYTES},
    segment::SegmentId,
    signature::Signer,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{AccountId, scope::AccountScope},
    ports::{Blobs, Keys, PutOutcome},
};

const MAGIC: &[u8; 8] = b"LBKPKEY1";
const SALT: &[u8] = b"listbackup 1";
/// Every account's first; only destroying its keys removes it.
pub(super) const FIRST_EPOCH: u32 = 1;
/// More epochs than anybody rotates through.
pub(super) const MAX_EPOCHS: usize = 10_000;

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
    state: Mutex<State>,
}

/// What a ring knows of the stored keys.
enum State {
    /// They are there.
    Open {
        /// For new objects.
        newest: Arc<EpochKeys>,
        /// Those that were opened.
        opened: BTreeMap<u32, Arc<EpochKeys>>,
    },
    /// They were destroyed; how that was.
    Destroyed(KeyDestruction),
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
        let newest = Arc::new(newest);
        let opened = BTreeMap::from([(newest.epoch(), newest.clone())]);
        let state = Mutex::new(State::Open { newest, opened });
        Ok(Self { blobs, keys, scope: *scope, hashers, signer, state })
    }

    /// Learns what became of the stored keys since: a newer epoch is used for new objects from now on, destroyed keys are let
    /// go of. One listing.
    ///
    /// # Errors
    /// `Denied` when they were destroyed; `Corrupt` when the key for new objects is missing; those of the ports.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let stored = StoredKeys::look(&*self.blobs, &self.scope).await?;
        if let Some(destruction) = stored.destruction {
            let error = destruction.error();
            *self.lock() = State::Destroyed(destruction);
            return Err(error);
        }
        let current = self.current()?.epoch();
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
        let keys = self.epoch(epoch).await?;
        if let State::Open { newest, .. } = &mut *self.lock()
            && newest.epoch() < epoch
        {
            *newest = keys;
        }
        Ok(())
    }

    /// The keys for new objects.
    ///
    /// # Errors
    /// `Denied` when they were destroyed.
    pub(crate) fn current(&self) -> Result<Arc<EpochKeys>> {
        match &*self.lock() {
            State::Open { newest, .. } => Ok(newest.clone()),
            State::Destroyed(destruction) => Err(destruction.error()),
        }
    }

    /// Stands before what is answered from memory.
    ///
    /// # Errors
    /// `Denied` when this process knows that the keys were destroyed.
    pub(crate) fn check(&self) -> Result<()> {
        match &*self.lock() {
            State::Open { .. } => Ok(()),
            State::Destroyed(destruction) => Err(destruction.error()),
        }
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
        if let Some(keys) = self.opened(epoch)? {
            return Ok(keys);
        }
        let (keys, _) = load_living(&*self.blobs, &*self.keys, &self.scope, epoch).await?;
        let keys = Arc::new(keys);
        if let State::Open { opened, .. } = &mut *self.lock() {
            opened.insert(epoch, keys.clone());
        }
        Ok(keys)
    }

    fn opened(&self, epoch: u32) -> Result<Option<Arc<EpochKeys>>> {
        match &*self.lock() {
            State::Open { opened, .. } => Ok(opened.get(&epoch).cloned()),
            State::Destroyed(destruction) => Err(destruction.error()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True when an object that starts so is a wrapped data key.
pub(super) fn is_data_key(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// Makes and stores the first data key. When another worker was faster, theirs stays.
async fn create_first(blobs: &dyn Blobs, keys: &dyn Keys, scope: &AccountScope) -> Result<u32> {
    let account_id = scope.account_id();
    for prefix in paths::sealed(account_id) {
        if !blobs.list(scope, &prefix, None, 1).await?.is_empty() {
            // Whoever stored that may have made the key after it was looked for.
            let newest = StoredKeys::look(blobs, scope).await?.living()?.newest();
            return newest.ok_or_else(|| {
                altered("the account's data keys are missing although there is data; put their copy back")
                    .with("path", paths::keys(account_id))
            });
        }
    }
    create(blobs, keys, scope, FIRST_EPOCH, None).await?;
    Ok(FIRST_EPOCH)
}

/// Makes and stores the data key of an epoch unless there is one. Whoever destroys the account's keys marks that before the last
/// listing of them, so that either that listing holds this key or the mark is seen here.
async fn create(
    blobs: &dyn Blobs,
    keys: &dyn Keys,
    scope: &AccountScope,
    epoch: u32,
    root: Option<&Secret>,
) -> Result<PutOutcome> {
    let account_id = scope.account_id();
    let path = paths::key(account_id, epoch);
    let data_key = keys.generate(&context(account_id, epoch)).await?;
    let epoch_keys = EpochKeys::new(epoch, &data_key.plain);
    let object = match root {
        Some(root) => encode(account_id, &epoch_keys, &data_key.wrapped, root)?,
        None => {
            let root = derive(&epoch_keys.prk, "first root", &[])?;
            encode(account_id, &epoch_keys, &data_key.wrapped, &root)?
        }
    };
    let outcome = blobs.put_if_absent(scope, &path, Bytes::from(object)).await?;
    if let Some(destruction) = StoredKeys::look(blobs, scope).await?.destruction {
        blobs.delete(scope, &path).await?;
        return Err(destruction.error());
    }
    Ok(outcome)
}

/// As [`load`]; a key that is gone may have been destroyed since the last look.
async fn load_living(
    blobs: &dyn Blobs,
    keys: &dyn Keys,
    scope: &AccountScope,
    epoch: u32,
) -> Result<(EpochKeys, Secret)> {
    match load(blobs, keys, scope, epoch).await {
        Ok(loaded) => Ok(loaded),
        Err(error) => {
            StoredKeys::look(blobs, scope).await?.living()?;
            Err(error)
        }
    }
}

async fn load(blobs: &dyn Blobs, keys: &dyn Keys, scope: &AccountScope, epoch: u32) -> Result<(EpochKeys, Secret)> {
    let account_id = scope.account_id();
    let path = paths::key(account_id, epoch);
    let object = blobs.get(scope, &path).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => altered("the account's data key is missing"),
        _ => error,
    });
    let opened = async {
        let object = object?;
        let (wrapped, sealed_root) = decode(&object)?;
        let data_key = keys.unwrap(&context(account_id, epoch), wrapped).await?;
        let epoch_keys = EpochKeys::new(epoch, &data_key);
        let root = root_key(&epoch_keys)?
            .open(Section::Root, epoch, &place(account_id, wrapped), sealed_root.to_vec())
            .and_then(|root| <[u8; 32]>::try_from(root).ok())
            .ok_or_else(|| altered("the account's data key was altered or belongs elsewhere"))?;
        Ok((epoch_keys, Zeroizing::new(root)))
    };
    opened.await.map_err(|error: Error| error.with("path", path))
}

fn encode(account_id: AccountId, keys: &EpochKeys, wrapped: &[u8], root: &Secret) -> Result<Vec<u8>> {
    let mut object = MAGIC.to_vec();
    put_string(&mut object, wrapped);
    let start = object.len();
    object.extend_from_slice(&**root);
    object.extend_from_slice(&[0; TAG_BYTES]);
    root_key(keys)?.seal(Section::Root, keys.epoch, &place(account_id, wrapped), &mut object[start..])?;
    Ok(object)
}

fn decode(object: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut input = Input::new(object);
    if input.array::<8>()? != *MAGIC {
        return Err(altered("this is not a data key of a known version"));
    }
    let wrapped = input.string()?;
    let sealed_root = input.take(32 + TAG_BYTES)?;
    input.end()?;
    Ok((wrapped, sealed_root))
}

fn root_key(keys: &EpochKeys) -> Result<SealKey> {
    SealKey::new(&*derive(&keys.prk, "root", &[])?)
}

fn place(account_id: AccountId, wrapped: &[u8]) -> Vec<u8> {
    [account_id.as_bytes(), wrapped].concat()
}

fn context(account_id: AccountId, epoch: u32) -> String {
    format!("account={account_id};epoch={epoch}")
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
