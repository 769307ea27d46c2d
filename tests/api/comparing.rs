//! Two snapshots side by side, one record's history, and search, over the API.

use std::collections::{BTreeMap, BTreeSet};

use listbackup::sandbox::{Sandbox, SandboxSettings};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    data::{by_id, by_key, id, product, run_to_its_end, source, truth},
    kit::{App, PATIENCE, Person, client::Caller},
};

fn in_query(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// All items of a list, page by page.
async fn all(of: &Person, path: &str) -> Vec<Value> {
    let sign = if path.contains('?') { '&' } else { '?' };
    let (mut items, mut next) = (Vec::new(), path.to_owned());
    loop {
        let page = of.caller.get(&next).await;
        items.extend(page.expect(200)["items"].as_array().unwrap().clone());
        match page.body["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}{sign}cursor={}", in_query(cursor)),
            None => return items,
        }
    }
}

/// Waits until the files of a run's snapshot are listed: the indexer follows the commit at its own pace.
async fn indexed(of: &Person, source: &str, run: &Value) {
    let path = format!("/data/files?source_id={source}&path=contacts.jsonl");
    let listed = async { while all(of, &path).await.iter().all(|file| file["snapshot_id"] != run["snapshot_id"]) {} };
    timeout(PATIENCE, listed).await.expect("the snapshot is indexed");
}

/// A product's contacts before and after it changed, each backed up.
struct Two {
    app: App,
    ada: Person,
    product: Sandbox,
    shop: Value,
    snapshots: [String; 2],
    before: BTreeMap<String, Value>,
    after: BTreeMap<String, Value>,
}

async fn two_snapshots() -> Two {
    let app = App::start().await;
    let worker = app.worker();
    let product = product().await;
    let ada = app.person("ada").await;
    let shop = source(&ada, "Shop", &by_key(&product, &SandboxSettings::default().api_key)).await;
    let (before, first) = (truth(&product, "contacts").await, run_to_its_end(&ada, &shop).await);
    let mutation = json!({ "insert": 0.03, "change": 0.05, "delete": 0.02 });
    Caller::new(product.url()).post("/_sandbox/mutate", &mutation).await.expect(200);
    let (after, second) = (truth(&product, "contacts").await, run_to_its_end(&ada, &shop).await);
    indexed(&ada, id(&shop), &second).await;
    worker.stop();
    let snapshots = [&first, &second].map(|run| run["snapshot_id"].as_str().unwrap().to_owned());
    Two { app, ada, product, shop, snapshots, before, after }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_snapshots_are_compared_by_stream_record_and_field() {
    let Two { app, ada, product, snapshots: [first, second], before, after, .. } = two_snapshots().await;
    let path = format!("/data/snapshots/{first}/diff/{second}");
    let summary = ada.caller.get(&path).await;
    let streams = summary.expect(200)["streams"].as_array().unwrap();
    let contacts = streams.iter().find(|stream| stream["name"] == "contacts").unwrap();
    let changed: BTreeSet<&String> =
        before.keys().filter(|key| after.get(*key).is_some_and(|now| *now != before[*key])).collect();
    let removed: BTreeSet<&String> = before.keys().filter(|key| !after.contains_key(*key)).collect();
    let added: BTreeSet<&String> = after.keys().filter(|key| !before.contains_key(*key)).collect();
    assert_eq!(contacts["added"], added.len());
    assert_eq!(contacts["changed"], changed.len());
    assert_eq!(contacts["removed"], removed.len());
    assert_eq!(contacts["unchanged"], before.len() - changed.len() - removed.len());

    let listed = all(&ada, &format!("{path}/streams/contacts?limit=2&fields=true")).await;
    let of = |what: &str| -> BTreeSet<&str> {
        listed.iter().filter(|one| one["change"] == what).map(|one| one["key"].as_str().unwrap()).collect()
    };
    let keys =
        |set: &BTreeSet<&String>| set.iter().map(|key| key.trim_matches('"').to_owned()).collect::<BTreeSet<_>>();
    for (what, expected) in [("added", &added), ("changed", &changed), ("removed", &removed)] {
        assert_eq!(of(what).into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), keys(expected), "{what}");
    }
    for one in listed.iter().filter(|one| one["change"] == "changed") {
        let key = before.keys().find(|key| key.trim_matches('"') == one["key"].as_str().unwrap()).unwrap();
        for field in one["fields"].as_array().unwrap() {
            let pointer = field["path"].as_str().unwrap();
            assert_eq!(Some(&field["before"]), before[key].pointer(pointer));
            assert_eq!(Some(&field["after"]), after[key].pointer(pointer));
        }
    }
    ada.caller.get(&format!("{path}/streams/nonsense")).await.expect(404);
    ada.caller.get(&format!("/data/snapshots/{first}/diff/{}", first.replace("snap_0", "snap_1"))).await.expect(404);
    let eve = app.person("eve").await;
    eve.caller.get(&path).await.expect(404);
    app.stop().await;
    product.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_records_history_is_paged_from_the_newest_and_names_what_changed() {
    let Two { app, ada, product, shop, snapshots, before, after } = two_snapshots().await;
    let is_changed = |key: &&String| after.get(*key).is_some_and(|now| *now != before[*key]);
    let key = before.keys().find(is_changed).unwrap();
    let shown = key.trim_matches('"');
    let path = format!("/data/records/history?source_id={}&stream=contacts&key={shown}", id(&shop));
    for limit in [1, 2, 50] {
        let versions = all(&ada, &format!("{path}&limit={limit}")).await;
        let told: Vec<_> = versions.iter().map(|one| (&one["snapshot_id"], &one["change"])).collect();
        let expected = [(json!(snapshots[1]), json!("changed")), (json!(snapshots[0]), json!("added"))];
        assert_eq!(told, expected.iter().map(|(id, change)| (id, change)).collect::<Vec<_>>(), "limit {limit}");
        assert_eq!(versions[0]["record"]["record"], after[key]);
        assert_eq!(versions[1]["record"]["record"], before[key]);
        assert!(!versions[0]["fields"].as_array().unwrap().is_empty());
    }
    let gone = before.keys().find(|key| !after.contains_key(*key)).unwrap().trim_matches('"');
    let path = format!("/data/records/history?source_id={}&stream=contacts&key={gone}", id(&shop));
    let changes: Vec<Value> = all(&ada, &path).await.iter().map(|one| one["change"].clone()).collect();
    assert_eq!(changes, ["removed", "added"]);
    assert_eq!(ada.caller.get(&format!("{path}&cursor=x")).await.pointers(), ["?cursor"]);
    app.stop().await;
    product.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_found_by_text_by_range_and_by_condition_and_files_by_name() {
    let Two { app, ada, product, snapshots: [_, second], after, .. } = two_snapshots().await;
    let (key, record) = after.iter().nth(7).unwrap();
    let email = record["email"].as_str().unwrap();
    let search = format!("/data/search?snapshot_id={second}&text={}", in_query(&email.to_uppercase()));
    let found = all(&ada, &search).await;
    let expected = after.values().filter(|one| one["email"] == record["email"]).count();
    let contacts: Vec<&Value> = found.iter().filter(|one| one["stream"] == "contacts").collect();
    assert_eq!(contacts.len(), expected);
    assert!(contacts.iter().all(|one| one["kind"] == "record" && one["record"]["email"] == record["email"]));
    assert!(contacts[0]["fields"].as_array().unwrap().contains(&json!("/email")));

    let files = all(&ada, "/data/search?text=CONTACTS").await;
    assert!(files.iter().any(|one| one["kind"] == "file" && one["snapshot_id"] == *second));
    assert_eq!(ada.caller.get("/data/search?text=").await.pointers(), ["?text"]);
    assert_eq!(ada.caller.get("/data/search?text=a&stream=contacts").await.pointers(), ["?stream"]);

    let list = format!("/data/snapshots/{second}/streams/contacts/records");
    let from = key.trim_matches('"');
    let ranged = all(&ada, &format!("{list}?from={from}&limit=10")).await;
    let numbers = |text: &str| text.trim_matches('"').parse::<u64>().unwrap();
    assert_eq!(ranged.len(), after.keys().filter(|one| numbers(one) >= numbers(from)).count());
    let below = all(&ada, &format!("{list}?until={from}")).await;
    assert_eq!(below.len() + ranged.len(), after.len());
    let condition = in_query(&format!("email={email}"));
    let filtered = all(&ada, &format!("{list}?where={condition}")).await;
    let lines: Vec<String> = filtered.iter().map(|one| one["record"].to_string()).collect();
    assert_eq!(by_id(&lines.join("\n")).len(), expected);
    app.stop().await;
    product.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_conditions_on_records_must_hold_whether_repeated_or_line_by_line() {
    let Two { app, ada, product, snapshots: [_, second], after, .. } = two_snapshots().await;
    let list = format!("/data/snapshots/{second}/streams/contacts/records");
    let (first, last) = (after.keys().next().unwrap(), after.keys().next_back().unwrap());
    // Each of the two holds for all but one record.
    let [not_first, not_last] = [first, last].map(|key| in_query(&format!("id!={}", key.trim_matches('"'))));
    for (query, expected) in [
        (format!("where={not_first}"), after.len() - 1),
        (format!("where={not_first}&where={not_last}"), after.len() - 2),
        (format!("where={not_first}%0A{not_last}"), after.len() - 2),
        (format!("where={not_first}&limit=200&where=%0A{not_last}"), after.len() - 2),
        ("where=".to_owned(), after.len()),
    ] {
        assert_eq!(all(&ada, &format!("{list}?{query}")).await.len(), expected, "{query}");
    }
    for query in ["where=nonsense%0A%3Dx", "where=nonsense&where=%3Dx"] {
        assert_eq!(ada.caller.get(&format!("{list}?{query}")).await.pointers(), ["?where", "?where"], "{query}");
    }
    assert_eq!(ada.caller.get(&format!("{list}?from=1&from=2")).await.pointers(), ["?from"]);
    let document = ada.caller.get("/system/openapi.json").await.body;
    let parameters = &document["paths"]["/data/snapshots/{id}/streams/{stream}/records"]["get"]["parameters"];
    let conditions = parameters.as_array().unwrap().iter().find(|one| one["name"] == "where").unwrap();
    assert_eq!((&conditions["schema"]["type"], &conditions["required"]), (&json!("array"), &json!(false)));
    app.stop().await;
    product.stop().await.unwrap();
}
