//! `listbackup drill`: can the snapshots be restored? Tried, and told in a signed report.

use std::{fmt::Write as _, path::PathBuf};

use listbackup_engine::{
    Error, ErrorKind, Result,
    adapters::embedded::LooseObjects,
    model::scope::{AccountScope, SystemScope},
    run::{
        RunContext,
        drill::{self, DrillReport, DrillSpec, DrilledStream, Outcome as Drilled},
    },
    snapshot::{LoadedManifest, PublicKey, Signed, SourceStore},
};
use serde_json::json;
use tempfile::TempDir;

use super::{
    data_dir::DataDir,
    destroyed,
    exit::{Done, Outcome},
    loose, output,
};
use crate::lookup;

/// Name of the master key in a data directory.
const KEY_FILE: &str = "master.key";
/// Name of the folder of objects in a data directory.
const OBJECTS: &str = "objects";

/// Arguments of `drill`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples: listbackup drill --data-dir ./data --out drill.json
          listbackup drill --snapshot snap_… --sample 1000 --data-dir ./data
          listbackup drill --check drill.json --data-dir ./data
          listbackup drill --check drill.json --public-key 1f0a…
Restores small streams whole, and of the others records from all over their keys, to a directory that is removed again; reads
the files back and compares. The report is signed with a key that follows from the account's keys, and kept beside the
snapshots. --check needs no database: the objects and the master key, or just the public key that somebody trusts, are enough.")]
pub struct Args {
    /// Only this source [default: the newest snapshot of each]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["snapshot", "check"])]
    source: Option<String>,
    /// This snapshot instead of the newest
    #[arg(long, value_name = "ID", conflicts_with = "check")]
    snapshot: Option<String>,
    /// Records to draw of each stream with more than 1,000
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "check")]
    sample: u64,
    /// Draw the sample of an earlier report: its seed, 32 hexadecimal digits [default: a new one]
    #[arg(long, value_name = "HEX", value_parser = seed_of, conflicts_with = "check")]
    seed: Option<[u8; 16]>,
    /// Where to restore to; removed afterwards [default: the system's directory for temporary files]
    #[arg(long, value_name = "DIR", conflicts_with = "check")]
    scratch: Option<PathBuf>,
    /// Write the signed report to this file as well
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    out: Option<PathBuf>,
    /// Check a signed report instead
    #[arg(long, value_name = "REPORT")]
    check: Option<PathBuf>,
    /// Check against this public key, and nothing else
    #[arg(long, value_name = "HEX", requires = "check")]
    public_key: Option<PublicKey>,
    /// The master key to check with, where the directory has none
    #[arg(long, value_name = "FILE", requires = "check", conflicts_with = "public_key")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

fn seed_of(text: &str) -> Result<[u8; 16], String> {
    let expected = || "a seed has 32 hexadecimal digits".to_owned();
    let is_hex = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).map_err(|_| expected())?;
    if is_hex { Ok(number.to_be_bytes()) } else { Err(expected()) }
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    match &args.check {
        Some(report) => check(&args, report).await,
        None => drill_all(&args).await,
    }
}

/// A snapshot to restore from.
struct Task {
    scope: AccountScope,
    store: SourceStore,
    loaded: LoadedManifest,
}

async fn drill_all(args: &Args) -> Outcome {
    let worker = args.data_dir.open_to_note()?;
    let ctx = &*worker.ctx;
    let mut reports = Vec::new();
    for task in tasks(ctx, args).await? {
        let (report, signed) = one(ctx, args, &task).await?;
        task.store.put_drill(report.snapshot_id, report.started_at, &signed).await?;
        reports.push((report, signed));
    }
    if let Some(out) = &args.out {
        write_reports(&reports, out).await?;
    }
    if args.json {
        output::json(&json!({ "kept": true, "reports": reports.iter().map(|(_, signed)| signed).collect::<Vec<_>>() }));
    } else {
        reports.iter().for_each(|(report, _)| print(report));
    }
    let is_passed = reports.iter().all(|(report, _)| report.outcome == Drilled::Passed);
    Ok(if is_passed { Done::Whole } else { Done::Damaged })
}

async fn tasks(ctx: &RunContext, args: &Args) -> Result<Vec<Task>> {
    if let Some(id) = &args.snapshot {
        let lookup::Found { scope, store, loaded } = lookup::snapshot(ctx, id).await?;
        return Ok(vec![Task { scope, store, loaded }]);
    }
    let mut tasks = Vec::new();
    let lookup::Living { sources, destroyed } = lookup::named_sources(ctx, args.source.as_deref()).await?;
    destroyed::note(&destroyed);
    for (scope, source) in sources {
        let Some(head) = &source.head else { continue };
        let store = ctx.snapshots.source(&scope, source.source_id).await?;
        let loaded = store.load(head.snapshot_id).await?;
        tasks.push(Task { scope, store, loaded });
    }
    if tasks.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "there is no snapshot to restore from"));
    }
    Ok(tasks)
}

async fn one(ctx: &RunContext, args: &Args, task: &Task) -> Result<(DrillReport, Signed)> {
    let mut seed = args.seed.unwrap_or_default();
    if args.seed.is_none() {
        ctx.ports.random.fill(&mut seed);
    }
    let program = format!("listbackup {}", env!("CARGO_PKG_VERSION"));
    let spec = DrillSpec { seed, sample_size: args.sample, program };
    let scratch = match &args.scratch {
        Some(directory) => TempDir::new_in(directory),
        None => TempDir::new(),
    };
    let scratch = scratch.map_err(Error::from)?;
    let reader = task.store.reader(&task.loaded.manifest);
    let report = drill::drill(&reader, &task.loaded, &spec, scratch.path(), &*ctx.ports.clock).await?;
    scratch.close().map_err(Error::from)?;
    let signed = ctx.snapshots.account(&task.scope).await?.sign(&report)?;
    Ok((report, signed))
}

/// One report as it is, several as a list.
async fn write_reports(reports: &[(DrillReport, Signed)], out: &PathBuf) -> Result<()> {
    let text = match reports {
        [(_, signed)] => serde_json::to_string_pretty(signed),
        _ => serde_json::to_string_pretty(&reports.iter().map(|(_, signed)| signed).collect::<Vec<_>>()),
    };
    let text = text.map_err(|error| Error::new(ErrorKind::Bug, format!("a report does not serialise: {error}")))?;
    tokio::fs::write(out, text + "\n").await.map_err(|error| Error::from(error).with("file", out.display()))
}

async fn check(args: &Args, path: &PathBuf) -> Outcome {
    let named = |error: Error| error.with("file", path.display());
    let text = tokio::fs::read(path).await.map_err(|error| named(Error::from(error)))?;
    let mut is_passed = true;
    let mut documents = Vec::new();
    for signed in parse(&text).map_err(named)? {
        let report: DrillReport = serde_json::from_str(signed.report.get()).map_err(|error| {
            named(Error::new(ErrorKind::Corrupt, format!("this is not the report of a drill: {error}")))
        })?;
        let (key, stored) = key_for(args, &report).await?;
        signed.check(&key).map_err(named)?;
        is_passed &= report.outcome == Drilled::Passed;
        if args.json {
            documents
                .push(json!({ "valid": true, "public_key": key.to_string(), "manifest": stored, "report": report }));
        } else {
            explain(&report, &key, stored);
        }
    }
    if args.json {
        output::json(&json!({ "reports": documents }));
    }
    Ok(if is_passed { Done::Whole } else { Done::Damaged })
}

fn parse(text: &[u8]) -> Result<Vec<Signed>> {
    let failed = |error: serde_json::Error| {
        Error::new(ErrorKind::Corrupt, format!("this is not a signed report, or it was altered: {error}"))
    };
    if text.trim_ascii_start().starts_with(b"[") {
        return serde_json::from_slice(text).map_err(failed);
    }
    serde_json::from_slice(text).map(|signed| vec![signed]).map_err(failed)
}

/// The key that must have signed; and where the account's objects are at hand, what became of the snapshot.
async fn key_for(args: &Args, report: &DrillReport) -> Result<(PublicKey, &'static str)> {
    if let Some(key) = args.public_key {
        return Ok((key, "not looked at"));
    }
    let data_dir = args.data_dir.path()?;
    let scope = SystemScope::of_this_process().account(report.account_id);
    let key_file = args.key_file.clone().unwrap_or_else(|| data_dir.join(KEY_FILE));
    let objects = LooseObjects::below(Some(data_dir.join(OBJECTS)));
    let snapshots = loose::store(objects, &key_file, &scope).await?;
    let key = snapshots.account(&scope).await?.public_key()?;
    let store = snapshots.source(&scope, report.source_id).await?;
    let stored = match store.load(report.snapshot_id).await {
        Ok(loaded) if loaded.digest == report.manifest_digest => "stored, and the one that was restored from",
        Ok(_) => "stored, but another one than was restored from",
        Err(error) if error.kind() == ErrorKind::NotFound => "not stored any more",
        Err(_) => "damaged",
    };
    Ok((key, stored))
}

fn explain(report: &DrillReport, key: &PublicKey, stored: &str) {
    output::line(&format!(
        "The signature holds: whoever made this report had the keys of account {} (public key {key}), and nothing in it was \
         changed since.",
        report.account_id
    ));
    output::line(&format!(
        "It says, by the clock of the machine that made it: on {:.0} {} restored from snapshot {} of {} (made {:.0}, manifest {}).",
        report.started_at,
        report.program,
        report.snapshot_id,
        report.source_name,
        report.snapshot_created_at,
        report.manifest_digest,
    ));
    output::line(&format!("The manifest is {stored}."));
    print(report);
}

fn print(report: &DrillReport) {
    let restored: u64 = report.streams.values().map(|stream| stream.restored).sum();
    let outcome = match report.outcome {
        Drilled::Passed => "passed",
        Drilled::Failed => "FAILED",
    };
    output::line(&format!(
        "{}, {}: {outcome}; {} of {} restored and compared in {:.1} s",
        report.source_name,
        report.snapshot_id,
        output::counted(restored, "record"),
        output::counted(report.streams.len() as u64, "stream"),
        report.duration_ms as f64 / 1000.0,
    ));
    for (name, stream) in &report.streams {
        output::line(&line(name, stream));
    }
}

fn line(name: &str, stream: &DrilledStream) -> String {
    let mut line = format!("  {name}: {} of {}", output::count(stream.restored), output::count(stream.records));
    if stream.is_whole {
        line.push_str(", all of it, with the content digest of the manifest");
    }
    for problem in &stream.problems {
        let _never_fails = write!(line, "\n    {problem}");
    }
    line
}
