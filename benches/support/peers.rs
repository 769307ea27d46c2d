//! The same work by restic and borg, where they are installed: a first backup of the file, one of its second version, a check of all
//! data, a restore.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Row, disk, measure};

/// Rows of each peer that is installed.
///
/// # Errors
/// When a step fails, or what is restored is not what was backed up.
pub fn rows(directory: &Path, versions: &[PathBuf; 2]) -> io::Result<Vec<(&'static str, Vec<Row>)>> {
    let mut all = Vec::new();
    for (name, version, peer) in [("restic", "version", restic as fn(&Place) -> Steps), ("borg", "--version", borg)] {
        if Command::new(name).arg(version).stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
            all.push((name, one(directory, versions, peer)?));
        } else {
            println!("({name} is not installed: apt-get install restic borgbackup)");
        }
        let _ = fs::remove_dir_all(directory);
    }
    Ok(all)
}

/// Where a peer works.
struct Place {
    repository: PathBuf,
    source: PathBuf,
    restored: PathBuf,
    home: PathBuf,
}

/// What a peer runs.
struct Steps {
    make: Command,
    backup: [Command; 2],
    check: Command,
    restore: Command,
}

fn one(directory: &Path, versions: &[PathBuf; 2], peer: fn(&Place) -> Steps) -> io::Result<Vec<Row>> {
    let place = Place {
        repository: directory.join("repository"),
        source: directory.join("source/contacts.jsonl"),
        restored: directory.join("restored"),
        home: directory.join("home"),
    };
    for folder in [&place.restored, &place.home, &directory.join("source")] {
        fs::create_dir_all(folder)?;
    }
    let mut steps = peer(&place);
    measure::run(steps.make.env("HOME", &place.home))?;
    let mut rows = Vec::new();
    let mut before = disk::size_of(&place.repository)?;
    let [first, second] = &mut steps.backup;
    for (name, command, version) in [("first backup", first, &versions[0]), ("second backup", second, &versions[1])] {
        fs::copy(version, &place.source)?;
        let cost = measure::run(command.env("HOME", &place.home))?;
        let after = disk::size_of(&place.repository)?;
        rows.push(Row { name, cost, stored_bytes: Some(after - before) });
        before = after;
    }
    for (name, command) in [("check of all data", &mut steps.check), ("restore", &mut steps.restore)] {
        let cost = measure::run(command.env("HOME", &place.home).current_dir(&place.restored))?;
        rows.push(Row { name, cost, stored_bytes: None });
    }
    let inside = place.source.strip_prefix("/").unwrap_or(&place.source);
    if fs::metadata(place.restored.join(inside))?.len() != fs::metadata(&versions[1])?.len() {
        return Err(io::Error::other("what was restored is not what was backed up"));
    }
    Ok(rows)
}

fn restic(place: &Place) -> Steps {
    let command = |arguments: &[&str]| {
        let mut command = Command::new("restic");
        command.env("RESTIC_PASSWORD", "x").arg("--quiet").arg("--repo").arg(&place.repository).args(arguments);
        command
    };
    let backup = || {
        let mut command = command(&["backup"]);
        command.arg(&place.source);
        command
    };
    let mut restore = command(&["restore", "latest", "--target"]);
    restore.arg(&place.restored);
    Steps { make: command(&["init"]), backup: [backup(), backup()], check: command(&["check", "--read-data"]), restore }
}

fn borg(place: &Place) -> Steps {
    let command = |arguments: &[&str]| {
        let mut command = Command::new("borg");
        command.env("BORG_PASSPHRASE", "x").args(arguments);
        command
    };
    let archive = |name: &str| format!("{}::{name}", place.repository.display());
    let backup = |name: &str| {
        let mut command = command(&["create", "--compression", "zstd,3", &archive(name)]);
        command.arg(&place.source);
        command
    };
    let mut make = command(&["init", "--encryption", "repokey-blake2"]);
    make.arg(&place.repository);
    let mut check = command(&["check", "--verify-data"]);
    check.arg(&place.repository);
    Steps { make, backup: [backup("1"), backup("2")], check, restore: command(&["extract", &archive("2")]) }
}
