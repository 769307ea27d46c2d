//! Restoring to files: one JSONL file a stream, and a manifest with digests.

use std::path::Path;

use listbackup_engine::export;

use super::{Args, chosen};
use crate::{
    cli::{
        exit::{Done, Outcome},
        output,
    },
    lookup,
};

/// Runs the command.
pub async fn run(args: &Args, folder: &Path) -> Outcome {
    let worker = args.data_dir.open_to_read().await?;
    let found = lookup::snapshot(&worker.ctx, args.snapshot.as_deref().unwrap_or_default()).await?;
    let streams = chosen(args, &found.loaded.manifest)?;
    let told = export::write_folder(found.reader(), &streams, folder).await?;
    if args.json {
        output::json(&told);
        return Ok(Done::Whole);
    }
    let row = |file: &export::FolderFile| {
        vec![file.stream.clone(), file.file.clone(), output::count(file.records), output::bytes(file.bytes)]
    };
    output::table(&["stream", "file", "records", "size"], &told.streams.iter().map(row).collect::<Vec<_>>());
    output::line(&format!("{} says what they are, with digests", folder.join("manifest.json").display()));
    Ok(Done::Whole)
}
