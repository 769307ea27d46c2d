//! The two kinds of keys that share a table: credentials of integrations (sealed) and access keys of REST callers (hashed).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, KeyId, Role, SourceId, UserId};
use crate::tables::{API_KEYS, Row, TableSchema};

/// Secret settings and tokens of a source, sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    /// Its id.
    pub key_id: KeyId,
    /// Whose.
    pub account_id: AccountId,
    /// Of which source.
    pub source_id: SourceId,
    /// The sealed JSON of secret settings and tokens (base64).
    pub sealed: String,
    /// Version of the tokens inside; a rotation adds one.
    pub token_version: u64,
    /// When the access token ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was last written.
    pub updated_at: Timestamp,
}

impl Row for Credential {
    const TABLE: &'static TableSchema = &API_KEYS;
}

/// An access key for programs (`lbk_…`); the key itself is shown once and kept only as a hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessKey {
    /// Its id.
    pub key_id: KeyId,
    /// Whose.
    pub account_id: AccountId,
    /// Who made it; the key never has more rights than this person has at the moment of a call.
    pub user_id: UserId,
    /// Name for people.
    pub name: String,
    /// SHA-256 of the key, in hex (256 random bits need no slow hash).
    pub secret_hash: String,
    /// The most that it may do.
    pub role: Role,
    /// What it is for, where that is less than its role allows: words of the API, such as `sources:read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Row for AccessKey {
    const TABLE: &'static TableSchema = &API_KEYS;
}
