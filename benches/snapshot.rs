//! The snapshot store at size: a million contacts imported, imported changed and unchanged, verified, exported, compared,
//! by the released program, with restic and borg beside it where they are installed. `benches/README.md` says how to run it
//! and what came out.

#[path = "support/contacts.rs"]
mod contacts;
#[path = "support/disk.rs"]
mod disk;
#[path = "support/measure.rs"]
mod measure;
#[path = "support/peers.rs"]
mod peers;
#[path = "support/reads.rs"]
mod reads;
#[path = "support/store.rs"]
mod store;
#[path = "support/versions.rs"]
mod versions;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use measure::Cost;
use store::Targets;

const RECORDS: u64 = 1_000_000;
/// Memory must not grow with the records.
const MANY_RECORDS: u64 = 5_000_000;
/// The program that made the data on which the targets were set, where it is at hand.
const GENERATOR: &str = "../shared/measure/gen/gen.rs";

/// One line of the table.
pub struct Row {
    name: &'static str,
    cost: Cost,
    /// Bytes by which the store grew, where that is the point.
    stored_bytes: Option<u64>,
}

fn main() -> io::Result<ExitCode> {
    let directory = tempfile::tempdir_in(std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into()))?;
    let place = directory.path();
    let versions = versions(place, RECORDS)?;
    let ours = store::rows(&place.join("ours"), &versions, Some(&Targets::of_a_million()))?;
    println!("| tool | step | CPU seconds | peak RSS, MiB | stored, bytes |");
    println!("|---|---|---|---|---|");
    print_rows("listbackup", &ours.rows);
    for (name, rows) in peers::rows(&place.join("peers"), &versions)? {
        print_rows(name, &rows);
    }
    versions.iter().try_for_each(std::fs::remove_file)?;
    let many = self::versions(place, MANY_RECORDS)?;
    let large = store::rows(&place.join("many"), &many, None)?;
    print_rows("listbackup, 5,000,000 records", &large.rows);
    let is_met = ours.judge() & judge_memory(&ours.rows, &large.rows);
    Ok(if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Both versions of the contacts as files of one JSON object a line. The second has 1 % changed, 0.5 % inserted and 0.1 % deleted,
/// scattered.
fn versions(place: &Path, records: u64) -> io::Result<[PathBuf; 2]> {
    let paths = [place.join("v1.jsonl"), place.join("v2.jsonl")];
    let generator = place.join("gen");
    let has_generator = Path::new(GENERATOR).exists()
        && (generator.exists()
            || Command::new("rustc").args(["-O", GENERATOR, "-o"]).arg(&generator).status()?.success());
    for (version, path) in (1..).zip(&paths) {
        if has_generator {
            let out = File::create(path)?;
            let mut command = Command::new(&generator);
            command.args(["jsonl", &records.to_string(), &version.to_string()]).stdout(out);
            if !command.status()?.success() {
                return Err(io::Error::other("the generator of the data failed"));
            }
        } else {
            let mut out = BufWriter::new(File::create(path)?);
            versions::lines(records, version, |line| out.write_all(line.as_bytes()))?;
            out.flush()?;
        }
    }
    Ok(paths)
}

fn print_rows(tool: &str, rows: &[Row]) {
    for Row { name, cost, stored_bytes } in rows {
        let stored = stored_bytes.map_or_else(String::new, |bytes| bytes.to_string());
        let rss_mib = cost.peak_rss_kib as f64 / 1024.0;
        println!("| {tool} | {name} | {:.2} | {rss_mib:.0} | {stored} |", cost.cpu_seconds);
    }
}

/// Five times the records may take a fifth more memory. What stays below 64 MiB is small enough whatever it was.
fn judge_memory(few: &[Row], many: &[Row]) -> bool {
    let grows = |(few, many): (&Row, &Row)| {
        let bound_kib = (few.cost.peak_rss_kib * 6 / 5).max(64 << 10);
        let is_met = many.cost.peak_rss_kib <= bound_kib;
        if !is_met {
            println!("MISSED: {}: {} KiB with five times the records", few.name, many.cost.peak_rss_kib);
        }
        is_met
    };
    few.iter().zip(many).map(grows).fold(true, |all, one| all & one)
}
