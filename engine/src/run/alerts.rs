//! Sends alerts: rows in the `due` index say which letters are to be sent and when ([`super::followers`] writes them, and the relay rings
//! the [`bell`](super::bell)). As with [`super::deliveries`], a conditional write takes one up for a while, so that of many processes one
//! sends it, and another one when that dies: everybody whom it concerns gets a letter at least once.
//!
//! Whom it concerns is asked at the time of sending: owners and administrators of the account, also by a role in an account above, who
//! have not turned alerts off.

mod facts;

use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use self::facts::Facts;
use super::{
    RunContext,
    deliveries::{
        Sent,
        written::{taken, write},
    },
};
use crate::{
    accounts::recipients::recipients,
    error::{ErrorKind, Result},
    model::{Account, Alert, Role, User, alert::ALERTS_SHARD, scope::AccountScope},
    ports::{Condition, Query, SortRange, Write},
    store::{Versioned, key, key1},
    tables::WEBHOOKS,
};

/// Rows of one look.
const PAGE: usize = 100;
/// Letters that are sent at the same time, of one process.
const AT_ONCE: usize = 4;
/// Who takes an alert up has it for so long: a letter may go to many people.
const CLAIM: SignedDuration = SignedDuration::from_mins(5);
/// Waits before the second attempt, the third and so on: nearly a day.
const WAITS: [Duration; 7] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(5 * 60 * 60),
    Duration::from_secs(7 * 60 * 60),
    Duration::from_secs(9 * 60 * 60),
];
/// What happened longer ago is no news: an alert is not sent.
const NEWS: SignedDuration = SignedDuration::from_hours(25);

/// Sends the letters that are due. Several looks may go on at the same time, in this process and others.
///
/// # Errors
/// `Retry` when the store cannot be reached; the next look goes on.
pub async fn look(ctx: &RunContext) -> Result<Sent> {
    let query = Query {
        table: &WEBHOOKS,
        index: Some("due"),
        partition: ALERTS_SHARD.to_owned(),
        sort: SortRange::Numbers(None, Some(ctx.ports.clock.now().as_millisecond() + 1)),
        descending: false,
        limit: PAGE,
        after: None,
    };
    let page = ctx.store.sound::<Alert>(&ctx.system, query).await?;
    let (attempts, has_more) = (page.rows.len(), page.next.is_some());
    if attempts > 0 && !ctx.ports.mail.is_set_up() {
        tracing::warn!(alerts = attempts, "alerts are not sent and forgotten: no mail is set up");
        for found in page.rows {
            forget(ctx, &ctx.system.account(found.row.account_id), &found).await?;
        }
        return Ok(Sent { attempts, has_more, again: Vec::new() });
    }
    let each = |found: Versioned<Alert>| async move {
        let account_id = found.row.account_id;
        send(ctx, &ctx.system.account(account_id), found).await.unwrap_or_else(|error| {
            tracing::warn!(%error, account = %account_id, "what became of an alert was not written; it is sent again");
            Some(CLAIM.unsigned_abs())
        })
    };
    let waits: Vec<_> = stream::iter(page.rows).map(each).buffer_unordered(AT_ONCE).collect().await;
    Ok(Sent { attempts, has_more, again: waits.into_iter().flatten().collect() })
}

/// One attempt, if nobody else was first; after how long it is due again.
async fn send(ctx: &RunContext, scope: &AccountScope, found: Versioned<Alert>) -> Result<Option<Duration>> {
    let Versioned { row: mut alert, version } = found;
    alert.attempts = alert.attempts.saturating_add(1);
    alert.due_at(ctx.ports.clock.now() + CLAIM);
    let Some(mut claimed) = taken(ctx, scope, alert, version).await? else { return Ok(None) };
    let told = tell(ctx, scope, &mut claimed.row).await.unwrap_or_else(|error| {
        tracing::warn!(%error, account = %scope.account_id(), "an alert was not sent; trying again");
        Told::NotAll
    });
    let Versioned { row: alert, version } = &mut claimed;
    let number = usize::try_from(alert.attempts).unwrap_or(usize::MAX);
    let wait = WAITS.get(number.saturating_sub(1)).copied().filter(|_| told == Told::NotAll);
    match (told, wait) {
        (Told::Gone, _) => return forget(ctx, scope, &claimed).await.map(|()| None),
        (Told::NotAll, Some(wait)) => alert.due_at(ctx.ports.clock.now() + wait),
        (Told::NotAll, None) => {
            tracing::error!(account = %alert.account_id, kind = alert.kind.code(), "an alert could not be sent in a day, and is given up");
            alert.end();
        }
        (Told::All, _) => alert.end(),
    }
    write(ctx, scope, alert, *version).await?;
    Ok(wait)
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nobody waits for it any more.
    All,
    /// Somebody has no letter yet.
    NotAll,
    /// What it is about is not there any more.
    Gone,
}

async fn tell(ctx: &RunContext, scope: &AccountScope, alert: &mut Alert) -> Result<Told> {
    let happened = Timestamp::from_millisecond(alert.event_ms).unwrap_or_default();
    if ctx.ports.clock.now().duration_since(happened) > NEWS {
        return Ok(Told::All);
    }
    let account = ctx.store.find::<Account>(scope, key1(scope.account_id())).await?.map(|found| found.row);
    match account.zip(Facts::of(ctx, scope, alert).await?) {
        Some((account, facts)) => tell_all(ctx, &account, &facts, alert).await,
        None => Ok(Told::Gone),
    }
}

/// Sends the letter to everybody who has none yet.
async fn tell_all(ctx: &RunContext, account: &Account, facts: &Facts, alert: &mut Alert) -> Result<Told> {
    let administer = |role: Role| matches!(role, Role::Owner | Role::Admin);
    let people = recipients(&ctx.store, &ctx.system, account, administer).await?;
    let wants = |user: &User| !user.alerts_off && !alert.told.contains(&user.user_id);
    let waiting: Vec<User> = people.into_iter().filter(wants).collect();
    let mut told = Told::All;
    for user in waiting {
        let letter = facts.letter(&user.email, account, alert, ctx.settings.public_url.as_ref());
        match ctx.ports.mail.send(&letter).await {
            Ok(()) => alert.told.push(user.user_id),
            // Also what is refused: the sender may not be verified yet.
            Err(error) => {
                tracing::warn!(%error, user = %user.user_id, "an alert was not sent; trying again");
                told = Told::NotAll;
            }
        }
    }
    Ok(told)
}

/// Removes an alert, unless another event came meanwhile.
async fn forget(ctx: &RunContext, scope: &AccountScope, found: &Versioned<Alert>) -> Result<()> {
    let place = key(scope.account_id(), &found.row.webhook_key);
    let gone = Write::Delete { table: &WEBHOOKS, key: place, condition: Condition::Version(found.version) };
    match ctx.store.transact(scope, vec![gone]).await {
        Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
        _ => Ok(()),
    }
}
