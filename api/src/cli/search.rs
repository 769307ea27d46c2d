//! `listbackup search`: the records of a snapshot that hold a text.

use futures::TryStreamExt;
use listbackup_engine::snapshot::Hit;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    data_dir::DataPlace,
    exit::{Done, Outcome},
    output, records,
};
use crate::lookup;

/// Arguments of `search`.
#[derive(clap::Args)]
#[command(after_help = "Example: listbackup search lovelace --snapshot snap_… --stream contacts")]
pub struct Args {
    /// The text: looked for in every value, upper and lower case alike
    #[arg(value_name = "TEXT")]
    text: String,
    /// The snapshot
    #[arg(long, value_name = "ID")]
    snapshot: String,
    /// Only in these streams
    #[arg(long, value_name = "NAME")]
    stream: Vec<String>,
    /// Records at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    data_dir: DataPlace,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Documents<'a> {
    hits: Vec<Document<'a>>,
    /// False when there are more.
    is_whole: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    stream: &'a str,
    key: String,
    fields: &'a [String],
    record: Box<RawValue>,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open_to_read().await?;
    let snapshot = lookup::snapshot(&worker.ctx, &args.snapshot).await?;
    let manifest = &snapshot.loaded.manifest;
    for name in &args.stream {
        lookup::stream(manifest, name)?;
    }
    let streams: Vec<&str> = match args.stream.is_empty() {
        true => manifest.streams.keys().map(String::as_str).collect(),
        false => args.stream.iter().map(String::as_str).collect(),
    };
    let mut found = std::pin::pin!(snapshot.reader().search(&streams, &args.text)?);
    let (mut hits, mut is_whole) = (Vec::new(), true);
    while let Some(hit) = found.try_next().await? {
        if hits.len() == args.limit {
            is_whole = false;
            break;
        }
        hits.push(hit);
    }
    print(&args, &hits, is_whole)?;
    Ok(Done::Whole)
}

fn print(args: &Args, hits: &[Hit], is_whole: bool) -> listbackup_engine::Result<()> {
    if args.json {
        let mut documents = Vec::with_capacity(hits.len());
        for hit in hits {
            let record = records::body(&hit.record)?;
            let key = hit.record.key.to_string();
            documents.push(Document { stream: &hit.stream, key, fields: &hit.fields, record });
        }
        output::json(&Documents { hits: documents, is_whole });
        return Ok(());
    }
    for hit in hits {
        output::line(&format!("{} {}  {}", hit.stream, hit.record.key, hit.fields.join(" ")));
    }
    if !is_whole {
        output::note("there are more: --limit N");
    } else if hits.is_empty() {
        output::note("no record holds that text");
    }
    Ok(())
}
