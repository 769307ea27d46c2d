//! Which role a person has in an account.

use crate::{
    error::Result,
    model::{Account, AccountId, Membership, Role, UserId, scope::SystemScope, user::MembershipStatus},
    store::{Store, key, key1},
};

/// A person's role in an account: that of the nearest active membership on the way up to the root, but an owner's anywhere on it. `None`
/// when they have none, or there is no such account.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub async fn role_in(
    store: &Store,
    system: &SystemScope,
    user_id: UserId,
    account_id: AccountId,
) -> Result<Option<Role>> {
    let Some(account) = store.find::<Account>(system, key1(account_id)).await? else { return Ok(None) };
    let mut nearest = None;
    for ancestor in account.row.path.split('/').rev().filter(|segment| !segment.is_empty()) {
        let membership = store.find::<Membership>(system, key(user_id, ancestor)).await?;
        let role = membership.filter(|found| found.row.status == MembershipStatus::Active).map(|found| found.row.role);
        if role == Some(Role::Owner) {
            return Ok(role);
        }
        nearest = nearest.or(role);
    }
    Ok(nearest)
}
