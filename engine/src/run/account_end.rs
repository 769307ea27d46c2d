//! The end of an account whose time has come ([`crate::accounts::ending`] announces it), in steps of which each can be the last one
//! before a crash:
//!
//! 1. Its data keys are destroyed: nothing stored of it can be read any more, its jobs are paused and its live runs cancelled; its owners
//!    have a letter. Snapshots
//!    that are held or locked stand against that: then it waits, a day at a time, and that is told once.
//! 2. Its rows and objects go, a bounded number a look, until one look finds none: by then an index that is behind shows them all.
//! 3. The account itself goes, in one transaction with the events that tell it, in its own log and in that of the account above.
//!
//! What stays is its log of events, and the mark that its keys were destroyed: so an order that is late comes to nothing.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    RunContext,
    event::{self, Subject},
    keys,
    live::live_runs_of,
    update::{Decision, update},
    upkeep::ACTOR,
};
use crate::{
    accounts::{ending::SHARD, letters::tell_owners, tree::counted},
    error::{ErrorKind, Result},
    letters::DeletionStage,
    model::{Account, AccountId, ActivityEvent, ActivityKind, Ending, scope::AccountScope},
    ports::{Condition, Query, SortRange, WRITES_MAX, Write},
    store::{Versioned, key_of, key1},
    tables::{
        ACCOUNTS, API_KEYS, BILLING, COUNTERS, FILES, INTEGRATIONS, JOBS, RUNS, SOURCES, TableSchema, USERS_ACCOUNTS,
        WEBHOOKS,
    },
};

/// Accounts taken up by one look.
const LOOK_MAX: usize = 10;
/// Rows, and objects, of one account that go in one look.
const REMOVED_MAX: usize = 20_000;
/// An account that waits for its snapshots is looked at again so much later.
const HELD_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Where an account's rows are: by the table's own key or by an index. Credentials and access keys go first, memberships last.
const PLACES: [(&TableSchema, Option<&str>); 10] = [
    (&API_KEYS, Some("by-account")),
    (&JOBS, None),
    (&SOURCES, None),
    (&RUNS, Some("by-account")),
    (&FILES, Some("by-account")),
    (&COUNTERS, None),
    (&WEBHOOKS, None),
    (&INTEGRATIONS, None),
    (&BILLING, None),
    (&USERS_ACCOUNTS, Some("by-account")),
];

/// Goes on with every account whose end has come. Returns how many are gone now.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub async fn end_due(ctx: &RunContext) -> Result<usize> {
    let query = Query {
        table: &ACCOUNTS,
        index: Some("ending"),
        partition: SHARD.to_owned(),
        sort: SortRange::Numbers(None, Some(ctx.ports.clock.now().as_millisecond() + 1)),
        descending: false,
        limit: LOOK_MAX,
        after: None,
    };
    let mut gone = 0;
    for account_id in
        ctx.store.sound::<Account>(&ctx.system, query).await?.rows.into_iter().map(|due| due.row.account_id)
    {
        match go_on(ctx, &ctx.system.account(account_id)).await {
            Ok(is_gone) => gone += usize::from(is_gone),
            // Another worker was first.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
            Err(error) if error.kind() == ErrorKind::Retry => return Err(error),
            Err(error) => {
                tracing::error!(%error, account = %account_id, "an account could not be deleted; trying again");
            }
        }
    }
    Ok(gone)
}

/// True when the account is gone.
async fn go_on(ctx: &RunContext, scope: &AccountScope) -> Result<bool> {
    let account_id = scope.account_id();
    if !begin(ctx, scope).await? {
        return Ok(false);
    }
    match keys::destroy(ctx, scope, ACTOR, "the account was deleted").await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Denied => {
            tracing::info!(%error, account = %account_id, "an account that is to be deleted waits");
            return wait(ctx, scope).await.map(|()| false);
        }
        Err(error) => return Err(error),
    }
    if !live_runs_of(&ctx.store, scope).await?.is_empty() {
        return Ok(false);
    }
    tell(ctx, scope).await?;
    let rows = remove_rows(ctx, scope).await?;
    let objects = ctx.snapshots.erase(scope, REMOVED_MAX).await?;
    if rows + objects > 0 {
        tracing::info!(account = %account_id, rows, objects, "what was left of an account was removed");
        return Ok(false);
    }
    remove(ctx, scope).await.map(|()| true)
}

/// From here on nobody calls it off: the row says so before the first key goes. False when somebody did.
async fn begin(ctx: &RunContext, scope: &AccountScope) -> Result<bool> {
    let now = ctx.ports.clock.now();
    update(&ctx.store, scope, key1(scope.account_id()), |mut account: Account| {
        // Those below go first: each has an end of its own.
        let is_time = |ending: &&mut Ending| ending.ends_at <= now;
        let Some(ending) = account.ending.as_mut().filter(is_time).filter(|_| account.children == 0) else {
            return Ok(Decision::Keep(false));
        };
        if ending.has_begun {
            return Ok(Decision::Keep(true));
        }
        ending.has_begun = true;
        Ok(Decision::Write(account, vec![], true))
    })
    .await
}

/// Puts the end off while snapshots are held or locked, and tells that the first time.
async fn wait(ctx: &RunContext, scope: &AccountScope) -> Result<()> {
    let look_at = ctx.ports.clock.now() + HELD_FOR;
    let told = update(&ctx.store, scope, key1(scope.account_id()), |mut account: Account| {
        let Some(ending) = &mut account.ending else { return Ok(Decision::Keep(None)) };
        let told = (!ending.is_held).then(|| told(ctx, scope.account_id(), ActivityKind::AccountDeletionHeld, []));
        (ending.is_held, ending.has_begun) = (true, false);
        account.ends_ms = Some(look_at.as_millisecond());
        Ok(Decision::Write(account, told.iter().map(event::keep).collect::<Result<_>>()?, told))
    })
    .await?;
    event::publish(&ctx.ports, scope, told.as_slice());
    Ok(())
}

/// Tells the owners, while it is known who they are, and that they were told.
async fn tell(ctx: &RunContext, scope: &AccountScope) -> Result<()> {
    let place = key1(scope.account_id());
    let account = ctx.store.get::<Account>(scope, place.clone()).await?.row;
    let Some(ending) = account.ending.as_ref().filter(|ending| !ending.is_told) else { return Ok(()) };
    let stage = DeletionStage::Done { at: ctx.ports.clock.now() };
    tell_owners(&ctx.ports, &ctx.system, &account, &ending.by, stage, None).await;
    update(&ctx.store, scope, place, |mut account: Account| {
        if let Some(ending) = &mut account.ending {
            ending.is_told = true;
        }
        Ok(Decision::Write(account, vec![], ()))
    })
    .await
}

/// Removes rows of the account, a bounded number; how many.
async fn remove_rows(ctx: &RunContext, scope: &AccountScope) -> Result<usize> {
    let mut removed = 0;
    for (table, index) in PLACES {
        while removed < REMOVED_MAX {
            let page = ctx.store.page(scope, first(table, index, scope.account_id())).await?;
            let gone = |item: &crate::ports::Item| {
                let key = key_of(table, &item.body)?;
                Ok(Write::Delete { table, key, condition: Condition::Any })
            };
            let writes: Vec<Write> = page.items.iter().map(gone).collect::<Result<_>>()?;
            if writes.is_empty() {
                break;
            }
            removed += writes.len();
            ctx.store.transact(scope, writes).await?;
        }
    }
    Ok(removed)
}

fn first(table: &'static TableSchema, index: Option<&'static str>, account_id: AccountId) -> Query {
    Query {
        table,
        index,
        partition: account_id.to_string(),
        sort: SortRange::All,
        descending: false,
        limit: WRITES_MAX,
        after: None,
    }
}

/// The account's row goes, and the account above counts one less.
async fn remove(ctx: &RunContext, scope: &AccountScope) -> Result<()> {
    let account_id = scope.account_id();
    let Versioned { row: account, version } = ctx.store.get::<Account>(scope, key1(account_id)).await?;
    let mut events = vec![told(ctx, account_id, ActivityKind::AccountDeleted, [])];
    let gone = Write::Delete { table: &ACCOUNTS, key: key1(account_id), condition: Condition::Version(version) };
    let mut writes = vec![gone];
    if let Some(parent_id) = account.parent_id {
        writes.push(counted(ctx.store.get::<Account>(&ctx.system, key1(parent_id)).await?, -1)?);
        let details = [("accountId", json!(account_id)), ("name", json!(account.name))];
        events.push(told(ctx, parent_id, ActivityKind::AccountDeleted, details));
    }
    for event in &events {
        writes.push(event::keep(event)?);
    }
    ctx.store.transact(&ctx.system, writes).await?;
    for event in events {
        event::publish(&ctx.ports, &ctx.system.account(event.account_id), &[event]);
    }
    Ok(())
}

fn told<const N: usize>(
    ctx: &RunContext,
    account_id: AccountId,
    kind: ActivityKind,
    details: [(&str, Value); N],
) -> ActivityEvent {
    let details: Map<_, _> = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    event::event(&ctx.ports, account_id, kind, ACTOR, Subject::default(), details)
}
