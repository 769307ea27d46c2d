//! `listbackup forget`: lets go of snapshots, and says why each stays or goes.

use listbackup_engine::{
    Error, ErrorKind, Result,
    adapters::embedded::OpenMode,
    model::{KeepRules, Source, SourceId, scope::AccountScope},
    run::{
        RunContext,
        retention::{self, Freed},
    },
    snapshot::{
        KeyDestruction,
        retain::{Act, Decision, Reason},
    },
};
use serde::Serialize;

use super::{
    data_dir::DataPlace,
    destroyed,
    exit::{Done, Outcome},
    output,
};
use crate::{lookup, worker};

/// Arguments of `forget`.
#[derive(clap::Args)]
#[command(mut_arg("key_file", |key| key.requires("dry_run").help("The master key of the bucket, with --dry-run")))]
#[command(after_help = "\
Example: listbackup forget --source shop --keep-last 3 --keep-daily 14 --keep-monthly 12 --dry-run --data-dir ./data
Of each hour, day, week, month or year the newest snapshot counts. Without --keep options the source's own rules hold.
The newest snapshot always stays, and so does what is pinned, held or locked. The space is free after `listbackup collect`.")]
pub struct Args {
    /// The source whose snapshots are judged
    #[arg(long, value_name = "NAME", required_unless_present = "snapshot", conflicts_with = "snapshot")]
    source: Option<String>,
    /// Let go of this one snapshot, whatever the rules say
    #[arg(long, value_name = "SNAPSHOT", conflicts_with_all = ["source", "keep"])]
    snapshot: Option<String>,
    #[command(flatten)]
    keep: Keep,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    data_dir: DataPlace,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Rules for this once.
#[derive(clap::Args, Clone)]
#[group(id = "keep", multiple = true)]
struct Keep {
    /// Keep the newest N
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep the newest of each of N hours
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// Keep the newest of each of N days
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// Keep the newest of each of N weeks
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// Keep the newest of each of N months
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// Keep the newest of each of N years
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Time zone in which days begin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
}

impl Keep {
    /// The rules that were given; `None` when none were.
    fn rules(&self) -> Option<KeepRules> {
        let counts =
            [self.keep_last, self.keep_hourly, self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly];
        if counts.iter().all(Option::is_none) {
            return None;
        }
        let [last, hourly, daily, weekly, monthly, yearly] = counts.map(Option::unwrap_or_default);
        let time_zone = self.time_zone.clone().unwrap_or_else(|| KeepRules::default().time_zone);
        Some(KeepRules { last, hourly, daily, weekly, monthly, yearly, time_zone })
    }
}

#[derive(Serialize)]
struct Row {
    snapshot_id: String,
    created_at: jiff::Timestamp,
    decision: &'static str,
    reasons: Vec<Reason>,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let mode = if args.dry_run { OpenMode::Read } else { OpenMode::Write };
    let worker = args.data_dir.open(mode).await?;
    let ctx = &*worker.ctx;
    let judgement = match &args.snapshot {
        Some(id) => one(ctx, id, args.dry_run).await?,
        None => by_rules(ctx, &args).await?,
    };
    print(&args, &judgement);
    if !args.dry_run {
        worker::settle(ctx).await;
    }
    Ok(Done::Whole)
}

#[derive(Default)]
struct Judgement {
    decisions: Vec<Decision>,
    /// For a dry run, what collecting would free afterwards.
    freed: Freed,
    /// Accounts of which nothing can be said.
    destroyed: Vec<KeyDestruction>,
}

async fn freed(ctx: &RunContext, scope: &AccountScope, source_id: SourceId, decisions: &[Decision]) -> Result<Freed> {
    let gone = decisions.iter().filter(|decision| !decision.is_kept()).map(|decision| decision.snapshot_id).collect();
    retention::freed(ctx, scope, source_id, &gone).await
}

async fn by_rules(ctx: &RunContext, args: &Args) -> Result<Judgement> {
    let lookup::Living { sources, destroyed } = lookup::named_sources(ctx, args.source.as_deref()).await?;
    let mut judgement = Judgement { destroyed, ..Judgement::default() };
    for (scope, source) in sources {
        let rules = args.keep.rules().or_else(|| source.retention.clone()).ok_or_else(|| {
            let message = "the source has no retention rules, so everything is kept; give some, such as --keep-last 10";
            Error::new(ErrorKind::Invalid, message).with("source", &source.name)
        })?;
        let judged = judged(ctx, &scope, &source, &rules, args.dry_run).await?;
        if args.dry_run {
            let freed = freed(ctx, &scope, source.source_id, &judged).await?;
            let sum = judgement.freed;
            judgement.freed = Freed {
                segments: sum.segments + freed.segments,
                segment_bytes: sum.segment_bytes + freed.segment_bytes,
                packs: sum.packs + freed.packs,
                pack_bytes: sum.pack_bytes + freed.pack_bytes,
            };
        }
        judgement.decisions.extend(judged);
    }
    Ok(judgement)
}

async fn judged(
    ctx: &RunContext,
    scope: &AccountScope,
    source: &Source,
    rules: &KeepRules,
    dry_run: bool,
) -> Result<Vec<Decision>> {
    if dry_run {
        return retention::judge(ctx, scope, source, rules).await;
    }
    retention::finish_all(ctx, scope, source.source_id).await?;
    retention::apply_rules(ctx, scope, source, rules, "cli").await
}

async fn one(ctx: &RunContext, id: &str, dry_run: bool) -> Result<Judgement> {
    let found = lookup::stored_snapshot(ctx, id).await?;
    let manifest = &found.loaded.manifest;
    let mut decision =
        Decision { snapshot_id: manifest.snapshot_id, created_at: manifest.created_at, kept_by: Vec::new() };
    if dry_run {
        decision.kept_by = retention::protections(ctx, &found.scope, manifest.source_id, manifest.snapshot_id).await?;
        let decisions = vec![decision];
        let freed = freed(ctx, &found.scope, manifest.source_id, &decisions).await?;
        return Ok(Judgement { decisions, freed, ..Judgement::default() });
    }
    let act = Act::new("cli", "a person asked for it", ctx.ports.clock.now());
    retention::forget(ctx, &found.scope, manifest.source_id, manifest.snapshot_id, act).await?;
    Ok(Judgement { decisions: vec![decision], ..Judgement::default() })
}

fn print(args: &Args, judgement: &Judgement) {
    let Judgement { decisions, freed, destroyed } = judgement;
    let (kept, gone) = ("keep", if args.dry_run { "would forget" } else { "forgotten" });
    let word = |decision: &Decision| if decision.is_kept() { kept } else { gone };
    if args.json {
        let rows: Vec<Row> = decisions
            .iter()
            .map(|decision| Row {
                snapshot_id: decision.snapshot_id.to_string(),
                created_at: decision.created_at,
                decision: if decision.is_kept() { "keep" } else { "forget" },
                reasons: decision.kept_by.clone(),
            })
            .collect();
        let mut document = serde_json::json!({
            "dry_run": args.dry_run,
            "snapshots": rows,
            "destroyed_accounts": destroyed::documents(destroyed),
        });
        if args.dry_run {
            document["would_free"] = serde_json::json!({
                "segments": freed.segments, "segment_bytes": freed.segment_bytes,
                "packs": freed.packs, "pack_bytes": freed.pack_bytes,
            });
        }
        return output::json(&document);
    }
    destroyed::tell(destroyed);
    for decision in decisions {
        let reasons: Vec<String> = decision.kept_by.iter().map(ToString::to_string).collect();
        let why = match (reasons.is_empty(), &args.snapshot) {
            (false, _) => reasons.join(", "),
            (true, Some(_)) => "nothing protects it".to_owned(),
            (true, None) => "no rule keeps it".to_owned(),
        };
        output::line(&format!("{}  {:.0}  {}: {why}", decision.snapshot_id, decision.created_at, word(decision)));
    }
    let gone = decisions.iter().filter(|decision| !decision.is_kept()).count();
    output::line(&format!(
        "{} of {} {}",
        gone,
        output::counted(decisions.len() as u64, "snapshot"),
        if args.dry_run { "would be forgotten" } else { "forgotten" }
    ));
    if args.dry_run && gone > 0 {
        output::line(&format!(
            "nothing else refers to {}, {}, and {} of attachments, {}",
            output::counted(freed.segments, "segment"),
            output::bytes(freed.segment_bytes),
            output::counted(freed.packs, "pack"),
            output::bytes(freed.pack_bytes)
        ));
    }
}
