//! Which role a person has in an account.

use std::collections::BTreeMap;

use crate::{
    error::Result,
    model::{Account, AccountId, Membership, Role, UserId, scope::SystemScope, user::MembershipStatus},
    ports::{Query, SortRange},
    store::{Store, key, key1},
    tables::USERS_ACCOUNTS,
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

/// A person's roles wherever they are a member, for asking of many accounts.
pub struct Roles(BTreeMap<String, Role>);

impl Roles {
    /// Reads them.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached.
    pub async fn of(store: &Store, system: &SystemScope, user_id: UserId) -> Result<Self> {
        let query = Query {
            table: &USERS_ACCOUNTS,
            index: None,
            partition: user_id.to_string(),
            sort: SortRange::All,
            descending: false,
            limit: 200,
            after: None,
        };
        let memberships: Vec<Membership> = store.all(system, query).await?;
        let active = memberships.into_iter().filter(|found| found.status == MembershipStatus::Active);
        Ok(Self(active.map(|found| (found.account_id.to_string(), found.role)).collect()))
    }

    /// As [`role_in`].
    pub fn within(&self, account: &Account) -> Option<Role> {
        let on_the_way = || account.path.split('/').rev().filter_map(|account_id| self.0.get(account_id).copied());
        on_the_way().find(|role| *role == Role::Owner).or_else(|| on_the_way().next())
    }
}
