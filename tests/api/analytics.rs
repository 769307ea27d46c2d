//! What analytics tells is what runs did, and nobody else's.

use jiff::Timestamp;
use listbackup_engine::model::{AccountId, ActivityKind, Role, SourceId};
use serde_json::{Value, json};

use crate::kit::{App, Person, client::Caller};

/// A source with some ends of runs: two today, one ten days and one forty days ago, and a restore.
async fn at_work(app: &App, person: &Person) -> SourceId {
    let source = app.source(person, "Shop").await;
    let figures = |records: u64, bytes: u64| {
        json!({
            "records": records, "added": 3, "changed": 2, "removed": 1, "bytesRead": 1000, "bytesStored": 100, "requests": 7,
            "waitedMs": 50, "ranMs": 900, "liveRecords": records, "liveBytes": bytes,
        })
    };
    use ActivityKind::{RunFailed, RunPartial, RunSucceeded};
    app.ended(person.account_id, source, (RunSucceeded, 40), figures(10, 1000)).await;
    app.settled().await;
    app.ended(person.account_id, source, (RunSucceeded, 10), figures(30, 2000)).await;
    app.settled().await;
    app.ended(person.account_id, source, (RunPartial, 0), figures(35, 2500)).await;
    app.ended(person.account_id, source, (RunFailed, 0), json!({ "requests": 1 })).await;
    app.ended(person.account_id, source, (RunSucceeded, 0), json!({ "restore": {}, "requests": 4 })).await;
    app.settled().await;
    source
}

fn day(app: &App, ago: i64) -> String {
    let at = Timestamp::from_millisecond(app.ports.clock.now().as_millisecond() - ago * 86_400_000).unwrap();
    listbackup_engine::model::counter::day_of(at).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_what_the_runs_of_these_days_came_to() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    at_work(&app, &ada).await;

    let overview = ada.caller.get("/analytics/overview").await.expect(200).clone();
    let ends = json!({ "total": 3, "succeeded": 1, "partial": 1, "failed": 1, "cancelled": 0, "skipped": 0 });
    assert_eq!(overview["runs"], ends);
    assert_eq!((&overview["restores"]["total"], &overview["success_percent"]), (&json!(1), &json!(33)));
    assert_eq!(
        (&overview["requests"], &overview["waited_ms"], &overview["added"]),
        (&json!(19), &json!(100), &json!(6))
    );
    assert_eq!(
        (&overview["sources"], &overview["stale_sources"], &overview["accounts"]),
        (&json!(1), &json!(0), &json!(1))
    );
    assert_eq!((&overview["live_records"], &overview["records_growth"]), (&json!(35), &json!(25)));
    assert_eq!((&overview["live_bytes"], &overview["bytes_growth"]), (&json!(2500), &json!(1500)));

    let runs = ada.caller.get("/analytics/runs").await.expect(200).clone();
    let days = runs["days"].as_array().unwrap();
    assert_eq!((days.len(), days[0]["date"].as_str().unwrap()), (30, &*day(&app, 29)));
    let with_runs: Vec<_> = days.iter().filter(|day| day["runs"]["total"] != 0).map(|day| &day["date"]).collect();
    assert_eq!(with_runs, [&json!(day(&app, 10)), &json!(day(&app, 0))]);

    let storage = ada.caller.get(&format!("/analytics/storage?from={}&to={}", day(&app, 41), day(&app, 9))).await;
    let days = storage.expect(200)["days"].as_array().unwrap();
    let live: Vec<_> = days.iter().map(|day| day["live_records"].as_u64().unwrap()).collect();
    assert_eq!(live, [vec![0], vec![10; 30], vec![30; 2]].concat());
    let grown: Vec<_> = days.iter().map(|day| day["records_growth"].as_i64().unwrap()).filter(|by| *by != 0).collect();
    assert_eq!(grown, [10, 20]);

    let of = |name: &str| format!("/analytics/overview?integration={name}");
    assert_eq!(ada.caller.get(&of("keap")).await.expect(200)["runs"], ends);
    assert_eq!(ada.caller.get(&of("other")).await.expect(200)["runs"]["total"], 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_of_400_days_at_most_and_in_order() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    for route in ["overview", "runs", "storage", "sources"] {
        let route = format!("/analytics/{route}");
        for query in ["from=2025-01-01&to=2026-02-05", "from=2026-02-02&to=2026-02-01", "from=yesterday", "days=3"] {
            ada.caller.get(&format!("{route}?{query}")).await.expect(422);
        }
        ada.caller.get(&format!("{route}?from=2025-01-01&to=2026-02-04")).await.expect(200);
        app.nobody().get(&route).await.expect(401);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_says_what_json_says() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    at_work(&app, &ada).await;
    for (route, rows) in
        [("overview", None), ("runs", Some("days")), ("storage", Some("days")), ("sources", Some("items"))]
    {
        let route = format!("/analytics/{route}");
        let json = ada.caller.get(&route).await.expect(200).clone();
        let rows = rows.map_or_else(|| vec![json.clone()], |rows| json[rows].as_array().unwrap().clone());
        let csv = ada.caller.with("accept", "text/csv").get(&route).await;
        assert!(csv.text.ends_with("\r\n"), "{route}");
        let mut lines = csv.text.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let lines: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), rows.len(), "{route}");
        for (line, row) in lines.iter().zip(&rows) {
            assert_eq!(line.len(), header.len(), "{route}");
            for (name, cell) in header.iter().zip(line) {
                let value = name.split('.').fold(row, |row, member| &row[member]);
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    Value::Array(members) => members.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
                    other => other.to_string(),
                };
                assert_eq!(*cell, text, "{route} {name}");
            }
        }
    }
    app.stop().await;
}

/// Makes an account below a person's own.
async fn below(person: &Person, name: &str) -> AccountId {
    let made = person.caller.post(&format!("/accounts/{}/children", person.account_id), &json!({ "name": name })).await;
    made.expect(201)["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subtree_is_the_sum_of_what_the_caller_may_read() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = at_work(&app, &ada).await;
    let child = below(&ada, "Client").await;
    app.ended(child, source, (ActivityKind::RunSucceeded, 0), json!({ "liveRecords": 5, "liveBytes": 50 })).await;
    app.settled().await;

    let subtree = |caller: Caller| async move {
        let overview = caller.get("/analytics/overview?subtree=true").await.expect(200).clone();
        let days = caller.get("/analytics/runs?subtree=true").await.expect(200)["days"].clone();
        let in_days: u64 = days.as_array().unwrap().iter().filter_map(|day| day["runs"]["total"].as_u64()).sum();
        assert_eq!(overview["runs"]["total"], in_days);
        (overview["accounts"].clone(), in_days, overview["live_records"].clone())
    };
    assert_eq!(subtree(ada.caller.clone()).await, (json!(2), 4, json!(40)));
    assert_eq!(ada.caller.get("/analytics/overview").await.expect(200)["runs"]["total"], 3);

    let usage = ada.caller.get(&format!("/accounts/{}/usage?subtree=true", ada.account_id)).await.expect(200).clone();
    assert_eq!((&usage["live_records"], &usage["sources"], &usage["members"]), (&json!(35), &json!(1), &json!(1)));
    let all = &usage["subtree"];
    assert_eq!((&all["accounts"], &all["live_records"], &all["stored_bytes"]), (&json!(2), &json!(40), &json!(2550)));
    let child_usage = ada.caller.get(&format!("/accounts/{child}/usage")).await.expect(200).clone();
    assert_eq!((&child_usage["runs_this_month"], &child_usage["live_records"]), (&json!(1), &json!(5)));
    assert_eq!(child_usage["subtree"], Value::Null);

    // Somebody whose role was lowered in the account below sees it in no sum.
    let viewer = app.member("vera", &ada, Role::Viewer).await;
    assert_eq!(subtree(viewer.caller.clone()).await.1, 4);
    let lowered = json!({ "role": "billing" });
    ada.caller.patch(&format!("/accounts/{child}/members/{}", viewer.user_id), &lowered).await.expect(200);
    assert_eq!(subtree(viewer.caller.clone()).await, (json!(1), 3, json!(35)));
    viewer.caller.get(&format!("/accounts/{child}/usage")).await.expect(403);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_tenants_see_nothing() {
    let app = App::start().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    at_work(&app, &ada).await;
    for query in ["", "?subtree=true", "?integration=keap"] {
        let overview = eve.caller.get(&format!("/analytics/overview{query}")).await.expect(200).clone();
        assert_eq!((&overview["runs"]["total"], &overview["live_records"]), (&json!(0), &json!(0)), "{query}");
    }
    for query in ["", "?integration=none"] {
        assert_eq!(eve.caller.get(&format!("/analytics/sources{query}")).await.expect(200)["items"], json!([]));
    }
    eve.caller.get(&format!("/accounts/{}/usage", ada.account_id)).await.expect(404);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_come_page_by_page_with_how_they_stand() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let first = at_work(&app, &ada).await;
    for name in ["Second", "Third"] {
        app.source(&ada, name).await;
    }
    let mut found = Vec::new();
    let mut next = "/analytics/sources?limit=2".to_owned();
    loop {
        let page = ada.caller.get(&next).await.expect(200).clone();
        found.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("/analytics/sources?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(found.len(), 3);
    let shop = found.iter().find(|source| source["source_id"] == json!(first)).unwrap();
    assert_eq!((&shop["runs"]["total"], &shop["success_percent"]), (&json!(3), &json!(33)));
    assert_eq!((&shop["live_records"], &shop["records_growth"]), (&json!(35), &json!(25)));
    let stands = ["freshness", "snapshot"].map(|name| shop[name].as_str().unwrap());
    assert_eq!(stands, ["not_expected", "none"]);
    app.stop().await;
}

/// Ids of all sources, page by page, with their accounts'.
async fn listed(of: &Caller, query: &str) -> Vec<(String, String)> {
    let (mut found, mut next) = (Vec::new(), format!("/analytics/sources?{query}"));
    loop {
        let page = of.get(&next).await.expect(200).clone();
        let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
        found
            .extend(page["items"].as_array().unwrap().iter().map(|it| (text(it, "account_id"), text(it, "source_id"))));
        let Some(cursor) = page["next_cursor"].as_str() else { return found };
        next = format!("/analytics/sources?{query}&cursor={cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_below_come_with_their_accounts_to_whoever_may_read_there() {
    let app = App::start().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    app.source(&eve, "Hers").await;
    let mut expected = vec![(ada.account_id.to_string(), app.source(&ada, "Mine").await.to_string())];
    let mut children = Vec::new();
    for name in ["First", "Empty", "Last"] {
        children.push(Person { account_id: below(&ada, name).await, ..ada.clone() });
    }
    children.sort_by_key(|child| child.account_id.to_string());
    for there in [&children[0], &children[2]] {
        for name in ["a", "b", "c"] {
            expected.push((there.account_id.to_string(), app.source(there, name).await.to_string()));
        }
    }
    at_work(&app, &children[0]).await;
    assert_eq!(listed(&ada.caller, "limit=2").await, expected[..1], "its own alone, unless it is asked for more");
    let all = listed(&ada.caller, "subtree=true").await;
    assert_eq!(all.len(), 8);
    for limit in 1..=9 {
        assert_eq!(listed(&ada.caller, &format!("subtree=true&limit={limit}")).await, all, "{limit}");
    }
    let accounts: Vec<_> = all.iter().map(|(account, _)| account.as_str()).collect();
    let ids: Vec<_> = std::iter::once(ada.account_id).chain(children.iter().map(|child| child.account_id)).collect();
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(accounts, [&ids[0], &ids[1], &ids[1], &ids[1], &ids[1], &ids[3], &ids[3], &ids[3]]);
    assert!(expected.iter().all(|source| all.contains(source)));
    assert_eq!(listed(&ada.caller, "subtree=true&integration=none&limit=3").await.len(), 8);
    assert_eq!(listed(&ada.caller, "subtree=true&integration=other").await, []);
    assert_eq!(listed(&eve.caller, "subtree=true").await.len(), 1);

    let csv = ada.caller.with("accept", "text/csv").get("/analytics/sources?subtree=true&limit=5").await;
    assert_eq!((csv.status, csv.text.lines().count()), (200, 6), "{}", csv.text);
    assert!(csv.text.lines().next().unwrap().contains(",account_id,") && csv.text.contains(",Shop,"), "{}", csv.text);
    let next = format!("/analytics/sources?subtree=true&cursor={}", csv.header("listbackup-next-cursor"));
    assert_eq!(ada.caller.get(&next).await.expect(200)["items"].as_array().unwrap().len(), 3);
    eve.caller.get(&next).await.expect(422);
    for cursor in ["nonsense", ".", &format!("{}.nonsense", ada.account_id)] {
        ada.caller.get(&format!("/analytics/sources?subtree=true&cursor={cursor}")).await.expect(422);
    }

    // Somebody whose role was lowered in an account below sees none of its sources.
    let viewer = app.member("vera", &ada, Role::Viewer).await;
    assert_eq!(listed(&viewer.caller, "subtree=true").await, all);
    let path = format!("/accounts/{}/members/{}", children[0].account_id, viewer.user_id);
    ada.caller.patch(&path, &json!({ "role": "billing" })).await.expect(200);
    let left = all.iter().filter(|(account, _)| *account != ids[1]).cloned().collect::<Vec<_>>();
    assert_eq!(listed(&viewer.caller, "subtree=true&limit=2").await, left);
    app.stop().await;
}
