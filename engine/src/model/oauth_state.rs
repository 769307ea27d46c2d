//! An OAuth sign-in under way: bound to user, account, source and redirect; ten minutes; used once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, SourceId, UserId};
use crate::tables::{OAUTH_STATES, Row, TableSchema};

/// An OAuth sign-in under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuthState {
    /// SHA-256 of the `state` parameter, in hex.
    pub state_hash: String,
    /// Who began it.
    pub user_id: UserId,
    /// In which account.
    pub account_id: AccountId,
    /// For which source.
    pub source_id: SourceId,
    /// Name of the integration.
    pub integration: String,
    /// Where the product sends the browser back to.
    pub redirect_uri: String,
    /// The sealed PKCE verifier (base64).
    pub verifier: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, seconds since 1970.
    pub expires_at: i64,
}

impl Row for OAuthState {
    const TABLE: &'static TableSchema = &OAUTH_STATES;
}
