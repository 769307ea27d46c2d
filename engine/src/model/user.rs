//! People and their memberships.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, Role, UserId};
use crate::tables::{Row, TableSchema, USERS, USERS_ACCOUNTS};

/// A person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Their id.
    pub user_id: UserId,
    /// Their address, in lower case.
    pub email: String,
    /// Name for people.
    pub name: String,
    /// When the address was proved; nobody signs in before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Timestamp>,
    /// When the person registered.
    pub created_at: Timestamp,
    /// What the embedded identity keeps; absent with an external one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<serde_json::Value>,
}

impl Row for User {
    const TABLE: &'static TableSchema = &USERS;
}

/// A person's place in an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// Who.
    pub user_id: UserId,
    /// Where.
    pub account_id: AccountId,
    /// What they may do.
    pub role: Role,
    /// Invited members have no rights yet.
    pub status: MembershipStatus,
    /// SHA-256 of the invitation token, in hex; gone once accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invitation_hash: Option<String>,
    /// When the invitation ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invitation_expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Whether a membership counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MembershipStatus {
    /// Asked, not answered.
    Invited,
    /// In force.
    Active,
}

impl Row for Membership {
    const TABLE: &'static TableSchema = &USERS_ACCOUNTS;
}
