//! Listens to all that is logged on this thread.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use listbackup_engine::invariants;
use tracing::{level_filters::LevelFilter, subscriber::DefaultGuard};

use crate::desk::PLANTED;

/// Counts lines, and those that tell a secret. Clones share the counts.
#[derive(Clone, Default)]
pub struct Tap(Arc<Counts>);

#[derive(Default)]
struct Counts {
    lines: AtomicU64,
    secrets: AtomicU64,
}

impl Tap {
    pub fn new() -> Self {
        Self::default()
    }

    /// Until the guard goes.
    pub fn listen(&self) -> DefaultGuard {
        let tap = self.clone();
        let to = tracing_subscriber::fmt().with_ansi(false).with_max_level(LevelFilter::TRACE);
        tracing::subscriber::set_default(to.with_writer(move || tap.clone()).finish())
    }

    /// What was not as promised.
    pub fn violation(&self) -> Option<String> {
        if self.0.lines.load(Ordering::SeqCst) == 0 {
            return Some("nothing was logged, or nobody listened".to_owned());
        }
        (self.0.secrets.load(Ordering::SeqCst) > 0).then(|| "I8 is violated: a secret is in the log".to_owned())
    }
}

impl io::Write for Tap {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lines.fetch_add(1, Ordering::SeqCst);
        let is_silent = invariants::silent("the log", &String::from_utf8_lossy(line), [PLANTED]).is_ok();
        self.0.secrets.fetch_add(u64::from(!is_silent), Ordering::SeqCst);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
