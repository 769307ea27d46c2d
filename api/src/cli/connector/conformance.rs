//! `listbackup connector test`: the conformance run, printed.

use std::{path::PathBuf, sync::Arc};

use listbackup_engine::connectors::{
    conformance::{self, Grade, Report, Subject},
    http::AddressGuard,
    oauth::MemoryCredentials,
};

use super::tape;
use crate::cli::{
    exit::{Done, Outcome},
    output,
    product::Product,
};

/// Arguments of `connector test`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    product: Product,
    /// Answer from exchanges recorded in this folder instead of asking the product
    #[arg(long, value_name = "DIR")]
    replay_http: Option<PathBuf>,
    /// A stream to try; repeat for more [default: all]
    #[arg(long, value_name = "NAME")]
    stream: Vec<String>,
    /// Make and change records of the streams that can be written, too: only in a system that is there for tests
    #[arg(long, conflicts_with = "replay_http")]
    write: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Tries the connector and prints a grade for each line of the contract.
pub async fn run(args: Args) -> Outcome {
    let chosen = args.product.choose()?;
    chosen.connect()?;
    let integration = Arc::clone(&chosen.integration);
    let settings = chosen.settings.clone();
    let folder = args.replay_http;
    let wire = move || tape::replay(&chosen, folder.as_ref());
    let subject = Subject {
        integration,
        settings,
        wire: Box::new(wire),
        guard: AddressGuard::person(),
        credentials: Arc::new(MemoryCredentials::empty()),
        streams: args.stream,
        may_write: args.write,
    };
    let report = conformance::run(&subject).await?;
    if args.json {
        output::json(&report);
    } else {
        print(&report);
    }
    Ok(if report.is_whole() { Done::Whole } else { Done::Failed })
}

fn print(report: &Report) {
    output::line(&format!(
        "{}: {} tried: {}",
        report.integration,
        output::counted(report.streams.len() as u64, "stream"),
        report.streams.join(", ")
    ));
    for line in &report.lines {
        output::line(&format!("{:>3}  {:<12}  {}", line.number, line.grade.words(), line.must));
        let shown = if line.grade == Grade::Broken { line.seen.len() } else { 1 };
        for seen in line.seen.iter().take(shown) {
            output::line(&format!("     {seen}"));
        }
    }
    for unrecorded in &report.unrecorded {
        output::line(&format!("not tried: {unrecorded}: record the whole stream, without --limit"));
    }
    let seen = report.kept + report.broken;
    let verdict = match (report.broken, report.unrecorded.len()) {
        (0, 0) => "full marks",
        (0, _) => "not all tried",
        _ => "not kept",
    };
    output::line(&format!(
        "{verdict}: {} of {seen} observed lines kept, {} not observed",
        report.kept, report.not_observed
    ));
}
