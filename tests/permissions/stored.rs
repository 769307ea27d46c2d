//! What people do with what is stored.

use serde_json::{Value, json};

use crate::{
    caller::text,
    day::{Day, ids},
};

const RECORDS: &str = "/data/snapshots/{id}/streams/{stream}/records";
const RECORD: &str = "/data/snapshots/{id}/streams/{stream}/records/{key}";
const DIFF: &str = "/data/snapshots/{id}/diff/{other}";
const STREAM_DIFF: &str = "/data/snapshots/{id}/diff/{other}/streams/{stream}";

/// Looks at everything, marks it, compares, and takes it out again.
pub async fn used(day: &mut Day) {
    let (api, snapshots, source) = day.parts();
    let (new, old) = (&*snapshots[0], snapshots.last().expect("two").as_str());
    api.get("/data/snapshots/{id}", &[new], "").await;
    for mark in ["/data/snapshots/{id}/pin", "/data/snapshots/{id}/hold"] {
        api.call("POST", mark, &[new], json!({ "reason": "case 4711" })).await;
        api.call("DELETE", mark, &[new], Value::Null).await;
    }
    api.get(DIFF, &[old, new], "").await;
    api.get(STREAM_DIFF, &[old, new, "contacts"], "?fields=true").await;
    let records = api.get(RECORDS, &[new, "companies"], "").await;
    let key = &records["items"][0]["record"]["id"];
    let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
    api.get(RECORD, &[new, "companies", &key], "").await;
    api.get("/data/records/history", &[], &format!("?source_id={source}&stream=companies&key={key}")).await;
    api.get("/data/search", &[], "?text=a").await;
    api.call("POST", "/data/snapshots/{id}/verify", &[new], json!({ "level": "data", "max_seconds": 120 })).await;
    let export = api.call("POST", "/data/exports", &[], json!({ "snapshot_id": new })).await;
    let export = text(&export["id"]).to_owned();
    api.get("/data/exports", &[], "").await;
    api.get("/data/exports/{id}", &[&export], "").await;
    api.get("/data/exports/{id}/download", &[&export], "").await;
    // Rows come a moment after the snapshot; its backup is long over.
    let streams = api.get("/data/files", &[], "?limit=200").await;
    let attachments = api.get("/data/files", &[], &format!("?source_id={source}&path=companies/&limit=200")).await;
    for files in [ids(&streams), ids(&attachments)] {
        let file = files.first().expect("there are files");
        api.get("/data/files/{id}", &[file], "").await;
        api.get("/data/files/{id}/download", &[file], "").await;
    }
}

/// One record is deleted in the product and written back.
pub async fn restored(day: &mut Day) {
    let product = day.product();
    let deal = reqwest::Client::new()
        .delete(format!("{product}/companies/1"))
        .header("x-api-key", "sandbox-key")
        .send()
        .await
        .expect("an answer");
    assert!(deal.status().is_success() || deal.status() == 404, "{deal:?}");
    // A restore is a run of the source's first job: where there is none, it makes one.
    let (api, _, source) = day.parts();
    let jobs = api.get("/jobs", &[], &format!("?source_id={source}")).await;
    for job in ids(&jobs) {
        api.call("DELETE", "/jobs/{id}", &[&job], Value::Null).await;
    }
    for dry_run in [true, false] {
        let (api, snapshots, _) = day.parts();
        let body = json!({ "dry_run": dry_run, "streams": [{ "name": "companies", "keys": ["1"] }] });
        let restore = api.call_twice("POST", "/data/snapshots/{id}/restore", &[&snapshots[0]], body).await;
        let ended = api.api("/runs/x").ended(text(&restore["run_id"])).await;
        assert!(matches!(ended["status"].as_str(), Some("succeeded" | "partial")), "{ended}");
        api.get("/data/restores", &[], "").await;
        api.get("/data/restores/{id}", &[text(&restore["id"])], "").await;
        api.get("/data/restores/{id}/records", &[text(&restore["id"])], "").await;
    }
}
