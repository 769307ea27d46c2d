//! Followers of an account's events, in whatever process these were linked.
//!
//! While anybody in this process follows an account, one task looks into the `chain` index of the activity table each second, and at
//! once when this process publishes an event of the account. It begins after the newest event that is there when it first
//! looks, but with the first that this process published since somebody follows: an event is in the table before it is published, so
//! the first look may find one that is news.
//!
//! Places are handed on without gaps: an index may show an event before the one that precedes it. One that does not come within some
//! looks is missing for good (whoever checks the chain is told), and followers go on without it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream, stream::BoxStream};
use tokio::{
    select,
    sync::{
        Notify,
        broadcast::{self, error::RecvError},
    },
    time::sleep,
};

use crate::{
    error::Result,
    model::{AccountId, ActivityEvent, scope::AccountScope},
    ports::{Query, SortRange, Tables},
    store::Store,
    tables::ACTIVITY,
};

/// How many events a follower may be behind before it loses the oldest.
const BACKLOG: usize = 4096;
/// How often the table is looked into.
const EVERY: Duration = Duration::from_secs(1);
/// Events of one look into the table.
const PAGE: usize = 500;
/// Looks after which a place that is not there is gone past.
const LOOKS_FOR_A_GAP: u32 = 5;

/// All followers of this process.
pub(super) struct Following {
    store: Store,
    accounts: Mutex<HashMap<AccountId, Arc<Account>>>,
}

/// An account that somebody follows.
struct Account {
    events: broadcast::Sender<ActivityEvent>,
    /// Wakes who looks into the table.
    look: Notify,
    /// The least place that was published here since somebody follows.
    published: Mutex<Option<u64>>,
}

/// Lets the task end with its last follower.
struct Leaving(Arc<Account>);

/// Where the task is in the chain.
#[derive(Default)]
struct Place {
    /// The one after which followers began, and the last that they got; unknown until the first look.
    first_and_last: Option<(u64, u64)>,
    /// Looks that found the next one missing.
    looks_for_next: u32,
}

impl Following {
    pub(super) fn new(tables: Arc<dyn Tables>) -> Self {
        Self { store: Store::new(tables), accounts: Mutex::default() }
    }

    /// What is in it is whole between any two steps.
    fn accounts(&self) -> MutexGuard<'_, HashMap<AccountId, Arc<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Events of an account from now on. To be called within tokio's runtime.
    pub(super) fn follow(this: &Arc<Self>, scope: &AccountScope) -> BoxStream<'static, ActivityEvent> {
        let account_id = scope.account_id();
        let mut accounts = this.accounts();
        let account = accounts.entry(account_id).or_insert_with(|| {
            let account = Arc::new(Account {
                events: broadcast::Sender::new(BACKLOG),
                look: Notify::new(),
                published: Mutex::default(),
            });
            tokio::spawn(look_after(this.clone(), account.clone(), *scope));
            account
        });
        // Under the lock under which the task decides that nobody follows.
        let receiver = account.events.subscribe();
        let leaving = Leaving(account.clone());
        drop(accounts);
        stream::unfold((receiver, leaving), |(mut receiver, leaving)| async move {
            loop {
                match receiver.recv().await {
                    Ok(event) => return Some((event, (receiver, leaving))),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }

    /// An event that this process publishes.
    pub(super) fn hear(&self, event: &ActivityEvent) {
        let Some(account) = self.accounts().get(&event.account_id).cloned() else { return };
        match event.sequence {
            // An error only means that nobody follows at the moment.
            None => drop(account.events.send(event.clone())),
            Some(sequence) => {
                let mut published = account.published.lock().unwrap_or_else(PoisonError::into_inner);
                *published = Some(published.map_or(sequence, |least| least.min(sequence)));
                account.look.notify_one();
            }
        }
    }

    /// Everything new in the table goes to the followers.
    async fn look(&self, scope: &AccountScope, account: &Account, place: &mut Place) -> Result<()> {
        let (mut first, mut last) = match place.first_and_last {
            Some(known) => known,
            None => self.newest(scope).await.map(|newest| (newest, newest))?,
        };
        let published = *account.published.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = published.map(|least| least.saturating_sub(1)).filter(|before| *before < first) {
            // What followers had meanwhile comes to them once more.
            (first, last) = (before, before);
        }
        place.first_and_last = Some((first, last));
        loop {
            let query = Query { sort: SortRange::Numbers(Some(number(last + 1)), None), ..linked(scope) };
            let page = self.store.sound::<ActivityEvent>(scope, query).await?;
            let has_more = page.next.is_some();
            for event in page.rows.into_iter().map(|found| found.row) {
                let sequence = event.sequence.unwrap_or_default();
                if sequence > last + 1 && place.looks_for_next < LOOKS_FOR_A_GAP {
                    place.looks_for_next += 1;
                    return Ok(());
                }
                *place = Place { first_and_last: Some((first, sequence)), looks_for_next: 0 };
                last = sequence;
                let _ = account.events.send(event);
            }
            if !has_more {
                return Ok(());
            }
        }
    }

    /// The last place in the table.
    async fn newest(&self, scope: &AccountScope) -> Result<u64> {
        let query = Query { descending: true, limit: 1, ..linked(scope) };
        let newest = self.store.sound::<ActivityEvent>(scope, query).await?;
        Ok(newest.rows.first().and_then(|found| found.row.sequence).unwrap_or(0))
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.look.notify_one();
    }
}

/// Looks as long as anybody follows.
async fn look_after(following: Arc<Following>, account: Arc<Account>, scope: AccountScope) {
    let mut place = Place::default();
    loop {
        {
            let mut accounts = following.accounts();
            if account.events.receiver_count() == 0 {
                accounts.remove(&scope.account_id());
                return;
            }
        }
        if let Err(error) = following.look(&scope, &account, &mut place).await {
            tracing::warn!(%error, account = %scope.account_id(), "followers wait: the activity table could not be read");
        }
        select! {
            () = account.look.notified() => {}
            () = sleep(EVERY) => {}
        }
    }
}

fn linked(scope: &AccountScope) -> Query {
    Query {
        table: &ACTIVITY,
        index: Some("chain"),
        partition: scope.account_id().to_string(),
        sort: SortRange::All,
        descending: false,
        limit: PAGE,
        after: None,
    }
}

fn number(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}
