//! Adds up what is asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use super::map::{Asked, Billed, Service};

/// Who asks, whom, by what, of what.
type Kind = (&'static str, Service, &'static str, String);

/// Adds up; clones share the sums.
#[derive(Clone, Default)]
pub struct Meter(Arc<Mutex<Counts>>);

/// Sums.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    requests: BTreeMap<Kind, usize>,
    units: BTreeMap<(Service, Billed), f64>,
}

impl Meter {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().expect("no panic under the lock")
    }

    /// A process of that role asks.
    pub fn add(&self, role: &'static str, asked: Asked) {
        if asked.requests == 0 {
            return;
        }
        let mut counts = self.counts();
        *counts.units.entry((asked.service, asked.billed)).or_default() += asked.units;
        *counts.requests.entry((role, asked.service, asked.operation, asked.of)).or_default() += asked.requests;
    }

    /// What was asked since the last time.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut self.counts())
    }
}

impl Counts {
    /// Requests to a service.
    pub fn of(&self, service: Service) -> usize {
        self.requests.iter().filter(|((_, of, ..), _)| *of == service).map(|(_, count)| count).sum()
    }

    /// Requests of a role.
    pub fn by(&self, role: &str) -> usize {
        self.requests.iter().filter(|((by, ..), _)| *by == role).map(|(_, count)| count).sum()
    }

    /// All requests.
    pub fn all(&self) -> usize {
        self.requests.values().sum()
    }

    /// What is billed by a service in that way.
    pub fn units(&self, service: Service, billed: Billed) -> f64 {
        self.units.get(&(service, billed)).copied().unwrap_or_default()
    }

    /// Each kind of requests, as a line.
    pub fn lines(&self) -> Vec<String> {
        let line = |((role, service, operation, of), count): (&Kind, &usize)| {
            format!("{role:<10} {count:>9}  {service:?} {operation} {of}")
        };
        self.requests.iter().map(line).collect()
    }
}
