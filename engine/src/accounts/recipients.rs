//! Who gets letters about an account: those who have a role in it, by its own membership or by one of an account above.

use std::collections::{BTreeMap, btree_map::Entry};

use futures::TryStreamExt;

use super::members::PEOPLE;
use crate::{
    error::Result,
    model::{Account, Membership, Role, User, UserId, scope::SystemScope, user::MembershipStatus},
    ports::{Query, SortRange},
    store::{Store, key1},
    tables::USERS_ACCOUNTS,
};

/// People that one letter goes to at most.
const RECIPIENTS_MAX: usize = 100;
/// Members of an account that are read at a time.
const PAGE: usize = 100;

/// People whose role in an account is one that `fits`, and who have proved their address, as rows are now.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub async fn recipients(
    store: &Store,
    system: &SystemScope,
    account: &Account,
    fits: impl Fn(Role) -> bool,
) -> Result<Vec<User>> {
    let mut roles: BTreeMap<UserId, Role> = BTreeMap::new();
    for above in account.path.split('/').rev().filter(|segment| !segment.is_empty()) {
        let query = Query {
            table: &USERS_ACCOUNTS,
            index: Some("by-account"),
            partition: above.to_owned(),
            sort: SortRange::Prefix(PEOPLE.to_owned()),
            descending: false,
            limit: PAGE,
            after: None,
        };
        let mut members = std::pin::pin!(store.rows::<Membership>(system, query));
        while let Some(member) = members.try_next().await? {
            if member.status != MembershipStatus::Active {
                continue;
            }
            // As in `role_in`: the nearest one counts, but an owner's anywhere.
            match roles.entry(member.user_id) {
                Entry::Vacant(unknown) => drop(unknown.insert(member.role)),
                Entry::Occupied(mut nearer) if member.role == Role::Owner => drop(nearer.insert(member.role)),
                Entry::Occupied(_) => {}
            }
        }
    }
    let mut people = Vec::new();
    for (user_id, _) in roles.into_iter().filter(|(_, role)| fits(*role)) {
        if people.len() == RECIPIENTS_MAX {
            tracing::warn!(account = %account.account_id, "a letter goes to {RECIPIENTS_MAX} people only, of more");
            break;
        }
        let user = store.find::<User>(system, key1(user_id)).await?.map(|found| found.row);
        people.extend(user.filter(|user| user.verified_at.is_some()));
    }
    Ok(people)
}
