//! Members of an account: another role, and leaving. The root of a tree keeps an owner, whoever leaves at the same time.

use std::pin::pin;

use futures::TryStreamExt;
use serde_json::json;

use super::{ATTEMPTS_MAX, Acting, Changed, Office, lost, never_still, roles::role_in};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Account, ActivityKind, Membership, Role, UserId, user::MembershipStatus},
    ports::{Condition, Query, SortRange, Write},
    run::event,
    store::{Versioned, key, key1, put},
    tables::USERS_ACCOUNTS,
};

/// What keys of people start with in a table that has invitations too.
pub const PEOPLE: &str = "usr_";
/// Members of an account that are read at a time.
const PAGE: usize = 100;

impl Office<'_> {
    /// Gives a member another role. Somebody who has a role from an account above gets a nearer one, which counts before it unless they
    /// own the account above.
    ///
    /// # Errors
    /// `NotFound` for somebody who has no role here; `OverLimit` when the plan has no place for one more; `Denied` when ownership is given or taken by somebody who may not; `Conflict` when
    /// they are the last owner.
    pub async fn set_role(&self, acting: Acting<'_>, user_id: UserId, role: Role) -> Result<Changed<Membership>> {
        for _ in 0..ATTEMPTS_MAX {
            let (before, condition) = self.standing(acting, user_id).await?;
            if before.role == role && condition != Condition::Absent {
                return Ok(Changed { row: before, events: Vec::new() });
            }
            allow_ownership(acting, [before.role, role])?;
            let after = Membership { role, ..before.clone() };
            let details = [("userId", json!(user_id)), ("from", json!(before.role)), ("to", json!(role))];
            let told = acting.told(self.ports, ActivityKind::MemberUpdated, details);
            let mut writes = vec![put(&after, condition)?, event::keep(&told)?];
            if before.role == Role::Owner {
                writes.extend(self.another_owner(acting, user_id).await?);
            }
            let gate = match condition {
                Condition::Absent => self.allowance().member(acting.account_id(), &user_id.to_string()).await?,
                _ => Vec::new(),
            };
            let done = self.transact(acting, writes, gate).await;
            if !lost(&done) {
                return done.map(|()| Changed { row: after, events: vec![told] });
            }
        }
        Err(never_still())
    }

    /// Takes a member's own role in an account away; one from an account above counts again then.
    ///
    /// # Errors
    /// `NotFound` for somebody who is no member of this very account; else as [`Office::set_role`].
    pub async fn remove_member(&self, acting: Acting<'_>, user_id: UserId) -> Result<Changed<Membership>> {
        for _ in 0..ATTEMPTS_MAX {
            let place = key(user_id, acting.account_id());
            let Versioned { row, version } = self.store.get::<Membership>(acting.scope, place.clone()).await?;
            allow_ownership(acting, [row.role])?;
            let details = [("userId", json!(user_id)), ("role", json!(row.role))];
            let told = acting.told(self.ports, ActivityKind::MemberRemoved, details);
            let condition = Condition::Version(version);
            let mut writes = vec![Write::Delete { table: &USERS_ACCOUNTS, key: place, condition }, event::keep(&told)?];
            if row.role == Role::Owner {
                writes.extend(self.another_owner(acting, user_id).await?);
            }
            let done = self.store.transact(acting.scope, writes).await;
            if !lost(&done) {
                return done.map(|()| Changed { row, events: vec![told] });
            }
        }
        Err(never_still())
    }

    /// A person's place in the account, with the condition under which it can be written: their own, or the one that they have by an
    /// account above.
    async fn standing(&self, acting: Acting<'_>, user_id: UserId) -> Result<(Membership, Condition)> {
        let account_id = acting.account_id();
        if let Some(found) = self.store.find::<Membership>(acting.scope, key(user_id, account_id)).await? {
            return Ok((found.row, Condition::Version(found.version)));
        }
        let inherited = role_in(self.store, self.system, user_id, account_id).await?.ok_or_else(no_member)?;
        if inherited == Role::Owner {
            let message = "they own an account above this one, and so this one: change their role there";
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let created_at = self.ports.clock.now();
        let status = MembershipStatus::Active;
        Ok((Membership { user_id, account_id, role: inherited, status, created_at }, Condition::Absent))
    }

    /// That somebody else owns the root stays so: a check for the transaction. Accounts below have an owner by it.
    async fn another_owner(&self, acting: Acting<'_>, leaving: UserId) -> Result<Option<Write>> {
        let account_id = acting.account_id();
        if self.store.get::<Account>(acting.scope, key1(account_id)).await?.row.parent_id.is_some() {
            return Ok(None);
        }
        let query = Query {
            table: &USERS_ACCOUNTS,
            index: Some("by-account"),
            partition: account_id.to_string(),
            sort: SortRange::Prefix(PEOPLE.to_owned()),
            descending: false,
            limit: PAGE,
            after: None,
        };
        let owns = |row: &Membership| row.role == Role::Owner && row.status == MembershipStatus::Active;
        let mut others = pin!(self.store.rows::<Membership>(acting.scope, query));
        while let Some(other) = others.try_next().await? {
            if other.user_id == leaving || !owns(&other) {
                continue;
            }
            // The index may be behind.
            let place = key(other.user_id, account_id);
            let now = self.store.find::<Membership>(acting.scope, place.clone()).await?;
            if let Some(Versioned { version, .. }) = now.filter(|now| owns(&now.row)) {
                let condition = Condition::Version(version);
                return Ok(Some(Write::Check { table: &USERS_ACCOUNTS, key: place, condition }));
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "the last owner of an account cannot leave it; make somebody else one first",
        ))
    }
}

pub(super) fn allow_ownership<const N: usize>(acting: Acting<'_>, roles: [Role; N]) -> Result<()> {
    if acting.may_own || !roles.contains(&Role::Owner) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Denied, "only an owner of the account gives and takes ownership"))
}

fn no_member() -> Error {
    Error::new(ErrorKind::NotFound, "there is no such member")
}
