//! `listbackup download`: one attachment of a snapshot, every byte authenticated.

use std::path::{Path, PathBuf};

use futures::TryStreamExt as _;
use listbackup_engine::{
    Error, ErrorKind, Result,
    model::{FileEntry, FileId},
    ports::{Query, SortRange},
    run::{RunContext, files},
    snapshot::{SnapshotReader, StoredAttachment, attachment_key, attachments_stream},
    tables::FILES,
};
use serde_json::json;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{
    data_dir::DataPlace,
    exit::{Done, Outcome},
    output,
};
use crate::lookup;

/// Arguments of `download`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup download companies/4711/2/contract.pdf --snapshot snap_… -o contract.pdf
         listbackup download file_… -o contract.pdf
`listbackup files --snapshot snap_…` lists paths and ids. Ids are known once `listbackup up` has indexed the snapshot.")]
pub struct Args {
    /// The file: its path, with --snapshot, or its id
    #[arg(value_name = "FILE")]
    file: String,
    /// The snapshot that a path is of
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// File to write, or - for standard output
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    data_dir: DataPlace,
    /// Print one JSON document about the file (not with -o -)
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open_to_read().await?;
    let (reader, attachment) = match &args.snapshot {
        Some(snapshot) => by_place(&worker.ctx, snapshot, &args.file).await?,
        None => by_id(&worker.ctx, &args.file).await?,
    };
    if args.out == Path::new("-") {
        copy(&reader, &attachment, &mut tokio::io::stdout()).await?;
        return Ok(Done::Whole);
    }
    to_file(&reader, &attachment, &args.out).await.map_err(|error| error.with("file", args.out.display()))?;
    if args.json {
        let (size_bytes, digest) = (attachment.size_bytes, &attachment.digest);
        output::json(&json!({ "file": args.out, "sizeBytes": size_bytes, "digest": digest }));
    } else {
        output::line(&format!("{}  {}", args.out.display(), output::bytes(attachment.size_bytes)));
    }
    Ok(Done::Whole)
}

/// The attachment with this path, or this id, in a snapshot.
async fn by_place(ctx: &RunContext, snapshot: &str, file: &str) -> Result<(SnapshotReader, StoredAttachment)> {
    let snapshot = lookup::snapshot(ctx, snapshot).await?;
    let reader = snapshot.reader();
    let streams: Vec<String> = reader.attachment_streams().map(str::to_owned).collect();
    for stream in streams {
        let mut attachments = std::pin::pin!(reader.attachments(&stream)?);
        while let Some(attachment) = attachments.try_next().await? {
            let entry = files::entry(&snapshot.loaded.manifest, &stream, &attachment);
            if entry.path == file || entry.file_id.to_string() == file {
                return Ok((reader, attachment));
            }
        }
    }
    let message = "the snapshot has no such file; `listbackup files --snapshot …` lists them";
    Err(Error::new(ErrorKind::NotFound, message).with("path", file))
}

/// The attachment with this id, found by its row.
async fn by_id(ctx: &RunContext, id: &str) -> Result<(SnapshotReader, StoredAttachment)> {
    let message = "there is no file of that id; give its path and --snapshot, or see `listbackup files --snapshot …`";
    let not_found = || Error::new(ErrorKind::NotFound, message).with("id", id);
    let file_id: FileId = id.parse()?;
    for (scope, source) in lookup::sources(ctx).await?.sources {
        let query = Query {
            table: &FILES,
            index: Some("by-account"),
            partition: source.account_id.to_string(),
            sort: SortRange::Prefix(file_id.to_string()),
            descending: false,
            limit: 1,
            after: None,
        };
        let Some(found) = ctx.store.query::<FileEntry>(&scope, query).await?.rows.pop() else { continue };
        let Some(attachment) = found.row.attachment else {
            let message = "this file shows the records of a stream: `listbackup export` writes it";
            return Err(Error::new(ErrorKind::Invalid, message).with("stream", found.row.stream));
        };
        let snapshot = lookup::snapshot(ctx, &found.row.snapshot_id.to_string()).await?;
        let (stream, key) =
            (attachments_stream(&found.row.stream), attachment_key(&attachment.record, &attachment.id)?);
        let reader = snapshot.reader();
        let stored = reader.attachment(&stream, &key).await?.ok_or_else(not_found)?;
        return Ok((reader, stored));
    }
    Err(not_found())
}

/// A file that is cut short must not look like a whole one: it gets its name at the end.
async fn to_file(reader: &SnapshotReader, attachment: &StoredAttachment, out: &Path) -> Result<()> {
    let mut partial = out.to_owned().into_os_string();
    partial.push(".partial");
    let mut file = tokio::fs::File::create(&partial).await.map_err(Error::from)?;
    let copied = match copy(reader, attachment, &mut file).await {
        Ok(()) => file.sync_all().await.map_err(Error::from),
        Err(error) => Err(error),
    };
    if let Err(error) = copied {
        // Nothing of it is of use.
        let _gone = tokio::fs::remove_file(&partial).await;
        return Err(error);
    }
    tokio::fs::rename(&partial, out).await.map_err(Error::from)
}

async fn copy(
    reader: &SnapshotReader,
    attachment: &StoredAttachment,
    out: &mut (impl AsyncWrite + Unpin),
) -> Result<()> {
    let mut bytes = reader.open_attachment(attachment, 0..attachment.size_bytes).await?;
    while let Some(piece) = bytes.try_next().await? {
        out.write_all(&piece).await.map_err(Error::from)?;
    }
    out.flush().await.map_err(Error::from)
}
