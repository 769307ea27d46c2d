//! Into the product.

use serde_json::{Value, json};

use super::{Place, Records, assert_restored, moved};

/// Contacts and companies that refer to each other in a circle, deals that refer to both; then some of all are gone or altered.
async fn damaged() -> (Place, String, [(&'static str, Records); 3]) {
    let place = Place::new(1000, 0);
    place.patch("/contacts/7", json!({ "company_id": 4 })).await;
    place.patch("/contacts/8", json!({ "company_id": 5 })).await;
    place.patch("/companies/4", json!({ "main_contact_id": 7 })).await;
    place.patch("/companies/5", json!({ "main_contact_id": 7 })).await;
    let snapshot = place.backup().await;
    let before = [
        ("companies", place.truth("companies").await),
        ("contacts", place.truth("contacts").await),
        ("deals", place.truth("deals").await),
    ];
    for path in ["/companies/4", "/companies/20", "/contacts/7", "/contacts/900", "/deals/130"] {
        place.delete(path).await;
    }
    place.patch("/contacts/9", json!({ "notes": "overwritten", "score": 1.5, "tags": null })).await;
    place.patch("/deals/131", json!({ "stage": "lost", "amount": 0 })).await;
    (place, snapshot, before)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_and_altered_comes_back_with_its_references() {
    let (place, snapshot, before) = damaged().await;
    place.backup().await;
    let log = place.program.data_dir().with_file_name("outcomes.jsonl");
    let file = log.display().to_string();
    let (report, code) = place.restore(&["--snapshot", &snapshot, "--apply", "--outcomes", &file]).await;
    assert_eq!((&report["status"], code), (&json!("succeeded"), Some(0)), "{report}");
    let outcomes = std::fs::read_to_string(&log).expect("the outcomes");
    let ids = ["companies", "contacts", "deals"].map(|stream| (stream, moved(&outcomes, stream))).into();
    for (stream, before) in &before {
        assert_restored(stream, before, &place.truth(stream).await, &ids);
    }
    assert_eq!(report["streams"]["deals"]["created"], 51);
    // Contact 8 stayed, and so did its company: nothing of it was touched.
    assert!(!outcomes.contains(r#""stream":"contacts","key":"8""#), "{outcomes}");

    // All of it is there now: a second restore of the same snapshot makes nothing twice.
    let writes = place.writes().await;
    let (again, code) = place.restore(&["--snapshot", &snapshot, "--apply"]).await;
    assert_eq!((code, place.writes().await), (Some(0), writes), "{again}");
    for stream in ["companies", "contacts", "deals"] {
        let figures = &again["streams"][stream];
        assert_eq!((&figures["created"], &figures["updated"]), (&json!(0), &json!(0)), "{again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_same_and_writes_nothing() {
    let (place, snapshot, _) = damaged().await;
    place.backup().await;
    let before = place.writes().await;
    let (plan, code) = place.restore(&["--snapshot", &snapshot]).await;
    assert_eq!((code, place.writes().await), (Some(0), before.clone()));
    assert_eq!(plan["dry_run"], true);
    let (done, _) = place.restore(&["--snapshot", &snapshot, "--apply"]).await;
    assert_eq!(plan["streams"], done["streams"]);
    assert_ne!(place.writes().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_since_the_last_backup_is_told_and_left_alone() {
    let (place, snapshot, before) = damaged().await;
    let (report, code) = place.restore(&["--snapshot", &snapshot, "--apply"]).await;
    assert_eq!((&report["status"], code), (&json!("partial"), Some(3)), "{report}");
    let left = |report: &Value| {
        let left = report["left"].as_array().expect("a list").clone();
        left.iter().map(|left| format!("{} {} {}", left["stream"], left["key"], left["reason"])).collect::<Vec<_>>()
    };
    let why = "\"it was changed in the product after the last backup\"";
    assert_eq!(left(&report), [format!("\"contacts\" \"9\" {why}"), format!("\"deals\" \"131\" {why}")]);
    assert_eq!(place.truth("contacts").await["9"]["notes"], "overwritten");

    let (report, code) = place.restore(&["--snapshot", &snapshot, "--apply", "--overwrite"]).await;
    assert_eq!((report["streams"]["contacts"]["updated"].clone(), code), (json!(1), Some(0)), "{report}");
    assert_eq!(place.truth("contacts").await["9"]["notes"], before[1].1["9"]["notes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_asked_for_is_restored_and_a_reference_to_what_is_gone_is_a_conflict() {
    let (place, snapshot, before) = damaged().await;
    place.backup().await;
    let one = ["--snapshot", &snapshot, "--stream", "contacts", "--key", "900", "--apply"];
    let (report, code) = place.restore(&one).await;
    assert_eq!((report["streams"]["contacts"]["created"].clone(), code), (json!(1), Some(0)), "{report}");
    assert_eq!(place.truth("contacts").await.len(), before[1].1.len() - 1);
    // Its company is gone and not asked for.
    let (report, code) =
        place.restore(&["--snapshot", &snapshot, "--stream", "deals", "--from", "76", "--until", "101"]).await;
    assert_eq!((report["streams"]["deals"]["conflicts"].clone(), code), (json!(25), Some(3)), "{report}");
    let reason = report["left"][0]["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("companies 4") && reason.contains("not part of the restore"), "{reason}");
    let (error, code) = place.restore(&["--snapshot", &snapshot, "--stream", "events", "--apply"]).await;
    assert_eq!(code, Some(1), "{error}");
}
