//! `listbackup dead-letters`: messages that were given up after too many deliveries, and giving them another try.

use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind, Result,
    model::{Job, Run, RunStatus, Source},
    ports::{DeadLetter, QueueName},
    run::{RunContext, order::RunOrder},
    store::key,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    data_dir::DataDir,
    exit::{Done, Outcome},
    output,
};
use crate::worker::WorkerSettings;

/// Letters of one read.
const PAGE: usize = 500;
/// The queues that have dead letters.
const QUEUES: [QueueName; 2] = [QueueName::Jobs, QueueName::Data];

/// Arguments of `dead-letters`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the messages that were given up, oldest first.
    List(ListArgs),
    /// Put messages back into their queue, with their count at zero.
    Redrive(RedriveArgs),
}

#[derive(clap::Args)]
#[command(after_help = "Example: listbackup dead-letters list --data-dir ./data")]
struct ListArgs {
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup dead-letters redrive msg_12 --data-dir ./data
A worker takes them up: the next `listbackup up`. An order whose run has ended meanwhile changes nothing: its message goes.
While a process writes to the directory, use its API: POST /jobs/dead-letters/{id}/redrive.")]
struct RedriveArgs {
    /// The messages, as `dead-letters list` names them
    #[arg(value_name = "MESSAGE", required_unless_present = "all", conflicts_with = "all")]
    messages: Vec<String>,
    /// All that there are
    #[arg(long)]
    all: bool,
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
            Command::Redrive(args) => args.json,
        }
    }
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Redrive(args) => redrive(args).await,
    }
}

/// A dead letter, with what is known of it.
#[derive(Serialize)]
struct Listed {
    id: String,
    queue: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<RunOrder>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_status: Option<RunStatus>,
    deliveries: u32,
    sent_at: Timestamp,
    body: Value,
}

async fn list(args: ListArgs) -> Outcome {
    let worker = args.data_dir.open_to_read()?;
    let letters = all(&worker.ctx).await?;
    if args.json {
        output::json(&json!({ "dead_letters": letters }));
        return Ok(Done::Whole);
    }
    for letter in &letters {
        output::line(&letter.line());
    }
    output::line(&output::counted(letters.len() as u64, "dead letter"));
    Ok(Done::Whole)
}

async fn redrive(args: RedriveArgs) -> Outcome {
    let worker = args.data_dir.open_to_write(WorkerSettings::of_a_person()).map_err(|error| {
        let is_taken = error.kind() == ErrorKind::Conflict;
        if is_taken { error.with("or through it", "POST /jobs/dead-letters/{id}/redrive") } else { error }
    })?;
    let ctx = &*worker.ctx;
    let letters = all(ctx).await?;
    let wanted = |letter: &Listed| args.all || args.messages.contains(&letter.id);
    let unknown: Vec<_> = args.messages.iter().filter(|id| letters.iter().all(|letter| letter.id != **id)).collect();
    if let Some(first) = unknown.first() {
        let message = "there is no such dead letter; `listbackup dead-letters list` shows them; nothing was redriven";
        return Err(Error::new(ErrorKind::NotFound, message).with("message", first));
    }
    let mut done = Vec::new();
    for letter in letters.into_iter().filter(wanted) {
        // A worker's message that somebody else put back meanwhile is in its queue all the same.
        ctx.ports.queue.redrive(letter.queue(), &letter.id).await?;
        done.push(letter);
    }
    if args.json {
        output::json(&json!({ "redriven": done }));
        return Ok(Done::Whole);
    }
    for letter in &done {
        let note = if letter.has_ended() { "; its run has ended, so nothing will come of it" } else { "" };
        output::line(&format!("{} is back in the queue{note}", letter.id));
    }
    output::line(&format!("{} redriven; a worker takes them up", output::counted(done.len() as u64, "message")));
    Ok(Done::Whole)
}

async fn all(ctx: &RunContext) -> Result<Vec<Listed>> {
    let mut found = Vec::new();
    for queue in QUEUES {
        let mut after: Option<String> = None;
        loop {
            let letters = ctx.ports.queue.dead_letters(queue, after.as_deref(), PAGE).await?;
            let Some(last) = letters.last() else { break };
            after = Some(last.id.clone());
            for letter in letters {
                found.push(Listed::of(ctx, queue, letter).await?);
            }
        }
    }
    Ok(found)
}

impl Listed {
    async fn of(ctx: &RunContext, queue: QueueName, letter: DeadLetter) -> Result<Self> {
        let order = serde_json::from_value::<RunOrder>(letter.body.clone()).ok().filter(|_| queue == QueueName::Jobs);
        let mut listed = Self {
            id: letter.id,
            queue: queue.as_str(),
            order: None,
            source: None,
            job: None,
            run_status: None,
            deliveries: letter.receive_count,
            sent_at: letter.sent_at,
            body: letter.body,
        };
        if let Some(order) = order {
            let scope = ctx.system.account(order.account_id);
            let source = ctx.store.find::<Source>(&scope, key(order.account_id, order.source_id)).await?;
            let job = ctx.store.find::<Job>(&scope, key(order.account_id, order.job_id)).await?;
            let run = ctx.store.find::<Run>(&scope, key(order.job_id, order.run_id)).await?;
            listed.source = source.map(|source| source.row.name);
            listed.job = job.map(|job| job.row.name);
            listed.run_status = run.map(|run| run.row.status);
            listed.order = Some(order);
        }
        Ok(listed)
    }

    fn queue(&self) -> QueueName {
        QUEUES.into_iter().find(|queue| queue.as_str() == self.queue).unwrap_or(QueueName::Jobs)
    }

    fn has_ended(&self) -> bool {
        self.run_status.is_some_and(RunStatus::has_ended)
    }

    fn line(&self) -> String {
        let what = match &self.order {
            Some(order) => {
                let source = self.source.as_deref().unwrap_or("a source that is gone");
                let status = match self.run_status {
                    Some(status) => json!(status).as_str().unwrap_or_default().to_owned(),
                    None => "not there".to_owned(),
                };
                format!("{} of {source}: {status}", order.run_id)
            }
            None => self.body.to_string(),
        };
        format!("{}  {:.0}  {}, delivered {} times  {what}", self.id, self.sent_at, self.queue, self.deliveries)
    }
}
