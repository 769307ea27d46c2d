//! `listbackup connector compat`: what of a manifest is unsupported or suspicious.

use std::{collections::BTreeMap, fs, path::PathBuf};

use listbackup_engine::{
    Error, ErrorKind, Result,
    connectors::manifest::compat::{Finding, Report, Severity, compat},
};
use serde_json::json;

use crate::cli::{
    exit::{Done, Outcome},
    output,
};

/// Further places of the same finding that are printed; `--json` has all of them.
const PLACES_MAX: usize = 6;

/// Examines each file and tells all of it.
pub fn run(files: &[PathBuf], wants_json: bool) -> Outcome {
    let reports = files.iter().map(examined).collect::<Result<Vec<Report>>>()?;
    let runs = reports.iter().all(|report| report.runs);
    if wants_json {
        output::json(&json!({ "runs": runs, "manifests": reports }));
    } else {
        reports.iter().for_each(print);
    }
    Ok(if runs { Done::Whole } else { Done::Failed })
}

fn examined(path: &PathBuf) -> Result<Report> {
    let text = fs::read_to_string(path).map_err(|error| {
        Error::new(ErrorKind::Invalid, format!("the manifest cannot be read: {error}")).with("file", path.display())
    })?;
    Ok(compat(&path.display().to_string(), &text))
}

fn print(report: &Report) {
    let all = gathered(&report.findings);
    let count = |severity| all.iter().filter(|same| same.iter().any(|finding| finding.severity == severity)).count();
    let verdict = if report.runs { "runs unmodified" } else { "does not run" };
    let told: Vec<String> = [Severity::Unsupported, Severity::Suspicious]
        .into_iter()
        .filter(|severity| count(*severity) > 0)
        .map(|severity| format!("{} {}", count(severity), severity.word()))
        .collect();
    let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) };
    output::line(&format!("{}: {verdict}{told}", report.file));
    for same in &all {
        let Some(first) = same.first() else { continue };
        let path = if first.path.is_empty() { String::new() } else { format!(" {}", first.path) };
        let place = format!("{}:{}:{}{path}", report.file, first.line, first.column);
        output::line(&format!("  {}: {place}: {}", first.severity.word(), first.message));
        if same.len() > 1 {
            let others = &same[1..];
            let places: Vec<String> =
                others.iter().take(PLACES_MAX).map(|finding| format!("{}:{}", finding.line, finding.column)).collect();
            let more = others.len().saturating_sub(PLACES_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            output::line(&format!("    also at {}{more}", places.join(", ")));
        }
        output::line(&format!("    {}", first.hint));
    }
}

/// Findings that say the same of several places together, in the order of their first places.
fn gathered(findings: &[Finding]) -> Vec<Vec<&Finding>> {
    let mut all: Vec<Vec<&Finding>> = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for finding in findings {
        match places.get(&(finding.message.as_str(), finding.hint.as_str())) {
            Some(&at) => all[at].push(finding),
            None => {
                places.insert((&finding.message, &finding.hint), all.len());
                all.push(vec![finding]);
            }
        }
    }
    all
}
