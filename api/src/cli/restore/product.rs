//! Restoring into the product: an order, and a run that carries it out now.

use listbackup_engine::{
    Error, ErrorKind, Result,
    adapters::embedded::OpenMode,
    connectors::Problem,
    model::{RestoreId, Run, RunStatus, Source, scope::AccountScope},
    run::{
        RunContext, order,
        restore::{RestoreOrder, Selection, problems_into, writable_streams},
    },
    snapshot::{AccountStore, Manifest, RecordKey},
    store,
};

use super::{Args, report};
use crate::{
    cli::{
        backup,
        exit::{Done, Outcome},
        output,
    },
    lookup,
    worker::Worker,
};

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open(OpenMode::Write).await?;
    let (scope, restore) = match (&args.resume, &args.snapshot) {
        (Some(id), _) => resumed(&worker, id).await?,
        (None, snapshot) => ordered(&worker, &args, snapshot.as_deref().unwrap_or_default()).await?,
    };
    let store = worker.ctx.snapshots.account(&scope).await?;
    let run = open_run(&worker, &scope, &restore, args.resume.is_some()).await?;
    if !args.json {
        output::note(&format!("restore {}", restore.restore_id));
    }
    let (run, was_interrupted) = if run.status.has_ended() {
        (run, false)
    } else {
        backup::carry_out(&worker.ctx, &scope, run, !args.json).await?
    };
    tell(&args, &store, &restore, &run).await?;
    if was_interrupted && !run.status.has_ended() {
        output::note(&format!("interrupted; go on with: listbackup restore --resume {}", restore.restore_id));
        return Ok(Done::Interrupted);
    }
    Ok(done(&run))
}

async fn tell(args: &Args, store: &AccountStore, restore: &RestoreOrder, run: &Run) -> Result<()> {
    let report = report::Report::gather(store, restore, run, args.outcomes.as_deref()).await?;
    if args.json {
        output::json(&report);
    } else {
        report.print();
    }
    Ok(())
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

/// The restore to go on with.
async fn resumed(worker: &Worker, id: &str) -> Result<(AccountScope, RestoreOrder)> {
    let restore_id: RestoreId = id.parse()?;
    let missing = || Error::new(ErrorKind::NotFound, "there is no such restore in this data directory").with("id", id);
    let owner = crate::local::find(&worker.ctx.ports, &worker.ctx.system).await?.ok_or_else(missing)?;
    let store = worker.ctx.snapshots.account(&owner.scope).await?;
    match store.load_restore(restore_id).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(missing()),
        found => Ok((owner.scope, found?)),
    }
}

/// A new restore, kept in the store.
async fn ordered(worker: &Worker, args: &Args, snapshot: &str) -> Result<(AccountScope, RestoreOrder)> {
    let ctx = &worker.ctx;
    let found = lookup::snapshot(ctx, snapshot).await?;
    let manifest = &found.loaded.manifest;
    let source = match &args.into {
        Some(name) => target(ctx, &found.scope, manifest, name, args).await?,
        None => own_source(ctx, &found.scope, manifest).await?,
    };
    let origin = (source.source_id != manifest.source_id).then_some(manifest.source_id);
    let selections = selections(ctx, &found.scope, &source, manifest, args).await?;
    let job = backup::job_of(ctx, &found.scope, &source).await?;
    let order = RestoreOrder {
        restore_id: RestoreId::new(&*ctx.ports.clock, &*ctx.ports.random),
        source_id: source.source_id,
        origin,
        job_id: job.job_id,
        snapshot_id: manifest.snapshot_id,
        selections,
        against: args.against.into(),
        overwrite: args.overwrite,
        dry_run: !args.apply,
        base: source.head.as_ref().map(|head| head.snapshot_id),
        by: "cli".to_owned(),
        created_at: ctx.ports.clock.now(),
    };
    let store = ctx.snapshots.account(&found.scope).await?;
    Ok((found.scope, order.keep(&store).await?))
}

/// The source whose snapshot it is.
async fn own_source(ctx: &RunContext, scope: &AccountScope, manifest: &Manifest) -> Result<Source> {
    let key = store::key(manifest.account_id, manifest.source_id);
    ctx.store.find::<Source>(scope, key).await?.map(|source| source.row).ok_or_else(|| {
        let message = "the snapshot's source was deleted; --into SOURCE restores into another one";
        Error::new(ErrorKind::NotFound, message).with("source", &manifest.source_name)
    })
}

/// The source of that name or id, if the snapshot can go into its product.
async fn target(
    ctx: &RunContext,
    scope: &AccountScope,
    manifest: &Manifest,
    name: &str,
    args: &Args,
) -> Result<Source> {
    let mut problems: Vec<Problem> = Vec::new();
    for stream in args.stream.iter().filter(|stream| !manifest.streams.contains_key(*stream)) {
        let message = "the snapshot has no such stream".to_owned();
        problems.push(Problem { place: format!("stream {stream}"), message });
    }
    let sources =
        lookup::sources(ctx).await?.sources.into_iter().filter(|(of, _)| of.account_id() == scope.account_id());
    let found =
        sources.map(|(_, source)| source).find(|source| source.name == name || source.source_id.to_string() == name);
    match &found {
        Some(source) => problems.extend(problems_into(manifest, source, args.against.into())),
        None => {
            let message = "there is no source of that name or id in the snapshot's account".to_owned();
            problems.push(Problem { place: format!("source {name}"), message });
        }
    }
    match found.filter(|_| problems.is_empty()) {
        Some(source) => Ok(source),
        None => Err(Error::invalid("the snapshot cannot be restored into that source", problems)),
    }
}

/// The streams that were named, or all that the connector can write.
async fn selections(
    ctx: &RunContext,
    scope: &AccountScope,
    source: &Source,
    manifest: &Manifest,
    args: &Args,
) -> Result<Vec<Selection>> {
    for stream in &args.stream {
        lookup::stream(manifest, stream)?;
    }
    let picks = !args.key.is_empty() || args.from.is_some() || args.until.is_some();
    if picks {
        let [stream] = &args.stream[..] else {
            let message = "--key, --from and --until need exactly one --stream";
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        let arity = manifest.streams.get(stream).map_or(0, |state| state.primary_key.len());
        let key = |text: &String| RecordKey::parse(text, arity);
        return Ok(vec![Selection {
            stream: stream.clone(),
            keys: args.key.iter().map(key).collect::<Result<_>>()?,
            from: args.from.as_ref().map(key).transpose()?,
            until: args.until.as_ref().map(key).transpose()?,
        }]);
    }
    if !args.stream.is_empty() {
        return Ok(args.stream.iter().map(|stream| Selection::all(stream)).collect());
    }
    let writable = writable_streams(ctx, scope, source, manifest).await?;
    let chosen: Vec<Selection> = writable.iter().map(|stream| Selection::all(stream)).collect();
    if chosen.is_empty() {
        let problem = Problem {
            place: source.integration.clone(),
            message: "no stream of the snapshot can be written by it; restore to files with --to DIR".to_owned(),
        };
        return Err(Error::invalid("the connector cannot write", vec![problem]));
    }
    Ok(chosen)
}

/// The run that carries it out: a new one, the interrupted one, or one that tries again after a failure.
async fn open_run(worker: &Worker, scope: &AccountScope, restore: &RestoreOrder, is_resumed: bool) -> Result<Run> {
    let ports = &worker.ctx.ports;
    if !is_resumed {
        let job = worker.ctx.store.get(scope, store::key(scope.account_id(), restore.job_id)).await?.row;
        return restore.write_run(ports, scope, &job).await;
    }
    match restore.latest_run(ports, scope).await {
        Ok(run) if matches!(run.status, RunStatus::Failed | RunStatus::Cancelled | RunStatus::Partial) => {
            order::retry_run(ports, scope, run.job_id, run.run_id, "cli").await
        }
        Ok(run) => Ok(run),
        // The process was killed between the order and its run.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let job = worker.ctx.store.get(scope, store::key(scope.account_id(), restore.job_id)).await?.row;
            restore.write_run(ports, scope, &job).await
        }
        Err(error) => Err(error),
    }
}
