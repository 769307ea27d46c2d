//! The test kit: a clock that follows tokio's, seeded randomness, embedded stores in a temporary directory.

#![allow(dead_code, reason = "each test binary uses a part of the kit")]

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use listbackup_engine::{
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::{AccountId, scope::AccountScope, scope::SystemScope},
    ports::{Clock, Ports, Random},
};
use tempfile::TempDir;
use tokio::time::Instant;

/// A clock that goes with tokio's, so that a test with a paused clock owns all time there is.
pub struct TokioClock {
    start: Timestamp,
    started: Instant,
}

impl TokioClock {
    /// It is the 22nd of November 2026, noon.
    pub fn new() -> Self {
        Self { start: "2026-11-22T12:00:00Z".parse().unwrap(), started: Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.start + self.started.elapsed()
    }
}

/// A clock that begins with the machine's and goes only when it is moved, for stores on real servers, which a paused clock of tokio's
/// would take for dead.
pub struct MovableClock(Mutex<Timestamp>);

impl MovableClock {
    pub fn new() -> Self {
        Self(Mutex::new(Timestamp::now()))
    }
}

impl Clock for MovableClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// Randomness that is the same for the same seed (splitmix64).
pub struct SeededRandom(Mutex<u64>);

impl SeededRandom {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// A number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// The ports under test, and the authority to use them.
pub struct Subject {
    pub ports: Ports,
    pub system: SystemScope,
    /// The clock of the ports, if it is to be moved.
    clock: Option<Arc<MovableClock>>,
}

impl Subject {
    pub fn new(ports: Ports) -> Self {
        Self { ports, system: SystemScope::of_this_process(), clock: None }
    }

    /// With a clock for the ports that [`Subject::pass`] moves.
    pub fn with_clock(mut ports: Ports, clock: Arc<MovableClock>) -> Self {
        ports.clock = clock.clone();
        Self { clock: Some(clock), ..Self::new(ports) }
    }

    /// Lets time pass for the ports.
    pub async fn pass(&self, time: Duration) {
        match &self.clock {
            Some(clock) => *clock.0.lock().unwrap() += time,
            None => pass(time).await,
        }
    }

    /// An account that nobody else has.
    pub fn account(&self) -> AccountScope {
        self.system.account(AccountId::new(&*self.ports.clock, &*self.ports.random))
    }

    /// A name that nobody else has.
    pub fn unique(&self, prefix: &str) -> String {
        let mut bytes = [0; 8];
        self.ports.random.fill(&mut bytes);
        format!("{prefix}-{:016x}", u64::from_le_bytes(bytes))
    }
}

/// Lets time pass for the stores: at once on a paused clock, really with stores that have a clock of their own.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Embedded stores in a directory that goes with them.
pub struct Embedded {
    pub stores: EmbeddedStores,
    pub directory: TempDir,
    clock: Arc<TokioClock>,
}

impl Embedded {
    pub fn new() -> Self {
        let (directory, clock) = (tempfile::tempdir().unwrap(), Arc::new(TokioClock::new()));
        Self { stores: open(directory.path(), clock.clone()), directory, clock }
    }

    pub fn subject(&self) -> Subject {
        Subject::new(self.stores.ports())
    }

    /// Closes the stores and opens them again.
    pub fn reopen(self) -> Self {
        let Self { stores, directory, clock } = self;
        drop(stores);
        Self { stores: open(directory.path(), clock.clone()), directory, clock }
    }

    /// Closes the stores; the directory stays.
    pub fn close(self) -> TempDir {
        self.directory
    }
}

/// Opens a data directory for writing.
pub fn open(data_dir: &Path, clock: Arc<TokioClock>) -> EmbeddedStores {
    EmbeddedStores::open_with(data_dir, OpenMode::Write, clock, Arc::new(SeededRandom::new(20_261_122))).unwrap()
}
