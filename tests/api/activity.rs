//! The chain of events over the API, and how the backups of sources stand.

use futures::StreamExt;
use listbackup_engine::{
    model::{ActivityEvent, ActivityKind, chain},
    ports::{Condition, Ports, Write},
    run::{
        event::{self, Subject},
        relay::{self, Relay},
    },
    tables::ACTIVITY,
};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::kit::{App, PATIENCE, Person};

/// Waits until everything that happened so far has its place.
async fn settled(app: &App, person: &Person) -> u64 {
    let scope = app.system.account(person.account_id);
    loop {
        Relay::default().look(&app.ports, &app.system).await.unwrap();
        let report = person.caller.get("/activity/verify").await;
        let report = report.expect(200).clone();
        if report["pending"] == 0 {
            return relay::head(&app.store, &scope).await.unwrap().map_or(0, |head| head.head_sequence);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_can_be_checked_from_its_rows_by_somebody_else() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    for _ in 0..3 {
        app.job(&ada, source).await;
    }
    let count = settled(&app, &ada).await;
    let mut before = chain::beginning();
    let mut last = 0;
    while last < count {
        let page = ada.caller.get(&format!("/activity/chain?after={last}&limit=2")).await.expect(200).clone();
        for row in page["rows"].as_array().unwrap() {
            let row = row.as_object().unwrap();
            last += 1;
            assert_eq!(row["sequence"], last);
            before = chain::digest(row, &before);
            assert_eq!(row["chainDigest"], before.to_hex().as_str());
        }
        assert_eq!(page["head"]["sequence"], count);
    }
    let head = ada.caller.get("/activity/chain?limit=0").await.expect(200).clone();
    assert_eq!(head["head"]["digest"], before.to_hex().as_str());
    assert_eq!(head["rows"], json!([]));
    let shown = ada.caller.get("/activity").await.expect(200).clone();
    assert_eq!(shown["items"][0]["digest"], before.to_hex().as_str(), "the log shows places and digests too");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_event_is_named_by_the_check_and_no_other_account_sees_it() {
    let app = App::start().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    let source = app.source(&ada, "Shop").await;
    for _ in 0..3 {
        app.job(&ada, source).await;
    }
    let count = settled(&app, &ada).await;
    settled(&app, &eve).await;
    let noted = ada.caller.get("/activity/chain?limit=0").await.expect(200)["head"].clone();
    let witness = format!("sequence={}&digest={}", noted["sequence"], noted["digest"].as_str().unwrap());
    let whole = ada.caller.get(&format!("/activity/verify?{witness}")).await.expect(200).clone();
    assert_eq!((&whole["sound"], &whole["complete"], &whole["checked"]), (&json!(true), &json!(true), &json!(count)));

    let page = ada.caller.get("/activity/chain").await.expect(200).clone();
    let mut row: Map<String, Value> = page["rows"][1].as_object().unwrap().clone();
    row.insert("actor".to_owned(), json!("nobody"));
    let event_id = row["eventId"].clone();
    let put = Write::Put { table: &ACTIVITY, body: row, condition: Condition::Any };
    app.store.transact(&app.system, vec![put]).await.unwrap();
    let mut path = "/activity/verify?limit=1".to_owned();
    let mut breaks = Vec::new();
    loop {
        let part = ada.caller.get(&path).await.expect(200).clone();
        breaks.extend(part["breaks"].as_array().unwrap().clone());
        match part["next_cursor"].as_str() {
            Some(cursor) => path = format!("/activity/verify?limit=1&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(breaks.len(), 1, "{breaks:?}");
    assert_eq!(
        (&breaks[0]["what"], &breaks[0]["sequence"], &breaks[0]["event_id"]),
        (&json!("changed"), &json!(2), &event_id)
    );
    assert_eq!(eve.caller.get("/activity/verify").await.expect(200)["sound"], true);
    let other = eve.caller.get("/activity/chain").await.expect(200).clone();
    assert!(!other.to_string().contains(&ada.account_id.to_string()));

    assert_eq!(ada.caller.get("/activity/verify?digest=00").await.pointers(), ["?sequence"]);
    assert_eq!(ada.caller.get("/activity/verify?sequence=1&digest=00").await.pointers(), ["?digest"]);
    assert_eq!(ada.caller.get("/activity/verify?cursor=x").await.pointers(), ["?cursor"]);
    app.stop().await;
}

/// The places of a stream of events until the one with that place has come.
async fn places_until(app: &App, ada: &Person, last: u64, begun: tokio::sync::oneshot::Sender<()>) -> Vec<u64> {
    let answer = ada.caller.request(Method::GET, "/activity/stream").send().await.unwrap();
    assert!(app.data_dir().exists());
    let mut pieces = answer.bytes_stream();
    let mut text = String::new();
    let mut begun = Some(begun);
    loop {
        let places: Vec<u64> = text
            .rsplit_once("\n\n")
            .map_or("", |(whole, _)| whole)
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter_map(|data| serde_json::from_str::<Value>(data).unwrap()["sequence"].as_u64())
            .collect();
        if places.last().is_some_and(|place| *place >= last) {
            return places;
        }
        let piece = timeout(PATIENCE, pieces.next()).await.expect("an event").expect("no end").unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
        if text.contains(": alive")
            && let Some(begun) = begun.take()
        {
            begun.send(()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_hears_each_event_once_in_order_whatever_comes_over_the_bus() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let scope = app.system.account(ada.account_id);
    let first = settled(&app, &ada).await + 1;
    let count = 60;
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let follower = places_until(&app, &ada, first + count - 1, begun);
    let writer = async {
        has_begun.await.unwrap();
        for number in 0..count {
            let details = Map::from_iter([("number".to_owned(), json!(number))]);
            let kind = ActivityKind::SourceUpdated;
            let told = event::event(&app.ports, ada.account_id, kind, "ada", Subject::default(), details);
            app.store.transact(&scope, vec![event::keep(&told).unwrap()]).await.unwrap();
            // Sometimes another process links it, whose bus this one does not hear.
            if number % 3 == 0 {
                let deaf = Ports { events: far_bus(&app), ..app.ports.clone() };
                Relay::default().link(&deaf, &app.system).await.unwrap();
            } else {
                event::publish(&app.ports, &scope, &[told]);
            }
            // And what was told already comes again.
            let query = listbackup_engine::run::linked::linked(&scope, first, None);
            let known: Vec<ActivityEvent> = app.store.all(&scope, query).await.unwrap();
            let again: Vec<ActivityEvent> = known.into_iter().rev().step_by(2).collect();
            app.ports.events.publish(&again).await.unwrap();
        }
    };
    let (places, ()) = tokio::join!(follower, writer);
    assert_eq!(places, (first..first + count).collect::<Vec<_>>());
    app.stop().await;
}

/// The bus of a process over the same tables, which nobody here follows.
fn far_bus(app: &App) -> std::sync::Arc<dyn listbackup_engine::ports::Events> {
    let directory = tempfile::tempdir_in(app.data_dir()).unwrap();
    let stores = listbackup_engine::adapters::embedded::EmbeddedStores::open(
        directory.path().join("far"),
        listbackup_engine::adapters::embedded::OpenMode::Write,
    );
    stores.unwrap().ports().events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_says_how_old_it_may_be_and_how_its_backups_stand() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let path = format!("/sources/{source}");
    let health = async || ada.caller.get(&format!("{path}/health")).await.expect(200).clone();
    assert_eq!(health().await["freshness"]["state"], "not_expected", "nothing says how old it may be");
    assert_eq!(health().await["completeness"]["reasons"][0]["what"], "never_backed_up");
    let body =
        json!({ "source_id": source, "name": "Nightly", "schedule": { "kind": "interval", "every_seconds": 7200 } });
    ada.caller.post("/jobs", &body).await.expect(201);
    let derived = health().await;
    assert_eq!(derived["freshness"]["max_age_seconds"], 14_400);
    assert_eq!(derived["freshness"]["max_age_from"], "schedule");
    assert_eq!(derived["freshness"]["state"], "fresh", "nobody could have backed it up yet");
    for wrong in [0, 59, 315_360_001_u64] {
        let refused = ada.caller.patch(&path, &json!({ "max_age_seconds": wrong })).await;
        assert_eq!(refused.pointers(), ["/max_age_seconds"], "{wrong}");
    }
    let changed = ada.caller.patch(&path, &json!({ "max_age_seconds": 60 })).await;
    assert_eq!(changed.expect(200)["max_age_seconds"], 60);
    let list = ada.caller.get("/sources/health").await.expect(200).clone();
    assert_eq!(list["items"][0]["freshness"]["max_age_seconds"], 60);
    assert_eq!(list["items"][0]["freshness"]["max_age_from"], "source");
    let back = ada.caller.patch(&path, &json!({ "max_age_seconds": null })).await;
    assert_eq!(back.expect(200).get("max_age_seconds"), None);
    let eve = app.person("eve").await;
    eve.caller.get(&format!("{path}/health")).await.expect(404);
    assert_eq!(eve.caller.get("/sources/health").await.expect(200)["items"], json!([]));
    app.stop().await;
}
