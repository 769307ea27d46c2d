//! The end of an account: announced, called off, or, when its time has come, carried out by [`crate::run::account_end`]. Until then all goes
//! on as before, backups too, so that whoever calls it off has lost nothing.

use jiff::SignedDuration;
use serde_json::json;

use super::{ATTEMPTS_MAX, Acting, Changed, Office, lost, never_still};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Account, ActivityKind, Ending, billing::PayingAccount},
    ports::{Condition, Query, SortRange},
    run::event,
    store::{key, key1, put},
    tables::ACCOUNTS,
};

/// How long an announced end can be called off.
pub const GRACE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The one partition of the index of accounts that are to be deleted.
pub const SHARD: &str = "ending";
/// Accounts that are read at a time.
const PAGE: usize = 200;

impl Office<'_> {
    /// Announces that the account will be deleted: after [`GRACE`] its keys are destroyed, and nothing of it can be read any more.
    /// Repeated, it changes nothing.
    ///
    /// # Errors
    /// `Conflict` while there are accounts below it that are to stay, and while it has a subscription that goes on.
    pub async fn announce_end(&self, acting: Acting<'_>) -> Result<Changed<Account>> {
        for _ in 0..ATTEMPTS_MAX {
            let found = self.store.get::<Account>(acting.scope, key1(acting.account_id())).await?;
            if found.row.ending.is_some() {
                return Ok(Changed { row: found.row, events: Vec::new() });
            }
            self.check_below(acting, &found.row).await?;
            self.check_subscription(acting).await?;
            let announced_at = self.ports.clock.now();
            let ends_at = announced_at + GRACE;
            let by = acting.actor.to_owned();
            let ending = Ending { by, announced_at, ends_at, is_held: false, has_begun: false, is_told: false };
            let (ending_shard, ends_ms) = (Some(SHARD.to_owned()), Some(ends_at.as_millisecond()));
            let row = Account { ending: Some(ending), ending_shard, ends_ms, ..found.row };
            let told = acting.told(self.ports, ActivityKind::AccountDeletionAnnounced, [("endsAt", json!(ends_at))]);
            let writes = vec![put(&row, Condition::Version(found.version))?, event::keep(&told)?];
            let done = self.store.transact(acting.scope, writes).await;
            if !lost(&done) {
                return done.map(|()| Changed { row, events: vec![told] });
            }
        }
        Err(never_still())
    }

    /// All right below it are to be deleted as well: nobody deletes what they did not name. Its own end comes after theirs.
    async fn check_below(&self, acting: Acting<'_>, account: &Account) -> Result<()> {
        if account.children == 0 {
            return Ok(());
        }
        let query = Query {
            table: &ACCOUNTS,
            index: Some("by-parent"),
            partition: acting.account_id().to_string(),
            sort: SortRange::All,
            descending: false,
            limit: PAGE,
            after: None,
        };
        let below: Vec<Account> = self.store.all(self.system, query).await?;
        let ending = below.iter().filter(|account| account.ending.is_some()).count();
        let staying = (account.children as usize).saturating_sub(ending);
        if staying == 0 {
            return Ok(());
        }
        let message = format!(
            "{staying} accounts right below this one are to stay: move those, and delete the ones that are to go with it first"
        );
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Nobody pays for an account that is gone.
    async fn check_subscription(&self, acting: Acting<'_>) -> Result<()> {
        let place = key(acting.account_id(), PayingAccount::KEY);
        let standing = self.store.find::<PayingAccount>(acting.scope, place).await?;
        match standing.as_ref().and_then(|standing| standing.row.current()).filter(|current| !current.cancels) {
            Some(_) => Err(Error::new(
                ErrorKind::Conflict,
                "its subscription goes on: cancel it first (DELETE /billing/subscription)",
            )),
            None => Ok(()),
        }
    }

    /// Calls the end of the account off. Where none was announced, there is nothing to do.
    ///
    /// # Errors
    /// `Conflict` when it is being carried out.
    pub async fn call_end_off(&self, acting: Acting<'_>) -> Result<Changed<Account>> {
        for _ in 0..ATTEMPTS_MAX {
            let found = self.store.get::<Account>(acting.scope, key1(acting.account_id())).await?;
            let Some(ending) = &found.row.ending else {
                return Ok(Changed { row: found.row, events: Vec::new() });
            };
            if ending.has_begun {
                return Err(Error::new(ErrorKind::Conflict, "the account is being deleted, and nothing stops that"));
            }
            let row = Account { ending: None, ending_shard: None, ends_ms: None, ..found.row };
            let told = acting.told(self.ports, ActivityKind::AccountDeletionCalledOff, []);
            let writes = vec![put(&row, Condition::Version(found.version))?, event::keep(&told)?];
            let done = self.store.transact(acting.scope, writes).await;
            if !lost(&done) {
                return done.map(|()| Changed { row, events: vec![told] });
            }
        }
        Err(never_still())
    }
}
