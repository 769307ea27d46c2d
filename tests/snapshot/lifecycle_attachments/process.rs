//! A process that lives on over many steps, until it dies.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use listbackup_engine::{
    Error, ErrorKind, Result,
    snapshot::{AccountStore, SnapshotStore, SourceStore},
};

use crate::{
    store::{World, scope, source_id},
    tapped::{Call, Tapped, When},
};

/// What becomes of a process.
#[derive(Clone, Copy)]
pub enum Fate {
    Lives,
    /// After so many more calls, with the effect of the last one or without.
    Dies(u64, bool),
    IsDead,
}

/// A process with the store of one source, open for as long as it lives.
pub struct Process {
    pub account: AccountStore,
    pub store: SourceStore,
    fate: Arc<Mutex<Fate>>,
}

impl Process {
    pub async fn start(world: &World, source: u8) -> Self {
        let fate = Arc::new(Mutex::new(Fate::Lives));
        let told = fate.clone();
        let tap = move |when: When, call: &Call| -> BoxFuture<'static, Result<()>> {
            let mut fate = told.lock().unwrap();
            if !call.path.contains("/keys/") {
                *fate = match *fate {
                    Fate::Dies(0, has_effect) if has_effect == (when == When::After) => Fate::IsDead,
                    Fate::Dies(n, has_effect) if n > 0 && when == When::After => Fate::Dies(n - 1, has_effect),
                    other => other,
                };
            }
            let is_dead = matches!(*fate, Fate::IsDead);
            let gone = || Error::new(ErrorKind::Retry, "the process is gone");
            Box::pin(async move { if is_dead { Err(gone()) } else { Ok(()) } })
        };
        let blobs = Arc::new(Tapped { inner: world.blobs.clone(), tap: Box::new(tap) });
        let store = SnapshotStore::new(blobs, world.keys.clone(), world.settings.clone());
        let account = store.account(&scope(1)).await.unwrap();
        Self { store: account.source(source_id(source)), account, fate }
    }

    /// What becomes of it from now on.
    pub fn meet(&self, fate: Fate) {
        *self.fate.lock().unwrap() = fate;
    }

    pub fn is_dead(&self) -> bool {
        matches!(*self.fate.lock().unwrap(), Fate::IsDead)
    }
}
