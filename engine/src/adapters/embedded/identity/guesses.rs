//! Guesses of passwords: counted apart for each network that they come from, and together for all networks that nobody proved anything
//! from yet. So whoever guesses uses up their own network's attempts; many of them together slow down new places alone, never one
//! where the owner has signed in before. In memory only, as all attempts are.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    attempts::{Attempts, digest, network_of},
    error::Result,
};

/// Wrong passwords for an address from one network, and one more after the pace.
const NETWORK_BURST: u32 = 10;
/// From all new networks together: 2,900 a day.
const STRANGERS_BURST: u32 = 50;
const PACE: Duration = Duration::from_secs(30);
/// Networks of people that are remembered; each costs about 20 bytes.
const KNOWN_MAX: usize = 100_000;

/// Passwords that were tried.
pub(super) struct Guesses {
    of_network: Attempts,
    of_strangers: Attempts,
    /// Digests of addresses, each with a network that its owner has proved themselves from.
    known: Mutex<HashSet<[u8; 16]>>,
}

impl Guesses {
    pub(super) fn new() -> Self {
        Self {
            of_network: Attempts::new(NETWORK_BURST, PACE),
            of_strangers: Attempts::new(STRANGERS_BURST, PACE),
            known: Mutex::default(),
        }
    }

    /// Counts a guess before it is looked at.
    ///
    /// # Errors
    /// `RateLimited` with the time until the next one.
    pub(super) fn take(&self, email: &str, from: IpAddr, now: Timestamp) -> Result<()> {
        let here = here(email, from);
        self.of_network.take(&here, now)?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest(&here));
        if known { Ok(()) } else { self.of_strangers.take(email, now) }
    }

    /// The owner of the address has proved who they are.
    pub(super) fn succeeded(&self, email: &str, from: IpAddr) {
        let here = here(email, from);
        self.of_network.forgive(&here);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        if known.insert(digest(&here)) {
            self.of_strangers.give_back(email);
        }
    }
}

fn here(email: &str, from: IpAddr) -> String {
    format!("{} {email}", network_of(from))
}
