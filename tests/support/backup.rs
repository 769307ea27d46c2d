//! `listbackup backup`, run as a user runs it, and what it reports.

#![allow(dead_code, reason = "each test binary uses a part of the kit")]

use std::path::Path;

use serde::Deserialize;

use super::program::{Program, run};

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
    /// Backs a product up; `settings` are `name=value`.
    pub async fn backup(&self, manifest: &str, settings: &[String]) -> Report {
        self.backup_of(&Path::new("tests/fixtures").join(manifest), settings, &[]).await
    }

    /// Backs up these streams by a manifest at any place; all of them when none is named.
    pub async fn backup_of(&self, manifest: &Path, settings: &[String], streams: &[&str]) -> Report {
        let mut command = self.command("backup");
        command.arg("--json").arg("--manifest").arg(manifest);
        if !streams.is_empty() {
            command.arg("--streams").arg(streams.join(","));
        }
        for setting in settings {
            command.args(["--set", setting]);
        }
        let report = run(&mut command).await;
        serde_json::from_slice(&report).unwrap_or_else(|error| {
            panic!("backup --json printed something else: {error}\n{}", String::from_utf8_lossy(&report))
        })
    }
}
