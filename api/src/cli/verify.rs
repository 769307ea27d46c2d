//! `listbackup verify`: is every snapshot whole?

use std::{cmp::Reverse, time::Duration};

use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind, Result,
    adapters::embedded::OpenMode,
    model::{SnapshotId, Source, scope::AccountScope},
    run::RunContext,
    snapshot::{Damage, SourceStore, VerifyLevel, VerifyLimits, VerifyPosition, VerifyProgress, VerifyReport, paths},
};
use serde_json::Value;

use super::{
    amounts,
    data_dir::DataPlace,
    destroyed,
    exit::{Done, Outcome},
    output,
    verify_report::{self, Verified},
};
use crate::lookup;

/// Arguments of `verify`.
#[derive(clap::Args)]
#[command(mut_arg("key_file", |key| key.conflicts_with("resume").help("The master key of the bucket, without --resume")))]
#[command(after_help = "\
Examples: listbackup verify --data --data-dir ./data
          listbackup verify --data --max-time 10m --resume --data-dir ./data     (each night, until all is covered)
Without --data it checks that every object that a snapshot names is there with its size; with it, every byte.
With --resume it goes on where the last one with --resume stopped, with the snapshots that there were then; the place is kept
beside the data and needs nothing else. When all was covered, the next one begins anew. All of it works beside a running process;
of two with --resume at the same time one is told that the other is under way.")]
pub struct Args {
    /// Read and check every stored byte
    #[arg(long)]
    data: bool,
    /// Read at most so much, such as 500MB
    #[arg(long, value_name = "SIZE", value_parser = amounts::bytes, requires = "data")]
    max_bytes: Option<u64>,
    /// Stop after so much time, such as 10m
    #[arg(long, value_name = "TIME", value_parser = amounts::duration, requires = "data")]
    max_time: Option<Duration>,
    /// Go on where the last one stopped, and keep where this one does
    #[arg(long, requires = "data")]
    resume: bool,
    #[command(flatten)]
    data_dir: DataPlace,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// A source to verify.
struct Task {
    scope: AccountScope,
    source: Source,
    store: SourceStore,
    progress: Option<VerifyProgress>,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let mode = if args.resume { OpenMode::ReadAndNote } else { OpenMode::Read };
    let worker = args.data_dir.open(mode).await?;
    let ctx = &*worker.ctx;
    let deadline = args.max_time.map(|time| ctx.ports.clock.now().saturating_add(time)).transpose();
    let deadline = deadline
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("that is too much time: {error}")))?
        .map(|at| (&*ctx.ports.clock, at));
    let mut limits = VerifyLimits { bytes_max: args.max_bytes, deadline };
    let mut verified = Vec::new();
    let lookup::Living { sources, destroyed } = lookup::sources(ctx).await?;
    for task in tasks(ctx, sources, args.resume).await? {
        let is_over = limits.bytes_max == Some(0) || deadline.is_some_and(|(clock, at)| clock.now() >= at);
        let report = if is_over && !verified.is_empty() { None } else { report(ctx, &task, &args, &limits).await? };
        if let (Some(report), Some(bytes_max)) = (&report, &mut limits.bytes_max) {
            *bytes_max = bytes_max.saturating_sub(report.bytes_read);
        }
        let is_continued = task.progress.is_some_and(|progress| progress.position.is_some());
        verified.push(Verified { source: task.source.name, report, is_continued });
    }
    verified.sort_by(|a, b| a.source.cmp(&b.source));
    let is_clean = verified.iter().all(Verified::is_sound);
    if args.json {
        let sources: Vec<Value> = verified.iter().map(Verified::document).collect();
        let is_complete = verified.iter().all(Verified::is_complete);
        output::json(&serde_json::json!({
            "clean": is_clean,
            "complete": is_complete,
            "sources": sources,
            "destroyed_accounts": destroyed::documents(&destroyed),
        }));
    } else {
        destroyed::tell(&destroyed);
        verify_report::print(&verified, args.data);
    }
    Ok(if is_clean { Done::Whole } else { Done::Damaged })
}

/// The sources that have snapshots. To resume, first those that somebody is in the middle of, then those that were
/// covered longest ago: with small limits each has its turn.
async fn tasks(ctx: &RunContext, sources: Vec<(AccountScope, Source)>, is_resumed: bool) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for (scope, source) in sources {
        if source.head.is_none() {
            continue;
        }
        let store = ctx.snapshots.source(&scope, source.source_id).await?;
        let progress = if is_resumed { store.verify_progress().await? } else { None };
        tasks.push(Task { scope, source, store, progress });
    }
    tasks.sort_by_key(|task| {
        let is_under_way = task.progress.as_ref().is_some_and(|progress| progress.position.is_some());
        (Reverse(is_under_way), task.progress.as_ref().map(|progress| progress.at))
    });
    Ok(tasks)
}

/// Verifies from a snapshot down: from the one that is under way, else from the head, which must be the manifest that the
/// source's row names.
async fn report(ctx: &RunContext, task: &Task, args: &Args, limits: &VerifyLimits<'_>) -> Result<Option<VerifyReport>> {
    let Some(head) = &task.source.head else { return Ok(None) };
    if let Some(progress) = &task.progress
        && let Some(position) = &progress.position
        && let Ok(loaded) = task.store.load(progress.snapshot_id).await
    {
        let reader = task.store.reader(&loaded.manifest);
        match reader.verify_within(limits, Some(position)).await {
            Ok(report) => {
                let report = kept(task, report, progress.snapshot_id, Some(progress), ctx.ports.clock.now()).await?;
                return Ok(Some(report));
            }
            // What was kept does not fit what is there: the verification begins anew.
            Err(error) if error.kind() == ErrorKind::Invalid => {}
            Err(error) => return Err(error),
        }
    }
    let damaged = |what: String| {
        let path = paths::snapshot(task.scope.account_id(), task.source.source_id, head.snapshot_id);
        let damage = Damage { path, stream: None, snapshots: vec![head.snapshot_id], keys: None, what };
        VerifyReport { damages: vec![damage], ..VerifyReport::default() }
    };
    let report = match task.store.load(head.snapshot_id).await {
        Ok(loaded) if loaded.digest == head.manifest_digest => {
            let reader = task.store.reader(&loaded.manifest);
            let is_bounded = args.resume || args.max_bytes.is_some() || args.max_time.is_some();
            match (args.data, is_bounded) {
                (true, true) => reader.verify_within(limits, None::<&VerifyPosition>).await?,
                (true, false) => reader.verify(VerifyLevel::Data).await?,
                (false, _) => reader.verify(VerifyLevel::Structure).await?,
            }
        }
        Ok(_) => damaged("the manifest is not the one that was committed".to_owned()),
        Err(error) if error.kind() == ErrorKind::Corrupt => damaged(error.message().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => damaged("the manifest is missing".to_owned()),
        Err(error) => return Err(error),
    };
    if args.resume {
        return kept(task, report, head.snapshot_id, None, ctx.ports.clock.now()).await.map(Some);
    }
    Ok(Some(report))
}

/// Keeps how far the verification has come; the report then tells the damage that all of its calls found.
async fn kept(
    task: &Task,
    mut report: VerifyReport,
    snapshot_id: SnapshotId,
    before: Option<&VerifyProgress>,
    now: Timestamp,
) -> Result<VerifyReport> {
    let progress = VerifyProgress::after(&report, snapshot_id, before.cloned(), now);
    task.store.keep_verify_progress(&progress).await?;
    report.damages = progress.damages;
    Ok(report)
}
