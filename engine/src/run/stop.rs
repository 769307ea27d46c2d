//! Why work stops before its end. The reason changes in one step, and who waits looks at it after being registered, so none is
//! overruled by a weaker one and nobody waits past it: `tests/interleavings/` goes through the orders in which that can happen, also
//! through [`crate::latest`].

use crate::{
    error::{Error, ErrorKind},
    latest::Latest,
};

/// Why a run must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A person cancelled it: nothing more is kept.
    Cancelled,
    /// The process is going down: keep what is read, let go of the lease, another goes on.
    Draining,
    /// The message behind the run is about to end: keep what is read, and go on through a fresh one.
    HandOver,
    /// The store took no more for one stream: the run fails, and the others need not go on.
    Exhausted,
    /// Another worker owns the source: write nothing more.
    Fenced,
}

/// Tells everybody who works on a run to stop.
#[derive(Clone, Debug)]
pub struct StopSwitch(Latest<Option<Stop>>);

impl StopSwitch {
    /// Not stopped.
    pub fn new() -> Self {
        Self(Latest::new(None))
    }

    /// Stops. The first reason stays, unless a later one forbids more: fenced over all, handing over under all.
    pub fn stop(&self, reason: Stop) {
        let rank = |stop: Stop| match stop {
            Stop::HandOver => 0,
            Stop::Draining => 1,
            Stop::Exhausted => 2,
            Stop::Cancelled => 3,
            Stop::Fenced => 4,
        };
        self.0.set_if(|now| now.is_none_or(|now| rank(reason) > rank(now)).then_some(Some(reason)));
    }

    /// The reason, if stopped.
    pub fn reason(&self) -> Option<Stop> {
        self.0.get()
    }

    /// Waits until stopped.
    pub async fn stopped(&self) -> Stop {
        let mut follower = self.0.follow();
        loop {
            if let Some(reason) = follower.get() {
                return reason;
            }
            follower.changed().await;
        }
    }
}

impl Default for StopSwitch {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Cancelled => Self::new(ErrorKind::Cancelled, "the run was cancelled"),
            Stop::Draining => Self::new(ErrorKind::Cancelled, "the process is going down; the run goes on later"),
            Stop::HandOver => Self::new(ErrorKind::Cancelled, "the run goes on through another message"),
            Stop::Exhausted => Self::new(ErrorKind::Exhausted, "there is no space left in the store"),
            Stop::Fenced => Self::new(ErrorKind::Fenced, "another worker owns the source now"),
        }
    }
}
