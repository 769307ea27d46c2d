//! Real products on this machine, for tests: plain processes on free ports of 127.0.0.1, gone when dropped.
//!
//! A product that is not installed is no failure: `installed` says what is missing and the test says `skipped: …`.

#![allow(dead_code, reason = "each test binary uses a part of the kit")]

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "aws")]
pub mod between;
pub mod billing_stripe;
pub mod localstripe;
pub mod mediawiki;
#[cfg(feature = "aws")]
mod ministack;
#[cfg(feature = "aws")]
mod moto;
pub mod oidc_provider;
pub mod process;

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use serde_json::Value;

/// What a product itself says is in one of its streams: records by the text of their key.
pub type Records = BTreeMap<String, Value>;

/// Indexes records by a field.
pub fn by_key(records: impl IntoIterator<Item = Value>, key: &str) -> Records {
    records.into_iter().map(|record| (record[key].to_string(), record)).collect()
}

/// Where `tests/run` puts what tests need.
fn cache() -> Result<PathBuf, String> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(cache.join("listbackup"))
}

/// A program that comes with the packages of `tests/requirements.txt`.
pub fn tool(name: &str) -> Result<PathBuf, String> {
    let tool = python()?.with_file_name(name);
    if tool.exists() { Ok(tool) } else { Err(format!("{name} is missing: run tests/run")) }
}

/// Where the packages of `tests/support/servers/package.json` are.
pub fn node_packages() -> Result<PathBuf, String> {
    let has_node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    let packages = cache()?.join("node/node_modules");
    if has_node && packages.exists() { Ok(packages) } else { Err(NO_NODE.into()) }
}

/// A program that comes with those packages.
pub fn node_tool(name: &str) -> Result<PathBuf, String> {
    let tool = node_packages()?.join(".bin").join(name);
    if tool.exists() { Ok(tool) } else { Err(NO_NODE.into()) }
}

const NO_NODE: &str = "Node.js or the packages of tests/support/servers/package.json are missing: run tests/run";

/// An empty account of AWS, served by ministack, with nothing made in it.
///
/// # Panics
/// When the packages are missing, of which [`tool`] tells.
pub fn empty_account() -> process::Server {
    let python = python().expect("`tool` was asked before");
    process::Server::start(&[python.as_os_str(), "tests/support/servers/serve_ministack.py".as_ref()], &[])
}

/// The same, with each signed request written to `record`, a line of JSON each.
///
/// # Panics
/// When the packages are missing, of which [`tool`] tells.
pub fn recorded_account(record: &std::path::Path) -> process::Server {
    let python = python().expect("`tool` was asked before");
    let script = "tests/support/servers/serve_ministack.py".as_ref();
    process::Server::start(&[python.as_os_str(), script, record.as_os_str()], &[])
}

/// A mail server that keeps letters in `directory`; `mode` is `starttls` or `plain`. Or what is missing.
pub fn mail_server(directory: &std::path::Path, mode: &str) -> Result<process::Server, String> {
    tool("aiosmtpd")?;
    let script = "tests/support/servers/serve_smtp.py".as_ref();
    Ok(process::Server::start(&[python()?.as_os_str(), script, directory.as_os_str(), mode.as_ref()], &[]))
}

/// Python with the packages of `tests/requirements.txt`.
fn python() -> Result<PathBuf, String> {
    let python = cache()?.join("venv/bin/python");
    if python.exists() { Ok(python) } else { Err("the Python packages for tests are missing: run tests/run".into()) }
}
