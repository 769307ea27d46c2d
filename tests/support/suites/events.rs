//! The promises of the events port.

use futures::{FutureExt, StreamExt};
use listbackup_engine::{
    model::{ActivityEvent, ActivityKind, EventId, scope::AccountScope},
    ports::{Condition, Events},
    store::{self, Store},
};
use serde_json::{Map, json};

use crate::support::Subject;

/// Every promise, one after another.
pub async fn keeps_all(subject: &Subject) {
    followers_get_their_account_in_order_from_now_on(subject).await;
    a_follower_that_lags_loses_the_oldest_only(subject).await;
    a_nudge_wakes_who_waits_and_who_waits_later(subject).await;
}

/// An event that is only for those who follow at the moment.
fn event(subject: &Subject, account: &AccountScope, number: u64) -> ActivityEvent {
    ActivityEvent {
        event_id: EventId::new(&*subject.ports.clock, &*subject.ports.random),
        timestamp: subject.ports.clock.now().as_millisecond(),
        account_id: account.account_id(),
        kind: ActivityKind::RunProgress,
        actor: "system".to_owned(),
        source_id: None,
        job_id: None,
        run_id: None,
        details: Map::from_iter([("number".to_owned(), json!(number))]),
        sequence: None,
        chain_digest: None,
        outbox_shard: None,
    }
}

pub fn number(event: &ActivityEvent) -> u64 {
    event.details["number"].as_u64().unwrap()
}

/// An event in its place in the table, from 1, as the relay has it there before it publishes.
pub async fn kept(subject: &Subject, account: &AccountScope, place: u64) -> ActivityEvent {
    let event =
        ActivityEvent { kind: ActivityKind::RunFailed, sequence: Some(place), ..event(subject, account, place) };
    let write = store::put(&event, Condition::Absent).unwrap();
    Store::new(subject.ports.tables.clone()).transact(account, vec![write]).await.unwrap();
    event
}

async fn publish(events: &dyn Events, event: ActivityEvent) {
    events.publish(&[event]).await.unwrap();
}

async fn followers_get_their_account_in_order_from_now_on(subject: &Subject) {
    let (mine, other) = (subject.account(), subject.account());
    let events = &subject.ports.events;
    publish(&**events, kept(subject, &mine, 1).await).await;
    let (one, two) = (events.follow(&mine), events.follow(&mine));
    for n in 2..=11 {
        let told = [kept(subject, &other, n).await, kept(subject, &mine, n).await];
        events.publish(&told).await.unwrap();
    }
    for follower in [one, two] {
        let seen: Vec<u64> = follower.take(10).map(|event| number(&event)).collect().await;
        assert_eq!(seen, (2..=11).collect::<Vec<_>>());
    }
}

async fn a_follower_that_lags_loses_the_oldest_only(subject: &Subject) {
    let account = subject.account();
    let events = &subject.ports.events;
    let mut follower = events.follow(&account);
    let last = 20_000;
    for n in 0..=last {
        events.publish(&[event(subject, &account, n)]).await.unwrap();
    }
    let mut seen = vec![number(&follower.next().await.unwrap())];
    while seen.last() != Some(&last) {
        seen.push(number(&follower.next().await.unwrap()));
    }
    assert!(seen.windows(2).all(|pair| pair[0] + 1 == pair[1]), "what is left has no gaps");
}

async fn a_nudge_wakes_who_waits_and_who_waits_later(subject: &Subject) {
    let events = &subject.ports.events;
    let (mut one, mut two) = (events.nudges(), events.nudges());
    assert!(one.changed().now_or_never().is_none(), "nobody is nudged at first");
    events.nudge();
    events.nudge();
    one.changed().await;
    assert!(one.changed().now_or_never().is_none(), "many nudges count as one");
    two.changed().await;
    assert!(events.nudges().changed().now_or_never().is_none(), "who comes later looks by itself first");
}
