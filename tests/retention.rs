//! Retention on the command line: every decision is explained before it is taken, and what is gone leaves a store that verifies.

#[path = "support/program.rs"]
mod program;
#[path = "support/running.rs"]
mod running;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use program::{Program, run};
use serde_json::{Value, json};

/// Imports `count` versions of a file, each a snapshot.
async fn versions(program: &Program, count: u32) -> Vec<String> {
    let file = program.data_dir().with_file_name("contacts.jsonl");
    let mut snapshots = Vec::new();
    for version in 0..count {
        let lines = (0..50).map(|id| format!("{{\"id\":{id},\"version\":{version}}}\n"));
        std::fs::write(&file, lines.collect::<String>()).expect("a file");
        let mut import = program.command("import");
        import.args(["--json", "--source", "shop", "--stream", "contacts", "--key", "id"]).arg(&file);
        let report: Value = serde_json::from_slice(&run(&mut import).await).expect("a report");
        snapshots.push(report["snapshot_id"].as_str().expect("a snapshot").to_owned());
    }
    snapshots
}

async fn json(program: &Program, arguments: &[&str]) -> Value {
    let mut command = program.command(arguments[0]);
    command.args(&arguments[1..]).arg("--json");
    serde_json::from_slice(&run(&mut command).await).expect("one document")
}

async fn text(program: &Program, arguments: &[&str]) -> String {
    String::from_utf8(run(program.command(arguments[0]).args(&arguments[1..])).await).expect("text")
}

#[tokio::test]
async fn a_dry_run_explains_what_the_next_one_does() {
    let program = Program::new();
    let made = versions(&program, 5).await;
    text(&program, &["pin", &made[0], "--reason", "before the move"]).await;
    text(&program, &["hold", &made[1], "--reason", "case 4711"]).await;
    let rules = ["--source", "shop", "--keep-last", "2"];
    let told = text(&program, &[&["forget"][..], &rules, &["--dry-run"]].concat()).await;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 7, "{told}");
    assert!(lines[6].starts_with("nothing else refers to 1 segment, "), "{told}");
    for (line, (id, said)) in lines.iter().zip(made.iter().zip([
        "keep: pinned by cli: before the move",
        "keep: held by cli: case 4711",
        "would forget: no rule keeps it",
        "keep: last 2",
        "keep: newest of the source, last 1",
    ])) {
        assert!(line.starts_with(id.as_str()) && line.ends_with(said), "{line}");
    }
    assert_eq!(json(&program, &["snapshots"]).await.as_array().expect("rows").len(), 5, "nothing has happened");

    let done = json(&program, &[&["forget"][..], &rules].concat()).await;
    let gone: Vec<&Value> =
        done["snapshots"].as_array().expect("rows").iter().filter(|row| row["decision"] == "forget").collect();
    assert_eq!(gone.iter().map(|row| &row["snapshot_id"]).collect::<Vec<_>>(), [made[2].as_str()]);
    let left = json(&program, &["snapshots"]).await;
    let left: Vec<&Value> = left.as_array().expect("rows").iter().map(|row| &row["snapshot_id"]).collect();
    assert_eq!(left, [&made[0], &made[1], &made[3], &made[4]]);
    let verified = json(&program, &["verify", "--data"]).await;
    assert_eq!(verified["clean"], true);
    assert_eq!((&verified["sources"][0]["snapshots"], &verified["sources"][0]["forgotten"]), (&4.into(), &1.into()));

    let pinned = program.export(&made[0], "contacts", "id").await;
    assert!(pinned.len() == 50 && pinned.values().all(|record| record["version"] == 0), "{pinned:?}");

    text(&program, &["release", &made[1]]).await;
    text(&program, &["forget", "--snapshot", &made[1]]).await;
    let refused = program.command("forget").args(["--snapshot", &made[4]]).output().await.expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("newest of its source"), "{refused:?}");
    assert_eq!(json(&program, &["verify", "--data"]).await["clean"], true);
}

#[tokio::test]
async fn without_rules_nothing_is_let_go_of_and_collecting_says_where_things_stand() {
    let program = Program::new();
    versions(&program, 2).await;
    let refused = program.command("forget").args(["--source", "shop"]).output().await.expect("it runs");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--keep-last"), "{refused:?}");
    let zeros = text(&program, &["forget", "--source", "shop", "--keep-daily", "0"]).await;
    assert!(
        zeros.contains("no rules: everything is kept") && zeros.ends_with("0 of 2 snapshots forgotten\n"),
        "{zeros}"
    );
    for arguments in [&["collect", "--dry-run"][..], &["collect"]] {
        let state = json(&program, arguments).await;
        assert_eq!(state["sources"][0]["state"], "clean", "{state}");
    }
}

/// All files below a folder, by their paths in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it is below").to_owned();
                found.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

/// Makes the folder hold these files and no others but those that `stays` is true for.
fn put_back(folder: &Path, wanted: &BTreeMap<PathBuf, Vec<u8>>, stays: impl Fn(&Path) -> bool) {
    for name in files(folder).keys().filter(|name| !wanted.contains_key(*name) && !stays(name)) {
        fs::remove_file(folder.join(name)).expect("the file goes");
    }
    for (name, bytes) in wanted {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is private");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_was_never_committed_and_keeps_attachments_from_being_collected_can_be_let_go_of() {
    let (sandbox, program) = (running::sandbox(300, 0), Program::new());
    let backup = async || -> String {
        let base_url = format!("base_url={}", sandbox.url());
        let settings = ["--set", "credentials.auth_type=api_key", "--set", "credentials.api_key=sandbox-key"];
        let report =
            json(&program, &[&["backup", "--integration", "sandbox", "--set", &base_url][..], &settings].concat())
                .await;
        report["snapshot_id"].as_str().expect("a snapshot").to_owned()
    };
    let change = async || {
        let mutation = json!({ "change": 0.5, "insert": 0.1, "delete": 0.0 });
        let _moved: Value = running::Api::post(&format!("{}/_sandbox/mutate", sandbox.url()), &mutation).await;
    };
    let data_dir = program.data_dir();
    let first = backup().await;
    let before = files(&data_dir);
    change().await;
    let lost = backup().await;
    // As if the run had died after its manifest and before the commit; and then its segments were lost.
    put_back(&data_dir, &before, |name| name.starts_with("objects") && name.extension().is_none_or(|end| end != "seg"));
    change().await;
    let head = backup().await;
    let snapshots = json(&program, &["snapshots"]).await.to_string();
    assert!(snapshots.contains(&first) && snapshots.contains(&head) && !snapshots.contains(&lost), "{snapshots}");

    let refused = program.command("collect").output().await.expect("it runs");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(5), "{told}");
    assert!(told.contains("listbackup forget --snapshot") && told.contains(&lost), "{told}");
    let done = json(&program, &["forget", "--snapshot", &lost]).await;
    assert_eq!(done["snapshots"][0]["decision"], "forget", "{done}");
    let state = json(&program, &["collect"]).await;
    assert_eq!(state["sources"].as_array().map(Vec::len), Some(1), "{state}");
    assert_eq!(json(&program, &["verify", "--data"]).await["clean"], true);
    let again = program.command("forget").args(["--snapshot", &lost]).output().await.expect("it runs");
    assert!(String::from_utf8_lossy(&again.stderr).contains("no such snapshot"), "{again:?}");
}
