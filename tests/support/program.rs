//! The built program, run as a user runs it.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// `listbackup` over a data directory of its own.
pub struct Program {
    data: TempDir,
}

impl Program {
    /// With an empty data directory.
    pub fn new() -> Self {
        Self { data: tempfile::tempdir().expect("a data directory") }
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

    /// A command over the data directory.
    pub fn command(&self, name: &str) -> Command {
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

/// Runs a command that must succeed; returns what it printed.
///
/// # Panics
/// With all that it printed, when it fails.
pub async fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().await.expect("the program can be started");
    let printed = [&output.stderr[..], &output.stdout].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{:?} ended with {}:\n{printed}", command.as_std(), output.status);
    output.stdout
}
