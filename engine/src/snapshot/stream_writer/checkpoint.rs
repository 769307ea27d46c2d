//! Checkpoints of a stream: what is durable, and what was seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{StreamFigures, StreamWriter, figures::Tally};
use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::{
        lookup::{KeyTables, SeenSet},
        segment::{SegmentId, SegmentRef},
    },
};

/// Where the writing of a stream stands: everything pushed before is durable. Reading again from the last position (or an
/// earlier one) into a writer resumed from it gives the same snapshot as an uninterrupted run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamCheckpoint {
    /// Stands for the parent's segments.
    parent: String,
    /// Segments of this run.
    segments: Vec<SegmentRef>,
    /// Segments that this run made, with the bytes of their objects; some are merged into others since.
    made: BTreeMap<SegmentId, u64>,
    /// Entries of the parent that came.
    seen: String,
    tally: Tally,
}

impl StreamCheckpoint {
    /// What was read and written up to here.
    pub fn figures(&self) -> StreamFigures {
        self.tally.figures
    }

    /// The segments that it relies on, beside the parent's.
    pub fn segments(&self) -> impl Iterator<Item = SegmentId> {
        self.segments.iter().map(|segment| segment.id)
    }
}

impl StreamWriter {
    /// Makes everything pushed so far durable.
    ///
    /// # Errors
    /// Those of making and putting segments.
    pub async fn checkpoint(&mut self) -> Result<StreamCheckpoint> {
        self.flush().await?;
        self.settle().await?;
        self.unsaved = 0;
        let segments: Vec<SegmentRef> = self.own_tables.references().cloned().collect();
        self.watch.confirm(&self.segments, &segments).await?;
        Ok(StreamCheckpoint {
            parent: digest_of(&self.parent_tables),
            segments,
            made: self.outbox.made.clone(),
            seen: self.seen.to_text()?,
            tally: Tally { figures: self.figures(), ..self.tally.clone() },
        })
    }

    /// Takes up a checkpoint.
    pub(super) fn resume(&mut self, checkpoint: StreamCheckpoint) -> Result<()> {
        if checkpoint.parent != digest_of(&self.parent_tables) {
            return Err(Error::new(ErrorKind::Conflict, "the checkpoint was made over another snapshot: begin anew")
                .with("stream", &self.spec.name));
        }
        self.own_tables = KeyTables::new(&self.spec.name, &checkpoint.segments, &self.settings.lookup())?;
        self.seen = SeenSet::from_text(&checkpoint.seen, self.parent_tables.entries())?;
        self.outbox.made = checkpoint.made;
        self.tally = checkpoint.tally;
        Ok(())
    }
}

fn digest_of(tables: &KeyTables) -> String {
    let mut hasher = blake3::Hasher::new();
    tables.references().for_each(|reference| {
        hasher.update(reference.id.as_bytes());
    });
    hasher.finalize().to_hex().to_string()
}
