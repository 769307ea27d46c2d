//! Figures of a live run, gathered in memory by its streams. Each change is one step: nobody sees half of one, and none is lost.
//! `tests/interleavings/` goes through the orders in which streams and a report can meet; the lock comes from `sync` in `lib.rs` for it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    estimate::{self, Pace},
    pulse::Pulse,
};
use crate::{
    model::{
        RestoreFigures,
        run::{Progress, StreamProgress},
    },
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The figures, shared by the streams of one run. Whatever changes them is a sign of life.
#[derive(Debug)]
pub struct LiveProgress {
    figures: Mutex<Figures>,
    pulse: Pulse,
    /// When this attempt began, and what was read before.
    began_at: Instant,
    records_before: u64,
}

#[derive(Debug, Default)]
struct Figures {
    told: Progress,
    /// What the total of bytes stored counts of each stream.
    stored_bytes: BTreeMap<String, u64>,
    /// Records when the last estimate was made.
    estimated_records: Option<u64>,
}

impl LiveProgress {
    /// Goes on from what an earlier attempt wrote.
    pub fn starting_from(progress: Progress, pulse: Pulse) -> Self {
        let records_before = estimate::records_of(&progress);
        let told = Progress { estimate: None, ..progress };
        Self {
            figures: Mutex::new(Figures { told, ..Figures::default() }),
            pulse,
            began_at: Instant::now(),
            records_before,
        }
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The figures, to be changed.
    fn moving(&self) -> MutexGuard<'_, Figures> {
        self.pulse.beat();
        self.figures()
    }

    /// The figures now.
    pub fn now(&self) -> Progress {
        self.figures().told.clone()
    }

    /// The figures now, with another estimate if they have changed.
    pub fn estimated(&self, now: Timestamp) -> Progress {
        let mut figures = self.figures();
        let records = estimate::records_of(&figures.told);
        if figures.estimated_records.replace(records) != Some(records) {
            let pace = Pace { records_before: self.records_before, elapsed: self.began_at.elapsed() };
            figures.told.estimate = estimate::of(&figures.told, pace, now);
        }
        figures.told.clone()
    }

    /// Changes one stream's figures.
    pub fn stream(&self, name: &str, change: impl FnOnce(&mut StreamProgress)) {
        change(self.moving().told.streams.entry(name.to_owned()).or_default());
    }

    /// Replaces the figures of a restore.
    pub fn restored(&self, figures: BTreeMap<String, RestoreFigures>) {
        self.moving().told.restored = figures;
    }

    /// Adds to the run's totals.
    pub fn add(&self, bytes_read: u64, requests: u64, waited_ms: u64) {
        let mut figures = self.moving();
        figures.told.waited_ms += waited_ms;
        figures.told.bytes_read += bytes_read;
        figures.told.requests += requests;
    }

    /// Says how much of a stream is stored. It may be less than before: what was made for checkpoints is removed at the end, and
    /// what came after the last one is lost when a store fails. The first time it is what an earlier attempt told already.
    pub fn stored(&self, stream: &str, bytes: u64) {
        let mut figures = self.moving();
        let before = figures.stored_bytes.insert(stream.to_owned(), bytes).unwrap_or(bytes);
        figures.told.bytes_stored = (figures.told.bytes_stored + bytes).saturating_sub(before);
    }
}
