//! Small secrets at rest: tokens, secret settings, signing keys.
//!
//! Sealed text is base64 of `version (1) | length of the wrapped key (2, big-endian) | wrapped key | nonce (12) |
//! ciphertext | tag (16)`. Each secret has a data key of its own; AES-256-GCM with the context as associated data, so that
//! sealed text moved to another row, account or source does not open.
//!
//! While the master key is changed, version 2 has that key in several forms: `version (2) | number of forms (1) | for each: length (2,
//! big-endian), wrapped key | nonce | ciphertext | tag`. Any of them that opens will do.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{
    error::{Error, ErrorKind, Result},
    ports::Keys,
};

const VERSION: u8 = 1;
const VERSION_OF_FORMS: u8 = 2;

/// Seals `plain`, bound to `context` (such as `account=acc_…;source=src_…;credential=key_…`).
///
/// # Errors
/// Those of [`Keys::generate`].
pub async fn seal(keys: &dyn Keys, context: &str, plain: &[u8]) -> Result<String> {
    let data_key = keys.generate(context).await?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, &*data_key.plain).map_err(|_| unusable())?;
    // Room for the tag from the start: a vector that grows leaves a copy of the secret behind.
    let mut sealed = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(plain);
    let nonce = key.seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut sealed).map_err(|_| unusable())?;
    Parts { forms: vec![&data_key.wrapped], nonce: nonce.as_ref(), ciphertext: &sealed }.encode()
}

/// Opens what [`seal`] made with the same context.
///
/// # Errors
/// `Corrupt` when the text was altered, or was sealed for another context or with another master key; those of
/// [`Keys::unwrap`].
pub async fn open(keys: &dyn Keys, context: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>> {
    let refused = || refused(context);
    let bytes = STANDARD.decode(sealed).map_err(|_| refused())?;
    let parts = Parts::of(&bytes).ok_or_else(refused)?;
    let (_, data_key) = parts.data_key(keys, context).await?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, &*data_key).map_err(|_| unusable())?;
    let nonce = Nonce::try_assume_unique_for_key(parts.nonce).map_err(|_| refused())?;
    let mut plain = Zeroizing::new(parts.ciphertext.to_vec());
    let length = key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut plain).map_err(|_| refused())?.len();
    plain.truncate(length);
    Ok(plain)
}

/// What [`seal`] made, so that the master key `new` opens it as well. `None` when that opens it already.
///
/// # Errors
/// `Corrupt` when neither master key opens it; those of [`Keys`].
pub async fn wrap_anew(old: &dyn Keys, new: &dyn Keys, context: &str, sealed: &str) -> Result<Option<String>> {
    let bytes = STANDARD.decode(sealed).map_err(|_| refused(context))?;
    let mut parts = Parts::of(&bytes).ok_or_else(|| refused(context))?;
    if parts.data_key(new, context).await.is_ok() {
        return Ok(None);
    }
    let (form, data_key) = parts.data_key(old, context).await?;
    let wrapped = new.wrap(context, &data_key).await?;
    // Forms for a master key that never came to be are dropped here.
    parts.forms = vec![form, &wrapped];
    parts.encode().map(Some)
}

/// What [`seal`] made, without the forms of its key that `keys` does not open. `None` when there are no others.
///
/// # Errors
/// `Corrupt` when it opens none of them; those of [`Keys`].
pub async fn without_other_forms(keys: &dyn Keys, context: &str, sealed: &str) -> Result<Option<String>> {
    let bytes = STANDARD.decode(sealed).map_err(|_| refused(context))?;
    let mut parts = Parts::of(&bytes).ok_or_else(|| refused(context))?;
    let (form, _) = parts.data_key(keys, context).await?;
    if parts.forms.len() == 1 {
        return Ok(None);
    }
    parts.forms = vec![form];
    parts.encode().map(Some)
}

struct Parts<'a> {
    /// The data key, wrapped; mostly once.
    forms: Vec<&'a [u8]>,
    nonce: &'a [u8],
    ciphertext: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (count, mut rest) = match version {
            VERSION => (1, rest),
            VERSION_OF_FORMS => rest.split_first().map(|(count, rest)| (*count, rest))?,
            _ => return None,
        };
        let mut forms = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (form, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            forms.push(form);
            rest = after;
        }
        let (nonce, ciphertext) = rest.split_at_checked(NONCE_LEN)?;
        Some(Self { forms, nonce, ciphertext })
    }

    fn encode(&self) -> Result<String> {
        let mut bytes = match &self.forms[..] {
            [_] => vec![VERSION],
            forms => vec![VERSION_OF_FORMS, u8::try_from(forms.len()).map_err(|_| unusable())?],
        };
        for form in &self.forms {
            bytes.extend_from_slice(&u16::try_from(form.len()).map_err(|_| unusable())?.to_be_bytes());
            bytes.extend_from_slice(form);
        }
        bytes.extend_from_slice(self.nonce);
        bytes.extend_from_slice(self.ciphertext);
        Ok(STANDARD.encode(bytes))
    }

    /// The first form of the key that opens, and the key.
    async fn data_key(&self, keys: &dyn Keys, context: &str) -> Result<(&'a [u8], Zeroizing<[u8; 32]>)> {
        let mut last = refused(context);
        for form in &self.forms {
            match keys.unwrap(context, form).await {
                Ok(data_key) => return Ok((form, data_key)),
                Err(error) if error.kind() == ErrorKind::Corrupt => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

fn refused(context: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "a sealed secret was altered or belongs elsewhere").with("context", context)
}

fn unusable() -> Error {
    Error::new(ErrorKind::Bug, "the cryptographic library refused to work")
}
