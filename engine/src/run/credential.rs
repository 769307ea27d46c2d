//! A source's credential: its secret settings and the tokens of its sign-ins, in one seal.

use std::collections::BTreeMap;

use jiff::Timestamp;
use listbackup_connectors::Tokens;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    model::{AccountId, Credential, KeyId, scope::AccountScope},
    ports::Ports,
    secret,
    store::{Store, Versioned, key1},
};

/// What a credential's seal holds.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Secrets {
    /// The secret settings, in the settings' own shape.
    #[serde(default)]
    pub settings: Value,
    /// Tokens of the OAuth grant. Their version is in the credential's row.
    #[serde(default)]
    pub tokens: Option<StoredTokens>,
    /// The id of the OAuth app's client that the sign-in in the browser was with; none where it was with the settings' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_client_id: Option<String>,
    /// Tokens of further sign-ins, by the name of their place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub places: BTreeMap<String, PlacedTokens>,
    /// Versions of tokens whose refresh the product refused, by the name of their place; `""` is the browser's sign-in. Of no more
    /// meaning once there are newer tokens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, u64>,
}

/// Tokens as they are sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredTokens {
    pub access_token: String,
    pub refresh_token: Option<String>,
    pub expires_at: Option<Timestamp>,
}

/// Tokens with a version of their own.
#[derive(Serialize, Deserialize)]
pub(super) struct PlacedTokens {
    pub version: u64,
    #[serde(flatten)]
    pub tokens: StoredTokens,
}

impl StoredTokens {
    /// For the seal.
    pub fn of(tokens: &Tokens) -> Self {
        Self {
            access_token: tokens.access_token.expose_secret().to_owned(),
            refresh_token: tokens.refresh_token.as_ref().map(|token| token.expose_secret().to_owned()),
            expires_at: tokens.expires_at,
        }
    }

    /// For the connector.
    pub fn opened(&self, version: u64) -> Tokens {
        Tokens {
            access_token: SecretString::from(self.access_token.as_str()),
            refresh_token: self.refresh_token.as_deref().map(SecretString::from),
            expires_at: self.expires_at,
            version,
        }
    }
}

pub(super) async fn read_credential(
    ports: &Ports,
    scope: &AccountScope,
    key_id: KeyId,
) -> Result<Versioned<Credential>> {
    Store::new(ports.tables.clone()).get(scope, key1(key_id)).await
}

/// What the seal of a credential is bound to.
pub(super) fn context(account_id: AccountId, key_id: KeyId) -> String {
    format!("account={account_id};credential={key_id}")
}

pub(super) async fn seal(ports: &Ports, credential: &Credential, secrets: &Secrets) -> Result<String> {
    let plain = zeroize::Zeroizing::new(
        serde_json::to_vec(secrets).map_err(|_| Error::new(ErrorKind::Bug, "secrets do not serialise"))?,
    );
    secret::seal(&*ports.keys, &context(credential.account_id, credential.key_id), &plain).await
}

pub(super) async fn open(ports: &Ports, account_id: AccountId, credential: &Credential) -> Result<Secrets> {
    let plain = secret::open(&*ports.keys, &context(account_id, credential.key_id), &credential.sealed).await?;
    // The error of serde_json may quote what it read: not passed on.
    serde_json::from_slice(&plain).map_err(|_| {
        Error::new(ErrorKind::Corrupt, "a credential does not have its shape").with("key", credential.key_id)
    })
}
