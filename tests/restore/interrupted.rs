//! Killed, faulted and resumed.

use std::{process::Stdio, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

use super::{Place, assert_restored, moved};

/// Requests a second that the product allows: a restore takes some seconds.
const RATE_LIMIT: u32 = 60;
const KILLS: u32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_faults_in_the_midst_make_nothing_twice_and_leave_nothing_out() {
    let seed = std::env::var("LISTBACKUP_TEST_SEED")
        .map_or_else(|_| rand::rng().random(), |seed| seed.parse().expect("a number"));
    println!("seed {seed} (LISTBACKUP_TEST_SEED sets it)");
    let mut random = StdRng::seed_from_u64(seed);
    let place = Place::new(1000, RATE_LIMIT);
    let snapshot = place.backup().await;
    let before = [
        ("companies", place.truth("companies").await),
        ("contacts", place.truth("contacts").await),
        ("deals", place.truth("deals").await),
    ];
    for company in 1..=8 {
        place.delete(&format!("/companies/{company}")).await;
    }
    for contact in 100..140 {
        place.delete(&format!("/contacts/{contact}")).await;
    }
    place.patch("/contacts/1", json!({ "notes": "altered" })).await;
    place.backup().await;

    let mut restore_id = None;
    for _ in 0..KILLS {
        arm_faults(&place, &mut random).await;
        let life = Duration::from_millis(random.random_range(100..1_200));
        restore_id = Some(killed(&place, &snapshot, restore_id.as_deref(), life).await);
    }
    let restore_id = restore_id.expect("a restore");
    let log = place.program.data_dir().with_file_name("outcomes.jsonl");
    let (report, code) = place.restore(&["--resume", &restore_id, "--outcomes", &log.display().to_string()]).await;
    assert_eq!((&report["status"], code), (&json!("succeeded"), Some(0)), "seed {seed}: {report}");

    let outcomes = std::fs::read_to_string(&log).expect("the outcomes");
    let ids = ["companies", "contacts", "deals"].map(|stream| (stream, moved(&outcomes, stream))).into();
    for (stream, before) in &before {
        assert_restored(stream, before, &place.truth(stream).await, &ids);
    }
    let writes = place.writes().await;
    let made = ["POST /companies", "POST /contacts", "POST /companies/{id}/deals"].map(|what| writes[what].clone());
    assert_eq!(made, [json!(8), json!(40), json!(200)], "seed {seed}: {writes}");
    let outcomes = outcomes.lines().map(|line| serde_json::from_str::<Value>(line).expect("one outcome a line"));
    let mut told: Vec<String> =
        outcomes.map(|told| format!("{} {} {}", told["stream"], told["key"], told["outcome"])).collect();
    told.sort_unstable();
    let repeated = told.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(repeated, None, "seed {seed}: what is done is not done again");
}

/// Answers that get lost after the record was made, and pauses that the product asks for.
async fn arm_faults(place: &Place, random: &mut StdRng) {
    let faults = [
        json!({ "kind": "cut" }),
        json!({ "kind": "status", "status": 503 }),
        json!({ "kind": "status", "status": 429, "retry_after_s": 1 }),
    ];
    for fault in faults {
        let path = ["/companies", "/contacts", "/companies/"][random.random_range(0..3)];
        let order = json!({ "path": path, "nth": random.random_range(5..60), "fault": fault });
        place.call(reqwest::Method::POST, "/_sandbox/faults", order).await;
    }
}

/// Begins or resumes the restore and kills it after a while; the restore's id.
async fn killed(place: &Place, snapshot: &str, restore_id: Option<&str>, life: Duration) -> String {
    let mut command = place.program.command("restore");
    match restore_id {
        Some(id) => command.args(["--resume", id]),
        None => command.args(["--snapshot", snapshot, "--apply"]),
    };
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut told = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    let id = loop {
        let line = told.next_line().await.expect("text").expect("the program tells the restore's id");
        if let Some(id) = line.strip_prefix("restore ") {
            break id.to_owned();
        }
    };
    let _it_may_have_ended = timeout(life, child.wait()).await;
    // Fails only when it has.
    let _ = child.kill().await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn one_record_that_the_product_refuses_does_not_stop_the_others() {
    let place = Place::new(1000, 0);
    let snapshot = place.backup().await;
    for contact in 1..=5 {
        place.delete(&format!("/contacts/{contact}")).await;
    }
    place.backup().await;
    let fault = json!({ "kind": "status", "status": 422 });
    place
        .call(reqwest::Method::POST, "/_sandbox/faults", json!({ "path": "/contacts", "nth": 3, "fault": fault }))
        .await;
    let (report, code) = place.restore(&["--snapshot", &snapshot, "--stream", "contacts", "--apply"]).await;
    let figures = &report["streams"]["contacts"];
    assert_eq!((&figures["created"], &figures["failed"], code), (&json!(4), &json!(1), Some(3)), "{report}");
    assert!(report["left"][0]["reason"].as_str().is_some_and(|reason| reason.contains("422")), "{report}");
    // Going on tries only that one again. The sandbox had made it before it said no: its natural key finds it.
    let id = report["restore_id"].as_str().expect("an id");
    let (report, code) = place.restore(&["--resume", id]).await;
    let figures = &report["streams"]["contacts"];
    assert_eq!((&figures["created"], &figures["skipped"], code), (&json!(4), &json!(1), Some(0)), "{report}");
    assert_eq!(place.writes().await["POST /contacts"], 5);
}
