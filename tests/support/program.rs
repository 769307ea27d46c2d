//! The built program, run as a user runs it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// `listbackup` over a data directory of its own.
pub struct Program {
    data: TempDir,
}

/// What `listbackup backup --json` reports.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// The snapshot that the run made, if it made one.
    pub snapshot_id: Option<String>,
    /// How the run ended.
    pub status: String,
    /// Parts that could not be read.
    pub failed: u64,
    /// Figures of each stream.
    pub streams: Vec<StreamReport>,
}

/// Figures of one stream of a run.
#[derive(Debug, Deserialize)]
pub struct StreamReport {
    /// The stream.
    pub name: String,
    /// Records that are new.
    pub added: u64,
    /// Records that differ from the last snapshot's.
    pub changed: u64,
    /// Records that are gone.
    pub removed: u64,
    /// Parts that could not be read.
    pub failed: u64,
}

impl Program {
    /// With an empty data directory.
    pub fn new() -> Self {
        Self { data: tempfile::tempdir().expect("a data directory") }
    }

    /// Backs a product up; `settings` are `name=value`.
    pub async fn backup(&self, manifest: &str, settings: &[String]) -> Report {
        let manifest = Path::new("tests/fixtures").join(manifest);
        let mut command = self.command("backup");
        command.arg("--json").arg("--manifest").arg(manifest);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let report = run(&mut command).await;
        serde_json::from_slice(&report).unwrap_or_else(|error| {
            panic!("backup --json printed something else: {error}\n{}", String::from_utf8_lossy(&report))
        })
    }

    /// The records of one stream of a snapshot, by the text of their key.
    pub async fn export(&self, snapshot_id: &str, stream: &str, key: &str) -> BTreeMap<String, Value> {
        let file = self.data.path().join(format!("{snapshot_id}-{stream}.jsonl"));
        let mut command = self.command("export");
        command.args(["--snapshot", snapshot_id, "--stream", stream, "--format", "jsonl"]).arg("--out").arg(&file);
        run(&mut command).await;
        let text = tokio::fs::read_to_string(&file).await.expect("export wrote the file");
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("each line is a record"))
            .map(|record| (record[key].to_string(), record))
            .collect()
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// What a command prints with `--json`.
    pub async fn json(&self, name: &str, arguments: &[&str]) -> Value {
        let printed = run(self.command(name).arg("--json").args(arguments)).await;
        serde_json::from_slice(&printed).expect("one JSON document")
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(binary());
        command.arg(name).arg("--data-dir").arg(self.data_dir()).kill_on_drop(true);
        command
    }
}

/// The binary that `cargo build --workspace` put beside the tests.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the test knows its own path");
    let binary = test.ancestors().nth(2).expect("tests are in deps/ of the target directory").join("listbackup");
    assert!(binary.exists(), "{} is missing: cargo build --workspace", binary.display());
    binary
}

async fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().await.expect("the program can be started");
    let printed = [&output.stderr[..], &output.stdout].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{:?} ended with {}:\n{printed}", command.as_std(), output.status);
    output.stdout
}
