//! Looking after the stored snapshots of sources, each once a day: retention rules, then collection; and of the packs of an
//! account together with its first source.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    RunContext,
    collection::{self, Target},
    retention,
};
use crate::{
    error::{ErrorKind, Result},
    export::Export,
    model::{Source, SourceId, scope::AccountScope},
    ports::{Condition, Query, Random, SortRange},
    snapshot::KeyDestruction,
    store::{self, Versioned},
    tables::SOURCES,
};

/// The one partition of the upkeep index.
const SHARD: &str = "upkeep";
/// Sources taken up by one look.
const LOOK_MAX: usize = 50;
/// The first upkeep of a source comes so long after its first snapshot.
const FIRST_AFTER: Duration = Duration::from_secs(60 * 60);
/// Sources that were made together drift apart by up to so much a round.
const JITTER_MAX_MS: u64 = 30 * 60 * 1000;

/// Who does what rules say.
pub const ACTOR: &str = "listbackup";

/// Puts a source with its first snapshot into the index.
pub fn begin(source: &mut Source, now: Timestamp) {
    if source.upkeep_due_ms.is_none() {
        source.upkeep_shard = Some(SHARD.to_owned());
        source.upkeep_due_ms = Some((now + FIRST_AFTER).as_millisecond());
    }
}

/// Looks after every source whose time has come. Returns how many.
///
/// Its next time is set first, so that of several workers one does the work; what fails is done the next day.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub async fn look_after_due(ctx: &RunContext) -> Result<usize> {
    let now = ctx.ports.clock.now();
    let query = Query {
        table: &SOURCES,
        index: Some("upkeep"),
        partition: SHARD.to_owned(),
        sort: SortRange::Numbers(None, Some(now.as_millisecond() + 1)),
        descending: false,
        limit: LOOK_MAX,
        after: None,
    };
    let mut done = 0;
    for Versioned { row: source, version } in ctx.store.sound::<Source>(&ctx.system, query).await?.rows {
        let source_id = source.source_id;
        match take_up(ctx, source, version, now).await {
            Ok(is_done) => done += usize::from(is_done),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::error!(%error, source = %source_id, "a source cannot be looked after; trying again");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Looks after a source that is due; false when another worker does.
async fn take_up(ctx: &RunContext, mut source: Source, version: u64, now: Timestamp) -> Result<bool> {
    let next = now + ctx.settings.upkeep_every + jitter(&*ctx.ports.random);
    source.upkeep_due_ms = Some(next.as_millisecond());
    if source.watch.watch_due_ms.is_none() {
        // Made by a version that did not watch.
        source.watch.look_at(now);
    }
    let scope = ctx.system.account(source.account_id);
    let is_gone = KeyDestruction::of(&*ctx.ports.blobs, &scope).await?.is_some();
    if is_gone {
        // Nothing of it can be read, so there is nothing to look after, ever.
        (source.upkeep_shard, source.upkeep_due_ms) = (None, None);
    }
    match ctx.store.transact(&scope, vec![store::put(&source, Condition::Version(version))?]).await {
        Ok(()) if is_gone => {}
        Ok(()) => look_after(ctx, &scope, &source).await,
        // Another worker took it, or the source changed: the next look sees.
        Err(error) if error.kind() == ErrorKind::Conflict => return Ok(false),
        Err(error) => return Err(error),
    }
    Ok(true)
}

/// One source. A failure is logged: it must not keep the others from their turn.
async fn look_after(ctx: &RunContext, scope: &AccountScope, source: &Source) {
    let source_id = source.source_id;
    if let Err(error) = retention::apply(ctx, scope, source_id, ACTOR).await {
        tracing::warn!(%error, source = %source_id, "the retention rules could not be applied; again tomorrow");
    }
    if let Err(error) = collection::advance(ctx, scope, Target::Segments(source_id), ACTOR).await {
        tracing::warn!(%error, source = %source_id, "nothing could be collected; again tomorrow");
    }
    if let Err(error) = look_after_packs(ctx, scope, source_id).await {
        tracing::warn!(%error, account = %scope.account_id(), "no attachments could be collected; again tomorrow");
    }
    if let Err(error) = thin(ctx, scope, source_id).await {
        tracing::warn!(%error, source = %source_id, "what retention left behind could not be thinned; again tomorrow");
    }
    if let Err(error) = remove_ended_exports(ctx, scope).await {
        tracing::warn!(%error, account = %scope.account_id(), "ended exports could not be deleted; again tomorrow");
    }
}

/// Once a day an account, not once a day each of its sources.
async fn look_after_packs(ctx: &RunContext, scope: &AccountScope, source_id: SourceId) -> Result<()> {
    if collection::has_packs_in_care(ctx, scope, source_id).await? {
        collection::advance(ctx, scope, Target::Packs, ACTOR).await?;
    }
    Ok(())
}

/// Of the source, and once a day of the account's packs.
async fn thin(ctx: &RunContext, scope: &AccountScope, source_id: SourceId) -> Result<()> {
    let (account, now) = (ctx.snapshots.account(scope).await?, ctx.ports.clock.now());
    account.source(source_id).thin(now).await?;
    if collection::has_packs_in_care(ctx, scope, source_id).await? {
        account.thin(now).await?;
    }
    Ok(())
}

/// What an account has beside its sources.
async fn remove_ended_exports(ctx: &RunContext, scope: &AccountScope) -> Result<usize> {
    Export::remove_ended(&ctx.snapshots.account(scope).await?, ctx.ports.clock.now()).await
}

/// Only ever later: a collection's grace is over by the next round.
fn jitter(random: &dyn Random) -> Duration {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    Duration::from_millis(u64::from_le_bytes(bytes) % JITTER_MAX_MS)
}
