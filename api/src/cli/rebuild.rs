//! `listbackup rebuild`: the database anew, from the objects and the master key alone.

use std::path::PathBuf;

use listbackup_engine::{
    Error, ErrorKind,
    adapters::embedded::EmbeddedStores,
    run::rebuild::{RebuiltAccount, RebuiltSource},
};
use serde_json::{Value, json};

use super::{
    data_dir::DataDir,
    exit::{Done, Outcome},
    output,
};
use crate::{
    local,
    rebuilding::{self, Rebuilt},
    worker::{self, Worker, WorkerSettings},
};

/// Name of the master key in a data directory.
const KEY_FILE: &str = "master.key";
/// What no object tells.
const LOST: [&str; 6] = [
    "people and their access keys",
    "settings and credentials of sources: connect each again (backup with the same --source and settings, or PATCH /sources/{id})",
    "schedules of jobs",
    "retention rules and locks of sources: everything is kept until there are new ones",
    "which sources were deleted, renamed or paused: all that have snapshots are back",
    "the activity log, and what changed in each run",
];

/// Arguments of `rebuild`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup rebuild --data-dir ./data
         listbackup rebuild --key-file /safe/master.key --data-dir ./data    (from a copy of ./data/objects alone)
Reads all manifests below objects/accounts/ and makes the rows that are missing. Rows that are there stay; whatever is changed in
one is told. Running it twice changes nothing more. Verify afterwards: listbackup verify --data")]
pub struct Args {
    /// The master key, where the directory has none
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let data_dir = args.data_dir.path()?;
    let had_key = data_dir.join(KEY_FILE).exists();
    let stores = EmbeddedStores::open_to_rebuild(&data_dir, args.key_file.as_deref())?;
    let all_ids = stores.accounts()?;
    let worker = Worker::over(stores, WorkerSettings::of_a_person())?;
    let rebuilt = match rebuilding::rebuild(&worker.ctx, &all_ids).await {
        Err(error) if error.kind() == ErrorKind::Corrupt && !had_key => {
            // A key that opens nothing must not look like the one of this directory.
            tokio::fs::remove_file(data_dir.join(KEY_FILE)).await.map_err(Error::from)?;
            return Err(error);
        }
        done => done?,
    };
    worker::settle(&worker.ctx).await;
    let Rebuilt { accounts, erased, is_owner_new } = rebuilt;
    if is_owner_new {
        local::discard_access_key_file(&data_dir)?;
    }
    let is_damaged = accounts.iter().flat_map(|account| &account.sources).any(|s| !s.survey.damages.is_empty());
    if args.json {
        let accounts: Vec<Value> = accounts.iter().map(account_document).collect();
        output::json(&json!({ "accounts": accounts, "erased": erased, "lost": LOST }));
    } else {
        accounts.iter().for_each(print);
        for account_id in &erased {
            output::line(&format!("account {account_id}: left out, its keys were destroyed"));
        }
        output::line("Not in the objects, and so not made again:");
        LOST.iter().for_each(|lost| output::line(&format!("  {lost}")));
    }
    Ok(if is_damaged { Done::Damaged } else { Done::Whole })
}

fn account_document(account: &RebuiltAccount) -> Value {
    let sources: Vec<Value> = account.sources.iter().map(source_document).collect();
    json!({ "account_id": account.account_id, "is_new": account.is_new, "sources": sources })
}

fn source_document(source: &RebuiltSource) -> Value {
    let survey = &source.survey;
    json!({
        "source_id": source.source_id,
        "source": source.name,
        "head": survey.chain.first(),
        "snapshots": survey.chain.len(),
        "forgotten": survey.forgotten,
        "unproved": survey.unproved,
        "strays": survey.strays,
        "rows_made": source.rows_made,
        "rows_same": source.rows_same,
        "differences": source.differences,
        "damages": survey.damages,
    })
}

fn print(account: &RebuiltAccount) {
    let state = if account.is_new { "made" } else { "is there" };
    output::line(&format!("account {}: {state}", account.account_id));
    for source in &account.sources {
        let survey = &source.survey;
        let name = source.name.clone().unwrap_or_else(|| format!("{} (no readable snapshot)", source.source_id));
        let forgotten = match survey.forgotten {
            0 => String::new(),
            forgotten => format!(" and {} forgotten", output::count(forgotten)),
        };
        output::line(&format!(
            "  {name}: {}{forgotten} in the chain; {} made, {} as they should be",
            output::counted(survey.chain.len() as u64, "snapshot"),
            output::counted(source.rows_made, "row"),
            output::count(source.rows_same),
        ));
        for difference in &source.differences {
            output::line(&format!("    differed: {difference}"));
        }
        for snapshot_id in &survey.unproved {
            output::line(&format!("    not proved by the chain, but readable: {snapshot_id}"));
        }
        for snapshot_id in &survey.strays {
            output::line(&format!("    left out, never part of the chain: {snapshot_id}"));
        }
        for damage in &survey.damages {
            output::line(&format!("    damaged: {damage}"));
        }
    }
}
