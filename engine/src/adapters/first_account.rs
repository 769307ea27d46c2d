//! The account that a person gets who proved an address and is a member of none: the same rows for every identity.

use jiff::Timestamp;
use serde_json::json;

use crate::{
    error::Result,
    model::{
        Account, AccountId, ActivityEvent, ActivityKind, EventId, Membership, Role, UserId, activity::OUTBOX_SHARD,
        id::kind, user::MembershipStatus,
    },
    ports::{Condition, Write},
    store,
};

/// Makes the account, of the person's own name, with them as its owner, and the events that tell of both.
///
/// # Errors
/// `Bug` when a row does not serialise.
pub(super) fn writes(user_id: UserId, name: &str, account_id: AccountId, now: Timestamp) -> Result<Vec<Write>> {
    let membership = owner(user_id, account_id, now);
    let made = account_made(user_id, account_id);
    Ok(vec![
        store::put(&Account::root(account_id, name.to_owned(), now), Condition::Absent)?,
        store::put(&membership, Condition::Absent)?,
        store::put(&joined(&membership, &made), Condition::Absent)?,
        store::put(&made, Condition::Absent)?,
    ])
}

/// The event that tells it, for the relay to find.
fn account_made(user_id: UserId, account_id: AccountId) -> ActivityEvent {
    ActivityEvent {
        event_id: account_id.of::<kind::Event>(),
        timestamp: account_id.instant_ms(),
        account_id,
        kind: ActivityKind::AccountCreated,
        actor: user_id.to_string(),
        source_id: None,
        job_id: None,
        run_id: None,
        details: serde_json::Map::new(),
        sequence: None,
        chain_digest: None,
        outbox_shard: Some(OUTBOX_SHARD.to_owned()),
    }
}

/// The event that tells of the account's first member, right after it.
fn joined(membership: &Membership, account_made: &ActivityEvent) -> ActivityEvent {
    let timestamp = account_made.timestamp + 1;
    let mut digest = [0; 10];
    digest.copy_from_slice(&membership.account_id.as_bytes()[6..]);
    let details = [("userId".to_owned(), json!(membership.user_id)), ("role".to_owned(), json!(membership.role))];
    ActivityEvent {
        event_id: EventId::derived(timestamp, digest),
        timestamp,
        kind: ActivityKind::MemberAdded,
        details: details.into_iter().collect(),
        ..account_made.clone()
    }
}

fn owner(user_id: UserId, account_id: AccountId, now: Timestamp) -> Membership {
    Membership { user_id, account_id, role: Role::Owner, status: MembershipStatus::Active, created_at: now }
}
