//! `listbackup diff`: what differs between two snapshots of a source.

use futures::TryStreamExt;
use listbackup_engine::{
    Error, ErrorKind, Result,
    snapshot::{Bodies, Change, Difference, FieldChange, KeyRange, SnapshotReader, StreamDifference, changed_fields},
};
use serde::Serialize;
use serde_json::json;

use super::{
    data_dir::DataPlace,
    exit::{Done, Outcome},
    output,
};
use crate::lookup;

/// Arguments of `diff`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup diff snap_A… snap_B…
         listbackup diff snap_A… snap_B… --stream contacts --fields")]
pub struct Args {
    /// The snapshot to compare from
    #[arg(value_name = "FROM")]
    from: String,
    /// The snapshot to compare with
    #[arg(value_name = "TO")]
    to: String,
    /// List the records of this stream that differ: + came, ~ changed, - went
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Show which fields changed (reads the records of both snapshots)
    #[arg(long, requires = "stream")]
    fields: bool,
    #[command(flatten)]
    data_dir: DataPlace,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Records<'a> {
    from: &'a str,
    to: &'a str,
    stream: &'a str,
    records: Vec<Document>,
}

#[derive(Serialize)]
struct Document {
    key: String,
    change: Change,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<FieldChange>>,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open_to_read().await?;
    let (from, to) = (lookup::snapshot(&worker.ctx, &args.from).await?, lookup::snapshot(&worker.ctx, &args.to).await?);
    if from.loaded.manifest.source_id != to.loaded.manifest.source_id {
        return Err(Error::new(
            ErrorKind::Invalid,
            "the snapshots are of different sources; compare two of one source",
        )
        .with("from", &from.loaded.manifest.source_name)
        .with("to", &to.loaded.manifest.source_name));
    }
    match &args.stream {
        Some(stream) => records(&args, &from.reader(), &to.reader(), stream).await?,
        None => summary(&args, &from.reader().diff_summary(&to.reader()).await?),
    }
    Ok(Done::Whole)
}

fn summary(args: &Args, streams: &[StreamDifference]) {
    if args.json {
        output::json(&json!({ "from": args.from, "to": args.to, "streams": streams }));
        return;
    }
    let rows: Vec<Vec<String>> = streams
        .iter()
        .map(|stream| {
            let counts = [stream.added, stream.changed, stream.removed, stream.unchanged];
            std::iter::once(stream.name.clone()).chain(counts.map(output::count)).collect()
        })
        .collect();
    output::table(&["stream", "added", "changed", "removed", "unchanged"], &rows);
}

async fn records(args: &Args, from: &SnapshotReader, to: &SnapshotReader, stream: &str) -> Result<()> {
    let bodies = if args.fields { Bodies::Wanted } else { Bodies::Left };
    let mut differences = std::pin::pin!(from.diff(to, stream, &KeyRange::default(), bodies)?);
    let mut documents = Vec::new();
    while let Some(difference) = differences.try_next().await? {
        if args.json {
            documents.push(document(&difference));
        } else {
            tell(&difference);
        }
    }
    if args.json {
        let (from, to) = (&args.from, &args.to);
        output::json(&Records { from, to, stream, records: documents });
    }
    Ok(())
}

fn tell(difference: &Difference) {
    let sign = match difference.change {
        Change::Added => '+',
        Change::Changed => '~',
        Change::Removed => '-',
    };
    output::line(&format!("{sign} {}", difference.key));
    if let (Some(before), Some(after)) = (&difference.before, &difference.after) {
        for field in changed_fields(before, after) {
            let text = |value: &Option<Box<serde_json::value::RawValue>>| {
                value.as_ref().map_or_else(|| "(absent)".to_owned(), |value| value.get().to_owned())
            };
            output::line(&format!("    {}: {} -> {}", field.path, text(&field.before), text(&field.after)));
        }
    }
}

fn document(difference: &Difference) -> Document {
    let bodies = difference.before.as_ref().zip(difference.after.as_ref());
    Document {
        key: difference.key.to_string(),
        change: difference.change,
        fields: bodies.map(|(before, after)| changed_fields(before, after)),
    }
}
