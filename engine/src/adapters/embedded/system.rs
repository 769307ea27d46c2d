//! The real clock and the real randomness.

use jiff::Timestamp;

use crate::ports::{Clock, Random};

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where time comes from")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The cryptographic generator of the process, seeded by the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        if aws_lc_rs::rand::fill(bytes).is_err() {
            // Keys and tokens from anything weaker would be worse than not running.
            tracing::error!("the random generator of this machine failed; the process ends");
            std::process::abort();
        }
    }
}
