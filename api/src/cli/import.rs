//! `listbackup import`: a snapshot of an export that somebody has as a file.

use std::{path::PathBuf, sync::Arc};

use listbackup_engine::{
    Error, ErrorKind,
    connectors::native::{JsonLines, JsonLinesSettings},
};

use super::{
    backup::{self, Options},
    data_dir::DataDir,
    exit::Outcome,
    product::Chosen,
};
use crate::worker::WorkerSettings;

/// Arguments of `import`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup import --stream contacts --key id contacts.jsonl --data-dir ./data
A second import of the same stream stores only what changed; records that are not in the file any more are gone.")]
pub struct Args {
    /// A file with one JSON object a line
    file: PathBuf,
    /// Name of the stream that the records make
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// Fields that make a record's key [default: none, a record's content is its key]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    key: Vec<String>,
    /// Name of the source; a source keeps its snapshots apart from others
    #[arg(long, value_name = "NAME", default_value = "import")]
    source: String,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let path = std::path::absolute(&args.file).map_err(|error| Error::from(error).with("file", args.file.display()))?;
    let settings = JsonLinesSettings { path, stream: args.stream.clone(), primary_key: args.key };
    let settings = serde_json::to_value(settings).map_err(|_| {
        Error::new(ErrorKind::Invalid, "the file's name is not UTF-8").with("file", args.file.display())
    })?;
    let integration = Arc::new(JsonLines::default());
    let chosen = Chosen { name: JsonLines::NAME.to_owned(), manifest: None, integration, settings };
    chosen.connect()?.check().await?;
    // Streams that other files brought stay in the snapshot.
    let options = Options {
        source: Some(args.source),
        streams: Some(vec![args.stream]),
        rate_share_percent: None,
        wants_json: args.json,
    };
    let worker = args.data_dir.open_to_write(WorkerSettings::of_a_person())?;
    backup::back_up(&worker, chosen, options).await
}
