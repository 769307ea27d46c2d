//! What of a manifest is unsupported or suspicious, told before anything runs.
//!
//! What the loader refuses is told as it tells it. Beyond that the whole tree is walked: component types and fields that the
//! language does not have, and what is allowed but seldom meant.

mod pages;
mod secrets;
mod streams;
mod templates;
mod vocabulary;
mod walk;

use serde::Serialize;

use super::{load::Loader, manifest, normalization::Normalization, spec};
use crate::Problem;

/// Everything there is to say of one manifest.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The file, as it was named.
    pub file: String,
    /// True when the manifest runs as it is.
    pub runs: bool,
    /// What was found, in the order of the text's lines.
    pub findings: Vec<Finding>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it means for a run.
    pub severity: Severity,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// Where in the tree: `streams[0].retriever.requester`; empty for the manifest itself.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// What a finding means for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The manifest, or the stream that it stands in, does not run because of it.
    Unsupported,
    /// It runs; this is probably not what was meant.
    Suspicious,
}

impl Severity {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Suspicious => "suspicious",
        }
    }
}

/// Examines `text`, which came from `file`.
pub fn compat(file: &str, text: &str) -> Report {
    let mut findings = match Loader::read(file, text) {
        Err(problems) => problems.iter().map(|problem| refused(file, problem)).collect(),
        Ok((loader, root)) => {
            let loader = loader.noting_reads();
            let found = {
                let source = loader.root(&root);
                let loads = spec::load(&source, "manifest").is_ok()
                    & manifest(&source).is_ok()
                    & Normalization::load(&source).is_ok();
                walk::examine(&source, loads)
            };
            loader.take_back();
            let (_, problems) = loader.into_parts();
            merged(problems.iter().map(|problem| refused(file, problem)).collect(), found)
        }
    };
    findings.sort_by_key(|finding| (finding.line, finding.column));
    findings.dedup();
    let runs = findings.iter().all(|finding| finding.severity != Severity::Unsupported);
    Report { file: file.to_owned(), runs, findings }
}

/// What the walk says of a place is more exact than what the loader says of it.
fn merged(refused: Vec<Finding>, found: Vec<Finding>) -> Vec<Finding> {
    let is_told = |of: &Finding| {
        found.iter().any(|finding| {
            finding.severity == Severity::Unsupported && (finding.line, finding.column) == (of.line, of.column)
        })
    };
    let mut all: Vec<_> = refused.into_iter().filter(|finding| !is_told(finding)).collect();
    all.extend(found);
    all
}

/// A problem of the loader, whose place reads `file:line:column path`.
fn refused(file: &str, problem: &Problem) -> Finding {
    let place = problem.place.strip_prefix(file).and_then(|rest| rest.strip_prefix(':')).unwrap_or(&problem.place);
    let (numbers, path) = place.split_once(' ').unwrap_or((place, ""));
    let (line, column) = numbers.split_once(':').unwrap_or((numbers, ""));
    Finding {
        severity: Severity::Unsupported,
        line: line.parse().unwrap_or(1),
        column: column.parse().unwrap_or(1),
        path: path.to_owned(),
        message: problem.message.clone(),
        hint: hint(&problem.message).to_owned(),
    }
}

/// What helps against a problem of the loader.
fn hint(message: &str) -> &'static str {
    let hints = [
        ("custom component", "say the same with components of the language, or plug the class in as a Rust type"),
        ("is not supported", "leave it out, or say it with what runs: connectors/README.md, What of the language runs"),
        ("the template", "mend the expression: each name in it must be one that this place offers"),
        ("leads back to itself", "break the circle of references"),
        ("there is nothing at", "name a part that exists, from the root of the file"),
        ("not YAML", "mend the text from this line on"),
    ];
    let found = hints.iter().find(|(word, _)| message.contains(word));
    found.map_or("change it to what the message asks for", |(_, hint)| hint)
}

#[cfg(test)]
mod tests;
