//! Retention, pins and holds over the API: who may do what, and what is seen of it.

use listbackup::sandbox::{Sandbox, SandboxSettings};
use listbackup_engine::{model::Role, run::retention};
use serde_json::{Value, json};

use crate::{
    data::{by_key, id, run_to_its_end, source},
    kit::App,
};

#[tokio::test(flavor = "multi_thread")]
async fn pinned_and_held_snapshots_outlive_the_rules_and_a_forgotten_one_is_gone_everywhere() {
    let app = App::start().await;
    let worker = app.worker();
    let product = Sandbox::start(SandboxSettings { records: 20, ..SandboxSettings::default() }).await.unwrap();
    let ada = app.person("ada").await;
    let bob = app.member("bob", &ada, Role::Operator).await;
    let shop = source(&ada, "Shop", &by_key(&product, &SandboxSettings::default().api_key)).await;
    let mut snapshots = Vec::new();
    for _ in 0..4 {
        let run = run_to_its_end(&ada, &shop).await;
        snapshots.push(run["snapshot_id"].as_str().unwrap().to_owned());
    }
    let path = |number: usize, what: &str| format!("/data/snapshots/{}{what}", snapshots[number]);

    let pinned = bob.caller.post(&path(0, "/pin"), &json!({ "reason": "before the move" })).await;
    assert_eq!(pinned.expect(200)["pins"][0]["reason"], "before the move");
    assert_eq!(pinned.body["pins"][0]["by"], bob.user_id.to_string());
    bob.caller.post(&path(1, "/hold"), &json!({ "reason": "case 4711" })).await.expect(403);
    bob.caller.patch(&format!("/sources/{}", id(&shop)), &json!({ "retention": { "last": 1 } })).await.expect(403);
    bob.caller.patch(&format!("/sources/{}", id(&shop)), &json!({ "lock_days": 0 })).await.expect(403);
    let past = ada.caller.post(&path(1, "/hold"), &json!({ "reason": "r", "until": "2001-01-01T00:00:00Z" })).await;
    assert_eq!(past.pointers(), ["/until"]);
    ada.caller.post(&path(1, "/hold"), &json!({ "reason": "case 4711" })).await.expect(200);

    let shop_path = format!("/sources/{}", id(&shop));
    let nowhere = ada.caller.patch(&shop_path, &json!({ "retention": { "last": 1, "time_zone": "Mars" } })).await;
    assert_eq!(nowhere.pointers(), ["/retention/time_zone"]);
    let changed = ada.caller.patch(&shop_path, &json!({ "retention": { "last": 1 }, "lock_days": 0 })).await;
    assert_eq!(changed.expect(200)["retention"]["last"], 1);
    assert_eq!(changed.body["retention"]["time_zone"], "UTC");

    let guard = json!({ "absence_share_percent": 0, "reconcile_days": 4000 });
    let wrong = bob.caller.patch(&shop_path, &json!({ "guard": guard })).await;
    assert_eq!(wrong.pointers(), ["/guard/absence_share_percent", "/guard/reconcile_days"]);
    let guarded = bob.caller.patch(&shop_path, &json!({ "guard": { "absence_share_percent": 50 } })).await;
    let expected = json!({ "absence_share_percent": 50, "absence_records_min": 100, "reconcile_days": 7 });
    assert_eq!(guarded.expect(200)["guard"], expected);

    apply(&app, &ada, &shop).await;
    let listed = ada.caller.get("/data/snapshots").await;
    let shown: Vec<(&str, bool, bool)> = listed.expect(200)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (id(item), item["pinned"] == true, item["held"] == true))
        .collect();
    let expected = [(&*snapshots[3], false, false), (&snapshots[1], false, true), (&snapshots[0], true, false)];
    assert_eq!(shown, expected);
    ada.caller.get(&path(2, "")).await.expect(404);
    ada.caller.post(&path(2, "/pin"), &json!({ "reason": "too late" })).await.expect(404);
    let detail = ada.caller.get(&path(1, "")).await;
    assert_eq!(detail.expect(200)["marks"]["holds"][0]["reason"], "case 4711");

    ada.caller.delete(&path(1, "/hold?reason=closed")).await.expect(200);
    assert_eq!(bob.caller.delete(&path(0, "/pin")).await.expect(200)["pins"], json!([]));
    apply(&app, &ada, &shop).await;
    assert_eq!(ada.caller.get("/data/snapshots").await.expect(200)["items"].as_array().unwrap().len(), 1);
    let log = ada.caller.get("/activity?kind=snapshot").await;
    let kinds: Vec<&Value> = log.expect(200)["items"].as_array().unwrap().iter().map(|event| &event["kind"]).collect();
    let expected = ["forgotten", "forgotten", "unpinned", "released", "forgotten", "held", "pinned"];
    assert_eq!(kinds, expected.map(|kind| json!(format!("snapshot.{kind}"))).iter().collect::<Vec<_>>());
    worker.stop();
    app.stop().await;
    product.stop().await.unwrap();
}

async fn apply(app: &App, of: &crate::kit::Person, source: &Value) {
    let scope = app.system.account(of.account_id);
    retention::apply(app.ctx(), &scope, id(source).parse().unwrap(), "listbackup").await.unwrap();
}
