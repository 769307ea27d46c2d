//! Each event that a webhook wants has one delivery, and each that people are alerted of counts once, whoever relays and wherever they die.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use listbackup_engine::{
    model::{
        AccountId, ActivityEvent, Alert, Delivery, Webhook, WebhookId,
        scope::AccountScope,
        webhook::{DUE_SHARD, WebhookState},
    },
    ports::{Condition, Query, SortRange},
    run::relay::Relay,
    store::{self, Store},
    tables::WEBHOOKS,
};
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::Value;

use crate::{
    activity::{head, linked, world},
    followers::keep,
    meddled::Fate,
    mortal::{Life, Side, at_each_effect},
    world::World,
};

fn webhook(scope: &AccountScope, number: u8, kinds: &[&str]) -> Webhook {
    let webhook_id = WebhookId::derived(1, [number; 10]);
    Webhook {
        account_id: scope.account_id(),
        webhook_key: Webhook::sort_key(webhook_id),
        webhook_id,
        url: "https://receiver.example/".to_owned(),
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        description: String::new(),
        state: if number == 9 { WebhookState::Paused } else { WebhookState::Active },
        disabled: None,
        failing_since: None,
        sealed: String::new(),
        former: None,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// One that takes all, one that takes two kinds, one of which nothing comes, and one that is paused.
async fn webhooks(world: &World, scope: &AccountScope) -> Vec<Webhook> {
    let all = [(1, &[][..]), (2, &["run.failed", "source.*"]), (3, &["snapshot.suspicious"]), (9, &[])];
    let all: Vec<_> = all.into_iter().map(|(number, kinds)| webhook(scope, number, kinds)).collect();
    let writes = all.iter().map(|row| store::put(row, Condition::Absent).expect("a row")).collect();
    world.ports.tables.transact(scope.into(), writes).await.expect("webhooks");
    all
}

fn rows_that_begin(scope: &AccountScope, prefix: &str) -> Query {
    Query {
        table: &WEBHOOKS,
        index: None,
        partition: scope.account_id().to_string(),
        sort: SortRange::Prefix(prefix.to_owned()),
        descending: false,
        limit: 1000,
        after: None,
    }
}

/// The deliveries that there are, and those that the chain asks for: webhook, event.
async fn both(world: &World, scope: &AccountScope, hooks: &[Webhook]) -> [BTreeSet<(String, String)>; 2] {
    let store = Store::new(world.ports.tables.clone());
    let rows = store.all::<Delivery>(scope, rows_that_begin(scope, "delivery#")).await.expect("rows");
    assert!(rows.iter().all(|row| row.due_shard.as_deref() == Some(DUE_SHARD) && row.next_attempt_ms.is_some()));
    let count = rows.len();
    let there: BTreeSet<_> =
        rows.into_iter().map(|row| (row.webhook_id.to_string(), row.event_id.to_string())).collect();
    assert_eq!(there.len(), count, "no event twice");
    let mut wanted = BTreeSet::new();
    for row in linked(&world.ports, scope).await {
        let event: ActivityEvent = serde_json::from_value(Value::Object(row)).expect("an event");
        for hook in hooks {
            let takes = |kind: &String| {
                kind == event.kind.code() || *kind == "source.*" && event.kind.code().starts_with("source.")
            };
            if hook.state == WebhookState::Active && (hook.kinds.is_empty() || hook.kinds.iter().any(takes)) {
                wanted.insert((hook.webhook_id.to_string(), event.event_id.to_string()));
            }
        }
    }
    [there, wanted]
}

/// The alerts that there are, and those that the chain asks for.
async fn alerts(world: &World, scope: &AccountScope) -> [BTreeMap<String, Alert>; 2] {
    let store = Store::new(world.ports.tables.clone());
    let rows = store.all::<Alert>(scope, rows_that_begin(scope, "alert#")).await.expect("rows");
    let there = rows.into_iter().map(|row| (row.webhook_key.clone(), row)).collect();
    let mut wanted = BTreeMap::<String, Alert>::new();
    for row in linked(&world.ports, scope).await {
        let event: ActivityEvent = serde_json::from_value(Value::Object(row)).expect("an event");
        if let Some(key) = Alert::sort_key(&event) {
            let first = || Alert::of(&event, key.clone());
            wanted.entry(key.clone()).and_modify(|alert| alert.take(&event)).or_insert_with(first);
        }
    }
    [there, wanted]
}

/// Two relays, the first of which dies at that effect; true when it survived because it has no such effect.
async fn derive_and_die(ends_at: (u64, Side)) -> bool {
    let world = world(7).await;
    let other = world.system.account(AccountId::derived(1, [7; 10]));
    let mut random = StdRng::seed_from_u64(7);
    let hooks = [webhooks(&world, &world.scope).await, webhooks(&world, &other).await];
    for scope in [&world.scope, &other] {
        keep(&world.ports, scope, &mut random, 120).await;
    }
    let life = Life::new(Some(ends_at));
    let ports = Fate::Mortal(life.clone()).ports(&world.ports);
    let mut first = Relay::default();
    let survived = tokio::select! {
        biased;
        done = first.look(&ports, &world.system) => { done.expect("stores that work"); true }
        _ = life.end() => false,
    };
    keep(&world.ports, &world.scope, &mut random, 5).await;
    Relay::default().look(&world.ports, &world.system).await.expect("stores that work");
    for (scope, hooks) in [&world.scope, &other].into_iter().zip(&hooks) {
        let [there, wanted] = both(&world, scope, hooks).await;
        assert_eq!(there, wanted, "dead {:?} effect {} of {:?}", ends_at.1, ends_at.0, life.effects());
        let [there, asked] = alerts(&world, scope).await;
        assert_eq!(there, asked, "dead {:?} effect {} of {:?}", ends_at.1, ends_at.0, life.effects());
        assert!(there.values().any(|alert| alert.withheld > 0) && there.len() > 5, "{there:?}");
        assert!(wanted.len() > 120, "{}", wanted.len());
        assert_eq!(head(&world.ports, scope).await.outbox_shard, None);
    }
    survived
}

#[tokio::test]
async fn wherever_a_relay_dies_each_event_has_one_delivery_to_each_webhook_and_counts_once_in_an_alert() {
    let points = at_each_effect(derive_and_die).await;
    println!("deliveries: {points} crash points");
    assert!(points >= 20, "linking, telling and deriving have more effects than that: {points}");
}
