//! Lists page to their end without gaps or doubles.

use std::collections::BTreeSet;

use listbackup_engine::{
    model::{ActivityKind, EventId, Job, JobId, Run, RunId, run::Trigger},
    ports::Condition,
    run::event::{self, Subject},
    store::put,
};
use serde_json::{Map, json};

use crate::kit::App;

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_item_once() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let mut made = BTreeSet::new();
    for i in 0..7 {
        let body = json!({ "source_id": source, "name": format!("Job {i}"), "schedule": { "kind": "manual" } });
        let job = ada.caller.post("/jobs", &body).await;
        made.insert(job.expect(201)["id"].as_str().unwrap().to_owned());
    }
    for path in ["/jobs?limit=3".to_owned(), format!("/jobs?limit=3&source_id={source}")] {
        assert_eq!(walk(&app, &ada.caller, &path).await, made.iter().cloned().collect::<Vec<_>>(), "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_list_reads_on_over_what_it_drops() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let job = app.job(&ada, source).await;
    let job = job["id"].as_str().unwrap();
    for i in 0..5 {
        ada.caller.patch(&format!("/jobs/{job}"), &json!({ "name": format!("Name {i}") })).await.expect(200);
        ada.caller.patch("/auth/me", &json!({ "name": format!("Ada {i}") })).await.expect(200);
        app.login(&ada.email, None).await.expect(200);
    }
    assert_eq!(walk(&app, &ada.caller, "/activity?limit=2&kind=job.updated").await.len(), 5);
    assert_eq!(walk(&app, &ada.caller, "/activity?limit=2&kind=job").await.len(), 6);
    app.stop().await;
}

/// More are read at a time where little is kept: what is then read beyond the page must come with the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_list_has_every_item_once_where_many_follow_few() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let scope = app.system.account(ada.account_id);
    let mut kept = Vec::new();
    // Newest first, as they are listed: few among many, many, none, and many.
    let stretches = [(300, 60), (250, 1), (150, 1000), (250, 1)];
    let numbers = stretches.into_iter().flat_map(|(count, each)| (0..count).map(move |number| number % each == 0));
    for (age, is_wanted) in (0..).zip(numbers) {
        let kind = if is_wanted { ActivityKind::SourceStale } else { ActivityKind::SourceFresh };
        let mut told =
            event::event(&app.ports, ada.account_id, kind, event::SYSTEM, Subject::source(source), Map::new());
        told.event_id = EventId::derived(1_000_000 - age, [0; 10]);
        kept.extend(is_wanted.then(|| told.event_id.to_string()));
        app.store.transact(&scope, vec![event::keep(&told).unwrap()]).await.unwrap();
    }
    for limit in [1, 7, 50, 200] {
        let path = format!("/activity?limit={limit}&kind=source.stale");
        assert_eq!(walk(&app, &ada.caller, &path).await, kept, "{limit} a page");
    }
    app.stop().await;
}

/// Those of one source stand together: what is about one job or run is looked for there, also when it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_about_one_source_job_or_run_is_all_that_the_whole_log_has_of_it() {
    let app = App::start().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    for name in ["Shop", "Desk"] {
        let source = app.source(&ada, name).await;
        for number in 0..2 {
            let job = app.job(&ada, source).await;
            let job = format!("/jobs/{}", job["id"].as_str().unwrap());
            ada.caller.post(&format!("{job}/run"), &json!({})).await.expect(202);
            let run = ada.caller.get(&format!("{job}/runs")).await.expect(200)["items"][0]["id"].clone();
            ada.caller.post(&format!("/runs/{}/cancel", run.as_str().unwrap()), &json!({})).await.expect(202);
            if number == 1 {
                ada.caller.delete(&job).await.expect(204);
            }
        }
    }
    let whole = ada.caller.get("/activity?limit=200").await;
    let events = whole.expect(200)["items"].as_array().unwrap();
    for name in ["source_id", "job_id", "run_id"] {
        let subjects: BTreeSet<&str> = events.iter().filter_map(|event| event[name].as_str()).collect();
        assert_eq!(subjects.len(), if name == "source_id" { 2 } else { 4 }, "{name}");
        for subject in subjects {
            let path = format!("/activity?{name}={subject}&limit=2");
            let about = events.iter().filter(|event| event[name] == subject);
            let expected: Vec<&str> = about.filter_map(|event| event["id"].as_str()).collect();
            assert_eq!(walk(&app, &ada.caller, &path).await, expected, "{path}");
            assert_eq!(eve.caller.get(&path).await.expect(200)["items"], json!([]), "{path} of somebody else");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_one_source_are_listed_also_when_their_job_is_gone() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let mut of = Vec::new();
    for name in ["Shop", "Desk"] {
        let source_id = app.source(&ada, name).await;
        let job_id: JobId = app.job(&ada, source_id).await["id"].as_str().unwrap().parse().unwrap();
        let mut snapshots = Vec::new();
        for has_snapshot in [true, false, true, true] {
            let run_id = RunId::new(&*app.ports.clock, &*app.ports.random);
            let snapshot_id = has_snapshot.then(|| run_id.of());
            let at = app.ports.clock.now();
            let job = Job::new(ada.account_id, source_id, job_id, "Nightly", at);
            let run = Run { snapshot_id, ..Run::new(&job, run_id, Trigger::Manual { by: "ada".to_owned() }, at) };
            snapshots.extend(snapshot_id.map(|id| id.to_string()));
            app.store.transact(&app.system, vec![put(&run, Condition::Absent).unwrap()]).await.unwrap();
        }
        ada.caller.delete(&format!("/jobs/{job_id}")).await.expect(204);
        snapshots.sort_by(|a, b| b.cmp(a));
        of.push((source_id, snapshots));
    }
    for (source_id, snapshots) in of {
        let path = format!("/data/snapshots?source_id={source_id}&limit=2");
        assert_eq!(walk(&app, &ada.caller, &path).await, snapshots);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_list_is_refused() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    for _ in 0..3 {
        app.job(&ada, source).await;
    }
    let page = ada.caller.get("/jobs?limit=1").await;
    let cursor = page.expect(200)["next_cursor"].as_str().unwrap().to_owned();
    let eve = app.person("eve").await;
    for (caller, path) in [(&ada.caller, "/sources"), (&eve.caller, "/jobs"), (&ada.caller, "/activity")] {
        caller.get(&format!("{path}?cursor={cursor}")).await.expect(422);
    }
    ada.caller.get("/jobs?cursor=nonsense").await.expect(422);
    app.stop().await;
}

/// The ids of a list, page by page.
async fn walk(_: &App, caller: &crate::kit::client::Caller, path: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut next = path.to_owned();
    loop {
        let page = caller.get(&next).await;
        ids.extend(
            page.expect(200)["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page.body["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}&cursor={cursor}"),
            None => return ids,
        }
    }
}
