//! The program, and the reference implementation of the manifest language where it is installed, on one manifest.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use serde::Deserialize;

use crate::{
    disk,
    measure::{self, Cost},
};

const MANIFEST: &str = "benches/support/manifest.yaml";

/// One line of the table.
pub struct Step {
    pub name: String,
    pub records: u64,
    pub cost: Cost,
    /// From its start to its end.
    pub wall_seconds: f64,
    /// What went into the snapshot store.
    pub stored_bytes: Option<u64>,
    /// Growth of the data directory, tables included.
    pub on_disk_bytes: Option<u64>,
}

impl Step {
    pub fn per_cpu_second(&self) -> f64 {
        self.records as f64 / self.cost.cpu_seconds
    }
}

/// What `listbackup backup --json` reports.
#[derive(Deserialize)]
struct Report {
    records: u64,
    added: u64,
    unchanged: u64,
    bytes_stored: u64,
}

/// The program built with the same profile, beside this bench, and where the product is.
pub struct Program {
    path: PathBuf,
    product: String,
}

impl Program {
    /// # Errors
    /// When the program is not built.
    pub fn new(product: String) -> io::Result<Self> {
        let bench = std::env::current_exe()?;
        let path = bench.ancestors().nth(2).map(|folder| folder.join("listbackup")).filter(|path| path.exists());
        let path = path
            .ok_or_else(|| io::Error::other("the program is not built: cargo build --release --package listbackup"))?;
        Ok(Self { path, product })
    }

    /// Backs a stream up twice into a fresh data directory.
    ///
    /// # Errors
    /// When the program fails, or did not see every record.
    pub fn backups(&self, stream: &str, records: u64) -> io::Result<[Step; 2]> {
        let directory = tempfile::tempdir()?;
        let (first, report) = self.backup(stream, records, directory.path())?;
        assert_eq!((report.records, report.added), (records, records), "the first backup must add every record");
        let (mut second, report) = self.backup(stream, records, directory.path())?;
        assert_eq!((report.records, report.unchanged), (records, records), "the second backup must find no change");
        second.name.push_str(", unchanged");
        Ok([first, second])
    }

    fn backup(&self, stream: &str, records: u64, directory: &Path) -> io::Result<(Step, Report)> {
        let size_before = disk::size_of(directory)?;
        let mut command = Command::new(&self.path);
        command.args(["backup", "--json", "--manifest", MANIFEST, "--streams", stream, "--set"]);
        command.arg(format!("base_url={}", self.product)).arg("--data-dir").arg(directory);
        let (cost, wall_seconds) = timed(&mut command)?;
        let report: Report = serde_json::from_slice(&cost.output)?;
        let step = Step {
            name: format!("backup: {stream}"),
            records,
            cost,
            wall_seconds,
            stored_bytes: Some(report.bytes_stored),
            on_disk_bytes: Some(disk::size_of(directory)?.saturating_sub(size_before)),
        };
        Ok((step, report))
    }

    /// Reads a stream to protocol messages that go nowhere.
    ///
    /// # Errors
    /// When the program fails.
    pub fn read(&self, stream: &str, records: u64) -> io::Result<Step> {
        let mut command = Command::new(&self.path);
        command.args(["connector", "read"]);
        self.read_by(command, "--manifest", "read", stream, records)
    }

    /// The same by the reference; nothing where it is not installed.
    ///
    /// # Errors
    /// When it fails.
    pub fn reference_reads(&self, records: u64) -> io::Result<Vec<Step>> {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
        let program = cache.map(|cache| cache.join("listbackup/reference/bin/source-declarative-manifest"));
        let Some(program) = program.filter(|program| program.exists()) else {
            eprintln!("the reference implementation is not installed: `tests/run` does");
            return Ok(Vec::new());
        };
        let read = |stream: &&str| {
            let mut command = Command::new(&program);
            command.arg("read");
            self.read_by(command, "--manifest-path", "reference, read", stream, records)
        };
        ["contacts", "changed", "segments"].iter().map(read).collect()
    }

    fn read_by(&self, mut command: Command, flag: &str, what: &str, stream: &str, records: u64) -> io::Result<Step> {
        let directory = tempfile::tempdir()?;
        let write = |name: &str, json: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, json).map(|()| path)
        };
        command.args([flag, MANIFEST, "--config"]);
        command.arg(write("config.json", format!("{{\"base_url\":\"{}\"}}", self.product))?);
        command.arg("--catalog").arg(write("catalog.json", catalog(stream))?);
        // Through a shell that throws the output away: 200 MB of it would have to be taken in here.
        let mut silent = Command::new("sh");
        silent.args(["-c", "exec \"$0\" \"$@\" >/dev/null"]).arg(command.get_program()).args(command.get_args());
        let (cost, wall_seconds) = timed(silent.stderr(Stdio::null()))?;
        let name = format!("{what}: {stream}");
        Ok(Step { name, records, cost, wall_seconds, stored_bytes: None, on_disk_bytes: None })
    }
}

fn timed(command: &mut Command) -> io::Result<(Cost, f64)> {
    let begun = Instant::now();
    let cost = measure::run(command)?;
    Ok((cost, begun.elapsed().as_secs_f64()))
}

/// A configured catalog of one stream.
fn catalog(stream: &str) -> String {
    let stream = serde_json::json!({
        "stream": {"name": stream, "json_schema": {}, "supported_sync_modes": ["full_refresh"]},
        "sync_mode": "full_refresh",
        "destination_sync_mode": "append",
    });
    serde_json::json!({ "streams": [stream] }).to_string()
}
