//! A whole backup by the released program: 200,000 contacts of 1 KB, first and unchanged. `benches/README.md` says how to
//! run it and what came out.

#[path = "support/contacts.rs"]
mod contacts;
#[path = "support/measure.rs"]
mod measure;
#[path = "support/page_server.rs"]
mod page_server;
#[path = "support/pages.rs"]
mod pages;
#[path = "../tests/support/servers/process.rs"]
mod process;

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use process::Server;
use serde::Deserialize;

const RECORDS: u64 = 200_000;
const RECORDS_PER_PAGE: u64 = 100;
/// Each round starts with an empty data directory; the middle one counts.
const ROUNDS: usize = 3;

const MIN_RECORDS_PER_CPU_SECOND: f64 = 100_000.0;
const MAX_PEAK_RSS_KIB: u64 = 128 * 1024;
const MAX_STORED_UNCHANGED_BYTES: u64 = 64 * 1024;

/// What `listbackup backup --json` reports.
#[derive(Deserialize)]
struct Report {
    records: u64,
    added: u64,
    unchanged: u64,
    bytes_stored: u64,
}

/// One backup.
struct Run {
    records_per_cpu_second: f64,
    cpu_seconds: f64,
    peak_rss_kib: u64,
    bytes_stored: u64,
    /// Growth of the data directory, tables included.
    bytes_on_disk: u64,
}

fn main() -> io::Result<ExitCode> {
    if std::env::args().nth(1).as_deref() == Some("serve-pages") {
        page_server::serve(pages::pages(RECORDS, RECORDS_PER_PAGE))?;
        return Ok(ExitCode::SUCCESS);
    }
    let server = Server::start(&[std::env::current_exe()?.as_os_str(), "serve-pages".as_ref()], &[]);
    let mut rounds = (0..ROUNDS).map(|_| round(&server.url())).collect::<io::Result<Vec<_>>>()?;
    rounds.sort_by(|(a, _), (b, _)| a.cpu_seconds.total_cmp(&b.cpu_seconds));
    let (first, unchanged) = rounds.swap_remove(ROUNDS / 2);
    println!("| backup | records per CPU second | CPU seconds | peak RSS, MiB | stored, bytes | on disk, bytes |");
    println!("|---|---|---|---|---|---|");
    print_row("first", &first);
    print_row("unchanged", &unchanged);
    Ok(judge(&first, &unchanged))
}

/// Backs up twice into a fresh data directory.
fn round(url: &str) -> io::Result<(Run, Run)> {
    let directory = tempfile::tempdir()?;
    let (first, report) = backup(url, directory.path())?;
    assert_eq!((report.records, report.added), (RECORDS, RECORDS), "the first backup must add every record");
    let (second, report) = backup(url, directory.path())?;
    assert_eq!((report.records, report.unchanged), (RECORDS, RECORDS), "the second backup must find no change");
    Ok((first, second))
}

fn backup(url: &str, directory: &Path) -> io::Result<(Run, Report)> {
    let size_before = measure::size_of(directory)?;
    let manifest = "benches/support/manifest.yaml";
    let mut command = Command::new(program()?);
    command.args(["backup", "--json", "--manifest", manifest, "--set"]).arg(format!("base_url={url}"));
    command.arg("--data-dir").arg(directory);
    let cost = measure::run(&mut command)?;
    let report: Report = serde_json::from_slice(&cost.output)?;
    let run = Run {
        records_per_cpu_second: RECORDS as f64 / cost.cpu_seconds,
        cpu_seconds: cost.cpu_seconds,
        peak_rss_kib: cost.peak_rss_kib,
        bytes_stored: report.bytes_stored,
        bytes_on_disk: measure::size_of(directory)?.saturating_sub(size_before),
    };
    Ok((run, report))
}

/// The program built with the same profile, beside this bench.
fn program() -> io::Result<PathBuf> {
    let bench = std::env::current_exe()?;
    let program = bench.ancestors().nth(2).map(|folder| folder.join("listbackup")).filter(|path| path.exists());
    program.ok_or_else(|| io::Error::other("the program is not built: cargo build --release --package listbackup"))
}

fn print_row(name: &str, run: &Run) {
    println!(
        "| {name} | {:.0} | {:.2} | {:.1} | {} | {} |",
        run.records_per_cpu_second,
        run.cpu_seconds,
        run.peak_rss_kib as f64 / 1024.0,
        run.bytes_stored,
        run.bytes_on_disk
    );
}

/// Says which targets are missed; fails if any is.
fn judge(first: &Run, unchanged: &Run) -> ExitCode {
    let peak_rss_kib = first.peak_rss_kib.max(unchanged.peak_rss_kib);
    let targets = [
        ("first backup: 100,000 records per CPU second", first.records_per_cpu_second >= MIN_RECORDS_PER_CPU_SECOND),
        ("peak RSS: 128 MiB", peak_rss_kib <= MAX_PEAK_RSS_KIB),
        ("unchanged backup: as fast as the first", unchanged.records_per_cpu_second >= first.records_per_cpu_second),
        ("unchanged backup: under 64 KiB stored", unchanged.bytes_stored < MAX_STORED_UNCHANGED_BYTES),
    ];
    println!();
    for (target, is_met) in targets {
        println!("{} {target}", if is_met { "met:   " } else { "MISSED:" });
    }
    if targets.iter().all(|(_, is_met)| *is_met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
