//! A worker that dies at its n-th effect: just before it, or just after, when the effect is there and the worker never learns
//! of it. From then on nothing that it does has an effect, and nothing comes back to it.

use std::{
    future::{Future, pending},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

/// On which side of an effect a worker dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It is not there.
    Before,
    /// It is there, and nobody was told.
    After,
}

/// One life of a worker; clones share it.
#[derive(Clone)]
pub struct Life(Arc<Inner>);

struct Inner {
    effects: AtomicU64,
    ends_at: Option<(u64, Side)>,
    /// The effect at which it ended.
    ended: watch::Sender<Option<String>>,
    /// Effects in the order in which they began.
    seen: Mutex<Vec<String>>,
}

impl Life {
    /// Ends at that effect, counted from 1; without one it goes on for ever.
    pub fn new(ends_at: Option<(u64, Side)>) -> Self {
        Self(Arc::new(Inner {
            effects: AtomicU64::new(0),
            ends_at,
            ended: watch::channel(None).0,
            seen: Mutex::default(),
        }))
    }

    /// Waits for the end, and says at which effect it came.
    pub async fn end(&self) -> String {
        let mut ended = self.0.ended.subscribe();
        let end = ended.wait_for(Option::is_some).await.expect("a life outlives who waits for its end");
        end.clone().unwrap_or_default()
    }

    /// What it did so far.
    pub fn effects(&self) -> Vec<String> {
        self.0.seen.lock().expect("no test panics in here").clone()
    }

    /// True after its end.
    pub fn has_ended(&self) -> bool {
        self.0.ended.borrow().is_some()
    }

    /// What it sees; nothing after its end.
    pub async fn read<T>(&self, act: impl Future<Output = T>) -> T {
        if self.has_ended() {
            return pending().await;
        }
        let answer = act.await;
        if self.has_ended() { pending().await } else { answer }
    }

    /// What it does, unless it ends.
    pub async fn effect<T>(&self, what: String, act: impl Future<Output = T>) -> T {
        if self.has_ended() {
            return pending().await;
        }
        let number = self.0.effects.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.seen.lock().expect("no test panics in here").push(what.clone());
        let is_last = |side| self.0.ends_at == Some((number, side));
        if is_last(Side::Before) {
            self.0.ended.send_replace(Some(what));
            return pending().await;
        }
        let answer = act.await;
        if is_last(Side::After) {
            self.0.ended.send_replace(Some(what));
        }
        if self.has_ended() { pending().await } else { answer }
    }
}

/// Has something done by workers of which one dies just before each of its effects and one just after, until one survives since it has no
/// further effect. Returns how many died.
pub async fn at_each_effect(mut survives: impl AsyncFnMut((u64, Side)) -> bool) -> u64 {
    let mut deaths = 0;
    for side in [Side::Before, Side::After] {
        for number in 1.. {
            if survives((number, side)).await {
                break;
            }
            deaths += 1;
        }
    }
    deaths
}
