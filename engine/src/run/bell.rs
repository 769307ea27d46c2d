//! Tells the courier of this process that something is to be sent now, so that it need not ask the tables all the time.

use crate::latest::{Follower, Latest};

/// Rung when a row is written that is due at once; clones share it. Where no courier hears it, one of another process finds the row.
#[derive(Clone, Debug)]
pub struct Bell(Latest<()>);

impl Default for Bell {
    fn default() -> Self {
        Self(Latest::new(()))
    }
}

impl Bell {
    /// Rings. Never waits; rings that nobody heard yet count as one.
    pub fn ring(&self) {
        self.0.set_if(Some);
    }

    /// Changes with each ring from now on.
    pub fn rings(&self) -> Follower<()> {
        self.0.follow()
    }
}
