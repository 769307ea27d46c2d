//! `listbackup keys rewrap`: another master key.

use std::path::PathBuf;

use listbackup_engine::{
    Result,
    adapters::embedded::NewMasterKey,
    model::scope::AccountScope,
    run::rewrap::{self, Rewrapped},
};
use serde_json::json;

use crate::{
    cli::{
        data_dir::DataDir,
        exit::{Done, Outcome},
        output,
    },
    worker::{self, Worker, WorkerSettings},
};

/// Arguments of `keys rewrap`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup keys rewrap --new-key-file /safe/place/master.key --data-dir ./data
All data keys and credentials are wrapped by the new master key as well, read back and compared; then the directory's master.key becomes
a copy of FILE; then what only the old one opens is deleted. What is stored under the data keys stays as it is. Cut off at any
point, the directory opens with the master.key that it has; run the same command again to finish. It needs the directory to
itself. Keep FILE in a second, safe place. Copies of the data that were made before still need the old key.")]
pub struct Args {
    /// The new master key: 32 bytes that only you can read; made, with mode 0600, when it is not there
    #[arg(long, value_name = "FILE")]
    new_key_file: PathBuf,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// What it came to, over all accounts.
#[derive(Default)]
struct Total {
    data_keys: usize,
    credentials: usize,
    secrets: usize,
}

impl Total {
    fn add(&mut self, done: Rewrapped) {
        self.data_keys += done.data_keys;
        self.credentials += done.credentials;
    }
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = open(&args)?;
    // Only now: whoever is refused the directory finds no new file.
    let new = NewMasterKey::at(&args.new_key_file)?;
    let is_changed = !worker.stores.has_master_key(&new)?;
    let mut wrapped = Total::default();
    if is_changed {
        wrapped = wrap(&worker, &new).await?;
        worker.stores.take_master_key(&new)?;
    }
    drop(worker);
    // As the next process will find it: what the new key does not open now is an error before the old forms go.
    let worker = open(&args)?;
    let removed = remove_others(&worker).await?;
    worker::settle(&worker.ctx).await;
    tell(&args, &new, is_changed, &wrapped, &removed);
    Ok(Done::Whole)
}

fn open(args: &Args) -> Result<Worker> {
    args.data_dir.open_to_write(WorkerSettings::of_a_person())
}

async fn scopes(worker: &Worker) -> Result<Vec<AccountScope>> {
    let accounts = worker.stores.accounts_with_keys().await?;
    Ok(accounts.into_iter().map(|account_id| worker.ctx.system.account(account_id)).collect())
}

async fn wrap(worker: &Worker, new: &NewMasterKey) -> Result<Total> {
    let keys = new.keys();
    let mut total = Total::default();
    for scope in scopes(worker).await? {
        total.add(rewrap::wrap_anew(&worker.ctx, &scope, &*keys).await?);
    }
    total.secrets = worker.stores.wrap_secrets_anew(&*keys).await?;
    Ok(total)
}

async fn remove_others(worker: &Worker) -> Result<Total> {
    let mut total = Total::default();
    for scope in scopes(worker).await? {
        total.add(rewrap::finish(&worker.ctx, &scope, "cli").await?);
    }
    total.secrets = worker.stores.remove_other_forms_of_secrets().await?;
    worker.stores.scrub_database().await?;
    Ok(total)
}

fn tell(args: &Args, new: &NewMasterKey, is_changed: bool, wrapped: &Total, removed: &Total) {
    if args.json {
        let document = |total: &Total| json!({ "data_keys": total.data_keys, "credentials": total.credentials, "secrets": total.secrets });
        output::json(&json!({
            "new_key_file": args.new_key_file.display().to_string(),
            "is_made": new.is_made(),
            "is_changed": is_changed,
            "wrapped": document(wrapped),
            "removed": document(removed),
        }));
        return;
    }
    let file = args.new_key_file.display();
    let counts = |total: &Total| {
        format!(
            "{} and {}",
            output::counted(total.data_keys as u64, "data key"),
            output::counted((total.credentials + total.secrets) as u64, "secret")
        )
    };
    if is_changed {
        output::line(&format!("the master key is the one in {file}: it wraps {}", counts(wrapped)));
        output::line("keep that file in a second, safe place; copies of the data made before need the old key");
    } else {
        output::line(&format!("{file} is the directory's master key already"));
    }
    output::line(&format!("wrapped forms that it does not open were deleted: {}", counts(removed)));
}
