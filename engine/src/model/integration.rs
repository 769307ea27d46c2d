//! Integrations of an account's own: each version of a manifest, and the row that says which one is current.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::AccountId;
use crate::tables::{INTEGRATIONS, Row, TableSchema};

/// What the sort keys of [`OwnIntegration`]s begin with.
pub const CURRENT: &str = "current#";

/// An account's own integration, as its newest version has it. It holds for the account and for all accounts below.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnIntegration {
    /// Whose.
    pub account_id: AccountId,
    /// Its place among the account's rows: [`OwnIntegration::sort_key`].
    pub integration_key: String,
    /// Its name, as sources name it.
    pub name: String,
    /// The version that runs use, from 1.
    pub version: u32,
    /// BLAKE3 of that version's text, in hex.
    pub digest: String,
    /// Its name for people.
    pub title: String,
    /// What it is.
    pub description: String,
    /// How a person signs in: `none`, `settings`, `oauth2`.
    pub sign_in: String,
    /// When its first version came.
    pub created_at: Timestamp,
    /// When its newest version came.
    pub updated_at: Timestamp,
}

/// One version of an account's own manifest. It never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestVersion {
    /// Whose.
    pub account_id: AccountId,
    /// Its place among the account's rows: [`ManifestVersion::sort_key`].
    pub integration_key: String,
    /// BLAKE3 of the text, in hex.
    pub digest: String,
    /// The text, compressed (zstd) and in base64: as it is, it might not fit into a row.
    pub packed: String,
    /// When it came.
    pub created_at: Timestamp,
}

/// What all write who add an integration: of two at a time, one finds it changed and counts again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationGate {
    /// Whose.
    pub account_id: AccountId,
    /// [`IntegrationGate::KEY`].
    pub integration_key: String,
}

impl IntegrationGate {
    /// The key of the row in its account.
    pub const KEY: &'static str = "gate";

    /// The gate of an account.
    pub fn new(account_id: AccountId) -> Self {
        Self { account_id, integration_key: Self::KEY.to_owned() }
    }
}

impl OwnIntegration {
    /// The sort key of the integration of that name.
    pub fn sort_key(name: &str) -> String {
        format!("{CURRENT}{name}")
    }
}

impl ManifestVersion {
    /// The sort key of a version; versions sort by their number.
    pub fn sort_key(name: &str, version: u32) -> String {
        format!("manifest#{name}#{version:010}")
    }
}

impl Row for OwnIntegration {
    const TABLE: &'static TableSchema = &INTEGRATIONS;
}

impl Row for ManifestVersion {
    const TABLE: &'static TableSchema = &INTEGRATIONS;
}

impl Row for IntegrationGate {
    const TABLE: &'static TableSchema = &INTEGRATIONS;
}
