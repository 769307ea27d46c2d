//! `listbackup collect`: deletes stored data that no snapshot refers to any more, in two phases.

use listbackup_engine::{
    Result,
    adapters::embedded::OpenMode,
    model::scope::AccountScope,
    run::{
        RunContext,
        collection::{self, Target},
    },
    snapshot::retain::{Candidate, Collected, CollectionState},
};
use serde_json::{Value, json};

use super::{
    data_dir::DataPlace,
    destroyed,
    exit::{Done, Outcome},
    output,
};
use crate::{lookup, worker};

/// Arguments of `collect`.
#[derive(clap::Args)]
#[command(mut_arg("key_file", |key| key.requires("dry_run").help("The master key of the bucket, with --dry-run")))]
#[command(after_help = "\
Example: listbackup collect --dry-run --data-dir ./data
What nothing refers to is found first, and deleted a day later if nothing refers to it then. A worker does both by itself.
Attachments are stored in packs for the whole account: they are collected when no source is named.")]
pub struct Args {
    /// Only in this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    data_dir: DataPlace,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let mode = if args.dry_run { OpenMode::Read } else { OpenMode::Write };
    let worker = args.data_dir.open(mode).await?;
    let ctx = &worker.ctx;
    let (mut sources, mut attachments, mut scopes) = (Vec::new(), Vec::new(), Vec::<AccountScope>::new());
    let living = lookup::named_sources(ctx, args.source.as_deref()).await?;
    if !args.json {
        destroyed::tell(&living.destroyed);
    }
    for (scope, source) in living.sources {
        sources.push(work(ctx, &args, &scope, Target::Segments(source.source_id), ("source", &source.name)).await?);
        if !scopes.iter().any(|known| known.account_id() == scope.account_id()) {
            scopes.push(scope);
        }
    }
    // Named sources say nothing of the others, whose attachments are in the same packs.
    for scope in scopes.iter().filter(|_| args.source.is_none()) {
        let account = scope.account_id().to_string();
        attachments.push(work(ctx, &args, scope, Target::Packs, ("account", &account)).await?);
    }
    if !args.dry_run {
        worker::settle(ctx).await;
    }
    if args.json {
        output::json(&json!({
            "dry_run": args.dry_run,
            "sources": sources,
            "attachments": attachments,
            "destroyed_accounts": destroyed::documents(&living.destroyed),
        }));
    }
    Ok(Done::Whole)
}

/// One step of one collection: printed, or as a document. `place` is what it is of: its kind and its name.
async fn work(
    ctx: &RunContext,
    args: &Args,
    scope: &AccountScope,
    target: Target,
    place: (&str, &str),
) -> Result<Value> {
    let (collected, state) = if args.dry_run {
        (None, collection::look(ctx, scope, target).await?)
    } else {
        collection::advance(ctx, scope, target, "cli").await?
    };
    if !args.json {
        let heading = if target == Target::Packs { "attachments" } else { place.1 };
        print(heading, target.noun(), collected.as_ref(), &state);
    }
    Ok(document(place, target.noun(), collected.as_ref(), &state))
}

fn bytes(candidates: &[Candidate]) -> u64 {
    candidates.iter().map(|candidate| candidate.size_bytes).sum()
}

fn print(source: &str, noun: &str, collected: Option<&Collected>, state: &CollectionState) {
    let sum = |candidates: &[Candidate]| {
        format!("{} {noun}, {}", output::count(candidates.len() as u64), output::bytes(bytes(candidates)))
    };
    if let Some(collected) = collected {
        let kept = collected.kept.len() as u64;
        output::line(&format!("{source}: deleted {}; kept {} after all", sum(&collected.deleted), output::count(kept)));
    }
    output::line(&match state {
        CollectionState::Clean => format!("{source}: everything that is stored is referred to"),
        CollectionState::Found(found) => format!("{source}: nothing refers to {}", sum(found)),
        CollectionState::Due(found) => {
            format!("{source}: {} would be deleted now, unless something refers to them again", sum(found))
        }
        CollectionState::Waiting { candidates, until, runs } => {
            let live = if runs.is_empty() {
                String::new()
            } else {
                let runs: Vec<String> = runs.iter().map(ToString::to_string).collect();
                format!(", and for the end of {}", runs.join(", "))
            };
            format!("{source}: {} wait until {until:.0}{live}", sum(candidates))
        }
        CollectionState::Busy => format!("{source}: another worker is deleting"),
    });
}

fn document((of, name): (&str, &str), noun: &str, collected: Option<&Collected>, state: &CollectionState) -> Value {
    let (word, candidates, until, runs) = match state {
        CollectionState::Clean => ("clean", &[][..], None, &[][..]),
        CollectionState::Found(found) => ("found", &found[..], None, &[][..]),
        CollectionState::Due(found) => ("due", &found[..], None, &[][..]),
        CollectionState::Waiting { candidates, until, runs } => ("waiting", &candidates[..], Some(until), &runs[..]),
        CollectionState::Busy => ("busy", &[][..], None, &[][..]),
    };
    json!({
        of: name,
        "state": word,
        noun: candidates.len(),
        "bytes": bytes(candidates),
        "until": until,
        "waits_for_runs": runs,
        "deleted": collected.map(|collected| json!({
            noun: collected.deleted.len(),
            "bytes": collected.deleted_bytes(),
            "kept": collected.kept.len(),
        })),
    })
}
