//! Accounts of their own: the root of a tree, with whoever makes it as its owner.

use futures::TryStreamExt;
use serde_json::Map;

use super::{ATTEMPTS_MAX, Changed, Office, lost, never_still};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Account, AccountId, ActivityKind, Membership, Role, User, UserId, user::MembershipStatus},
    ports::{Condition, Query, SortRange},
    run::event::{self, Subject},
    store::{key1, put},
    tables::USERS_ACCOUNTS,
};

/// The most accounts that somebody makes and owns by themselves; others they are invited to, or own by an account above.
pub const OWNED_MAX: usize = 50;
/// Memberships of a person that are read at a time.
const PAGE: usize = 100;

impl Office<'_> {
    /// Makes an account that is below none, with the person as its owner. With an id that is there already, it is the account that was
    /// made with it.
    ///
    /// # Errors
    /// `Conflict` when they own too many already.
    pub async fn add_root(&self, user_id: UserId, account_id: AccountId, name: &str) -> Result<Changed<Account>> {
        for _ in 0..ATTEMPTS_MAX {
            // Written too, so that of two accounts made at once each counts the other.
            let user = self.store.get::<User>(self.system, key1(user_id)).await?;
            if let Some(made) = self.store.find::<Account>(self.system, key1(account_id)).await? {
                return Ok(Changed { row: made.row, events: Vec::new() });
            }
            self.check_owned(user_id).await?;
            let created_at = self.ports.clock.now();
            let account = Account::root(account_id, name.to_owned(), created_at);
            let status = MembershipStatus::Active;
            let membership = Membership { user_id, account_id, role: Role::Owner, status, created_at };
            let (kind, actor) = (ActivityKind::AccountCreated, user_id.to_string());
            let made = event::event(self.ports, account_id, kind, &actor, Subject::default(), Map::new());
            let joined = event::of_membership(self.ports, &membership, &actor, Some(made.timestamp));
            let writes = vec![
                put(&user.row, Condition::Version(user.version))?,
                put(&account, Condition::Absent)?,
                put(&membership, Condition::Absent)?,
                event::keep(&made)?,
                event::keep(&joined)?,
            ];
            let done = self.store.transact(self.system, writes).await;
            if !lost(&done) {
                return done.map(|()| Changed { row: account, events: vec![made, joined] });
            }
        }
        Err(never_still())
    }

    async fn check_owned(&self, user_id: UserId) -> Result<()> {
        let query = Query {
            table: &USERS_ACCOUNTS,
            index: None,
            partition: user_id.to_string(),
            sort: SortRange::All,
            descending: false,
            limit: PAGE,
            after: None,
        };
        let own = self.store.rows::<Membership>(self.system, query).try_filter(|membership| {
            std::future::ready(membership.role == Role::Owner && membership.status == MembershipStatus::Active)
        });
        let owned = own.try_fold(0, async |count, _| Ok(count + 1)).await?;
        if owned < OWNED_MAX {
            return Ok(());
        }
        let message = format!("you own {OWNED_MAX} accounts already; make one below another, or give one away first");
        Err(Error::new(ErrorKind::Conflict, message))
    }
}
