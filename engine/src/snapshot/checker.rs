//! Checking the parts of segments against all that is known of them, while a merge reads them.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    key::RecordKey,
    segment::{Block, FingerprintTable, SegmentFile, SegmentId, SegmentRef, check_block},
    segments::Segments,
    verify::Damage,
};
use crate::error::{Error, ErrorKind, Result};

/// Checks the parts of segments as a merge reads them, each once.
pub(crate) struct Checker {
    stream: String,
    pub(crate) damages: Vec<Damage>,
    pub(crate) bytes_read: u64,
    files: BTreeMap<SegmentId, Progress>,
}

/// How far a segment was checked.
struct Progress {
    file: Arc<SegmentFile>,
    hasher: blake3::Hasher,
    chunk: usize,
    rows: Option<FingerprintTable>,
    /// Rows of all chunks, for the id; they follow the blocks.
    all_rows: Vec<FingerprintTable>,
    is_damaged: bool,
}

impl Checker {
    /// For segments of one stream.
    pub(crate) fn new(stream: &str) -> Self {
        Self { stream: stream.to_owned(), damages: Vec::new(), bytes_read: 0, files: BTreeMap::new() }
    }

    /// Opens a segment; `None` when that fails for damage.
    pub(crate) async fn open(
        &mut self,
        segments: &Segments,
        stream: &str,
        reference: &SegmentRef,
    ) -> Result<Option<Arc<SegmentFile>>> {
        match segments.open_fresh(stream, reference).await {
            Ok(file) => {
                let file = Arc::new(file);
                let hasher = file.hasher()?;
                let progress = Progress {
                    file: file.clone(),
                    hasher,
                    chunk: usize::MAX,
                    rows: None,
                    all_rows: Vec::new(),
                    is_damaged: false,
                };
                self.files.insert(reference.id, progress);
                Ok(Some(file))
            }
            Err(error) => {
                let path = segments.path(reference);
                self.note(path, keys_of_segment(reference), error)?;
                Ok(None)
            }
        }
    }

    /// Reads and checks a block; `None` when it is damaged.
    pub(crate) async fn block(
        &mut self,
        segments: &Segments,
        file: &Arc<SegmentFile>,
        number: usize,
    ) -> Result<Option<Arc<Block>>> {
        let Some(mut progress) = self.files.remove(&file.reference().id) else { return Ok(None) };
        let checked = progress.check(segments, number).await;
        self.bytes_read += u64::from(file.footer().blocks[number].sealed_bytes);
        let outcome = match checked {
            Ok(block) => {
                if number + 1 == file.footer().blocks.len() && !progress.has_id() {
                    let error = Error::new(ErrorKind::Corrupt, "the segment's content is not that of its id");
                    self.note(file.path().to_owned(), keys_of_segment(file.reference()), error)?;
                }
                Some(Arc::new(block))
            }
            Err(error) => {
                progress.is_damaged = true;
                self.note(file.path().to_owned(), keys_of(file, number), error)?;
                None
            }
        };
        if number + 1 < file.footer().blocks.len() {
            self.files.insert(file.reference().id, progress);
        }
        Ok(outcome)
    }

    fn note(&mut self, path: String, keys: (RecordKey, RecordKey), error: Error) -> Result<()> {
        if error.kind() != ErrorKind::Corrupt {
            return Err(error);
        }
        let what = error.message().to_owned();
        self.damages.push(Damage {
            path,
            stream: Some(self.stream.clone()),
            snapshots: Vec::new(),
            keys: Some(keys),
            what,
        });
        Ok(())
    }
}

impl Progress {
    async fn check(&mut self, segments: &Segments, number: usize) -> Result<Block> {
        let chunk = self.file.footer().chunk_of_entry(self.file.footer().blocks[number].first_entry);
        let read = self.file.block_and_text(number).await;
        if chunk != self.chunk {
            self.chunk = chunk;
            self.rows = None;
            let rows = self.file.fingerprints(chunk).await?;
            self.all_rows.push(rows.clone());
            self.rows = Some(rows);
        }
        let (block, text) = read?;
        SegmentFile::hash_part(&mut self.hasher, &text);
        if let Some(rows) = &self.rows {
            check_block(&self.file, number, &block, rows, segments.ring.hashers())?;
        }
        Ok(block)
    }

    /// True when the whole segment has the id of its content; damage that was noted already is not told twice.
    fn has_id(&mut self) -> bool {
        if self.is_damaged {
            return true;
        }
        for rows in &self.all_rows {
            SegmentFile::hash_part(&mut self.hasher, rows.as_bytes());
        }
        self.file.has_id(&mut self.hasher)
    }
}

fn keys_of_segment(reference: &SegmentRef) -> (RecordKey, RecordKey) {
    (reference.first_key.clone(), reference.last_key.clone())
}

fn keys_of(file: &SegmentFile, number: usize) -> (RecordKey, RecordKey) {
    let footer = file.footer();
    let last = footer.blocks.get(number + 1).map_or(&footer.last_key, |next| &next.first_key);
    (footer.blocks[number].first_key.clone(), last.clone())
}
