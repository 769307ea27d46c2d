//! Data keys wrapped by a key of KMS: the keys port.
//!
//! A wrapped key is `version (1) | checksum (16) | what KMS gave`. The last names the key that it needs, so one that was wrapped by an
//! earlier key of the alias opens as long as that key is there and may be used. The checksum is no protection, which is the affair
//! of KMS: it tells damage from a key that may not be used, since KMS says of both that access is denied. KMS binds it to the encryption context, which also stands in
//! CloudTrail and can be a condition in the rights of a role (`kms:EncryptionContext:account`): so [`context_of`] makes names and
//! values of the port's text.
//!
//! Each call is a request of its own to KMS; who needs a key often keeps it open. Keys in clear are wiped here; what the SDK's buffers
//! hold of a request or an answer until their memory is used again, is not.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_kms::{Client, primitives::Blob, types::DataKeySpec};
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use zeroize::Zeroizing;

use super::{AwsClients, AwsSettings, error};
use crate::{
    error::{Error, ErrorKind, Result},
    ports::{DataKey, Keys},
};

const KEY_BYTES: usize = 32;
const FORMAT: u8 = 1;
const CHECKSUM_BYTES: usize = 16;
/// The name in the encryption context of a text that is not made of names and values.
const WHOLE: &str = "context";
/// What KMS says of a wrapped key that it does not open: altered, or of another context.
const UNOPENED: &[&str] = &["InvalidCiphertextException", "IncorrectKeyException"];

/// The key that wraps all others; clones share their connections.
#[derive(Clone, Debug)]
pub struct KmsKeys {
    client: Client,
    /// Id, ARN or alias.
    key: String,
}

impl KmsKeys {
    /// The key of the settings. Nothing is sent yet.
    pub fn new(clients: &AwsClients, settings: &AwsSettings) -> Self {
        Self { client: clients.kms.clone(), key: settings.kms_key() }
    }

    fn failed<E>(&self, error: SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        error::failed("KMS", error).with("key", &self.key)
    }
}

#[async_trait]
impl Keys for KmsKeys {
    async fn generate(&self, context: &str) -> Result<DataKey> {
        let generate = self.client.generate_data_key().key_id(&self.key).key_spec(DataKeySpec::Aes256);
        let answer = generate.set_encryption_context(context_of(context)).send().await;
        let answer = answer.map_err(|error| self.failed(error))?;
        let (plain, wrapped) = (plain_of(answer.plaintext), wrapped_of(answer.ciphertext_blob));
        match (plain, wrapped) {
            (Some(plain), Some(wrapped)) => Ok(DataKey { plain, wrapped }),
            _ => Err(incomplete()),
        }
    }

    async fn wrap(&self, context: &str, plain: &[u8; KEY_BYTES]) -> Result<Vec<u8>> {
        let encrypt = self.client.encrypt().key_id(&self.key).plaintext(Blob::new(plain.as_slice()));
        let answer = encrypt.set_encryption_context(context_of(context)).send().await;
        wrapped_of(answer.map_err(|error| self.failed(error))?.ciphertext_blob).ok_or_else(incomplete)
    }

    async fn unwrap(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; KEY_BYTES]>> {
        let refused = || {
            let message = "a wrapped key was altered, belongs elsewhere, or holds no data key";
            Error::new(ErrorKind::Corrupt, message).with("context", context)
        };
        let blob = Blob::new(checked(wrapped).ok_or_else(refused)?);
        let decrypt = self.client.decrypt().ciphertext_blob(blob).set_encryption_context(context_of(context));
        match decrypt.send().await {
            // KMS wraps more than keys.
            Ok(answer) => plain_of(answer.plaintext).ok_or_else(refused),
            Err(error) if error.code().is_some_and(|code| UNOPENED.contains(&code)) => Err(refused().caused_by(error)),
            Err(error) => Err(self.failed(error)),
        }
    }
}

/// Names and values: `account=acc_…;epoch=1` has two of them. Any other text is the value of one name, and none is none. Different texts
/// have different contexts, but for the order of their names.
fn context_of(context: &str) -> Option<HashMap<String, String>> {
    if context.is_empty() {
        return None;
    }
    let parts: Vec<_> = context.split(';').filter_map(|part| part.split_once('=')).collect();
    let pairs: HashMap<String, String> =
        parts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let is_whole = pairs.len() == context.split(';').count()
        && parts.iter().all(|(name, value)| !name.is_empty() && !value.is_empty())
        && !pairs.contains_key(WHOLE);
    Some(if is_whole { pairs } else { HashMap::from([(WHOLE.to_owned(), context.to_owned())]) })
}

fn plain_of(blob: Option<Blob>) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let bytes = Zeroizing::new(blob?.into_inner());
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

fn wrapped_of(blob: Option<Blob>) -> Option<Vec<u8>> {
    let blob = blob?.into_inner();
    Some([&[FORMAT], &checksum(&blob)[..], &blob].concat())
}

/// What KMS gave, if that is what is there.
fn checked(wrapped: &[u8]) -> Option<&[u8]> {
    let (format, rest) = wrapped.split_first()?;
    let (sum, blob) = rest.split_first_chunk::<CHECKSUM_BYTES>()?;
    (*format == FORMAT && *sum == checksum(blob)).then_some(blob)
}

fn checksum(blob: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&blake3::hash(blob).as_bytes()[..CHECKSUM_BYTES]);
    sum
}

fn incomplete() -> Error {
    Error::new(ErrorKind::Retry, "KMS answered without the key that was asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_have_names_and_values_where_their_text_has_them() {
        let context = |text: &str| {
            let mut pairs: Vec<_> = context_of(text).unwrap_or_default().into_iter().collect();
            pairs.sort();
            pairs.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(context(""), "");
        assert_eq!(context("account=acc_1;epoch=1"), "account: acc_1, epoch: 1");
        assert_eq!(context("secret=signing-key/a=b"), "secret: signing-key/a=b");
        for text in ["c", "a=1;a=2", "a=1;", "=1", "a=", "a=1;b", "context=c"] {
            assert_eq!(context(text), format!("context: {text}"));
        }
    }
}
