//! Where keys say nothing: into another source's product, and after a restore that nobody knows the end of. Natural keys find
//! there what is there already.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::{Place, running, without_stamps};

/// A product of its own, with some of the contacts of the first.
async fn two_products() -> (Place, running::Running, String) {
    let place = Place::new(1000, 0);
    place.patch("/companies/1", json!({ "main_contact_id": 7 })).await;
    place.patch("/contacts/7", json!({ "company_id": 4 })).await;
    place.patch("/contacts/900", json!({ "company_id": 5 })).await;
    let snapshot = place.backup().await;
    let other = running::sandbox(500, 0);
    place.backup_of(&other.url(), "other").await;
    (place, other, snapshot)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_into_another_sources_product_once_with_their_references() {
    let (place, other, snapshot) = two_products().await;
    let before = running::truth(&other.url(), "contacts").await;
    let (plan, code) = place.restore(&["--snapshot", &snapshot, "--into", "other"]).await;
    assert_eq!((&plan["dry_run"], code), (&json!(true), Some(0)), "{plan}");
    assert_eq!(running::truth(&other.url(), "contacts").await, before);

    let (done, code) = place.restore(&["--snapshot", &snapshot, "--into", "other", "--apply"]).await;
    assert_eq!((&done["status"], code), (&json!("succeeded"), Some(0)), "{done}");
    assert_eq!(plan["streams"], done["streams"], "it did what it had planned");
    let contacts = &done["streams"]["contacts"];
    let found =
        contacts["updated"].as_u64().zip(contacts["skipped"].as_u64()).map(|(updated, skipped)| updated + skipped);
    assert_eq!((&contacts["created"], found), (&json!(500), Some(500)), "half of them were there: {done}");

    let (wanted, now) = (place.truth("contacts").await, running::truth(&other.url(), "contacts").await);
    let (companies, companies_now) = (place.truth("companies").await, running::truth(&other.url(), "companies").await);
    let by_email = |email: &Value| now.values().find(|contact| contact["email"] == *email).expect("the contact");
    assert_eq!(now.len(), wanted.len(), "no contact is there twice");
    for contact in wanted.values() {
        let mut expected = without_stamps(contact);
        let mut found = without_stamps(by_email(&contact["email"]));
        let name = |companies: &super::Records, record: &Value| match &record["company_id"] {
            Value::Null => Value::Null,
            id => companies[&id.to_string()]["name"].clone(),
        };
        assert_eq!(name(&companies, &expected), name(&companies_now, &found));
        for record in [&mut expected, &mut found] {
            record["company_id"] = Value::Null;
        }
        assert_eq!(expected, found);
    }
    let made = companies_now.values().find(|company| !company["main_contact_id"].is_null()).expect("the first company");
    assert_eq!(now[&made["main_contact_id"].to_string()]["email"], wanted["7"]["email"]);
    assert_eq!(
        place.writes().await,
        json!({ "PATCH /companies/{id}": 1, "PATCH /contacts/{id}": 2 }),
        "its own product is left alone"
    );

    // All of it is known by the map of the first.
    let before = ["companies", "contacts", "deals"].map(|stream| (stream, other.url()));
    let mut states = Vec::new();
    for (stream, url) in &before {
        states.push(running::truth(url, stream).await);
    }
    place.backup_of(&other.url(), "other").await;
    let (again, code) = place.restore(&["--snapshot", &snapshot, "--into", "other", "--apply"]).await;
    assert_eq!(code, Some(0), "{again}");
    for ((stream, url), state) in before.iter().zip(states) {
        assert_eq!(running::truth(url, stream).await, state, "{stream}: {again}");
        assert_eq!(again["streams"][stream]["created"], 0, "{again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_there_and_in_no_backup_is_not_overwritten() {
    let place = Place::new(100, 0);
    let snapshot = place.backup().await;
    let other = running::sandbox(100, 0);
    let url = other.url();
    let changed = json!({ "notes": "only here" });
    let client = reqwest::Client::new();
    place.backup_of(&url, "other").await;
    let patch = client.request(Method::PATCH, format!("{url}/contacts/6")).header("X-Api-Key", "sandbox-key");
    assert!(patch.json(&changed).send().await.expect("an answer").status().is_success());
    let one = ["--snapshot", &snapshot, "--into", "other", "--stream", "contacts", "--key", "6", "--apply"];
    let (report, code) = place.restore(&one).await;
    let figures = &report["streams"]["contacts"];
    assert_eq!((&figures["conflicts"], code), (&json!(1), Some(3)), "{report}");
    assert_eq!(running::truth(&url, "contacts").await["6"]["notes"], "only here");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_keeps_a_snapshot_out_of_a_source_is_told_at_once() {
    let place = Place::new(100, 0);
    let snapshot = place.backup().await;
    let lines = place.program.data_dir().with_file_name("lines.jsonl");
    std::fs::write(&lines, "{\"id\":1}\n").expect("a file");
    place.program.json("import", &["--stream", "lines", "--key", "id", &lines.display().to_string()]).await;
    let arguments = ["--snapshot", &snapshot, "--into", "import", "--stream", "none", "--stream", "contacts"];
    let (error, code) = place.restore(&arguments).await;
    let problems = error["error"]["problems"].to_string();
    assert_eq!(code, Some(2), "{error}");
    for told in ["the snapshot has no such stream", "the snapshot is of sandbox"] {
        assert!(problems.contains(told), "{told}: {error}");
    }
    let (error, code) = place.restore(&["--snapshot", &snapshot, "--into", "nobody"]).await;
    assert!(code == Some(2) && error.to_string().contains("no source of that name or id"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_api_a_restore_names_the_source_that_it_goes_into() {
    let place = Place::new(100, 0);
    let other = running::sandbox(100, 0);
    let up = running::Running::up(&place.program);
    let api = up.api();
    let source = api.connect_sandbox(&place.sandbox.url()).await;
    let run = api.ended(&api.sync(&source).await).await;
    let settings = json!({
        "base_url": other.url(),
        "credentials": { "auth_type": "api_key", "api_key": "sandbox-key" },
    });
    let body = json!({ "name": "Other", "integration": "sandbox", "settings": settings });
    let target = api.call(Method::POST, "/sources", Some(&body)).await["id"].clone();
    let path = format!("/data/snapshots/{}/restore", run["snapshot_id"].as_str().expect("a snapshot"));
    let streams = json!([{ "name": "contacts", "keys": ["3", "4"] }]);
    let ordered = api.call(Method::POST, &path, Some(&json!({ "into": target, "streams": streams }))).await;
    let run = api.ended(ordered["run_id"].as_str().expect("a run")).await;
    assert_eq!(run["source_id"], target);
    let plan = api.call(Method::GET, &format!("/data/restores/{}", ordered["id"].as_str().expect("an id")), None).await;
    assert_eq!((&plan["source_id"], &plan["snapshot_source_id"]), (&target, &json!(source)), "{plan}");
    let key = std::fs::read_to_string(place.program.data_dir().join("access-key")).expect("the key");
    let unknown = json!({ "into": "src_00000000000000000000000000" });
    let request = reqwest::Client::new().post(format!("{}{path}", up.url())).bearer_auth(key).json(&unknown);
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 422);
    assert!(answer.text().await.expect("text").contains("there is no such source"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_after_one_that_was_killed_and_forgotten_makes_nothing_twice() {
    let place = Place::new(100, 0);
    let mute = Mute::before(&place.sandbox.url()).await;
    let snapshot = place.backup_of(&mute.url, "sandbox").await;
    let before = place.truth("contacts").await;
    place.delete("/contacts/40").await;
    place.backup_of(&mute.url, "sandbox").await;
    let mut command = place.program.command("restore");
    command.args(["--snapshot", &snapshot, "--stream", "contacts", "--apply"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    mute.made.notified().await;
    child.kill().await.expect("it was waiting for the answer");
    assert_eq!(place.writes().await["POST /contacts"], 1, "the product made the record, and nobody was told");
    mute.is_mute.store(false, Ordering::SeqCst);

    let log = place.program.data_dir().with_file_name("outcomes.jsonl");
    let file = log.display().to_string();
    let arguments = ["--snapshot", &snapshot, "--stream", "contacts", "--outcomes", &file];
    let (plan, code) = place.restore(&arguments).await;
    assert_eq!((&plan["streams"]["contacts"]["skipped"], code), (&json!(1), Some(0)), "{plan}");
    let told = std::fs::read_to_string(&log).expect("the outcomes");
    assert!(told.contains("found by its natural key (email)"), "{told}");
    let (done, code) = place.restore(&["--snapshot", &snapshot, "--stream", "contacts", "--apply"]).await;
    assert_eq!(code, Some(0), "{done}");
    assert_eq!(place.writes().await["POST /contacts"], 1, "{done}");
    assert_eq!(place.truth("contacts").await.len(), before.len());
}

/// Stands before a product and keeps back what it answers to the making of a contact.
struct Mute {
    url: String,
    made: Arc<Notify>,
    is_mute: Arc<AtomicBool>,
}

impl Mute {
    async fn before(url: &str) -> Self {
        let to = url.strip_prefix("http://").expect("plain HTTP").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let mute = Self { url, made: Arc::default(), is_mute: Arc::new(AtomicBool::new(true)) };
        let (made, is_mute) = (mute.made.clone(), mute.is_mute.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&to).await.expect("the product");
                tokio::spawn(relay(client, server, made.clone(), is_mute.clone()));
            }
        });
        mute
    }
}

async fn relay(client: TcpStream, server: TcpStream, made: Arc<Notify>, is_mute: Arc<AtomicBool>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let makes = Arc::new(AtomicBool::new(false));
    let asked = makes.clone();
    tokio::spawn(async move {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
            if asked.load(Ordering::SeqCst) && is_mute.load(Ordering::SeqCst) {
                made.notify_one();
                return std::future::pending().await;
            }
            if to_client.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    });
    let mut bytes = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
        if bytes.starts_with(b"POST /contacts ") {
            makes.store(true, Ordering::SeqCst);
        }
        if to_server.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
