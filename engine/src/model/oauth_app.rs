//! OAuth apps of accounts: what an integration is signed in with where the settings of a source name no OAuth client.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::AccountId;
use crate::tables::{INTEGRATIONS, Row, TableSchema};

/// What the sort keys of [`OAuthApp`]s begin with.
pub const APPS: &str = "app#";

/// An account's OAuth app for one integration. It holds for the account and for all accounts below.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuthApp {
    /// Whose.
    pub account_id: AccountId,
    /// Its place among the account's rows: [`OAuthApp::sort_key`].
    pub integration_key: String,
    /// The integration that it is for.
    pub integration: String,
    /// The id of the OAuth client at the product.
    pub client_id: String,
    /// The hosts that the secret may be sent to, as [`listbackup_connectors::http::Hosts`] reads them.
    pub hosts: Vec<String>,
    /// The secret, sealed.
    pub sealed: String,
    /// When it was set first.
    pub created_at: Timestamp,
    /// When it was set last.
    pub updated_at: Timestamp,
}

impl OAuthApp {
    /// The sort key of the app for the integration of that name.
    pub fn sort_key(integration: &str) -> String {
        format!("{APPS}{integration}")
    }
}

impl Row for OAuthApp {
    const TABLE: &'static TableSchema = &INTEGRATIONS;
}
