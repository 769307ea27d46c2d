//! The rows of people whom a user pool signs in.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    adapters::first_account,
    error::{Error, ErrorKind, Result},
    model::{Account, AccountId, Membership, User, UserId, scope::SystemScope, user::MembershipStatus},
    ports::{Clock, Condition, Query, Random, SortRange, Tables},
    store::{self, Store},
    tables::{TableSchema, USERS, USERS_ACCOUNTS},
};

/// Memberships of one person that are looked through.
const MAX_MEMBERSHIPS: usize = 1000;

/// A user of the pool.
pub(super) struct PoolUser {
    pub(super) user_id: UserId,
    pub(super) email: String,
    pub(super) name: String,
    /// The pool knows that the address is theirs.
    pub(super) is_proved: bool,
}

/// People, their accounts and memberships.
pub(super) struct People {
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    system: SystemScope,
}

impl People {
    pub(super) fn new(tables: Arc<dyn Tables>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { store: Store::new(tables), clock, random, system: SystemScope::of_this_process() }
    }

    pub(super) async fn is_known(&self, user_id: UserId) -> Result<bool> {
        let found = self.store.find::<User>(&self.system, store::key1(user_id)).await?;
        Ok(found.is_some_and(|user| user.row.verified_at.is_some()))
    }

    /// Makes the row of a person who proved their address, and an account of their own. Whoever is in already stays as they are.
    ///
    /// # Errors
    /// `Conflict` when the address is that of somebody else.
    pub(super) async fn admit(&self, person: &PoolUser) -> Result<()> {
        let by_email = query(&USERS, Some("by-email"), &person.email);
        let others = self.store.query::<User>(&self.system, by_email).await?.rows;
        if others.iter().any(|other| other.row.user_id != person.user_id) {
            let message = "the address is that of a person who is not in the user pool any more; an operator must remove their row";
            return Err(Error::new(ErrorKind::Conflict, message).with("user", person.user_id));
        }
        let now = self.clock.now();
        let user = User {
            user_id: person.user_id,
            email: person.email.clone(),
            name: person.name.clone(),
            verified_at: Some(now),
            alerts_off: false,
            created_at: now,
            sign_in: None,
        };
        let mut writes = vec![store::put(&user, Condition::Absent)?];
        if self.memberships(person.user_id).await?.is_empty() {
            let account_id = AccountId::new(&*self.clock, &*self.random);
            writes.extend(first_account::writes(person.user_id, &person.name, account_id, now)?);
        }
        match self.store.transact(&self.system, writes).await {
            // Another process was first, or this one a moment ago.
            Err(error) if error.kind() == ErrorKind::Conflict && self.is_known(person.user_id).await? => Ok(()),
            outcome => outcome,
        }
    }

    /// The account that a person asked for, or their first.
    ///
    /// # Errors
    /// `Denied` when they have no place in it, or in any.
    pub(super) async fn account_to_work_in(&self, user_id: UserId, wanted: Option<AccountId>) -> Result<AccountId> {
        let memberships = self.memberships(user_id).await?;
        let found = match wanted {
            None => memberships.first().copied(),
            Some(account_id) => {
                let account = self.store.find::<Account>(&self.system, store::key1(account_id)).await?;
                let is_inside = |path: &str| {
                    path.split('/').any(|part| memberships.iter().any(|account_id| account_id.to_string() == part))
                };
                account.filter(|account| is_inside(&account.row.path)).map(|account| account.row.account_id)
            }
        };
        found.ok_or_else(|| {
            Error::new(ErrorKind::Denied, "you are not a member of this account; ask its owner to invite you")
        })
    }

    async fn memberships(&self, user_id: UserId) -> Result<Vec<AccountId>> {
        let query = query(&USERS_ACCOUNTS, None, &user_id.to_string());
        let rows = self.store.query::<Membership>(&self.system, query).await?.rows.into_iter().map(|found| found.row);
        Ok(rows.filter(|row| row.status == MembershipStatus::Active).map(|row| row.account_id).collect())
    }
}

/// Whose `sub` that is: its bytes are the id.
pub(super) fn user_id(sub: &str) -> Option<UserId> {
    Uuid::try_parse(sub).ok().map(|sub| UserId::from_bytes(sub.into_bytes()))
}

/// What a token says, unproved.
pub(super) fn claims(token: &str) -> Option<Map<String, Value>> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

fn query(table: &'static TableSchema, index: Option<&'static str>, partition: &str) -> Query {
    Query {
        table,
        index,
        partition: partition.to_owned(),
        sort: SortRange::All,
        descending: false,
        limit: MAX_MEMBERSHIPS,
        after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_somebody_is_follows_from_the_pool_alone() {
        let sub = "f4c8d2a0-1b2c-4d3e-8f90-a1b2c3d4e5f6";
        let id = user_id(sub).unwrap();
        assert_eq!(id, user_id(&sub.to_uppercase()).unwrap());
        assert_eq!(id.to_string().parse::<UserId>().unwrap(), id);
        assert_eq!(user_id("ada"), None);
    }

    #[test]
    fn claims_are_read_from_the_middle_of_a_token() {
        let token = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(r#"{"sub":"1"}"#));
        assert_eq!(claims(&token).unwrap()["sub"], "1");
        assert_eq!((claims("e30"), claims("a.b.c")), (None, None));
    }
}
