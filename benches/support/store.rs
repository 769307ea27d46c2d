//! What one data directory costs: imports, verification, export and comparison by the released program.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, BufRead},
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use crate::{Row, disk, measure, reads};

/// What must hold. CPU seconds and bytes.
pub struct Targets {
    cpu_seconds: [(&'static str, f64); 6],
    stored_bytes: [(&'static str, u64); 3],
    peak_rss_kib: u64,
    /// Of the stored bytes, so much may a comparison read.
    diff_read_share: f64,
}

impl Targets {
    /// For a million contacts of 1 KB.
    pub fn of_a_million() -> Self {
        Self {
            cpu_seconds: [(FIRST, 9.5), (SECOND, 5.5), (THIRD, 5.0), (VERIFY, 4.5), (EXPORT, 4.5), (DIFF, 1.0)],
            stored_bytes: [(FIRST, 235_000_000), (SECOND, 6_000_000), (THIRD, 64 << 10)],
            peak_rss_kib: 256 << 10,
            diff_read_share: 0.02,
        }
    }
}

const FIRST: &str = "first import";
const SECOND: &str = "second import, 1.6 % differs";
const THIRD: &str = "third import, unchanged";
const VERIFY: &str = "verify --data";
const EXPORT: &str = "export as JSONL";
const DIFF: &str = "diff of the first two";

/// What came out.
pub struct Measured {
    /// One row a step.
    pub rows: Vec<Row>,
    problems: Vec<String>,
}

impl Measured {
    /// Says which targets are missed; true when none is.
    pub fn judge(&self) -> bool {
        println!();
        self.problems.iter().for_each(|problem| println!("MISSED: {problem}"));
        self.problems.is_empty()
    }

    fn check(&mut self, targets: &Targets) {
        let cost = |name| self.rows.iter().find(|row| row.name == name);
        for (name, target) in targets.cpu_seconds {
            if let Some(row) = cost(name).filter(|row| row.cost.cpu_seconds > target) {
                self.problems.push(format!("{name}: {:.2} CPU s instead of {target}", row.cost.cpu_seconds));
            }
        }
        for (name, target) in targets.stored_bytes {
            let stored = cost(name).and_then(|row| row.stored_bytes);
            if let Some(bytes) = stored.filter(|bytes| *bytes > target) {
                self.problems.push(format!("{name}: {bytes} bytes stored instead of {target}"));
            }
        }
        for row in self.rows.iter().filter(|row| row.cost.peak_rss_kib > targets.peak_rss_kib) {
            self.problems.push(format!("{}: {} KiB of memory", row.name, row.cost.peak_rss_kib));
        }
    }
}

#[derive(Deserialize)]
struct Report {
    snapshot_id: String,
    bytes_stored: u64,
}

/// Every step on two versions of the contacts.
///
/// # Errors
/// When a step fails, or what it gives is not what went in.
pub fn rows(directory: &Path, versions: &[PathBuf; 2], targets: Option<&Targets>) -> io::Result<Measured> {
    let mut rows = Vec::new();
    let mut snapshots = Vec::new();
    for (name, version) in [(FIRST, &versions[0]), (SECOND, &versions[1]), (THIRD, &versions[1])] {
        let mut command = command("import", directory)?;
        command.args(["--json", "--stream", "contacts", "--key", "id"]).arg(version);
        let cost = measure::run(&mut command)?;
        let report: Report = serde_json::from_slice(&cost.output)?;
        snapshots.push(report.snapshot_id);
        rows.push(Row { name, cost, stored_bytes: Some(report.bytes_stored) });
    }
    rows.push(step(VERIFY, command("verify", directory)?.arg("--data"))?);
    let exported = directory.with_extension("jsonl");
    let mut export = command("export", directory)?;
    export.args(["--snapshot", &snapshots[1], "--stream", "contacts", "--out"]).arg(&exported);
    rows.push(step(EXPORT, &mut export)?);
    if !is_same(&exported, &versions[1])? {
        return Err(io::Error::other("what was exported is not what was imported"));
    }
    std::fs::remove_file(&exported)?;
    let mut diff = command("diff", directory)?;
    let diff = diff.args([&*snapshots[0], &*snapshots[1], "--json"]);
    let (cost, with_opening_bytes) = measure::watched(diff, reads::read_bytes)?;
    // Libraries, certificates, tables and manifests are read by every command.
    let (_, opening_bytes) = measure::watched(&mut command("snapshots", directory)?, reads::read_bytes)?;
    let read_bytes = with_opening_bytes.saturating_sub(opening_bytes);
    rows.push(Row { name: DIFF, cost, stored_bytes: None });
    let mut measured = Measured { rows, problems: Vec::new() };
    if let Some(targets) = targets {
        let allowed_bytes = disk::size_of(directory)? as f64 * targets.diff_read_share;
        println!("The comparison read {read_bytes} bytes beyond what opening the directory takes.\n");
        if read_bytes as f64 > allowed_bytes {
            measured.problems.push(format!("{DIFF}: {read_bytes} bytes read instead of {allowed_bytes:.0}"));
        }
        measured.check(targets);
    }
    std::fs::remove_dir_all(directory)?;
    Ok(measured)
}

fn step(name: &'static str, command: &mut Command) -> io::Result<Row> {
    Ok(Row { name, cost: measure::run(command)?, stored_bytes: None })
}

fn command(name: &str, directory: &Path) -> io::Result<Command> {
    let mut command = Command::new(program()?);
    command.arg(name).arg("--data-dir").arg(directory);
    Ok(command)
}

/// The released program. The profile of the bench does not matter: it only starts others.
fn program() -> io::Result<PathBuf> {
    let bench = std::env::current_exe()?;
    let target = bench.ancestors().nth(3).map(|folder| folder.join("release/listbackup"));
    let program = target.filter(|path| path.exists());
    program.ok_or_else(|| io::Error::other("the program is not built: cargo build --release --package listbackup"))
}

/// The same lines in any order: sums of their digests agree, and so do their numbers.
fn is_same(a: &Path, b: &Path) -> io::Result<bool> {
    Ok(lines_digest(a)? == lines_digest(b)?)
}

fn lines_digest(path: &Path) -> io::Result<(u64, u128)> {
    let mut reader = io::BufReader::with_capacity(1 << 20, std::fs::File::open(path)?);
    let (mut line, mut lines, mut sum) = (Vec::new(), 0, 0u128);
    while reader.read_until(b'\n', &mut line)? > 0 {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        (lines, sum) = (lines + 1, sum + u128::from(hasher.finish()));
        line.clear();
    }
    Ok((lines, sum))
}
