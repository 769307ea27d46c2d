//! The keys that a ring has opened: the part in which tasks meet, each of which may learn something else of the stored keys.
//!
//! Keys for new objects only get newer, those of an epoch are opened once for all, and once somebody has learned that the keys were
//! destroyed nobody is given any, whoever was just opening some. `tests/interleavings/` goes through the orders in which that can
//! happen; the lock comes from `sync` in `lib.rs` for it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use super::{EpochKeys, KeyDestruction};
use crate::{
    error::{Error, Result},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What a ring knows of the stored keys.
pub(super) struct Opened(Mutex<State>);

enum State {
    /// They are there.
    Open {
        /// For new objects.
        newest: Arc<EpochKeys>,
        /// Those that were opened.
        opened: BTreeMap<u32, Arc<EpochKeys>>,
    },
    /// They were destroyed; how that was.
    Destroyed(KeyDestruction),
}

impl State {
    fn newest(&self) -> Result<&Arc<EpochKeys>> {
        match self {
            Self::Open { newest, .. } => Ok(newest),
            Self::Destroyed(destruction) => Err(destruction.error()),
        }
    }
}

impl Opened {
    /// One epoch's keys, for new objects.
    pub(super) fn new(newest: EpochKeys) -> Self {
        let newest = Arc::new(newest);
        let opened = BTreeMap::from([(newest.epoch(), newest.clone())]);
        Self(Mutex::new(State::Open { newest, opened }))
    }

    /// What it guards is right after each change, so a panic elsewhere does not matter.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys for new objects.
    ///
    /// # Errors
    /// `Denied` when it is known that the keys were destroyed; so are all others here.
    pub(super) fn newest(&self) -> Result<Arc<EpochKeys>> {
        self.state().newest().cloned()
    }

    /// The keys of an epoch, if they were opened.
    pub(super) fn get(&self, epoch: u32) -> Result<Option<Arc<EpochKeys>>> {
        match &*self.state() {
            State::Open { opened, .. } => Ok(opened.get(&epoch).cloned()),
            State::Destroyed(destruction) => Err(destruction.error()),
        }
    }

    /// Keeps keys that were read from the store, and gives those that all others use.
    pub(super) fn keep(&self, keys: EpochKeys) -> Result<Arc<EpochKeys>> {
        match &mut *self.state() {
            State::Open { opened, .. } => match opened.entry(keys.epoch()) {
                Entry::Occupied(held) => Ok(held.get().clone()),
                Entry::Vacant(free) => Ok(free.insert(Arc::new(keys)).clone()),
            },
            State::Destroyed(destruction) => Err(destruction.error()),
        }
    }

    /// From now on these are for new objects, unless newer ones are already.
    pub(super) fn use_for_new(&self, keys: Arc<EpochKeys>) {
        if let State::Open { newest, .. } = &mut *self.state()
            && newest.epoch() < keys.epoch()
        {
            *newest = keys;
        }
    }

    /// Lets go of all keys, for good; the error that says so.
    pub(super) fn destroy(&self, destruction: KeyDestruction) -> Error {
        let error = destruction.error();
        *self.state() = State::Destroyed(destruction);
        error
    }
}
