//! The end of an account: after its grace nothing of it is left but what has to be, however often whoever carries it out is cut off.

use std::time::Duration;

use listbackup_engine::{
    accounts::{Acting, Office},
    model::{
        Account, AccountId, ActivityEvent, ActivityKind, Membership, Role, RunStatus, UserId, user::MembershipStatus,
    },
    ports::{Clock, Condition, Query, SortRange, Write},
    run::{RunContext, account_end, retention},
    snapshot::{paths, retain::MarkKind},
    store::{self, Store, key1},
    tables::{self, ACCOUNTS, ACTIVITY, Attribute, AttributeType, Ownership, TableSchema, USERS_ACCOUNTS},
};
use serde_json::json;

use crate::{
    crash_points::rows,
    meddled::Fate,
    mortal::{Life, at_each_effect},
    rules::{STREAM, finished, indexed, product},
    world::World,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A world with a backup, whose account is below another one and was to be deleted a month ago.
struct Ending {
    world: World,
    above: AccountId,
}

impl Ending {
    async fn new(seed: u64) -> Self {
        let world = World::new(seed, product(20)).await;
        let (above, now) = (AccountId::new(&*world.ports.clock, &*world.ports.random), world.ports.clock.now());
        let parent = Account { children: 1, ..Account::root(above, "Family".to_owned(), now) };
        let child = parent.child(world.scope.account_id(), "Shop".to_owned(), now);
        let writes = [&parent, &child].map(|account| store::put(account, Condition::Absent).expect("a row"));
        Store::new(world.ports.tables.clone()).transact(&world.system, writes.to_vec()).await.expect("written");
        let worker = world.worker();
        let run = world.order().await;
        assert_eq!(finished(&worker, &run).await.status, RunStatus::Succeeded);
        indexed(&world, &worker, &run).await;
        let ending = Self { world, above };
        ending.office(&worker).announce_end(ending.acting()).await.expect("announced");
        ending
    }

    fn office<'a>(&'a self, worker: &'a RunContext) -> Office<'a> {
        Office { ports: &worker.ports, store: &worker.store, system: &self.world.system, plans: &worker.settings.plans }
    }

    fn acting(&self) -> Acting<'_> {
        Acting { scope: &self.world.scope, actor: "ada", may_own: true }
    }

    async fn account(&self, account_id: AccountId) -> Option<Account> {
        let store = Store::new(self.world.ports.tables.clone());
        store.find::<Account>(&self.world.system, key1(account_id)).await.expect("the store").map(|found| found.row)
    }

    /// Rows of the account in a table.
    async fn count(&self, table: &'static TableSchema) -> usize {
        let partition = self.world.scope.account_id().to_string();
        let index = (table.partition != OWNER).then_some("by-account");
        let query =
            Query { table, index, partition, sort: SortRange::All, descending: false, limit: 1000, after: None };
        self.world.ports.tables.query((&self.world.scope).into(), query).await.expect("rows").items.len()
    }

    async fn objects(&self) -> Vec<String> {
        let prefix = paths::account(self.world.scope.account_id());
        let entries = self.world.ports.blobs.list(&self.world.scope, &prefix, None, 1000).await.expect("objects");
        entries.into_iter().map(|entry| entry.path).collect()
    }

    async fn told(&self, account_id: AccountId, kind: ActivityKind) -> Vec<ActivityEvent> {
        let scope = self.world.system.account(account_id);
        let query = Query {
            table: &ACTIVITY,
            index: Some("by-account"),
            partition: account_id.to_string(),
            sort: listbackup_engine::model::activity::only_events(),
            descending: false,
            limit: 1000,
            after: None,
        };
        let events = Store::new(self.world.ports.tables.clone()).all::<ActivityEvent>(&scope, query).await;
        events.expect("events").into_iter().filter(|event| event.kind == kind).collect()
    }

    /// A row in each table of accounts that a backup has none in.
    async fn fill(&self) {
        let (scope, now) = (&self.world.scope, self.world.ports.clock.now());
        let account_id = scope.account_id();
        let value = |attribute: Attribute| match (attribute.name, attribute.kind) {
            ("accountId", _) => json!(account_id),
            (_, AttributeType::Text) => json!("x"),
            (_, AttributeType::Number) => json!(1),
        };
        let row = |table: &'static TableSchema| {
            let keys = [Some(table.partition), table.sort].into_iter().flatten().chain([OWNER]);
            let body = keys.map(|attribute| (attribute.name.to_owned(), value(attribute))).collect();
            Write::Put { table, body, condition: Condition::Any }
        };
        let user_id = UserId::new(&*self.world.ports.clock, &*self.world.ports.random);
        let status = MembershipStatus::Active;
        let member = Membership { user_id, account_id, role: Role::Owner, status, created_at: now };
        let mut writes = vec![store::put(&member, Condition::Absent).expect("a row")];
        for table in of_accounts() {
            if self.count(table).await == 0 && table.name != USERS_ACCOUNTS.name {
                writes.push(row(table));
            }
        }
        self.world.ports.tables.transact(scope.into(), writes).await.expect("written");
        for table in of_accounts() {
            assert!(self.count(table).await > 0, "{} has nothing that could be left", table.name);
        }
    }

    /// Nothing is left but the log of events and the mark.
    async fn assert_gone(&self) {
        let account_id = self.world.scope.account_id();
        assert_eq!(self.account(account_id).await, None);
        assert_eq!(self.account(self.above).await.expect("the account above").children, 0);
        for table in of_accounts() {
            assert_eq!(self.count(table).await, 0, "{}", table.name);
        }
        assert_eq!(self.objects().await, [paths::keys_destroyed(account_id)]);
        assert!(!self.told(account_id, ActivityKind::AccountKeyDestroyed).await.is_empty());
        assert_eq!(self.told(account_id, ActivityKind::AccountDeleted).await.len(), 1);
        let above = self.told(self.above, ActivityKind::AccountDeleted).await;
        assert_eq!(above.len(), 1);
        assert_eq!(above[0].details["name"], "Shop");
    }
}

const OWNER: Attribute = Attribute { name: "accountId", kind: AttributeType::Text };

/// All tables whose rows belong to accounts, but the log, which stays.
fn of_accounts() -> impl Iterator<Item = &'static TableSchema> {
    tables::ALL.into_iter().filter(|table| table.ownership == Ownership::Account && table.name != ACTIVITY.name)
}

/// Looks as often as the actor would, until the account is gone.
async fn carried_out(worker: &RunContext) {
    for _ in 0..10 {
        if account_end::end_due(worker).await.expect("a look") == 1 {
            return;
        }
    }
    panic!("the account is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_grace_nothing_is_left_of_an_account_but_its_log_and_the_mark_of_its_keys() {
    let ending = Ending::new(81).await;
    ending.fill().await;
    let worker = ending.world.worker();
    ending.world.clock.advance(29 * DAY);
    assert_eq!(account_end::end_due(&worker).await.expect("a look"), 0);
    assert_eq!(ending.world.head_records(STREAM).await.len(), 20, "until then it can be read");
    ending.world.clock.advance(DAY);
    assert_eq!(account_end::end_due(&worker).await.expect("a look"), 0, "rows and objects go first");
    let late = ending.office(&worker).call_end_off(ending.acting()).await;
    assert_eq!(late.err().expect("too late").kind(), listbackup_engine::ErrorKind::Conflict);
    carried_out(&worker).await;
    ending.assert_gone().await;
    assert_eq!(account_end::end_due(&worker).await.expect("a look"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_goes_after_those_below_it_whichever_time_has_come_first() {
    let ending = Ending::new(85).await;
    let worker = ending.world.worker();
    let scope = ending.world.system.account(ending.above);
    let above = Acting { scope: &scope, ..ending.acting() };
    ending.office(&worker).announce_end(above).await.expect("all below it are to go");
    // The one below is put off for a day.
    let snapshot_id = ending.world.source().await.head.expect("a snapshot").snapshot_id;
    let (place, until) = ((ending.world.source_id, snapshot_id), ending.world.clock.now() + 30 * DAY + DAY / 2);
    let hold = MarkKind::Hold { until: Some(until) };
    retention::mark(&worker, &ending.world.scope, place, hold, "court", "a case").await.expect("a hold");
    ending.world.clock.advance(30 * DAY);
    for _ in 0..3 {
        assert_eq!(account_end::end_due(&worker).await.expect("a look"), 0);
    }
    assert!(ending.account(ending.above).await.is_some());
    ending.world.clock.advance(DAY);
    let mut gone = 0;
    for _ in 0..10 {
        gone += account_end::end_due(&worker).await.expect("a look");
    }
    assert_eq!((gone, ending.account(ending.above).await), (2, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_calls_the_end_off_in_time_keeps_everything() {
    let ending = Ending::new(82).await;
    let worker = ending.world.worker();
    ending.world.clock.advance(29 * DAY);
    ending.office(&worker).call_end_off(ending.acting()).await.expect("called off");
    ending.world.clock.advance(30 * DAY);
    assert_eq!(account_end::end_due(&worker).await.expect("a look"), 0);
    assert_eq!(ending.world.head_records(STREAM).await.len(), 20);
    let account: Vec<Account> = rows(&ending.world, &ACCOUNTS, None, ending.world.scope.account_id().to_string()).await;
    assert_eq!((&account[0].ending, account[0].ends_ms), (&None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_snapshot_puts_the_end_off_and_that_is_told_once() {
    let ending = Ending::new(83).await;
    let worker = ending.world.worker();
    let snapshot_id = ending.world.source().await.head.expect("a snapshot").snapshot_id;
    let place = (ending.world.source_id, snapshot_id);
    let hold = MarkKind::Hold { until: None };
    retention::mark(&worker, &ending.world.scope, place, hold, "court", "a case").await.expect("a hold");
    for _ in 0..3 {
        ending.world.clock.advance(30 * DAY);
        assert_eq!(account_end::end_due(&worker).await.expect("a look"), 0);
    }
    let account_id = ending.world.scope.account_id();
    assert_eq!(ending.told(account_id, ActivityKind::AccountDeletionHeld).await.len(), 1);
    assert_eq!(ending.world.head_records(STREAM).await.len(), 20);
    assert!(ending.account(account_id).await.expect("the account").ending.expect("an end").is_held);

    retention::mark(&worker, &ending.world.scope, place, MarkKind::Release, "court", "closed").await.expect("free");
    ending.world.clock.advance(DAY);
    carried_out(&worker).await;
    ending.assert_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_cut_off_at_any_step_of_an_end_is_followed_by_another_who_finishes_it() {
    let points = at_each_effect(async |ends_at| {
        let ending = Ending::new(84).await;
        ending.world.clock.advance(30 * DAY);
        let life = Life::new(Some(ends_at));
        let mortal = ending.world.worker_with(Fate::Mortal(life.clone()).ports(&ending.world.ports));
        let survived = tokio::select! {
            biased;
            () = carried_out(&mortal) => true,
            _ = life.end() => false,
        };
        // The last step may have been the one that was cut off, so nothing may be left to do.
        for _ in 0..5 {
            account_end::end_due(&ending.world.worker()).await.expect("a look");
        }
        ending.assert_gone().await;
        survived
    })
    .await;
    assert!(points > 20, "an end has many steps: {points}");
}
