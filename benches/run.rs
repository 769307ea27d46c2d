//! The released program on an API of 200,000 contacts of 1 KB: whole backups and reads alone, plain, changed, in partitions
//! and by parents, with the reference implementation beside it. `benches/README.md` says how to run it and what came out.

#[path = "support/contacts.rs"]
mod contacts;
#[path = "support/disk.rs"]
mod disk;
#[path = "support/measure.rs"]
mod measure;
#[path = "support/page_server.rs"]
mod page_server;
#[path = "support/pages.rs"]
mod pages;
#[path = "../tests/support/servers/process.rs"]
mod process;
#[path = "support/reading.rs"]
mod reading;

use std::{io, process::ExitCode};

use pages::Product;
use process::Server;
use reading::{Program, Step};

const RECORDS: u64 = 200_000;
const PARENTS: u64 = 100_000;
/// The middle one counts, by its CPU time.
const ROUNDS: usize = 3;

const MIN_PLAIN_PER_CPU_SECOND: f64 = 100_000.0;
const MIN_CHANGED_PER_CPU_SECOND: f64 = 40_000.0;
const MAX_PARTITIONS_SECONDS: f64 = 4.0;
const MAX_PEAK_RSS_KIB: u64 = 128 * 1024;
const MAX_STORED_UNCHANGED_BYTES: u64 = 64 * 1024;

fn main() -> io::Result<ExitCode> {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        page_server::serve(Product::new(RECORDS, PARENTS))?;
        return Ok(ExitCode::SUCCESS);
    }
    let server = Server::start(&[std::env::current_exe()?.as_os_str(), "serve".as_ref()], &[]);
    let program = Program::new(server.url())?;
    let mut rounds = (0..ROUNDS).map(|_| program.backups("contacts", RECORDS)).collect::<io::Result<Vec<_>>>()?;
    rounds.sort_by(|[a, _], [b, _]| a.cost.cpu_seconds.total_cmp(&b.cost.cpu_seconds));
    let [first, unchanged] = rounds.swap_remove(ROUNDS / 2);
    let [changed, _] = program.backups("changed", RECORDS)?;
    let [partitions, _] = program.backups("segments", RECORDS)?;
    let [parents, _] = program.backups("children", PARENTS)?;
    let reads =
        [program.read("contacts", RECORDS)?, program.read("changed", RECORDS)?, program.read("segments", RECORDS)?];
    println!(
        "| step | records per CPU second | CPU seconds | seconds | peak RSS, MiB | stored, bytes | on disk, bytes |"
    );
    println!("|---|---|---|---|---|---|---|");
    let backups = [&first, &unchanged, &changed, &partitions, &parents];
    backups.into_iter().chain(&reads).for_each(print_row);
    program.reference_reads(RECORDS)?.iter().for_each(print_row);

    let [read, read_changed, read_partitions] = &reads;
    let peak_rss_kib = backups.iter().map(|step| step.cost.peak_rss_kib).max().unwrap_or(0);
    Ok(judge(&[
        ("plain: 100,000 records per CPU second", first.per_cpu_second() >= MIN_PLAIN_PER_CPU_SECOND),
        ("plain, read alone: the same", read.per_cpu_second() >= MIN_PLAIN_PER_CPU_SECOND),
        ("changed: 40,000 records per CPU second", changed.per_cpu_second() >= MIN_CHANGED_PER_CPU_SECOND),
        ("changed, read alone: the same", read_changed.per_cpu_second() >= MIN_CHANGED_PER_CPU_SECOND),
        ("partitions: under 4 s", partitions.wall_seconds < MAX_PARTITIONS_SECONDS),
        ("partitions, read alone: the same", read_partitions.wall_seconds < MAX_PARTITIONS_SECONDS),
        ("peak RSS of every backup: 128 MiB", peak_rss_kib <= MAX_PEAK_RSS_KIB),
        ("unchanged backup: as fast as the first", unchanged.per_cpu_second() >= first.per_cpu_second()),
        ("unchanged backup: under 64 KiB stored", unchanged.stored_bytes < Some(MAX_STORED_UNCHANGED_BYTES)),
    ]))
}

fn print_row(step: &Step) {
    let bytes = |bytes: Option<u64>| bytes.map_or(String::new(), |bytes| bytes.to_string());
    println!(
        "| {} | {:.0} | {:.2} | {:.2} | {:.1} | {} | {} |",
        step.name,
        step.per_cpu_second(),
        step.cost.cpu_seconds,
        step.wall_seconds,
        step.cost.peak_rss_kib as f64 / 1024.0,
        bytes(step.stored_bytes),
        bytes(step.on_disk_bytes),
    );
}

/// Says which targets are missed; fails if any is.
fn judge(targets: &[(&str, bool)]) -> ExitCode {
    println!();
    for (target, is_met) in targets {
        println!("{} {target}", if *is_met { "met:   " } else { "MISSED:" });
    }
    if targets.iter().all(|(_, is_met)| *is_met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
