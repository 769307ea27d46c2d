//! How often something may be tried for one address, person or network: some at once, then one each so often. In memory only: a restart
//! forgives, and only the operator can restart.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};

/// Of those that are remembered; each costs about 40 bytes.
const REMEMBERED_MAX: usize = 100_000;

/// Attempts by whoever or whatever they are counted for.
pub struct Attempts {
    burst_ms: i64,
    pace_ms: i64,
    /// By digest of whom they are counted for: the instant, in milliseconds, at which all attempts so far are paid off.
    paid_off_ms: Mutex<HashMap<[u8; 16], i64>>,
}

impl Attempts {
    /// `burst` attempts at once, then one each `pace`.
    pub fn new(burst: u32, pace: Duration) -> Self {
        let pace_ms = i64::try_from(pace.as_millis()).unwrap_or(i64::MAX);
        Self { burst_ms: pace_ms.saturating_mul(i64::from(burst)), pace_ms, paid_off_ms: Mutex::default() }
    }

    /// Counts an attempt, before it is made, so that many at once are counted too.
    ///
    /// # Errors
    /// `RateLimited` with the time until the next one; it is then not counted.
    pub fn take(&self, whom: &str, now: Timestamp) -> Result<()> {
        let now_ms = now.as_millisecond();
        let mut paid_off_ms = self.paid_off_ms.lock().unwrap_or_else(PoisonError::into_inner);
        if paid_off_ms.len() >= REMEMBERED_MAX {
            paid_off_ms.retain(|_, until_ms| *until_ms > now_ms);
        }
        if paid_off_ms.len() >= REMEMBERED_MAX {
            // Memory before memory of guesses: whoever fills this has paid for it, with as many password hashes where passwords are guessed.
            paid_off_ms.clear();
        }
        let until_ms = paid_off_ms.entry(digest(whom)).or_insert(now_ms);
        let next_ms = (*until_ms).max(now_ms) + self.pace_ms;
        if next_ms - now_ms <= self.burst_ms {
            *until_ms = next_ms;
            return Ok(());
        }
        let wait_ms = next_ms - now_ms - self.burst_ms;
        Err(Error::new(ErrorKind::RateLimited, "too many attempts; wait and try again")
            .after(Duration::from_millis(wait_ms.unsigned_abs())))
    }

    /// Takes back one attempt that proved to be none.
    pub fn give_back(&self, whom: &str) {
        let mut paid_off_ms = self.paid_off_ms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until_ms) = paid_off_ms.get_mut(&digest(whom)) {
            *until_ms -= self.pace_ms;
        }
    }

    /// Forgets the attempts, after one that succeeded.
    pub fn forgive(&self, whom: &str) {
        self.paid_off_ms.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(whom));
    }
}

/// What attempts are counted for that come from a network address: all of what one customer of a provider has, which is one address of
/// the fourth version and 64 bits of them of the sixth.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// Sixteen bytes of what is remembered of a name.
pub(crate) fn digest(whom: &str) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&blake3::hash(whom.as_bytes()).as_bytes()[..16]);
    digest
}
