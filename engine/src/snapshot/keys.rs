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
const FIRST_EPOCH: u32 = 1;
/// More epochs than anybody rotates through.
const MAX_EPOCHS: usize = 10_000;

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
    current: Arc<EpochKeys>,
    opened: Mutex<BTreeMap<u32, Arc<EpochKeys>>>,
}

impl KeyRing {
    /// The account's keys; an account without any gets its first.
    ///
    /// # Errors
    /// `Corrupt` when a stored key was altered, and the errors of the ports.
    pub(crate) async fn open(blobs: Arc<dyn Blobs>, keys: Arc<dyn Keys>, scope: &AccountScope) -> Result<Self> {
        let stored = blobs.list(scope, &paths::keys(scope.account_id()), None, MAX_EPOCHS).await?;
        let newest = stored.iter().filter_map(|entry| paths::parse_key_epoch(&entry.path)).max();
        let epoch = match newest {
            Some(epoch) => epoch,
            None => create_first(&*blobs, &*keys, scope).await?,
        };
        let (current, root) = load(&*blobs, &*keys, scope, epoch).await?;
        let root = Salt::new(HKDF_SHA256, SALT).extract(&*root);
        let hashers = Hashers::new(|label| derive(&root, label, &[]))?;
        let signer = Signer::new(&derive(&root, "report signature", &[])?)?;
        let current = Arc::new(current);
        let opened = Mutex::new(BTreeMap::from([(epoch, current.clone())]));
        Ok(Self { blobs, keys, scope: *scope, hashers, signer, current, opened })
    }

    /// The keys for new objects.
    pub(crate) fn current(&self) -> Arc<EpochKeys> {
        self.current.clone()
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
    /// `Corrupt` when there is no such epoch or its key was altered.
    pub(crate) async fn epoch(&self, epoch: u32) -> Result<Arc<EpochKeys>> {
        if let Some(keys) = self.lock().get(&epoch) {
            return Ok(keys.clone());
        }
        let (keys, _) = load(&*self.blobs, &*self.keys, &self.scope, epoch).await?;
        let keys = Arc::new(keys);
        self.lock().insert(epoch, keys.clone());
        Ok(keys)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Arc<EpochKeys>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True when an object that starts so is a wrapped data key.
pub(super) fn is_data_key(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// True when an object has the shape of a wrapped data key.
pub(super) fn is_shaped(object: &[u8]) -> bool {
    decode(object).is_ok()
}

/// Makes and stores the first data key. When another worker was faster, theirs stays.
async fn create_first(blobs: &dyn Blobs, keys: &dyn Keys, scope: &AccountScope) -> Result<u32> {
    let account_id = scope.account_id();
    let data_key = keys.generate(&context(account_id, FIRST_EPOCH)).await?;
    let epoch_keys = EpochKeys::new(FIRST_EPOCH, &data_key.plain);
    let root = derive(&epoch_keys.prk, "first root", &[])?;
    let object = encode(account_id, &epoch_keys, &data_key.wrapped, &root)?;
    match blobs.put_if_absent(scope, &paths::key(account_id, FIRST_EPOCH), Bytes::from(object)).await? {
        PutOutcome::Created | PutOutcome::Exists => Ok(FIRST_EPOCH),
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
