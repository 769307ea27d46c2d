//! The ports for time and randomness.

use jiff::Timestamp;

/// Tells the time. Waiting is tokio's, so that a paused clock drives both in tests.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Randomness for ids, keys, tokens and jitter. Cryptographic in production, seeded in tests.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}
