//! The keys of an account that tasks open, rotate and see destroyed.

#[path = "../../engine/src/snapshot/keys/opened.rs"]
mod opened;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use listbackup_engine::{Error, ErrorKind};
use loom::thread;
use opened::Opened;

/// Stands for what is derived from a data key.
#[derive(Debug)]
struct EpochKeys(u32);

impl EpochKeys {
    fn epoch(&self) -> u32 {
        self.0
    }
}

/// Stands for the mark that keys were destroyed.
struct KeyDestruction;

impl KeyDestruction {
    fn error(&self) -> Error {
        Error::new(ErrorKind::Denied, "the keys were destroyed")
    }
}

/// A ring that has opened the first epoch.
fn ring() -> Arc<Opened> {
    Arc::new(Opened::new(EpochKeys(1)))
}

/// The keys of an epoch, read from the store where nobody has opened them.
fn open(ring: &Opened, epoch: u32) -> Result<Arc<EpochKeys>, Error> {
    match ring.get(epoch)? {
        Some(keys) => Ok(keys),
        None => ring.keep(EpochKeys(epoch)),
    }
}

#[test]
fn two_that_open_an_epoch_at_once_use_the_same_keys() {
    loom::model(|| {
        let ring = ring();
        let other = {
            let ring = ring.clone();
            thread::spawn(move || open(&ring, 2).unwrap())
        };
        let keys = open(&ring, 2).unwrap();
        assert!(Arc::ptr_eq(&keys, &other.join().unwrap()));
        assert!(Arc::ptr_eq(&keys, &open(&ring, 2).unwrap()));
    });
}

#[test]
fn the_keys_for_new_objects_only_get_newer_whoever_learns_of_a_rotation_first() {
    loom::model(|| {
        let ring = ring();
        let others = [2, 3].map(|epoch| {
            let ring = ring.clone();
            thread::spawn(move || ring.use_for_new(open(&ring, epoch).unwrap()))
        });
        let (first, second) = (ring.newest().unwrap().epoch(), ring.newest().unwrap().epoch());
        assert!(first <= second, "{second} after {first}");
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(ring.newest().unwrap().epoch(), 3);
    });
}

#[test]
fn nobody_is_given_keys_once_somebody_knows_that_they_were_destroyed() {
    loom::model(|| {
        let (ring, is_known) = (ring(), Arc::new(AtomicBool::new(false)));
        let destroyer = {
            let (ring, is_known) = (ring.clone(), is_known.clone());
            thread::spawn(move || {
                assert_eq!(ring.destroy(KeyDestruction).kind(), ErrorKind::Denied);
                is_known.store(true, Ordering::SeqCst);
            })
        };
        let opener = {
            let (ring, is_known) = (ring.clone(), is_known.clone());
            thread::spawn(move || {
                let keys = ring.get(2).and_then(|_| {
                    let was_known = is_known.load(Ordering::SeqCst);
                    ring.keep(EpochKeys(2)).inspect(|keys| assert!(!was_known, "{keys:?} of destroyed ones"))
                });
                if let Ok(keys) = keys {
                    ring.use_for_new(keys);
                }
            })
        };
        if ring.newest().is_err() {
            assert!(ring.newest().is_err() && open(&ring, 1).is_err(), "they came back");
        }
        [destroyer, opener].into_iter().for_each(|other| other.join().unwrap());
        assert!(ring.newest().is_err() && open(&ring, 1).is_err() && ring.keep(EpochKeys(3)).is_err());
    });
}
