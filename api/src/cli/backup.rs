//! `listbackup backup`: one run, now, through the same engine as everywhere.

use std::sync::Arc;

use listbackup_engine::{
    Error, ErrorKind, Result,
    actors::{Deliver, Drain, Engine, Roles},
    connectors::{SignIn, Spec},
    model::{
        ActivityEvent, ActivityKind, Job, Run, RunStatus, Source, SourceId, SourceState, run::Trigger,
        scope::AccountScope,
    },
    ports::{Condition, Query, SortRange},
    run::{
        RunContext,
        connect::{self, Found},
        event::{self, Subject},
        first_job,
        full_settings::full_settings,
        oauth_apps::Reach,
        order::{self, RunOrder},
        sources,
    },
    store::{self, Versioned},
    tables::RUNS,
};
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::Instant};

use super::{
    backup_report::Report,
    data_dir::DataDir,
    exit::{Done, Outcome},
    output,
    product::{Chosen, Product},
    progress,
};
use crate::{
    local,
    worker::{self, Worker, WorkerSettings},
};

/// Arguments of `backup`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup backup --manifest shop.yaml --set api_key=… --data-dir ./data
A second run of the same source stores only what changed. A backup that was interrupted goes on from its last checkpoint.")]
pub struct Args {
    #[command(flatten)]
    product: Product,
    /// Streams to read [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    streams: Option<Vec<String>>,
    /// Use so many per cent of the product's rate limits, and leave the rest to others [default: 100]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    rate_share: Option<u8>,
    /// Name of the source; a source keeps its snapshots apart from others [default: the integration's name]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub json: bool,
}

/// What to do beside choosing a product.
pub struct Options {
    /// Name of the source; `None` takes the product's.
    pub source: Option<String>,
    /// Streams to read; `None` reads all.
    pub streams: Option<Vec<String>>,
    /// Per cent of the product's rate limits that are ours; `None` for all of them.
    pub rate_share_percent: Option<u8>,
    /// Print one JSON document and nothing else.
    pub wants_json: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    // Everything that a person can get wrong is told before anything is written or sent.
    let chosen = args.product.choose()?;
    chosen.connect()?;
    let Args { source, streams, rate_share: rate_share_percent, data_dir, json: wants_json, .. } = args;
    let worker = data_dir.open_to_write(WorkerSettings::of_a_person())?;
    back_up(&worker, chosen, Options { source, streams, rate_share_percent, wants_json }).await
}

/// Backs a product up and tells how it went.
///
/// # Errors
/// Those of the stores and of the run.
pub async fn back_up(worker: &Worker, chosen: Chosen, options: Options) -> Outcome {
    let began = Instant::now();
    let signs_in_by_browser = matches!(chosen.integration.spec().sign_in, SignIn::OAuth2(_));
    let local = local::ensure(&worker.ctx.ports, &worker.ctx.system).await?;
    let source = source(&worker.ctx, &local.scope, chosen, &options).await?;
    let job = job_of(&worker.ctx, &local.scope, &source).await?;
    let run = open_run(&worker.ctx, &local.scope, &job).await?;
    let (run, was_interrupted) = carry_out(&worker.ctx, &local.scope, run, !options.wants_json).await?;
    let report = Report::new(&run, began.elapsed().as_secs_f64());
    if options.wants_json {
        output::json(&report);
    } else {
        report.print();
    }
    if was_interrupted && !run.status.has_ended() {
        output::note("interrupted; the next backup goes on from the last checkpoint");
        return Ok(Done::Interrupted);
    }
    let done = done(&run);
    if matches!(done, Done::SignInAgain) && signs_in_by_browser {
        output::note(&format!(
            "to sign in: start `listbackup up` on this data directory, POST /sources/{}/reconnect, and open the address in \
             its answer in a browser",
            source.source_id
        ));
    }
    Ok(done)
}

fn done(run: &Run) -> Done {
    let needs_sign_in = run.error.as_ref().is_some_and(|error| error.code == ErrorKind::Reauthorise.code());
    match run.status {
        RunStatus::Succeeded => Done::Whole,
        RunStatus::Partial => Done::Partly,
        _ if needs_sign_in => Done::SignInAgain,
        _ => Done::Failed,
    }
}

/// The source of that name with these settings: made, or brought up to date.
async fn source(ctx: &RunContext, scope: &AccountScope, chosen: Chosen, options: &Options) -> Result<Source> {
    let manifest_digest = match &chosen.manifest {
        Some(text) => Some(connect::keep_manifest(&ctx.ports, scope, text).await?),
        None => None,
    };
    let wanted = Wanted {
        name: options.source.clone().unwrap_or_else(|| chosen.name.clone()),
        integration: chosen.name,
        manifest_digest,
        streams: options.streams.clone(),
        rate_share_percent: options.rate_share_percent,
    };
    let integration = Found {
        integration: chosen.integration,
        http: ctx.http.clone(),
        digest: wanted.manifest_digest.clone(),
        reach: Reach::UpTo(scope.account_id()),
    };
    match sources::named(&ctx.store, scope, &wanted.name).await? {
        Some(found) => wanted.bring_up_to_date(ctx, scope, &integration, found, chosen.settings).await,
        None => wanted.make(ctx, scope, integration.integration.spec(), chosen.settings).await,
    }
}

struct Wanted {
    name: String,
    integration: String,
    manifest_digest: Option<String>,
    streams: Option<Vec<String>>,
    rate_share_percent: Option<u8>,
}

impl Wanted {
    async fn make(self, ctx: &RunContext, scope: &AccountScope, spec: &Spec, settings: Value) -> Result<Source> {
        let source_id = SourceId::new(&*ctx.ports.clock, &*ctx.ports.random);
        let state = state_with(spec, &settings);
        let (settings, credential) = connect::seal_settings(&ctx.ports, scope, spec, source_id, settings).await?;
        let now = ctx.ports.clock.now();
        let source = Source {
            manifest_digest: self.manifest_digest,
            settings,
            credential_id: credential.as_ref().map(|credential| credential.key_id),
            streams: self.streams,
            state,
            rate_share_percent: self.rate_share_percent,
            ..Source::new(scope.account_id(), source_id, self.integration, self.name, now)
        };
        let made = event_of(ctx, &source, ActivityKind::SourceCreated);
        let mut writes = vec![store::put(&source, Condition::Absent)?, event::keep(&made)?];
        if let Some(credential) = &credential {
            writes.push(store::put(credential, Condition::Absent)?);
        }
        ctx.store.transact(scope, writes).await?;
        event::publish(&ctx.ports, scope, &[made]);
        Ok(source)
    }

    async fn bring_up_to_date(
        self,
        ctx: &RunContext,
        scope: &AccountScope,
        integration: &Found,
        found: Versioned<Source>,
        settings: Value,
    ) -> Result<Source> {
        let Versioned { row: mut source, version } = found;
        let before = source.clone();
        if source.integration != self.integration {
            let message = "the source of that name is another product; give this one another name with --source";
            return Err(Error::new(ErrorKind::Invalid, message)
                .with("source", &source.name)
                .with("integration", &source.integration));
        }
        let spec = integration.integration.spec();
        let full = full_settings(ctx, scope, integration, &source, settings.clone()).await?;
        source.state = state_with(spec, full.settings.expose());
        let mut writes = Vec::new();
        source.settings = match source.credential_id {
            Some(key_id) => {
                let (shown, write) = connect::reseal_settings(&ctx.ports, scope, spec, key_id, settings).await?;
                writes.push(write);
                shown
            }
            None => {
                let (shown, credential) =
                    connect::seal_settings(&ctx.ports, scope, spec, source.source_id, settings).await?;
                if let Some(credential) = credential {
                    source.credential_id = Some(credential.key_id);
                    writes.push(store::put(&credential, Condition::Absent)?);
                }
                shown
            }
        };
        source.manifest_digest = self.manifest_digest;
        source.streams = self.streams;
        source.rate_share_percent = self.rate_share_percent;
        source.updated_at = ctx.ports.clock.now();
        let is_changed = source != Source { updated_at: source.updated_at, ..before };
        let told = is_changed.then(|| event_of(ctx, &source, ActivityKind::SourceUpdated));
        if is_changed {
            source.watch.look_at(source.updated_at);
        }
        writes.push(store::put(&source, Condition::Version(version))?);
        writes.extend(told.as_ref().map(event::keep).transpose()?);
        ctx.store.transact(scope, writes).await?;
        event::publish(&ctx.ports, scope, told.as_slice());
        Ok(source)
    }
}

/// The event of a change by this command.
fn event_of(ctx: &RunContext, source: &Source, kind: ActivityKind) -> ActivityEvent {
    let details = [("name", json!(source.name)), ("integration", json!(source.integration))];
    let details = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    event::event(&ctx.ports, source.account_id, kind, "cli", Subject::source(source.source_id), details)
}

/// A source that nobody signed in waits for that; one whose grant ended is tried again.
fn state_with(spec: &Spec, settings: &Value) -> SourceState {
    match &spec.sign_in {
        SignIn::OAuth2(sign_in) if sign_in.is_awaited(settings) => SourceState::NeedsAuthorisation,
        _ => SourceState::Active,
    }
}

/// The job of the source's commands: its first one, made when there is none.
pub(super) async fn job_of(ctx: &RunContext, scope: &AccountScope, source: &Source) -> Result<Job> {
    Ok(first_job::find_or_make(&ctx.ports, scope, source, ctx.ports.clock.now(), "cli").await?.0)
}

/// The job's interrupted run, or a new one.
async fn open_run(ctx: &RunContext, scope: &AccountScope, job: &Job) -> Result<Run> {
    let query = Query {
        table: &RUNS,
        index: None,
        partition: job.job_id.to_string(),
        sort: SortRange::All,
        descending: true,
        limit: 20,
        after: None,
    };
    let runs = ctx.store.query::<Run>(scope, query).await?.rows;
    if let Some(live) = runs.into_iter().map(|run| run.row).find(|run| !run.status.has_ended()) {
        output::note(&format!("going on with the interrupted run {}", live.run_id));
        return Ok(live);
    }
    let trigger = Trigger::Manual { by: "cli".to_owned() };
    Ok(order::write_order(&ctx.ports, scope, job, trigger, None).await?.0)
}

/// Executes the run and shows how far it is. Returns the run as it is afterwards, and whether a signal came.
pub(super) async fn carry_out(
    ctx: &Arc<RunContext>,
    scope: &AccountScope,
    run: Run,
    is_shown: bool,
) -> Result<(Run, bool)> {
    let engine = Engine::start(ctx.clone(), Roles::OneShot);
    let shown = is_shown.then(|| progress::follow(ctx.ports.events.follow(scope), run.run_id));
    let (done, ended) = oneshot::channel();
    let key = store::key(run.job_id, run.run_id);
    engine.do_send(Deliver { order: RunOrder::of(&run), delivery: None, done: Some(done) });
    tokio::pin!(ended);
    let (result, was_interrupted) = tokio::select! {
        result = &mut ended => (result, false),
        () = crate::signal::stop() => {
            // The engine answers once the run has reached a checkpoint, or the deadline is over.
            let _dead = engine.send(Drain).await;
            (ended.await, true)
        }
    };
    if let Some(shown) = shown {
        shown.finish();
    }
    worker::settle(ctx).await;
    match result {
        Ok(Ok(run)) => Ok((run, was_interrupted)),
        Ok(Err(error)) if !was_interrupted => Err(error),
        _ => Ok((ctx.store.get::<Run>(scope, key).await?.row, was_interrupted)),
    }
}
