//! How often something may be tried for one address or person: some at once, then one each so often. In memory only: a restart
//! forgives, and only the operator can restart.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};

/// Addresses remembered; each costs about 40 bytes.
const MAX_ADDRESSES: usize = 100_000;

/// Attempts by address.
pub(super) struct Attempts {
    burst_ms: i64,
    pace_ms: i64,
    /// By digest of the address: the instant, in milliseconds, at which all attempts so far are paid off.
    paid_off_ms: Mutex<HashMap<[u8; 16], i64>>,
}

impl Attempts {
    /// `burst` attempts at once, then one each `pace`.
    pub(super) fn new(burst: u32, pace: Duration) -> Self {
        let pace_ms = i64::try_from(pace.as_millis()).unwrap_or(i64::MAX);
        Self { burst_ms: pace_ms.saturating_mul(i64::from(burst)), pace_ms, paid_off_ms: Mutex::default() }
    }

    /// Counts an attempt, before it is made, so that many at once are counted too.
    ///
    /// # Errors
    /// `RateLimited` with the time until the next one; it is then not counted.
    pub(super) fn take(&self, address: &str, now: Timestamp) -> Result<()> {
        let now_ms = now.as_millisecond();
        let mut paid_off_ms = self.paid_off_ms.lock().unwrap_or_else(PoisonError::into_inner);
        if paid_off_ms.len() >= MAX_ADDRESSES {
            paid_off_ms.retain(|_, until_ms| *until_ms > now_ms);
        }
        if paid_off_ms.len() >= MAX_ADDRESSES {
            // Memory before memory of guesses: whoever fills this has paid for it, with as many password hashes where passwords are guessed.
            paid_off_ms.clear();
        }
        let until_ms = paid_off_ms.entry(digest(address)).or_insert(now_ms);
        let next_ms = (*until_ms).max(now_ms) + self.pace_ms;
        if next_ms - now_ms <= self.burst_ms {
            *until_ms = next_ms;
            return Ok(());
        }
        let wait_ms = next_ms - now_ms - self.burst_ms;
        Err(Error::new(ErrorKind::RateLimited, "too many attempts; wait and try again")
            .after(Duration::from_millis(wait_ms.unsigned_abs())))
    }

    /// Forgets the attempts of an address, after one that succeeded.
    pub(super) fn forgive(&self, address: &str) {
        self.paid_off_ms.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(address));
    }
}

fn digest(address: &str) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&blake3::hash(address.as_bytes()).as_bytes()[..16]);
    digest
}
