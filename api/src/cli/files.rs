//! `listbackup files`: the attachments of a snapshot.

use futures::TryStreamExt as _;
use listbackup_engine::{model::FileEntry, run::files};
use serde::Serialize;

use super::{
    data_dir::DataPlace,
    exit::{Done, Outcome},
    output,
};
use crate::lookup;

/// Arguments of `files`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup files --snapshot snap_…
         listbackup files --snapshot snap_… --path companies/4711/
         listbackup download companies/4711/2/contract.pdf --snapshot snap_… -o contract.pdf")]
pub struct Args {
    /// The snapshot
    #[arg(long, value_name = "ID")]
    snapshot: String,
    /// Only files whose path begins so
    #[arg(long, value_name = "PREFIX", default_value = "")]
    path: String,
    /// Files at most
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    #[command(flatten)]
    data_dir: DataPlace,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Documents {
    files: Vec<Document>,
    /// False when there are more.
    is_whole: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    id: String,
    path: String,
    stream: String,
    record: String,
    name: String,
    media_type: Option<String>,
    size_bytes: u64,
    digest: String,
}

impl From<FileEntry> for Document {
    fn from(entry: FileEntry) -> Self {
        let (record, name, media_type) = match entry.attachment {
            Some(attachment) => (attachment.record, attachment.name, attachment.media_type),
            None => Default::default(),
        };
        Self {
            id: entry.file_id.to_string(),
            path: entry.path,
            stream: entry.stream,
            record,
            name,
            media_type,
            size_bytes: entry.size_bytes,
            digest: entry.content_digest,
        }
    }
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open_to_read().await?;
    let snapshot = lookup::snapshot(&worker.ctx, &args.snapshot).await?;
    let reader = snapshot.reader();
    let mut documents = Documents { files: Vec::new(), is_whole: true };
    'all: for stream in reader.attachment_streams() {
        let mut attachments = std::pin::pin!(reader.attachments(stream)?);
        while let Some(attachment) = attachments.try_next().await? {
            let entry = files::entry(&snapshot.loaded.manifest, stream, &attachment);
            if !entry.path.starts_with(&args.path) {
                continue;
            }
            if documents.files.len() == args.limit {
                documents.is_whole = false;
                break 'all;
            }
            documents.files.push(entry.into());
        }
    }
    print(&args, &documents);
    Ok(Done::Whole)
}

fn print(args: &Args, documents: &Documents) {
    if args.json {
        return output::json(documents);
    }
    let row = |file: &Document| vec![file.path.clone(), output::bytes(file.size_bytes), file.id.clone()];
    let rows: Vec<Vec<String>> = documents.files.iter().map(row).collect();
    if rows.is_empty() {
        return output::note("the snapshot has no such attachments; its streams are files of `listbackup export`");
    }
    output::table(&["path", "size", "id"], &rows);
    if !documents.is_whole {
        output::note("there are more: --limit N");
    }
}
