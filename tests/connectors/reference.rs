//! The reference implementation of the manifest language and this program on the same product: requests, records and states
//! must be equal, in a full read and in one that goes on from the state of the first.
//!
//! The comparison is `../shared/conformance/compare.py`, beside the checkout; the reference is a Python package that
//! `tests/run` installs. Without either these tests say so and pass.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use listbackup_connectors::manifest::ManifestIntegration;
use serde_json::Value;

use super::program::binary;

fn beside_the_checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path)
}

/// Python with the reference; an error says what is missing and how to get it.
fn python() -> Result<PathBuf, String> {
    if !beside_the_checkout("conformance/compare.py").exists() {
        return Err("no ../shared/conformance beside the checkout".into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
    let python = cache.join("listbackup/reference/bin/python");
    if python.exists() {
        Ok(python)
    } else {
        Err("the reference implementation (airbyte-cdk 7.39.1 on Python 3.11) is missing: run tests/run".into())
    }
}

/// The names of the manifests in a folder, as the comparison has them, with their files.
fn manifests(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = entries.filter_map(|path| {
        let inner = path.join("manifest.yaml");
        let is_file = path.extension().is_some_and(|ending| ending == "yaml");
        let name = if is_file { path.file_stem() } else { path.file_name() }?.to_string_lossy().into_owned();
        if is_file { Some((name, path)) } else { inner.exists().then_some((name, inner)) }
    });
    let mut all: Vec<_> = named.collect();
    all.sort();
    all
}

/// How often a difference must show.
const LOOKS: usize = 8;

/// Compares both on the manifests of a folder. Fails with the table when one of `names` that can be compared is not equal, or,
/// with `must_compare`, cannot be compared.
///
/// What differs is looked at again. The comparison knows an instant that comes from the clock by its being another one in the
/// two runs of the reference; both take a third of a second, and when they fall into the same one, our next second is taken for
/// a difference. What truly differs does so every time.
fn compare(folder: &Path, names: &BTreeSet<String>, options: &[&str], must_compare: bool) {
    let python = match python() {
        Ok(python) => python,
        Err(missing) => return println!("skipped: {missing}"),
    };
    let mut left = names.clone();
    let mut table = String::new();
    for _ in 0..LOOKS {
        (left, table) = not_equal(&python, folder, &left, options, must_compare);
        if left.is_empty() {
            return;
        }
    }
    panic!("{left:?} differ:\n{table}");
}

/// The names that are not equal, and the table of all.
fn not_equal(
    python: &Path,
    folder: &Path,
    names: &BTreeSet<String>,
    options: &[&str],
    must_compare: bool,
) -> (BTreeSet<String>, String) {
    let work = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command.arg(beside_the_checkout("conformance/compare.py")).arg("--manifests").arg(folder);
    command.arg("--ours").arg(binary()).arg("--work").arg(work.path()).args(["--jobs", "2", "--overrides"]);
    // Settings that the mock cannot guess.
    command.arg(own("tests/connectors/overrides"));
    command.args(options).args(names.iter().flat_map(|name| ["--only", name]));
    let output = command.output().unwrap();
    let table = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let summary = std::fs::read_to_string(work.path().join("summary.json")).unwrap_or_else(|_| panic!("{table}"));
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let rows = summary["rows"].as_array().unwrap();
    let is_good = |row: &Value| match row["verdict"].as_str() {
        Some("equal") => true,
        // The reference cannot read it on this mock.
        Some("reference failed") => !must_compare,
        _ => false,
    };
    assert_eq!(rows.len(), names.len(), "{table}");
    println!("{} of {} manifests are equal", summary["equal"], rows.len());
    let bad = rows.iter().filter(|row| !is_good(row)).filter_map(|row| row["name"].as_str());
    (bad.map(str::to_owned).collect(), table)
}

fn all_names(folder: &Path) -> BTreeSet<String> {
    manifests(folder).into_iter().map(|(name, _)| name).collect()
}

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn published_manifests_that_load_read_as_in_the_reference() {
    let folder = beside_the_checkout("manifests/dev");
    let loading = manifests(&folder).into_iter().filter(|(name, path)| {
        let text = std::fs::read_to_string(path).unwrap();
        ManifestIntegration::parse(name, "manifest.yaml", &text).is_ok()
    });
    let names: BTreeSet<String> = loading.map(|(name, _)| name).collect();
    if names.is_empty() {
        return println!("skipped: no published manifests beside the checkout");
    }
    compare(&folder, &names, &["--timeout", "60"], false);
}

#[test]
fn every_feature_of_the_language_reads_as_in_the_reference() {
    let folder = own("tests/connectors/manifests");
    compare(&folder, &all_names(&folder), &["--timeout", "40"], true);
}

#[test]
fn a_product_that_fails_now_and_then_is_read_as_by_the_reference() {
    let folder = own("tests/connectors/manifests");
    let names = ["failures", "offsets", "substreams"].map(str::to_owned);
    compare(&folder, &BTreeSet::from(names), &["--timeout", "60", "--faults"], true);
}

/// The value of a limit, a hundred times as high.
fn times_a_hundred(line: &str) -> String {
    let (name, limit) = line.split_once("limit: ").unwrap();
    let limit = limit.trim_matches('"');
    match limit.strip_prefix("{{").and_then(|limit| limit.strip_suffix("}}")) {
        Some(template) => format!("{name}limit: \"{{{{ ({template}) * 100 }}}}\""),
        None => format!("{name}limit: {limit}00"),
    }
}

/// A manifest that may send a hundred times as many requests in each window of its rates.
fn unhurried(manifest: &str) -> String {
    let lines: Vec<&str> = manifest.lines().collect();
    let is_limit = |at: usize| {
        let next = lines.get(at + 1).map_or("", |next| next.trim_start());
        lines[at].contains("limit: ") && next.starts_with("interval: ")
    };
    let faster = lines.iter().enumerate().map(|(at, line)| match is_limit(at) {
        true => times_a_hundred(line),
        false => (*line).to_owned(),
    });
    faster.map(|line| line + "\n").collect()
}

/// Without waiting for their rates, which takes both of them minutes and is not compared.
#[test]
fn our_own_connectors_read_as_in_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    for (name, path) in manifests(&own("connectors/manifests")) {
        let text = unhurried(&std::fs::read_to_string(path).unwrap());
        std::fs::write(folder.path().join(format!("{name}.yaml")), text).unwrap();
    }
    compare(folder.path(), &all_names(folder.path()), &["--timeout", "40"], true);
}
