//! How many runs of one account, and of one integration, this worker executes at a time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::settings::RunSettings;
use crate::model::AccountId;

/// The places of one worker; clones share them.
#[derive(Clone, Debug)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    per_account: Option<usize>,
    per_integration: Option<usize>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    accounts: BTreeMap<AccountId, usize>,
    integrations: BTreeMap<String, usize>,
}

/// A run's place; free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    account_id: AccountId,
    integration: String,
}

impl Places {
    /// All of them free.
    pub fn of(settings: &RunSettings) -> Self {
        Self(Arc::new(Inner {
            per_account: settings.slots_per_account,
            per_integration: settings.slots_per_integration,
            taken: Mutex::default(),
        }))
    }

    /// A place for a run, if its account and its integration have one left.
    pub fn take(&self, account_id: AccountId, integration: &str) -> Option<Place> {
        let mut taken = self.taken();
        let of_account = taken.accounts.get(&account_id).copied().unwrap_or_default();
        let of_integration = taken.integrations.get(integration).copied().unwrap_or_default();
        let is_full = |taken: usize, limit: Option<usize>| limit.is_some_and(|limit| taken >= limit);
        if is_full(of_account, self.0.per_account) || is_full(of_integration, self.0.per_integration) {
            return None;
        }
        taken.accounts.insert(account_id, of_account + 1);
        taken.integrations.insert(integration.to_owned(), of_integration + 1);
        Some(Place { places: self.clone(), account_id, integration: integration.to_owned() })
    }

    /// How many runs this worker executes now.
    pub fn live(&self) -> usize {
        self.taken().accounts.values().sum()
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        give_back(&mut taken.accounts, &self.account_id);
        give_back(&mut taken.integrations, &self.integration);
    }
}

fn give_back<K: Ord>(taken: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = taken.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            taken.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_and_an_integration_have_so_many_places_and_get_them_back() {
        let settings =
            RunSettings { slots_per_account: Some(2), slots_per_integration: Some(3), ..RunSettings::default() };
        let places = Places::of(&settings);
        let account = |n: i64| AccountId::derived(n, [0; 10]);
        let first = places.take(account(1), "keap").expect("a place");
        let second = places.take(account(1), "stripe").expect("a place");
        assert_eq!(places.live(), 2);
        assert!(places.take(account(1), "zendesk").is_none(), "the account has two");
        let others = [places.take(account(2), "keap"), places.take(account(2), "keap")];
        assert!(others.iter().all(Option::is_some));
        assert!(places.take(account(3), "keap").is_none(), "the integration has three");
        drop(first);
        assert!(places.take(account(3), "keap").is_some());
        assert!(places.take(account(1), "stripe").is_some());
        drop((second, others));
        assert!(places.taken().accounts.is_empty() && places.taken().integrations.is_empty());
    }
}
