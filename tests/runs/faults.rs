//! Faults by chance, the same for the same seed: stores that fail before or after the effect, latency, stalls, late and repeated
//! messages, and a worker that ends.

use std::{
    future::{Future, pending},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use listbackup_engine::{
    Error, ErrorKind, Result,
    ports::{Condition, Write},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep, sleep_until};

/// How many of a thousand effects go wrong.
const STRIKES_PER_MILLE: u32 = 30;

/// An effect takes up to so long.
const LATENCY_MAX_MS: u32 = 500;

/// The faults of one worker; clones share them.
#[derive(Clone)]
pub struct Faults(Arc<Inner>);

struct Inner {
    random: Mutex<StdRng>,
    begun: Instant,
    is_dead: AtomicBool,
    is_calm: AtomicBool,
    /// Nothing can be reached.
    is_cut: AtomicBool,
    /// Until when nothing moves, in milliseconds since `begun`.
    stalled_until_ms: AtomicU64,
    /// How often it was stopped, for a while or for ever.
    disturbances: AtomicU64,
    is_unfenced: bool,
}

impl Faults {
    /// `is_unfenced` takes the conditions out of its writes: the fence is gone, and the tests must notice.
    pub fn new(seed: u64, is_unfenced: bool) -> Self {
        Self(Arc::new(Inner {
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            begun: Instant::now(),
            is_dead: AtomicBool::new(false),
            is_calm: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            stalled_until_ms: AtomicU64::new(0),
            disturbances: AtomicU64::new(0),
            is_unfenced,
        }))
    }

    /// The worker's end.
    pub fn kill(&self) {
        self.0.is_dead.store(true, Ordering::SeqCst);
        self.0.disturbances.fetch_add(1, Ordering::SeqCst);
    }

    /// How often it was stopped so far.
    pub fn disturbances(&self) -> u64 {
        self.0.disturbances.load(Ordering::SeqCst)
    }

    /// True after its end.
    pub fn is_dead(&self) -> bool {
        self.0.is_dead.load(Ordering::SeqCst)
    }

    /// True when nothing goes wrong any more.
    pub fn is_calm(&self) -> bool {
        self.0.is_calm.load(Ordering::SeqCst)
    }

    /// From now on nothing goes wrong any more.
    pub fn calm(&self) {
        self.0.is_calm.store(true, Ordering::SeqCst);
    }

    /// From now on nothing is left to chance: nothing can be reached, or everything.
    pub fn cut(&self, is_cut: bool) {
        self.calm();
        self.0.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// Nothing that the worker asks for comes back for so long; then all of it goes on.
    pub fn stall(&self, time: Duration) {
        let until = self.0.begun.elapsed() + time;
        self.0.stalled_until_ms.store(until.as_millis() as u64, Ordering::SeqCst);
        self.0.disturbances.fetch_add(1, Ordering::SeqCst);
    }

    fn draw(&self, below: u32) -> u32 {
        self.0.random.lock().expect("no test panics in here").random_range(0..below)
    }

    /// By chance, seldom.
    pub fn strikes(&self) -> bool {
        self.0.is_cut.load(Ordering::SeqCst)
            || !self.0.is_calm.load(Ordering::SeqCst) && self.draw(1000) < STRIKES_PER_MILLE
    }

    /// By how much a message comes late: mostly not at all.
    pub fn delay(&self) -> Duration {
        if self.strikes() { Duration::from_secs(self.draw(90).into()) } else { Duration::ZERO }
    }

    /// Writes without their conditions on versions, where that was asked for.
    pub fn conditions(&self, mut writes: Vec<Write>) -> Vec<Write> {
        for write in writes.iter_mut().filter(|_| self.0.is_unfenced) {
            let (Write::Put { condition, .. } | Write::Delete { condition, .. } | Write::Check { condition, .. }) =
                write;
            if matches!(condition, Condition::Version(_)) {
                *condition = Condition::Any;
            }
        }
        writes
    }

    fn latency(&self) -> Duration {
        if self.0.is_calm.load(Ordering::SeqCst) {
            return Duration::ZERO;
        }
        Duration::from_millis(self.draw(LATENCY_MAX_MS).into())
    }

    /// Comes back when the worker can do something again; never, when it is dead.
    pub async fn alive(&self) {
        let until = self.0.begun + Duration::from_millis(self.0.stalled_until_ms.load(Ordering::SeqCst));
        if until > Instant::now() {
            sleep_until(until).await;
        }
        self.unless_dead().await;
    }

    /// Comes back unless the worker is dead.
    pub async fn unless_dead(&self) {
        if self.is_dead() {
            pending::<()>().await;
        }
    }

    /// What the worker sees.
    pub async fn read<T>(&self, act: impl Future<Output = Result<T>>) -> Result<T> {
        self.alive().await;
        let answer = act.await;
        self.alive().await;
        if self.strikes() { Err(away()) } else { answer }
    }

    /// What it does.
    pub async fn effect<T>(&self, act: impl Future<Output = Result<T>>) -> Result<T> {
        sleep(self.latency()).await;
        self.alive().await;
        if self.strikes() {
            return Err(away());
        }
        let answer = act.await;
        self.alive().await;
        if self.strikes() { Err(away()) } else { answer }
    }
}

fn away() -> Error {
    Error::new(ErrorKind::Retry, "the store cannot be reached (by chance)")
}
