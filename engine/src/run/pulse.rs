//! Whether a run still moves. Whatever gets on beats; a wait that is known beforehand counts as moving until it is over. Who
//! supervises the run ends it when nothing has moved for too long, and its lease is not renewed any more.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};

/// The pulse of one run; clones share it.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    /// Beats once.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Something moved.
    pub fn beat(&self) {
        self.wait(Duration::ZERO);
    }

    /// Nothing will move for so long, and that is as it should be.
    pub fn wait(&self, wait: Duration) {
        let now = Instant::now();
        let until = now.checked_add(wait).unwrap_or(now);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = until.max(*last);
    }

    /// How long nothing has moved.
    pub fn quiet(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Whether it still beats.
    ///
    /// # Errors
    /// `Retry` when nothing has moved for `stuck_after`.
    pub fn check(&self, stuck_after: Duration) -> Result<()> {
        let quiet = self.quiet();
        if quiet < stuck_after {
            return Ok(());
        }
        let message = format!("nothing has moved for {} minutes; the attempt is given up", quiet.as_secs() / 60);
        Err(Error::new(ErrorKind::Retry, message))
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUCK: Duration = Duration::from_secs(1800);

    #[tokio::test(start_paused = true)]
    async fn a_run_is_stuck_when_nothing_moves_and_not_while_it_waits_for_something_known() {
        let pulse = Pulse::new();
        tokio::time::advance(STUCK - Duration::from_secs(1)).await;
        assert!(pulse.check(STUCK).is_ok());
        pulse.wait(Duration::from_secs(7200));
        // Another stream of the run gets on meanwhile, and comes to its end.
        pulse.beat();
        tokio::time::advance(Duration::from_secs(7200 + 1799)).await;
        assert!(pulse.check(STUCK).is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        let stuck = pulse.check(STUCK).expect_err("nothing moved");
        assert!(stuck.to_string().contains("30 minutes"), "{stuck}");
    }
}
