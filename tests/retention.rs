//! Retention on the command line: every decision is explained before it is taken, and what is gone leaves a store that verifies.

#[path = "support/program.rs"]
mod program;

use program::{Program, run};
use serde_json::Value;

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
