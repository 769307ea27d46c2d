//! A data key as it is stored: wrapped by the keys port, beside the root that is sealed under it.

use bytes::Bytes;
use zeroize::Zeroizing;

use super::{EpochKeys, FIRST_EPOCH, Secret, StoredKeys, altered, derive};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{AccountId, scope::AccountScope},
    ports::{Blobs, Keys, PutOutcome},
    snapshot::{
        codec::{Input, put_string},
        paths,
        seal::{SealKey, Section, TAG_BYTES},
    },
};

const MAGIC: &[u8; 8] = b"LBKPKEY1";
/// Of a key that was wrapped anew.
const MAGIC_ANEW: &[u8; 8] = b"LBKPKEY2";

/// What a stored key holds, in clear.
pub(super) struct Opened {
    /// The data key of its epoch.
    pub data_key: Secret,
    /// The account's root.
    pub root: Secret,
}

impl Opened {
    /// True when both hold the same keys.
    pub fn is_like(&self, other: &Self) -> bool {
        *self.data_key == *other.data_key && *self.root == *other.root
    }
}

/// True when an object that starts so is a wrapped data key.
pub(in crate::snapshot) fn is_data_key(head: &[u8]) -> bool {
    head.starts_with(MAGIC) || head.starts_with(MAGIC_ANEW)
}

/// Makes and stores the first data key. When another worker was faster, theirs stays.
pub(super) async fn create_first(blobs: &dyn Blobs, keys: &dyn Keys, scope: &AccountScope) -> Result<u32> {
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
pub(super) async fn create(
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
        Some(root) => encode(MAGIC, account_id, &epoch_keys, &data_key.wrapped, root)?,
        None => {
            let root = derive(&epoch_keys.prk, "first root", &[])?;
            encode(MAGIC, account_id, &epoch_keys, &data_key.wrapped, &root)?
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
pub(super) async fn load_living(
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

pub(super) async fn load(
    blobs: &dyn Blobs,
    keys: &dyn Keys,
    scope: &AccountScope,
    epoch: u32,
) -> Result<(EpochKeys, Secret)> {
    let opened = open_any(blobs, keys, scope, epoch).await?;
    Ok((EpochKeys::new(epoch, &opened.data_key), opened.root))
}

/// The key of an epoch from any of its forms that opens: all of them hold the same.
pub(super) async fn open_any(blobs: &dyn Blobs, keys: &dyn Keys, scope: &AccountScope, epoch: u32) -> Result<Opened> {
    // First the form that most accounts only have, without a listing.
    let error = match open_form(blobs, keys, scope, (epoch, 0)).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => error,
        done => return done,
    };
    let mut last = None;
    for form in StoredKeys::look(blobs, scope).await?.forms_of(epoch).filter(|form| *form > 0) {
        match open_form(blobs, keys, scope, (epoch, form)).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => last = Some(last.unwrap_or(error)),
            done => return done,
        }
    }
    Err(last.unwrap_or(error))
}

/// One form of a key.
///
/// # Errors
/// `Corrupt` when it is missing, was altered, or is wrapped with another master key.
pub(super) async fn open_form(
    blobs: &dyn Blobs,
    keys: &dyn Keys,
    scope: &AccountScope,
    (epoch, form): (u32, u32),
) -> Result<Opened> {
    let account_id = scope.account_id();
    let path = paths::key_form(account_id, epoch, form);
    let object = blobs.get(scope, &path).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => altered("the account's data key is missing"),
        _ => error,
    });
    let opened = async {
        let object = object?;
        let (magic, wrapped, sealed_root) = decode(&object)?;
        let data_key = keys.unwrap(&context(account_id, epoch), wrapped).await?;
        let root = root_key(magic, &EpochKeys::new(epoch, &data_key), wrapped)?
            .open(Section::Root, epoch, &place(account_id, wrapped), sealed_root.to_vec())
            .and_then(|root| <[u8; 32]>::try_from(root).ok())
            .ok_or_else(|| altered("the account's data key was altered or belongs elsewhere"))?;
        Ok(Opened { data_key, root: Zeroizing::new(root) })
    };
    opened.await.map_err(|error: Error| error.with("path", path))
}

/// The object that holds a key which was made before, wrapped by `keys`.
pub(super) async fn wrapped_anew(
    keys: &dyn Keys,
    scope: &AccountScope,
    epoch: u32,
    opened: &Opened,
) -> Result<Vec<u8>> {
    let account_id = scope.account_id();
    let wrapped = keys.wrap(&context(account_id, epoch), &opened.data_key).await?;
    encode(MAGIC_ANEW, account_id, &EpochKeys::new(epoch, &opened.data_key), &wrapped, &opened.root)
}

fn encode(magic: &[u8; 8], account_id: AccountId, keys: &EpochKeys, wrapped: &[u8], root: &Secret) -> Result<Vec<u8>> {
    let mut object = magic.to_vec();
    put_string(&mut object, wrapped);
    let start = object.len();
    object.extend_from_slice(&**root);
    object.extend_from_slice(&[0; TAG_BYTES]);
    root_key(magic, keys, wrapped)?.seal(
        Section::Root,
        keys.epoch,
        &place(account_id, wrapped),
        &mut object[start..],
    )?;
    Ok(object)
}

/// True when an object has the shape of a wrapped data key.
pub(in crate::snapshot) fn is_shaped(object: &[u8]) -> bool {
    decode(object).is_ok()
}

fn decode(object: &[u8]) -> Result<(&'static [u8; 8], &[u8], &[u8])> {
    let mut input = Input::new(object);
    let magic = match &input.array::<8>()? {
        MAGIC => MAGIC,
        MAGIC_ANEW => MAGIC_ANEW,
        _ => return Err(altered("this is not a data key of a known version")),
    };
    let wrapped = input.string()?;
    let sealed_root = input.take(32 + TAG_BYTES)?;
    input.end()?;
    Ok((magic, wrapped, sealed_root))
}

/// The nonce of a root is its epoch, so each further form of an epoch's key needs a key of its own to seal the root with.
fn root_key(magic: &[u8; 8], keys: &EpochKeys, wrapped: &[u8]) -> Result<SealKey> {
    let form = if magic == MAGIC { Vec::new() } else { blake3::hash(wrapped).as_bytes().to_vec() };
    SealKey::new(&*derive(&keys.prk, "root", &form)?)
}

fn place(account_id: AccountId, wrapped: &[u8]) -> Vec<u8> {
    [account_id.as_bytes(), wrapped].concat()
}

fn context(account_id: AccountId, epoch: u32) -> String {
    format!("account={account_id};epoch={epoch}")
}
