//! `listbackup keys`: the data keys of the accounts in a data directory, its master key, and the key that signs access tokens.

mod rewrap;
mod signing;

use std::collections::BTreeMap;

use listbackup_engine::{
    Error, ErrorKind, Result,
    connectors::Problem,
    model::{AccountId, scope::AccountScope},
    run::{RunContext, keys},
    snapshot::{KeyUsage, StoredKeys},
};
use serde_json::{Value, json};

use super::{
    data_dir::{DataDir, DataPlace},
    exit::{Done, Outcome},
    output,
};
use crate::{
    local,
    worker::{self, WorkerSettings},
};

/// Arguments of `keys`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the data keys: one an epoch, the last one seals what is new.
    List(ListArgs),
    /// Make a new data key for everything that is stored from now on.
    Rotate(RotateArgs),
    /// Put a new master key in the place of the one that the directory has.
    Rewrap(rewrap::Args),
    /// Put a new key in the place of the one that signs access tokens.
    RotateSigning(signing::Args),
    /// Destroy all data keys of an account: nothing stored of it can ever be read again.
    Destroy(DestroyArgs),
}

#[derive(clap::Args)]
#[command(after_help = "Example: listbackup keys list --usage --data-dir ./data")]
struct ListArgs {
    /// Only of this account
    #[arg(long, value_name = "ID")]
    account: Option<AccountId>,
    /// Count what is sealed under each key; reads the manifests of all snapshots
    #[arg(long)]
    usage: bool,
    #[command(flatten)]
    data_dir: DataPlace,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup keys rotate --data-dir ./data
What is stored stays as it is, sealed under the older keys, and readable. Take a copy of the accounts' keys/ afterwards if you keep
copies of them apart from the data.")]
struct RotateArgs {
    /// The account; needed when there are several
    #[arg(long, value_name = "ID")]
    account: Option<AccountId>,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup keys destroy --account acc_… --confirm acc_… --reason 'contract ended' --data-dir ./data
There is no way back, except by copies of the account's keys/ that were made elsewhere: destroy those too, and in a bucket that keeps
older versions of objects the versions of accounts/acc_…/keys/. Refused while any snapshot is under a legal hold or a lock.
The objects stay and are worthless. Rows of the database (names of sources, of streams and of files) are not erased by this.")]
struct DestroyArgs {
    /// The account
    #[arg(long, value_name = "ID")]
    account: AccountId,
    /// The account once more: you mean it
    #[arg(long, value_name = "ID")]
    confirm: AccountId,
    /// Why, for those who ask later
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Args {
    /// True when one JSON document is wanted.
    pub fn wants_json(&self) -> bool {
        match &self.command {
            Command::List(args) => args.json,
            Command::Rotate(args) => args.json,
            Command::Rewrap(args) => args.json,
            Command::RotateSigning(args) => args.json,
            Command::Destroy(args) => args.json,
        }
    }
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Rotate(args) => rotate(args).await,
        Command::Rewrap(args) => rewrap::run(args).await,
        Command::RotateSigning(args) => signing::run(args).await,
        Command::Destroy(args) => destroy(args).await,
    }
}

/// The keys of one account, with what is sealed under each when that was asked for.
struct Listed {
    account_id: AccountId,
    stored: StoredKeys,
    usage: Option<BTreeMap<u32, KeyUsage>>,
}

async fn list(args: ListArgs) -> Outcome {
    let worker = args.data_dir.open_to_read().await?;
    let ctx = &*worker.ctx;
    let mut accounts = Vec::new();
    for scope in scopes(ctx, args.account).await? {
        let stored = ctx.snapshots.stored_keys(&scope).await?;
        let is_open = stored.destruction.is_none() && !stored.epochs.is_empty();
        let usage = if args.usage && is_open { Some(ctx.snapshots.key_usage(&scope).await?) } else { None };
        accounts.push(Listed { account_id: scope.account_id(), stored, usage });
    }
    if args.json {
        output::json(&json!({ "accounts": accounts.iter().map(Listed::document).collect::<Vec<_>>() }));
        return Ok(Done::Whole);
    }
    for account in &accounts {
        account.print(args.usage);
    }
    Ok(Done::Whole)
}

impl Listed {
    fn document(&self) -> Value {
        let of = |epoch: &u32| {
            let forms = self.stored.forms.range((*epoch, 0)..=(*epoch, u32::MAX)).count();
            let mut key =
                json!({ "epoch": epoch, "is_newest": self.stored.newest() == Some(*epoch), "wrapped_forms": forms });
            if let Some(usage) = &self.usage {
                let KeyUsage { snapshots, segments, segment_bytes } = usage.get(epoch).copied().unwrap_or_default();
                key["usage"] = json!({ "snapshots": snapshots, "segments": segments, "segment_bytes": segment_bytes });
            }
            key
        };
        let keys: Vec<Value> = self.stored.epochs.iter().map(of).collect();
        let destroyed = self.stored.destruction.as_ref().map(|destruction| &destruction.act);
        json!({ "account_id": self.account_id, "keys": keys, "destroyed": destroyed })
    }

    fn print(&self, with_usage: bool) {
        output::line(&format!("account {}", self.account_id));
        if let Some(destruction) = &self.stored.destruction {
            let act = &destruction.act;
            output::line(&format!("  keys destroyed on {:.0} by {}: {}", act.at, act.by, act.reason));
        }
        if self.stored.epochs.is_empty() && self.stored.destruction.is_none() {
            output::line("  no keys yet: the first backup makes one");
        }
        let rows: Vec<Vec<String>> = self.stored.epochs.iter().map(|epoch| self.row(*epoch)).collect();
        let header = ["epoch", "seals", "snapshots", "segments", "bytes"];
        if !rows.is_empty() {
            output::table(&header[..if with_usage { 5 } else { 2 }], &rows);
        }
        if self.stored.forms.len() > self.stored.epochs.len() {
            output::line("  also wrapped by another master key: run `listbackup keys rewrap` again to finish it");
        }
    }

    fn row(&self, epoch: u32) -> Vec<String> {
        let is_newest = self.stored.newest() == Some(epoch);
        let mut row = vec![epoch.to_string(), if is_newest { "what is new" } else { "older data" }.to_owned()];
        if let Some(usage) = &self.usage {
            let used = usage.get(&epoch).copied().unwrap_or_default();
            row.extend([
                output::count(used.snapshots),
                output::count(used.segments),
                output::bytes(used.segment_bytes),
            ]);
        }
        row
    }
}

async fn rotate(args: RotateArgs) -> Outcome {
    let worker = args.data_dir.open_to_write(WorkerSettings::of_a_person())?;
    let ctx = &*worker.ctx;
    let scopes = scopes(ctx, args.account).await?;
    let [scope] = &scopes[..] else {
        let problems = scopes
            .iter()
            .map(|scope| Problem { place: "--account".to_owned(), message: format!("may be {}", scope.account_id()) });
        return Err(Error::invalid("there are several accounts; say which one", problems.collect()));
    };
    let rotation = keys::rotate(ctx, scope, "cli").await?;
    worker::settle(ctx).await;
    if args.json {
        output::json(&json!({ "account_id": scope.account_id(), "from": rotation.from, "epoch": rotation.to }));
    } else {
        output::line(&format!("{}: what is new is sealed under the key of epoch {}", scope.account_id(), rotation.to));
    }
    Ok(Done::Whole)
}

async fn destroy(args: DestroyArgs) -> Outcome {
    if args.account != args.confirm {
        let problem =
            Problem { place: "--confirm".to_owned(), message: format!("must be {}, the account itself", args.account) };
        return Err(Error::invalid("nothing was destroyed: the confirmation names another account", vec![problem]));
    }
    let worker = args.data_dir.open_to_write(WorkerSettings::of_a_person())?;
    let ctx = &*worker.ctx;
    let scope = known(ctx, args.account).await?;
    let destroyed = keys::destroy(ctx, &scope, "cli", &args.reason).await?;
    worker::settle(ctx).await;
    let act = &destroyed.destruction.act;
    if args.json {
        output::json(&json!({ "account_id": args.account, "keys_destroyed": destroyed.keys, "destroyed": act }));
    } else if destroyed.keys == 0 {
        output::line(&format!("{}: the keys were destroyed already, on {:.0} by {}", args.account, act.at, act.by));
    } else {
        let keys = output::counted(destroyed.keys as u64, "key");
        output::line(&format!(
            "{}: {keys} destroyed; nothing stored of the account can be read any more",
            args.account
        ));
    }
    Ok(Done::Whole)
}

/// The account asked for, or the owner's.
async fn scopes(ctx: &RunContext, account: Option<AccountId>) -> Result<Vec<AccountScope>> {
    if let Some(account_id) = account {
        return Ok(vec![known(ctx, account_id).await?]);
    }
    let scopes = local::scopes(&ctx.ports, &ctx.system).await?;
    if scopes.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "there is no account here yet: the first backup makes one"));
    }
    Ok(scopes)
}

/// An account that has keys, or had.
async fn known(ctx: &RunContext, account_id: AccountId) -> Result<AccountScope> {
    let scope = ctx.system.account(account_id);
    if ctx.snapshots.stored_keys(&scope).await? == StoredKeys::default() {
        return Err(Error::new(
            ErrorKind::NotFound,
            "no account of that id has keys here; `listbackup keys list` lists them",
        )
        .with("account", account_id));
    }
    Ok(scope)
}
