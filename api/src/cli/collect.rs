//! `listbackup collect`: deletes stored data that no snapshot refers to any more, in two phases.

use listbackup_engine::{
    Result,
    adapters::embedded::OpenMode,
    run::collection,
    snapshot::{
        KeyDestruction,
        retain::{Candidate, Collected, CollectionState},
    },
};
use serde_json::{Value, json};

use super::{
    data_dir::DataDir,
    destroyed,
    exit::{Done, Outcome},
    output,
};
use crate::{
    lookup,
    worker::{Worker, WorkerSettings},
};

/// Arguments of `collect`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup collect --dry-run --data-dir ./data
What nothing refers to is found first, and deleted a day later if nothing refers to it then. A worker does both by itself.")]
pub struct Args {
    /// Only in this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let mode = if args.dry_run { OpenMode::Read } else { OpenMode::Write };
    let worker = Worker::open(&args.data_dir.path()?, mode, WorkerSettings::of_a_person())?;
    let mut documents = Vec::new();
    let lookup::Living { sources, destroyed } = lookup::named_sources(&worker.ctx, args.source.as_deref()).await?;
    if !args.json {
        destroyed::tell(&destroyed);
    }
    for (scope, source) in sources {
        let (collected, state) = if args.dry_run {
            (None, collection::look(&worker.ctx, &scope, source.source_id).await?)
        } else {
            collection::advance(&worker.ctx, &scope, source.source_id, "cli").await?
        };
        if args.json {
            documents.push(document(&source.name, collected.as_ref(), &state));
        } else {
            print(&source.name, collected.as_ref(), &state);
        }
    }
    finish(&args, &documents, &destroyed)
}

fn finish(args: &Args, documents: &[Value], destroyed: &[KeyDestruction]) -> Result<Done> {
    if args.json {
        let destroyed = destroyed::documents(destroyed);
        output::json(&json!({ "dry_run": args.dry_run, "sources": documents, "destroyed_accounts": destroyed }));
    }
    Ok(Done::Whole)
}

fn bytes(candidates: &[Candidate]) -> u64 {
    candidates.iter().map(|candidate| candidate.size_bytes).sum()
}

fn sum(candidates: &[Candidate]) -> String {
    format!("{} segments, {}", output::count(candidates.len() as u64), output::bytes(bytes(candidates)))
}

fn print(source: &str, collected: Option<&Collected>, state: &CollectionState) {
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

fn document(source: &str, collected: Option<&Collected>, state: &CollectionState) -> Value {
    let (word, candidates, until, runs) = match state {
        CollectionState::Clean => ("clean", &[][..], None, &[][..]),
        CollectionState::Found(found) => ("found", &found[..], None, &[][..]),
        CollectionState::Due(found) => ("due", &found[..], None, &[][..]),
        CollectionState::Waiting { candidates, until, runs } => ("waiting", &candidates[..], Some(until), &runs[..]),
        CollectionState::Busy => ("busy", &[][..], None, &[][..]),
    };
    json!({
        "source": source,
        "state": word,
        "segments": candidates.len(),
        "bytes": bytes(candidates),
        "until": until,
        "waits_for_runs": runs,
        "deleted": collected.map(|collected| json!({
            "segments": collected.deleted.len(),
            "bytes": collected.deleted_bytes(),
            "kept": collected.kept.len(),
        })),
    })
}
