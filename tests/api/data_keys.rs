//! An account's data keys over the API: who may do what with them, and what is left after their end.

use listbackup::sandbox::{Sandbox, SandboxSettings};
use listbackup_engine::model::Role;
use serde_json::{Value, json};

use crate::{
    data::{by_key, run_to_its_end, source},
    kit::App,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_rotates_and_only_an_owner_in_person_destroys_what_nothing_holds() {
    let app = App::start().await;
    let worker = app.worker();
    let product = Sandbox::start(SandboxSettings { records: 20, ..SandboxSettings::default() }).await.unwrap();
    let ada = app.person("ada").await;
    let admin = app.member("bob", &ada, Role::Admin).await;
    let shop = source(&ada, "Shop", &by_key(&product, &SandboxSettings::default().api_key)).await;
    let path = |what: &str| format!("/accounts/{}/keys{what}", ada.account_id);
    let none = ada.caller.get(&path("")).await;
    assert_eq!(none.expect(200), &json!({ "keys": [] }));
    let run = run_to_its_end(&ada, &shop).await;
    let snapshot = format!("/data/snapshots/{}", run["snapshot_id"].as_str().unwrap());
    let rotated = admin.caller.post(&path("/rotate"), &json!({})).await;
    let expected = json!([{ "epoch": 1, "is_newest": false }, { "epoch": 2, "is_newest": true }]);
    assert_eq!(rotated.expect(200)["keys"], expected);
    run_to_its_end(&ada, &shop).await;
    ada.caller.get(&snapshot).await.expect(200);

    let wanted = json!({ "confirm": ada.account_id, "reason": "contract ended" });
    admin.caller.post(&path("/destroy"), &wanted).await.expect(403);
    let wrong = json!({ "confirm": admin.account_id, "reason": "r" });
    if admin.account_id != ada.account_id {
        assert_eq!(ada.caller.post(&path("/destroy"), &wrong).await.pointers(), ["/confirm"]);
    }
    ada.caller.post(&format!("{snapshot}/hold"), &json!({ "reason": "case 4711" })).await.expect(200);
    let held = ada.caller.post(&path("/destroy"), &wanted).await;
    held.expect(403);
    assert!(held.text.contains("case 4711"), "{}", held.text);
    ada.caller.delete(&format!("{snapshot}/hold")).await.expect(200);
    let destroyed = ada.caller.post(&path("/destroy"), &wanted).await;
    assert_eq!(destroyed.expect(200)["keys"], json!([]));
    assert_eq!(destroyed.body["destroyed"]["reason"], "contract ended");
    assert_eq!(destroyed.body["destroyed"]["by"], ada.user_id.to_string());

    for path in [&*snapshot, &path("/rotate")] {
        let answer =
            if path.ends_with("rotate") { ada.caller.post(path, &json!({})).await } else { ada.caller.get(path).await };
        answer.expect(403);
        assert!(answer.text.contains("the account's key was destroyed"), "{}", answer.text);
    }
    let order = ada.caller.post(&format!("/sources/{}/sync", shop["id"].as_str().unwrap()), &json!({})).await;
    order.expect(403);
    assert!(order.text.contains("the account's key was destroyed"), "{}", order.text);
    let jobs = ada.caller.get("/jobs").await;
    let jobs = jobs.expect(200)["items"].as_array().unwrap().clone();
    assert!(!jobs.is_empty() && jobs.iter().all(|job| job["state"] == "paused"), "{jobs:?}");
    let resumed = ada.caller.post(&format!("/jobs/{}/resume", jobs[0]["id"].as_str().unwrap()), &json!({})).await;
    resumed.expect(403);
    let log = ada.caller.get("/activity?kind=account").await;
    let kinds: Vec<&Value> = log.expect(200)["items"].as_array().unwrap().iter().map(|event| &event["kind"]).collect();
    let told = &log.body["items"][0]["details"];
    assert_eq!((&told["jobsPaused"], &told["runsCancelled"]), (&json!(jobs.len()), &json!(0)), "{told}");
    let last: Vec<&Value> = kinds.into_iter().take(2).collect();
    assert_eq!(last, [&json!("account.key_destroyed"), &json!("account.key_rotated")]);
    worker.stop();
    app.stop().await;
    product.stop().await.unwrap();
}
