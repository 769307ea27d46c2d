//! Events on a bus of EventBridge.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use listbackup_engine::{
    ErrorKind,
    adapters::aws::{AwsClients, DynamoTables, EventBridgeEvents},
    model::{ActivityEvent, ActivityKind, scope::AccountScope},
    ports::Events,
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers};

use crate::{
    aws,
    servers::aws::{StandIn, settings},
    suites::{self, events::kept, events::number},
    support::{Embedded, Subject, pass},
};

#[tokio::test]
async fn events_reach_followers_and_rules_as_promised_on_ministack() {
    events_reach_followers_and_rules_as_promised(StandIn::MiniStack).await;
}

#[tokio::test]
async fn events_reach_followers_and_rules_as_promised_on_moto() {
    events_reach_followers_and_rules_as_promised(StandIn::Moto).await;
}

async fn events_reach_followers_and_rules_as_promised(stand_in: StandIn) {
    let Some(aws) = aws(stand_in).await else { return };
    let failures = aws.make_bus().await;
    aws.make_tables().await;
    let embedded = Embedded::new();
    let mut ports = embedded.stores.ports();
    let (clock, random) = (ports.clock.clone(), ports.random.clone());
    ports.tables = Arc::new(DynamoTables::new(&aws.clients, &aws.settings, clock, random));
    ports.events = Arc::new(EventBridgeEvents::new(&aws.clients, &aws.settings, ports.tables.clone()));
    let subject = Subject::new(ports);
    let account = subject.account();
    let failed = kept(&subject, &account, 1).await;
    let others = [
        ActivityEvent { kind: ActivityKind::RunStarted, ..failed.clone() },
        ActivityEvent { sequence: None, ..failed.clone() },
        failed.clone(),
    ];
    subject.ports.events.publish(&others).await.unwrap();
    let receive = aws.clients.sqs.receive_message().queue_url(&failures).max_number_of_messages(10);
    let told = receive.wait_time_seconds(20).send().await.unwrap().messages.unwrap_or_default();
    let [message] = told.as_slice() else { panic!("one message was expected: {told:?}") };
    let event: Value = serde_json::from_str(message.body().unwrap()).unwrap();
    assert_eq!((&event["source"], &event["detail-type"]), (&json!("listbackup"), &json!("run.failed")), "{event}");
    assert_eq!(event["detail"], json!(failed), "{event}");

    suites::events::keeps_all(&subject).await;
}

/// Nothing that follows needs the bus, so here there is none, and the clock can go as the test wants.
#[tokio::test(start_paused = true)]
async fn followers_hear_what_another_process_published() {
    let embedded = Embedded::new();
    let subject = Subject::new(embedded.stores.ports());
    let (here, there) = (without_bus(&subject).await, without_bus(&subject).await);
    let account = subject.account();
    publish(&there, kept(&subject, &account, 1).await).await;
    // The table has it before the first look; it is news all the same, for it is published after that.
    let second = kept(&subject, &account, 2).await;
    let mut follower = here.follow(&account);
    pass(Duration::from_millis(10)).await;
    assert!(follower.next().now_or_never().is_none());
    publish(&here, second).await;
    assert_eq!(number(&follower.next().await.unwrap()), 2);
    for place in 3..=5 {
        publish(&there, kept(&subject, &account, place).await).await;
    }
    let started = Instant::now();
    for place in 3..=5 {
        assert_eq!(number(&follower.next().await.unwrap()), place);
    }
    assert!(started.elapsed() <= Duration::from_secs(1), "took {:?}", started.elapsed());
    // One who leaves takes nothing from the others, and who comes again begins anew.
    let mut other = here.follow(&account);
    drop(follower);
    publish(&there, kept(&subject, &account, 6).await).await;
    assert_eq!(number(&other.next().await.unwrap()), 6);
    drop(other);
    pass(Duration::from_secs(2)).await;
    publish(&there, kept(&subject, &account, 7).await).await;
    let mut again = here.follow(&account);
    pass(Duration::from_secs(2)).await;
    publish(&there, kept(&subject, &account, 8).await).await;
    assert_eq!(number(&again.next().await.unwrap()), 8);
}

#[tokio::test(start_paused = true)]
async fn followers_wait_for_a_place_that_the_index_does_not_show_yet_but_not_for_ever() {
    let embedded = Embedded::new();
    let subject = Subject::new(embedded.stores.ports());
    let events = without_bus(&subject).await;
    let account = subject.account();
    let mut follower = events.follow(&account);
    publish(&events, kept(&subject, &account, 1).await).await;
    assert_eq!(number(&follower.next().await.unwrap()), 1);
    kept(&subject, &account, 3).await;
    pass(Duration::from_millis(1500)).await;
    assert!(follower.next().now_or_never().is_none());
    kept(&subject, &account, 2).await;
    assert_eq!([number(&follower.next().await.unwrap()), number(&follower.next().await.unwrap())], [2, 3]);
    kept(&subject, &account, 5).await;
    assert_eq!(number(&follower.next().await.unwrap()), 5, "whoever checks the chain is told of the missing one");
}

#[tokio::test]
async fn events_that_the_bus_did_not_take_are_put_again() {
    let bus = MockServer::start().await;
    let put = || Mock::given(matchers::header("x-amz-target", "AWSEvents.PutEvents"));
    let partly = json!({ "FailedEntryCount": 2, "Entries": [
        { "EventId": "1" }, { "ErrorCode": "ThrottlingException", "ErrorMessage": "" }, { "EventId": "3" },
        { "ErrorCode": "MalformedDetail", "ErrorMessage": "for ever" },
    ] });
    put().respond_with(ResponseTemplate::new(200).set_body_json(partly)).up_to_n_times(1).expect(1).mount(&bus).await;
    put().respond_with(takes).expect(1).mount(&bus).await;
    let embedded = Embedded::new();
    let subject = Subject::new(embedded.stores.ports());
    let account = subject.account();
    process(&bus, &subject).await.publish(&in_places(&subject, &account, 1..=4).await).await.unwrap();
    assert_eq!(sequences(&bus).await, [vec![1, 2, 3, 4], vec![2]], "all but one that it never takes");
}

#[tokio::test]
async fn a_bus_that_takes_nothing_is_told_to_whoever_publishes() {
    let bus = MockServer::start().await;
    let refusal = json!({ "FailedEntryCount": 1, "Entries": [{ "ErrorCode": "InternalFailure", "ErrorMessage": "" }] });
    Mock::given(matchers::any())
        .respond_with(ResponseTemplate::new(200).set_body_json(refusal))
        .expect(5)
        .mount(&bus)
        .await;
    let embedded = Embedded::new();
    let subject = Subject::new(embedded.stores.ports());
    let account = subject.account();
    let published = process(&bus, &subject).await.publish(&in_places(&subject, &account, 1..=1).await).await;
    assert_eq!(published.unwrap_err().kind(), ErrorKind::Retry);
}

#[tokio::test]
async fn many_and_large_events_go_in_requests_that_the_bus_takes() {
    let bus = taking_bus().await;
    let embedded = Embedded::new();
    let subject = Subject::new(embedded.stores.ports());
    let account = subject.account();
    let mut events = in_places(&subject, &account, 1..=12).await;
    events[11].details = Map::from_iter([("much".to_owned(), json!("x".repeat(300 * 1024)))]);
    let events_port = process(&bus, &subject).await;
    events_port.publish(&events).await.unwrap();
    assert_eq!(sequences(&bus).await, [(1..=10).collect::<Vec<_>>(), vec![11, 12]]);
}

async fn process(bus: &MockServer, subject: &Subject) -> EventBridgeEvents {
    at(bus.uri(), subject).await
}

/// A process of a fleet, with followers of its own and the common tables.
async fn without_bus(subject: &Subject) -> EventBridgeEvents {
    at("http://127.0.0.1:1".to_owned(), subject).await
}

/// The relay does so, and does it again later because of the error.
async fn publish(events: &EventBridgeEvents, event: ActivityEvent) {
    assert_eq!(events.publish(&[event]).await.unwrap_err().kind(), ErrorKind::Retry, "there is no bus");
}

async fn at(endpoint_url: String, subject: &Subject) -> EventBridgeEvents {
    let settings = settings(endpoint_url);
    EventBridgeEvents::new(&AwsClients::new(&settings).await, &settings, subject.ports.tables.clone())
}

async fn taking_bus() -> MockServer {
    let bus = MockServer::start().await;
    Mock::given(matchers::any()).respond_with(takes).mount(&bus).await;
    bus
}

fn takes(request: &Request) -> ResponseTemplate {
    let request: Value = serde_json::from_slice(&request.body).unwrap();
    let outcomes: Vec<_> = request["Entries"].as_array().unwrap().iter().map(|_| json!({ "EventId": "1" })).collect();
    ResponseTemplate::new(200).set_body_json(json!({ "FailedEntryCount": 0, "Entries": outcomes }))
}

async fn in_places(
    subject: &Subject,
    account: &AccountScope,
    places: std::ops::RangeInclusive<u64>,
) -> Vec<ActivityEvent> {
    let mut events = Vec::new();
    for place in places {
        events.push(kept(subject, account, place).await);
    }
    events
}

/// The places of the events in each request.
async fn sequences(bus: &MockServer) -> Vec<Vec<u64>> {
    let requests = bus.received_requests().await.unwrap();
    let places = |request: &Request| {
        let request: Value = serde_json::from_slice(&request.body).unwrap();
        let details =
            request["Entries"].as_array().unwrap().iter().map(|entry| entry["Detail"].as_str().unwrap().to_owned());
        details.map(|detail| serde_json::from_str::<Value>(&detail).unwrap()["sequence"].as_u64().unwrap()).collect()
    };
    requests.iter().map(places).collect()
}
