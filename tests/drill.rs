//! A restore drill tells whether snapshots can be restored, in a report that nobody can alter unseen.

#[path = "support/program.rs"]
mod program;
#[path = "support/running.rs"]
mod running;
#[path = "support/stored.rs"]
mod stored;

use std::{fs, path::Path};

use program::{Program, run};
use running::Running;
use serde_json::{Value, json};

async fn import(program: &Program, stream: &str, ids: std::ops::Range<u32>) {
    let file = program.data_dir().with_file_name("records.jsonl");
    let lines = ids.map(|id| format!("{{\"id\":{id},\"text\":\"some text {}\"}}\n", id * 7919 % 1009));
    fs::write(&file, lines.collect::<String>()).expect("a file");
    let mut import = program.command("import");
    import.args(["--json", "--source", "shop", "--stream", stream, "--key", "id"]).arg(&file);
    run(&mut import).await;
}

/// A small stream and a large one.
async fn world() -> Program {
    let program = Program::new();
    import(&program, "orders", 0..50).await;
    import(&program, "contacts", 0..3000).await;
    program
}

/// Runs `drill` with these arguments; code, what it printed, what it told.
async fn drill(program: &Program, arguments: &[&str]) -> (i32, String, String) {
    let output = program.command("drill").args(arguments).output().await.expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("it ends by itself"), text(&output.stdout), text(&output.stderr))
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).expect("a report")).expect("JSON")
}

#[tokio::test]
async fn a_drill_restores_what_it_says_and_its_report_can_be_checked_without_the_database() {
    let program = world().await;
    let scratch = tempfile::tempdir().expect("a directory");
    let file = program.data_dir().with_file_name("drill.json");
    let (out, place) = (file.to_str().expect("text"), scratch.path().to_str().expect("text"));
    let (code, printed, told) = drill(&program, &["--out", out, "--scratch", place, "--sample", "200"]).await;
    assert_eq!(code, 0, "{told}");
    assert!(printed.contains("passed; 250 records of 2 streams restored"), "{printed}");
    assert!(printed.contains("contacts: 200 of 3,000\n"), "{printed}");
    assert!(printed.contains("orders: 50 of 50, all of it"), "{printed}");
    assert_eq!(fs::read_dir(scratch.path()).expect("a directory").count(), 0, "what was restored is removed");

    let signed = read(&file);
    let report = &signed["report"];
    assert_eq!((&report["outcome"], &report["streams"]["contacts"]["restored"]), (&json!("passed"), &json!(200)));
    assert!(report["program"].as_str().is_some_and(|text| text.starts_with("listbackup ")));
    let snapshot = report["snapshotId"].as_str().expect("an id");
    let exported = program.export(snapshot, "contacts", "id").await.len();
    assert_eq!(report["streams"]["contacts"]["records"], exported);
    let seed = report["seed"].as_str().expect("a seed");
    let again: Value =
        serde_json::from_str(&drill(&program, &["--seed", seed, "--sample", "200", "--json"]).await.1).expect("JSON");
    assert_eq!(again["reports"][0]["report"]["streams"], report["streams"], "the same seed draws the same records");

    // Both are kept beside the snapshots, sealed.
    let kept = stored::objects(&program.data_dir(), "drill");
    assert_eq!(kept.len(), 2);
    let key = program.data_dir().join("master.key");
    let mut cat = tokio::process::Command::new(program::binary());
    let shown = run(cat.arg("cat").arg(&kept[0]).arg("--key-file").arg(&key)).await;
    assert_eq!(serde_json::from_slice::<Value>(&shown).expect("JSON")["report"], *report);

    for name in ["listbackup.db", "listbackup.db-wal", "listbackup.db-shm"] {
        let _ = fs::remove_file(program.data_dir().join(name));
    }
    let (code, printed, told) = drill(&program, &["--check", out]).await;
    assert_eq!(code, 0, "{told}");
    assert!(printed.contains("The signature holds") && printed.contains("stored, and the one"), "{printed}");
}

#[tokio::test]
async fn an_altered_report_and_one_of_somebody_else_are_refused() {
    let program = world().await;
    let file = program.data_dir().with_file_name("drill.json");
    let out = file.to_str().expect("text").to_owned();
    drill(&program, &["--out", &out]).await;
    let signed = read(&file);
    // White space and order are nobody's statement.
    fs::write(&file, signed.to_string()).expect("it is written");
    assert_eq!(drill(&program, &["--check", &out]).await.0, 0);

    for (field, value) in [
        ("/report/outcome", json!("failed")),
        ("/report/manifestDigest", json!("0".repeat(64))),
        ("/report/startedAt", json!("2031-01-01T00:00:00Z")),
        ("/report/sampleSize", json!(100_000)),
        ("/report/streams/contacts/restored", json!(3000)),
        ("/report/streams/orders/problems", json!(["x"])),
        ("/signature/value", json!("0".repeat(128))),
        ("/signature/publicKey", json!("0".repeat(64))),
    ] {
        let mut altered = signed.clone();
        *altered.pointer_mut(field).expect("the field is there") = value;
        fs::write(&file, altered.to_string()).expect("it is written");
        let (code, printed, told) = drill(&program, &["--check", &out]).await;
        assert!(code == 5 && printed.is_empty(), "{field}: {code} {printed}");
        assert!(told.contains("altered") || told.contains("another key"), "{field}: {told}");
    }

    fs::write(&file, signed.to_string()).expect("it is written");
    let key = signed["signature"]["publicKey"].as_str().expect("a key").to_owned();
    let nowhere = Program::new();
    assert_eq!(drill(&nowhere, &["--check", &out, "--public-key", &key]).await.0, 0, "the public key is enough");
    let (code, _, told) = drill(&nowhere, &["--check", &out, "--public-key", &"0".repeat(64)]).await;
    assert!(code == 5 && told.contains("another key"), "{told}");
    assert_eq!(drill(&nowhere, &["--check", &out]).await.0, 2, "without any key nothing can be said");

    // Another account signs the same words with its own key.
    let stranger = world().await;
    let theirs = stranger.data_dir().with_file_name("drill.json");
    drill(&stranger, &["--out", theirs.to_str().expect("text")]).await;
    let mut forged = read(&theirs);
    forged["report"]["accountId"] = signed["report"]["accountId"].clone();
    fs::write(&file, forged.to_string()).expect("it is written");
    let (code, _, told) = drill(&program, &["--check", &out]).await;
    assert!(code == 5 && told.contains("another key"), "{told}");
}

#[tokio::test]
async fn a_drill_over_damage_fails_and_says_where_also_in_its_report() {
    let program = world().await;
    for segment in stored::objects(&program.data_dir(), "seg") {
        let mut bytes = fs::read(&segment).expect("a segment");
        bytes[30] ^= 1;
        fs::write(&segment, bytes).expect("it is damaged");
    }
    let file = program.data_dir().with_file_name("drill.json");
    let out = file.to_str().expect("text");
    let (code, printed, told) = drill(&program, &["--out", out]).await;
    assert_eq!(code, 5, "{told}");
    assert!(printed.contains("FAILED; 0 records of 2 streams") && printed.contains("block was altered"), "{printed}");
    let report = &read(&file)["report"];
    assert_eq!(report["outcome"], "failed");
    assert!(report["streams"]["orders"]["problems"][0].as_str().is_some_and(|what| what.contains("orders")));
    assert_eq!(report["streams"]["orders"]["isWhole"], false);
    assert_eq!(drill(&program, &["--check", out]).await.0, 5, "the report is genuine, and it says that it failed");
}

#[tokio::test]
async fn beside_a_running_process_a_drill_is_done_and_its_report_kept() {
    let program = world().await;
    let up = Running::up(&program);
    let (code, printed, told) = drill(&program, &["--json"]).await;
    assert_eq!(code, 0, "{told}");
    let document: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!((&document["kept"], &document["reports"][0]["report"]["outcome"]), (&json!(true), &json!("passed")));
    assert_eq!(stored::objects(&program.data_dir(), "drill").len(), 1);
    up.kill();
}
