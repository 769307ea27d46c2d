//! People and their memberships.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, InvitationId, Role, UserId};
use crate::tables::{Row, TableSchema, USERS, USERS_ACCOUNTS};

/// RFC 5321, 4.5.3.1.
const MAX_ADDRESS_BYTES: usize = 254;
const MAX_LOCAL_PART_BYTES: usize = 64;

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
    /// They turned off the letters about what is not as it should be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alerts_off: bool,
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
    /// `Active`.
    pub status: MembershipStatus,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An invitation into an account: among the memberships, in the place of a person who may not be there yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    /// Its id.
    #[serde(rename = "userId")]
    pub invitation_id: InvitationId,
    /// Where to.
    pub account_id: AccountId,
    /// The address, in lower case; nobody else can accept it.
    pub email: String,
    /// What they may do then.
    pub role: Role,
    /// `Invited`.
    pub status: MembershipStatus,
    /// SHA-256 of the token, in hex.
    pub invitation_hash: String,
    /// When it ends.
    pub invitation_expires_at: Timestamp,
    /// A user's or key's id.
    pub invited_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was sent again, as far as that still counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent_again_at: Vec<Timestamp>,
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

impl Row for Invitation {
    const TABLE: &'static TableSchema = &USERS_ACCOUNTS;
}

/// The address in lower case; `None` when it is none.
pub fn normal_address(email: &str) -> Option<String> {
    let email = email.trim();
    let (local, domain) = email.rsplit_once('@')?;
    let local_fits = (1..=MAX_LOCAL_PART_BYTES).contains(&local.len())
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..");
    let plain = email
        .chars()
        .all(|letter| !letter.is_whitespace() && !letter.is_control() && !"()<>,;:\\\"[]".contains(letter));
    let labels: Vec<&str> = domain.split('.').collect();
    let domain_fits = labels.len() >= 2
        && labels.iter().all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-')
        });
    let fits = email.len() <= MAX_ADDRESS_BYTES && local_fits && plain && domain_fits && !local.contains('@');
    fits.then(|| email.to_lowercase())
}
