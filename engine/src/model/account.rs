//! Accounts: the tenants, in a hierarchy.

use jiff::{Timestamp, civil::Date};
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
    /// Somebody asked to delete it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// Index shard of accounts that are to be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending_shard: Option<String>,
    /// When its end is to be looked after, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_ms: Option<i64>,
    /// Letters of invitation that it sent on the last day on which it sent any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invited: Option<InvitedOn>,
}

/// Letters of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvitedOn {
    /// The day, in UTC.
    pub day: Date,
    /// How many.
    pub letters: u32,
}

/// The end of an account, which can be called off until it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// Who asked for it: a user's id.
    pub by: String,
    /// When.
    pub announced_at: Timestamp,
    /// From when on nothing of the account can be read any more.
    pub ends_at: Timestamp,
    /// Its time has come, but snapshots are held or locked: it waits for them.
    #[serde(default)]
    pub is_held: bool,
    /// It is being carried out: nobody calls it off any more.
    #[serde(default)]
    pub has_begun: bool,
    /// Its owners were told that it is gone.
    #[serde(default)]
    pub is_told: bool,
}

impl Account {
    /// A new account without parent.
    pub fn root(account_id: AccountId, name: String, created_at: Timestamp) -> Self {
        let path = format!("/{account_id}/");
        Self {
            account_id,
            name,
            parent_id: None,
            root_id: account_id,
            path,
            children: 0,
            created_at,
            ending: None,
            ending_shard: None,
            ends_ms: None,
            invited: None,
        }
    }

    /// A new account right below this one.
    pub fn child(&self, account_id: AccountId, name: String, created_at: Timestamp) -> Self {
        let path = format!("{}{account_id}/", self.path);
        let (parent_id, root_id) = (Some(self.account_id), self.root_id);
        Self { parent_id, root_id, path, ..Self::root(account_id, name, created_at) }
    }
}

impl Row for Account {
    const TABLE: &'static TableSchema = &ACCOUNTS;
}
