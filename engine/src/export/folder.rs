//! A snapshot as a folder: one JSONL file a stream, and a `manifest.json` that says what they are, with a digest of each.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{ExportSpec, Format, Selection, zip::FileNames};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{SnapshotId, SourceId},
    snapshot::SnapshotReader,
};

/// Name of the file that says what the others are; it is written last.
const MANIFEST: &str = "manifest.json";

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Folder {
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// Its source.
    pub source_id: SourceId,
    /// The source's name.
    pub source_name: String,
    /// The product.
    pub integration: String,
    /// When the snapshot was made.
    pub created_at: jiff::Timestamp,
    /// The files.
    pub streams: Vec<FolderFile>,
}

/// One stream's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FolderFile {
    /// The stream.
    pub stream: String,
    /// The file's name.
    pub file: String,
    /// Its lines.
    pub records: u64,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of the file, in hex.
    pub blake3: String,
}

/// Writes streams of a snapshot into a folder, which is made; one that holds anything is refused.
///
/// # Errors
/// `Invalid` for a folder that is not empty; `NotFound` when the snapshot has no such stream; `Corrupt` for damage; those
/// of the files. What was written is no whole copy then, and has no `manifest.json`.
pub async fn write_folder(reader: SnapshotReader, streams: &[String], folder: &Path) -> Result<Folder> {
    let in_folder = |error: Error| error.with("folder", folder.display());
    prepare(folder).map_err(in_folder)?;
    let mut names = FileNames::default();
    let mut files = Vec::with_capacity(streams.len());
    for stream in streams {
        let name = format!("{}.jsonl", names.of(stream));
        files.push(write_file(reader.clone(), stream, folder.join(&name), name).await.map_err(in_folder)?);
    }
    let manifest = reader.manifest();
    let told = Folder {
        snapshot_id: manifest.snapshot_id,
        source_id: manifest.source_id,
        source_name: manifest.source_name.clone(),
        integration: manifest.integration.clone(),
        created_at: manifest.created_at,
        streams: files,
    };
    let text = serde_json::to_vec_pretty(&told)
        .map_err(|error| Error::new(ErrorKind::Bug, "a folder's manifest does not serialise").caused_by(error))?;
    write_whole(&folder.join(MANIFEST), &text).map_err(in_folder)?;
    Ok(told)
}

fn prepare(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    if fs::read_dir(folder)?.next().is_some() {
        return Err(Error::new(ErrorKind::Invalid, "the folder is not empty; give a new one"));
    }
    Ok(())
}

async fn write_file(reader: SnapshotReader, stream: &str, path: PathBuf, name: String) -> Result<FolderFile> {
    let spec = ExportSpec { selection: Selection::Stream(stream.to_owned()), format: Format::Jsonl };
    let out = Digesting { file: File::create(&path)?, hasher: blake3::Hasher::new() };
    let (out, written) = spec.write(reader, out).await?;
    out.file.sync_all()?;
    Ok(FolderFile {
        stream: stream.to_owned(),
        file: name,
        records: written.records,
        bytes: written.bytes,
        blake3: out.hasher.finalize().to_hex().to_string(),
    })
}

/// A manifest that is cut short must not look like a whole one.
fn write_whole(path: &Path, text: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(text)?;
    file.sync_all()?;
    Ok(fs::rename(&partial, path)?)
}

/// A file whose digest is made while it is written.
struct Digesting {
    file: File,
    hasher: blake3::Hasher,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
