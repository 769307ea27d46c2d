//! Pauses before what is sent again, where the SDK does not do that by itself: transactions that were cancelled because another
//! one was in the way, and what a batch left over.

use std::time::Duration;

use crate::ports::Random;

/// Then the error is told; all pauses together take two seconds and a half at most.
const MAX_PAUSES: u32 = 7;
const FIRST: Duration = Duration::from_millis(20);

/// The pauses of one call.
pub(super) struct Pauses<'a> {
    random: &'a dyn Random,
    taken: u32,
}

impl<'a> Pauses<'a> {
    pub(super) fn new(random: &'a dyn Random) -> Self {
        Self { random, taken: 0 }
    }

    /// Waits; false when it was enough. Twice as long at most each time, and at random, so that what met does not meet again.
    pub(super) async fn take(&mut self) -> bool {
        if self.taken == MAX_PAUSES {
            return false;
        }
        let longest_ms = FIRST.as_millis() as u64 * (1 << self.taken);
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        tokio::time::sleep(Duration::from_millis(1 + u64::from_le_bytes(bytes) % longest_ms)).await;
        self.taken += 1;
        true
    }

    /// Something went ahead: the next pause is as short as the first.
    pub(super) fn restart(&mut self) {
        self.taken = 0;
    }
}
