//! Making the tables anew from the bucket alone: what accounts, sources and snapshots there are, as far as stored manifests
//! know. Safe to repeat: rows that are there stay, and what is changed in one is told. Each row that is made or changed, but for those
//! of files, has its event in the same transaction.
//!
//! Not in the bucket, and so not made: people, access keys, credentials and settings of sources, schedules, retention rules,
//! the log of what happened.

mod rows;

use serde_json::{Map, json};

use super::{
    RunContext,
    event::{self, Subject, event},
    first_job, freshness, index, sources, upkeep,
};
use crate::{
    error::Result,
    model::{
        Account, AccountId, ActivityEvent, ActivityKind, Job, Run, Source, SourceId, SourceState, Watch,
        scope::AccountScope,
        source::{Head, Lease},
    },
    ports::{Condition, Write},
    snapshot::{Manifest, SourceStore, Survey},
    store::{self, Versioned, key, key1},
};

/// What became of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuiltAccount {
    /// The account.
    pub account_id: AccountId,
    /// Its row was missing.
    pub is_new: bool,
    /// Its sources, newest first.
    pub sources: Vec<RebuiltSource>,
}

/// What became of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuiltSource {
    /// The source.
    pub source_id: SourceId,
    /// Its name; absent when no manifest of it can be read.
    pub name: Option<String>,
    /// What its objects say.
    pub survey: Survey,
    /// Rows that were missing and are there now: of the source, its job, runs and files.
    pub rows_made: u64,
    /// Rows that were there and say the same.
    pub rows_same: u64,
    /// What was changed in rows that were there, and where a row says something else and was left.
    pub differences: Vec<String>,
}

/// Counts of rows, and what differed.
#[derive(Default)]
struct Tally {
    made: u64,
    same: u64,
    differences: Vec<String>,
}

impl Tally {
    fn count(&mut self, is_made: bool) {
        let counter = if is_made { &mut self.made } else { &mut self.same };
        *counter += 1;
    }
}

/// Makes the rows of an account; `name` is for one whose row is missing. Nobody else may write to the account meanwhile.
///
/// # Errors
/// `Corrupt` when the account's key cannot be opened; those of the stores. Damaged snapshots are no error: they are told.
pub async fn rebuild(ctx: &RunContext, scope: &AccountScope, name: &str) -> Result<RebuiltAccount> {
    let account_id = scope.account_id();
    let mut source_ids = ctx.snapshots.account(scope).await?.sources().await?;
    let is_new = ctx.store.find::<Account>(scope, key1(account_id)).await?.is_none();
    if is_new {
        let account = Account::root(account_id, name.to_owned(), rows::instant(account_id.instant_ms()));
        let details = Map::from_iter([("name".to_owned(), json!(name))]);
        let told =
            event(&ctx.ports, account_id, ActivityKind::AccountRebuilt, rows::ACTOR, Subject::default(), details);
        write(ctx, scope, store::put(&account, Condition::Absent)?, told).await?;
    }
    // Newest first: of two sources of one name, the newer one keeps it.
    source_ids.sort_by(|a, b| b.cmp(a));
    let mut sources = Vec::new();
    for source_id in source_ids {
        sources.push(rebuild_source(ctx, scope, source_id).await?);
    }
    Ok(RebuiltAccount { account_id, is_new, sources })
}

/// A row with the event that tells it.
async fn write(ctx: &RunContext, scope: &AccountScope, row: Write, told: ActivityEvent) -> Result<()> {
    ctx.store.transact(scope, vec![row, event::keep(&told)?]).await?;
    event::publish(&ctx.ports, scope, &[told]);
    Ok(())
}

fn source_event(ctx: &RunContext, source: &Source, newest: &Manifest) -> ActivityEvent {
    let told = [
        ("name", json!(source.name)),
        ("head", json!(newest.snapshot_id)),
        ("integration", json!(source.integration)),
        ("liveRecords", json!(newest.totals.records)),
        ("liveBytes", json!(newest.totals.stored_bytes)),
    ];
    let details = told.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
    let subject = Subject::source(source.source_id);
    event(&ctx.ports, source.account_id, ActivityKind::SourceRebuilt, rows::ACTOR, subject, details)
}

async fn rebuild_source(ctx: &RunContext, scope: &AccountScope, source_id: SourceId) -> Result<RebuiltSource> {
    let store = ctx.snapshots.source(scope, source_id).await?;
    let survey = store.survey().await?;
    let mut tally = Tally::default();
    let name = match survey.chain.first() {
        Some(head) => {
            let manifest = store.load(*head).await?.manifest;
            let source = source_row(ctx, scope, &manifest, &survey, &mut tally).await?;
            let job = job_row(ctx, scope, &source, &mut tally).await?;
            snapshots(ctx, scope, &store, &survey, &job, &mut tally).await?;
            Some(source.name)
        }
        None => None,
    };
    let Tally { made, same, differences } = tally;
    Ok(RebuiltSource { source_id, name, survey, rows_made: made, rows_same: same, differences })
}

/// Makes the source's row, or brings the head of one that is there up to date.
async fn source_row(
    ctx: &RunContext,
    scope: &AccountScope,
    newest: &Manifest,
    survey: &Survey,
    tally: &mut Tally,
) -> Result<Source> {
    let head = Head {
        snapshot_id: newest.snapshot_id,
        manifest_digest: survey.head_digest.clone().unwrap_or_default(),
        committed_at: newest.created_at,
        stored_bytes: Some(newest.totals.stored_bytes),
    };
    let place = key(newest.account_id, newest.source_id);
    let Some(Versioned { row: mut source, version }) = ctx.store.find::<Source>(scope, place).await? else {
        let source = new_source(ctx, scope, newest, head, survey.epoch).await?;
        write(ctx, scope, store::put(&source, Condition::Absent)?, source_event(ctx, &source, newest)).await?;
        tally.count(true);
        return Ok(source);
    };
    let is_same =
        |other: &Head| (other.snapshot_id, &other.manifest_digest) == (head.snapshot_id, &head.manifest_digest);
    match &source.head {
        Some(known) if is_same(known) => {
            tally.count(false);
            return Ok(source);
        }
        Some(known) if !survey.chain.contains(&known.snapshot_id) => {
            tally.differences.push(format!(
                "the row of source {} names {} as its newest snapshot, which the newest stored one, {}, does not come \
                 from: left as it is",
                source.name, known.snapshot_id, head.snapshot_id
            ));
            return Ok(source);
        }
        known => {
            let was = known.as_ref().map_or_else(|| "none".to_owned(), |known| known.snapshot_id.to_string());
            tally.differences.push(format!(
                "the newest snapshot of source {} is {}; its row said {was}",
                source.name, head.snapshot_id
            ));
        }
    }
    source.head = Some(head);
    source.lease.epoch = source.lease.epoch.max(survey.epoch);
    upkeep::begin(&mut source, ctx.ports.clock.now());
    write(ctx, scope, store::put(&source, Condition::Version(version))?, source_event(ctx, &source, newest)).await?;
    Ok(source)
}

/// The source as its newest manifest knows it. Its settings are not there: it waits for somebody to connect it again.
async fn new_source(
    ctx: &RunContext,
    scope: &AccountScope,
    newest: &Manifest,
    head: Head,
    epoch: u64,
) -> Result<Source> {
    let is_taken = sources::named(&ctx.store, scope, &newest.source_name).await?.is_some();
    let name = match is_taken {
        true => format!("{} ({})", newest.source_name, newest.source_id),
        false => newest.source_name.clone(),
    };
    let made_at = rows::instant(newest.source_id.instant_ms());
    let mut source = Source {
        state: SourceState::NeedsAuthorisation,
        head: Some(head),
        lease: Lease { epoch, ..Lease::default() },
        watch: Watch::default(),
        updated_at: newest.created_at,
        ..Source::new(newest.account_id, newest.source_id, &newest.integration, name, made_at)
    };
    let now = ctx.ports.clock.now();
    upkeep::begin(&mut source, now);
    freshness::note_of_snapshot(&mut source, newest, now);
    Ok(source)
}

/// The source's first job, made when there is none: runs belong to one.
async fn job_row(ctx: &RunContext, scope: &AccountScope, source: &Source, tally: &mut Tally) -> Result<Job> {
    let (job, is_new) = first_job::find_or_make(&ctx.ports, scope, source, source.created_at, rows::ACTOR).await?;
    tally.count(is_new);
    Ok(job)
}

fn run_event(ctx: &RunContext, run: &mut Run) -> ActivityEvent {
    let details = Map::from_iter([("snapshotId".to_owned(), json!(run.snapshot_id))]);
    event::of_run(&ctx.ports, ActivityKind::RunRebuilt, rows::ACTOR, run, details)
}

/// The runs and files of all snapshots, oldest first.
async fn snapshots(
    ctx: &RunContext,
    scope: &AccountScope,
    store: &SourceStore,
    survey: &Survey,
    job: &Job,
    tally: &mut Tally,
) -> Result<()> {
    for snapshot_id in survey.unproved.iter().rev().chain(survey.chain.iter().rev()) {
        let loaded = store.load(*snapshot_id).await?;
        let manifest = &loaded.manifest;
        match index::find_run(ctx, scope, manifest.run_id).await? {
            None => {
                let mut run = rows::run(job, manifest);
                let told = run_event(ctx, &mut run);
                write(ctx, scope, store::put(&run, Condition::Absent)?, told).await?;
                tally.count(true);
            }
            Some(found) if found.row.snapshot_id == Some(*snapshot_id) => tally.count(false),
            Some(Versioned { row: mut run, version }) => {
                tally.differences.push(format!("the row of run {} did not know its snapshot", run.run_id));
                rows::adopt(&mut run, manifest);
                let told = run_event(ctx, &mut run);
                write(ctx, scope, store::put(&run, Condition::Version(version))?, told).await?;
            }
        }
        let known = index::known_rows(ctx, scope, &loaded).await?;
        if known.missing + known.different > 0 {
            index::write_rows(ctx, scope, &loaded).await?;
        }
        if known.different > 0 {
            tally.differences.push(format!("rows of {snapshot_id} that people browse said something else"));
        }
        tally.made += known.missing;
        tally.same += known.same;
    }
    Ok(())
}
