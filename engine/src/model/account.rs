//! Accounts: the tenants, in a hierarchy.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::AccountId;
use crate::tables::{ACCOUNTS, Row, TableSchema};

/// An account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Its id.
    pub account_id: AccountId,
    /// Name for people.
    pub name: String,
    /// The account above; none at the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<AccountId>,
    /// The topmost ancestor, itself at the root.
    pub root_id: AccountId,
    /// All ancestors and itself: `/acc_a/acc_b/`.
    pub path: String,
    /// How many accounts are right below it.
    #[serde(default)]
    pub children: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Account {
    /// A new account without parent.
    pub fn root(account_id: AccountId, name: String, created_at: Timestamp) -> Self {
        let path = format!("/{account_id}/");
        Self { account_id, name, parent_id: None, root_id: account_id, path, children: 0, created_at }
    }
}

impl Row for Account {
    const TABLE: &'static TableSchema = &ACCOUNTS;
}
