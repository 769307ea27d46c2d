//! Out of the store: into files, and into another data directory.

use serde_json::{Value, json};

use super::{Place, program::Program};

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_holds_every_record_and_says_what_it_holds() {
    let place = Place::new(300, 0);
    let snapshot = place.backup().await;
    let folder = place.program.data_dir().with_file_name("out");
    let (told, code) = place.restore(&["--snapshot", &snapshot, "--to", &folder.display().to_string()]).await;
    assert_eq!(code, Some(0), "{told}");
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).expect("it")).expect("JSON");
    assert_eq!((&manifest, &manifest["snapshot_id"]), (&told, &json!(snapshot)));
    for stream in manifest["streams"].as_array().expect("a list") {
        let bytes = std::fs::read(folder.join(stream["file"].as_str().expect("a name"))).expect("the file");
        assert_eq!(stream["blake3"], json!(blake3::hash(&bytes).to_hex().to_string()));
        let lines = String::from_utf8(bytes).expect("text").lines().count();
        assert_eq!(stream["records"], json!(lines));
    }
    let contacts = std::fs::read_to_string(folder.join("contacts.jsonl")).expect("the contacts");
    let url = format!("{}/_sandbox/truth/contacts", place.sandbox.url());
    assert_eq!(contacts, reqwest::get(url).await.expect("an answer").text().await.expect("text"));
    let (error, code) = place.restore(&["--snapshot", &snapshot, "--to", &folder.display().to_string()]).await;
    assert_eq!(code, Some(2), "a folder that holds something is refused: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_another_data_directory_is_a_snapshot_as_any_other() {
    let place = Place::new(300, 0);
    let snapshot = place.backup().await;
    let other = Program::new();
    let directory = other.data_dir().display().to_string();
    let (copy, code) = place.restore(&["--snapshot", &snapshot, "--to-store", &directory]).await;
    assert_eq!((&copy["status"], code), (&json!("succeeded"), Some(0)), "{copy}");
    let copied = copy["snapshot_id"].as_str().expect("a snapshot").to_owned();
    assert_eq!(other.json("verify", &["--data"]).await["clean"], true);
    for (stream, key) in [("contacts", "id"), ("companies", "id"), ("deals", "id"), ("events", "id"), ("tags", "name")]
    {
        let there = place.program.export(&snapshot, stream, key).await;
        assert_eq!(there, other.export(&copied, stream, key).await, "{stream}");
    }
    // Once more stores nothing of it again.
    let (again, _) = place.restore(&["--snapshot", &snapshot, "--to-store", &directory]).await;
    let changed = again["streams"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|stream| stream["added"] != 0 || stream["changed"] != 0);
    assert_eq!(changed.count(), 0, "{again}");
}
