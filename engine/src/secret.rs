//! Small secrets at rest: tokens, secret settings, signing keys.
//!
//! Sealed text is base64 of `version (1) | length of the wrapped key (2, big-endian) | wrapped key | nonce (12) |
//! ciphertext | tag (16)`. Each secret has a data key of its own; AES-256-GCM with the context as associated data, so that
//! sealed text moved to another row, account or source does not open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{
    error::{Error, ErrorKind, Result},
    ports::Keys,
};

const VERSION: u8 = 1;

/// Seals `plain`, bound to `context` (such as `account=acc_…;source=src_…;credential=key_…`).
///
/// # Errors
/// Those of [`Keys::generate`].
pub async fn seal(keys: &dyn Keys, context: &str, plain: &[u8]) -> Result<String> {
    let data_key = keys.generate(context).await?;
    let wrapped_len = u16::try_from(data_key.wrapped.len()).map_err(|_| unusable())?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, &*data_key.plain).map_err(|_| unusable())?;
    // Room for the tag from the start: a vector that grows leaves a copy of the secret behind.
    let mut sealed = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(plain);
    let nonce = key.seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut sealed).map_err(|_| unusable())?;
    let parts = [&[VERSION][..], &wrapped_len.to_be_bytes(), &data_key.wrapped, nonce.as_ref(), &sealed];
    Ok(STANDARD.encode(parts.concat()))
}

/// Opens what [`seal`] made with the same context.
///
/// # Errors
/// `Corrupt` when the text was altered, or was sealed for another context or with another master key; those of
/// [`Keys::unwrap`].
pub async fn open(keys: &dyn Keys, context: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>> {
    let refused =
        || Error::new(ErrorKind::Corrupt, "a sealed secret was altered or belongs elsewhere").with("context", context);
    let bytes = STANDARD.decode(sealed).map_err(|_| refused())?;
    let parts = Parts::of(&bytes).ok_or_else(refused)?;
    let data_key = keys.unwrap(context, parts.wrapped_key).await?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, &*data_key).map_err(|_| unusable())?;
    let nonce = Nonce::try_assume_unique_for_key(parts.nonce).map_err(|_| refused())?;
    let mut plain = Zeroizing::new(parts.ciphertext.to_vec());
    let length = key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut plain).map_err(|_| refused())?.len();
    plain.truncate(length);
    Ok(plain)
}

struct Parts<'a> {
    wrapped_key: &'a [u8],
    nonce: &'a [u8],
    ciphertext: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (&[version, high, low], rest) = bytes.split_first_chunk::<3>()?;
        if version != VERSION {
            return None;
        }
        let (wrapped_key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        let (nonce, ciphertext) = rest.split_at_checked(NONCE_LEN)?;
        Some(Self { wrapped_key, nonce, ciphertext })
    }
}

fn unusable() -> Error {
    Error::new(ErrorKind::Bug, "the cryptographic library refused to work")
}
