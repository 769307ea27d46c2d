//! `listbackup activity`: the log of what happened, and the chain that proves it.

use listbackup_engine::{
    Error, ErrorKind, Result,
    model::{AccountId, ChainHead, chain, scope::AccountScope},
    run::{
        RunContext,
        chain_check::{self, Break, ChainReport, Position, Witness},
        relay,
    },
};
use serde_json::{Value, json};

use super::{
    data_dir::DataDir,
    exit::{Done, Outcome},
    output,
};
use crate::local;

/// Rows between two looks at how far a check is.
const PART_ROWS: u64 = 100_000;

/// Arguments of `activity`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Check that no event was changed, deleted, put in or moved.
    Verify(VerifyArgs),
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples: listbackup activity verify --data-dir ./data
          listbackup activity verify --head 4711:9f3c… --data-dir ./data
Each event has a place and a digest of itself and the event before it; the head is the last of both. Who can write the whole
database can write a whole new chain: note the head elsewhere from time to time (the log of `listbackup up` tells it too), and
give it here. Events that were kept before there was a chain have no place, and nothing proves them.")]
struct VerifyArgs {
    /// A head that was noted elsewhere: the chain must still have it
    #[arg(long, value_name = "PLACE:DIGEST", value_parser = witness)]
    head: Option<Witness>,
    /// Only of this account; needed with --head when there are several
    #[arg(long, value_name = "ID")]
    account: Option<AccountId>,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Args {
    /// True when one JSON document is wanted.
    pub fn wants_json(&self) -> bool {
        let Command::Verify(args) = &self.command;
        args.json
    }
}

fn witness(text: &str) -> Result<Witness, String> {
    let parsed = text.split_once(':').and_then(|(sequence, digest)| {
        Some(Witness {
            sequence: sequence.parse().ok().filter(|sequence| *sequence > 0)?,
            digest: chain::parse(digest)?,
        })
    });
    parsed.ok_or_else(|| "must be the place, a colon, and the digest in 64 hexadecimal digits".to_owned())
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let Command::Verify(args) = args.command;
    verify(args).await
}

/// The chain of one account.
struct Checked {
    account_id: AccountId,
    head: ChainHead,
    report: ChainReport,
}

async fn verify(args: VerifyArgs) -> Outcome {
    let worker = args.data_dir.open_to_read()?;
    let named = |error: Error| error.with("data directory", worker.stores.data_dir().display());
    let ctx = &*worker.ctx;
    let mut scopes = local::scopes(&ctx.ports, &ctx.system).await?;
    scopes.retain(|scope| args.account.is_none_or(|wanted| scope.account_id() == wanted));
    if scopes.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "there is no such account here; the first backup makes one"));
    }
    if args.head.is_some() && scopes.len() > 1 {
        let message = "there are several accounts here; say with --account whose head was noted";
        return Err(Error::new(ErrorKind::Invalid, message).with("accounts", scopes.len()));
    }
    let mut accounts = Vec::new();
    for scope in &scopes {
        accounts.push(Checked::of(ctx, scope, args.head).await.map_err(named)?);
    }
    let is_sound = accounts.iter().all(|account| account.report.is_sound());
    if args.json {
        let documents: Vec<Value> = accounts.iter().map(Checked::document).collect();
        output::json(&json!({ "sound": is_sound, "accounts": documents }));
    } else {
        accounts.iter().for_each(Checked::print);
    }
    Ok(if is_sound { Done::Whole } else { Done::Damaged })
}

impl Checked {
    async fn of(ctx: &RunContext, scope: &AccountScope, witness: Option<Witness>) -> Result<Self> {
        let mut report = chain_check::check(&ctx.store, scope, Position::default(), PART_ROWS, witness).await?;
        while let Some(next) = report.next.take() {
            report.go_on(chain_check::check(&ctx.store, scope, next, PART_ROWS, witness).await?);
        }
        let account_id = scope.account_id();
        let head = relay::head(&ctx.store, scope).await?.unwrap_or_else(|| ChainHead::new(account_id, None));
        Ok(Self { account_id, head, report })
    }

    fn document(&self) -> Value {
        let Self { account_id, head, report } = self;
        json!({
            "account_id": account_id,
            "sound": report.is_sound(),
            "head": {
                "sequence": head.head_sequence,
                "digest": head.head_digest,
                "begins_after": head.begins_after,
            },
            "checked": report.checked,
            "pending": report.pending,
            "break_count": report.break_count,
            "breaks": report.breaks,
        })
    }

    fn print(&self) {
        let Self { account_id, head, report } = self;
        output::line(&format!("account {account_id}"));
        output::line(&format!(
            "  {} checked, head {}:{}",
            output::counted(report.checked, "event"),
            head.head_sequence,
            head.head_digest
        ));
        if report.pending > 0 {
            output::line(&format!("  {} without a place yet", output::counted(report.pending, "event")));
        }
        if let Some(begins_after) = head.begins_after {
            output::line(&format!(
                "  the chain begins after {begins_after}; nothing proves that event and those before it"
            ));
        }
        for found in &report.breaks {
            output::line(&format!("  broken: {}", told(found)));
        }
        let untold = report.break_count - report.breaks.len() as u64;
        if untold > 0 {
            output::line(&format!("  and {} more", output::counted(untold, "break")));
        }
        if report.is_sound() {
            output::line("  the chain is whole");
        }
    }
}

/// `events 4 to 6: missing`.
fn told(found: &Break) -> String {
    let place = match (found.sequence, found.last_sequence) {
        (Some(first), Some(last)) => format!("events {first} to {last}"),
        (Some(sequence), None) => format!("event {sequence}"),
        (None, _) => "an event".to_owned(),
    };
    let id = found.event_id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
    format!("{place}{id}: {}", found.what.describe())
}
