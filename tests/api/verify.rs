//! Verifying a snapshot over the API, in parts.

use listbackup::sandbox::{Sandbox, SandboxSettings};
use listbackup_engine::model::Role;
use serde_json::{Value, json};

use crate::{
    data::{by_key, run_to_its_end, source},
    kit::{App, Person},
};

/// Sends until all is covered; the answers.
async fn verify(person: &Person, path: &str, limits: Value) -> Vec<Value> {
    let mut answers: Vec<Value> = Vec::new();
    loop {
        let mut body = limits.clone();
        if let Some(last) = answers.last() {
            body["position"] = last["position"].clone();
        }
        answers.push(person.caller.post(path, &body).await.expect(200).clone());
        if answers[answers.len() - 1]["complete"] == true {
            return answers;
        }
        assert!(answers.len() < 100, "it does not end: {answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_verified_over_requests_of_bounded_work_and_damage_is_told() {
    let app = App::start().await;
    let worker = app.worker();
    let product = Sandbox::start(SandboxSettings { records: 50, ..SandboxSettings::default() }).await.unwrap();
    let ada = app.person("ada").await;
    let shop = source(&ada, "Shop", &by_key(&product, &SandboxSettings::default().api_key)).await;
    let first = run_to_its_end(&ada, &shop).await["snapshot_id"].as_str().unwrap().to_owned();
    let snapshot = run_to_its_end(&ada, &shop).await["snapshot_id"].as_str().unwrap().to_owned();
    let path = format!("/data/snapshots/{snapshot}/verify");

    let parts = verify(&ada, &path, json!({ "max_bytes": 1 })).await;
    let last = &parts[parts.len() - 1];
    assert!(parts.len() > 1 && last["sound"] == true && last["snapshots"] == 2, "{last}");
    assert_eq!(last["covered"]["bytes"], last["covered"]["bytes_total"]);
    assert_eq!(last["covered"]["streams"], last["covered"]["streams_total"]);
    assert!(parts[0]["covered"]["segments"].as_u64() < last["covered"]["segments"].as_u64());
    let structure = ada.caller.post(&path, &json!({ "level": "structure" })).await;
    assert_eq!((&structure.expect(200)["complete"], &structure.body["bytes_read"]), (&json!(true), &json!(0)));

    let foreign = json!({ "position": parts[0]["position"] });
    let answer = ada.caller.post(&format!("/data/snapshots/{first}/verify"), &foreign).await;
    assert_eq!(answer.pointers(), ["/position"]);
    for (body, pointer) in [
        (json!({ "position": "x" }), "/position"),
        (json!({ "max_bytes": 0 }), "/max_bytes"),
        (json!({ "max_seconds": 3600 }), "/max_seconds"),
        (json!({ "level": "all" }), "/level"),
    ] {
        assert_eq!(ada.caller.post(&path, &body).await.pointers(), [pointer]);
    }
    let viewer = app.member("viewer", &ada, Role::Viewer).await;
    viewer.caller.post(&path, &json!({})).await.expect(403);

    let segment = segment_of(&app);
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let parts = verify(&ada, &path, json!({ "max_bytes": 1 })).await;
    let damages: Vec<&Value> = parts.iter().flat_map(|part| part["damages"].as_array().unwrap()).collect();
    assert_eq!(damages.len(), 1, "{damages:?}");
    let is_named = segment.ends_with(damages[0]["path"].as_str().unwrap());
    assert!(is_named && damages[0]["stream"].is_string() && damages[0]["first_key"].is_string(), "{damages:?}");
    assert_eq!(damages[0]["snapshots"].as_array().unwrap().len(), 2);
    assert_eq!(parts[parts.len() - 1]["sound"], false, "also when another request found it");
    worker.stop();
    app.stop().await;
    product.stop().await.unwrap();
}

/// A stored segment.
fn segment_of(app: &App) -> std::path::PathBuf {
    let mut directories = vec![app.data_dir().join("objects")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|ending| ending == "seg") {
                return path;
            }
        }
    }
    panic!("no segment is stored");
}
