//! Verifying on the command line: in one go, or in parts until all is covered.

#[path = "support/program.rs"]
mod program;
#[path = "support/running.rs"]
mod running;
#[path = "support/stored.rs"]
mod stored;

use listbackup_engine::{
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::scope::SystemScope,
    ports::{Condition, Query, SortRange, Write},
    tables::{ACTIVITY, SOURCES, TableSchema},
};
use program::{Program, run};
use running::Running;
use serde_json::{Map, Value};

/// Imports contacts into a source, with that content; the snapshot.
async fn import(program: &Program, source: &str, content: &str) -> String {
    let file = program.data_dir().with_file_name("contacts.jsonl");
    let lines = (0..500).map(|id| format!("{{\"id\":{id},\"content\":\"{content} {}\"}}\n", id * 7919 % 1009));
    std::fs::write(&file, lines.collect::<String>()).expect("a file");
    let mut import = program.command("import");
    import.args(["--json", "--source", source, "--stream", "contacts", "--key", "id"]).arg(&file);
    let report: Value = serde_json::from_slice(&run(&mut import).await).expect("a report");
    report["snapshot_id"].as_str().expect("a snapshot").to_owned()
}

/// Runs `verify` with these arguments; the document and the exit code.
async fn verify(program: &Program, arguments: &[&str]) -> (Value, i32) {
    let mut command = program.command("verify");
    let output = command.arg("--json").args(arguments).output().await.expect("it starts");
    let document = serde_json::from_slice(&output.stdout).expect("one document");
    (document, output.status.code().expect("it ends by itself"))
}

const IN_PARTS: &[&str] = &["--data", "--max-bytes", "1kB", "--resume"];

/// Verifies in parts until all is covered; the documents.
async fn in_parts(program: &Program) -> Vec<Value> {
    let mut documents: Vec<Value> = Vec::new();
    loop {
        let (document, _) = verify(program, IN_PARTS).await;
        let is_complete = document["sources"].as_array().expect("sources").iter().any(|s| s["complete"] == true);
        documents.push(document);
        if is_complete {
            return documents;
        }
        assert!(documents.len() < 50, "it comes to no end: {documents:?}");
    }
}

#[tokio::test]
async fn parts_go_on_from_each_other_and_each_source_has_its_turn() {
    let program = Program::new();
    for content in ["one", "two", "three"] {
        import(&program, "a", content).await;
    }
    let newest = import(&program, "b", "one").await;
    let first = in_parts(&program).await;
    assert!(first.len() > 1, "{first:?}");
    let covered = |document: &Value| document["sources"][0]["covered"]["segments"].as_u64().expect("a count");
    assert!(first.iter().map(covered).is_sorted() && covered(&first[0]) < covered(&first[first.len() - 1]));
    assert!(first.iter().all(|document| document["clean"] == true));
    assert_eq!((&first[0]["sources"][1]["source"], &first[0]["sources"][1]["complete"]), (&"b".into(), &false.into()));
    assert_eq!(first[first.len() - 1]["sources"][0]["complete"], true);
    let next = in_parts(&program).await;
    assert_eq!(next[next.len() - 1]["sources"][1]["complete"], true, "now the other: {next:?}");

    assert_eq!(program.export(&newest, "contacts", "id").await.len(), 500, "nothing has changed");
    let (whole, code) = verify(&program, &["--data"]).await;
    assert_eq!((code, &whole["complete"], &whole["clean"]), (0, &true.into(), &true.into()));
    let mut text = program.command("verify");
    let told = String::from_utf8(run(text.args(["--data", "--max-bytes", "1"])).await).expect("text");
    assert!(told.contains("a: 3 snapshots, 3 segments") && told.contains("covered so far: 1 of 3 segments"), "{told}");
    assert!(told.contains("b: its turn did not come") && told.ends_with("--resume goes on\n"), "{told}");
    let told = String::from_utf8(run(&mut program.command("verify")).await).expect("text");
    assert!(told.contains("b: 1 snapshot, 1 segment, 0 records, ") && told.ends_with("clean\n"), "{told}");
}

#[tokio::test]
async fn packs_that_only_older_snapshots_need_are_counted() {
    let (program, product) = (Program::new(), running::sandbox(20, 0));
    let base_url = format!("base_url={}", product.url());
    for is_changed in [false, true] {
        if is_changed {
            // The one company loses its documents when somebody changes it.
            let company = format!("{}/companies/1", product.url());
            let patch = reqwest::Client::new().patch(company).header("X-Api-Key", "sandbox-key");
            let answer = patch.json(&serde_json::json!({ "name": "New" })).send().await.expect("the sandbox answers");
            assert!(answer.status().is_success(), "{answer:?}");
        }
        let settings = ["--set", "credentials.auth_type=api_key", "--set", "credentials.api_key=sandbox-key"];
        let mut backup = program.command("backup");
        run(backup.args(["--integration", "sandbox", "--set", &base_url]).args(settings)).await;
    }
    let (document, _) = verify(&program, &["--data"]).await;
    assert_eq!(document["sources"][0]["older_packs"], 1, "{document}");
    let told = String::from_utf8(run(program.command("verify").arg("--data")).await).expect("text");
    assert!(told.contains(" attachments, 1 pack of older attachments, "), "{told}");
}

#[tokio::test]
async fn damage_that_one_part_found_is_told_to_the_end_also_when_a_new_snapshot_came_between() {
    let program = Program::new();
    import(&program, "a", "one").await;
    import(&program, "a", "two").await;
    let segments = stored::objects(&program.data_dir(), "seg");
    for segment in &segments {
        let mut bytes = std::fs::read(segment).expect("a segment");
        bytes[50] ^= 1;
        std::fs::write(segment, bytes).expect("it is damaged");
    }
    let (part, code) = verify(&program, IN_PARTS).await;
    let damages = |document: &Value| document["sources"][0]["damages"].as_array().expect("damages").len();
    assert_eq!((code, &part["clean"], &part["complete"]), (5, &false.into(), &false.into()), "{part}");
    assert_eq!(damages(&part), 1);
    // The import meets the damage where it must read; what it stores is not what is verified here.
    std::fs::write(program.data_dir().with_file_name("other.jsonl"), "{\"id\":1}\n").expect("a file");
    let mut other = program.command("import");
    other.args(["--source", "a", "--stream", "other"]).arg(program.data_dir().with_file_name("other.jsonl"));
    run(&mut other).await;
    let rest = in_parts(&program).await;
    let last = &rest[rest.len() - 1];
    assert_eq!((damages(last), &last["sources"][0]["snapshots"]), (segments.len(), &2.into()), "{last}");
    let (whole, code) = verify(&program, &["--data"]).await;
    assert_eq!((code, damages(&whole), &whole["sources"][0]["snapshots"]), (5, segments.len(), &3.into()));
}

#[tokio::test]
async fn limits_that_make_no_sense_are_refused() {
    let program = Program::new();
    for arguments in [
        &["--max-bytes", "1MB"][..],
        &["--resume"],
        &["--data", "--max-bytes", "many"],
        &["--data", "--max-bytes", "0"],
        &["--data", "--max-time", "soon"],
    ] {
        let output = program.command("verify").args(arguments).output().await.expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
}

#[tokio::test]
async fn beside_a_running_process_a_verification_in_parts_goes_on_from_part_to_part() {
    let program = Program::new();
    import(&program, "a", "one").await;
    import(&program, "a", "two").await;
    let up = Running::up(&program);
    let parts = in_parts(&program).await;
    assert!(parts.len() > 1, "{parts:?}");
    let last = &parts[parts.len() - 1];
    assert_eq!((&last["clean"], &last["complete"]), (&true.into(), &true.into()), "{last}");
    assert_eq!(stored::objects(&program.data_dir(), "verification").len(), 1);
    // What looks beside a process still writes nothing else.
    let sources = up.api().call(reqwest::Method::GET, "/sources", None).await;
    assert_eq!(sources["items"].as_array().map(Vec::len), Some(1), "{sources}");
    up.kill();
}

/// Runs a command with these words over the program's data directory; what it printed, and its exit code.
async fn words(program: &Program, words: &[&str]) -> (String, i32) {
    let mut command = tokio::process::Command::new(program::binary());
    let output = command.args(words).arg("--data-dir").arg(program.data_dir()).output().await.expect("it starts");
    let text = String::from_utf8(output.stdout).expect("text");
    (text, output.status.code().expect("it ends by itself"))
}

/// Changes rows behind the program's back.
async fn meddle(program: &Program, change: impl FnOnce(&mut Vec<Map<String, Value>>), partition: Query) {
    let stores = EmbeddedStores::open(program.data_dir(), OpenMode::Write).expect("nobody else writes");
    let (tables, system) = (stores.ports().tables, SystemScope::of_this_process());
    let table = partition.table;
    let found = tables.query((&system).into(), partition).await.expect("rows");
    let mut rows = found.items.into_iter().map(|item| item.body).collect();
    change(&mut rows);
    let put = |body| Write::Put { table, body, condition: Condition::Any };
    tables.transact((&system).into(), rows.into_iter().map(put).collect()).await.expect("rows are written");
}

fn rows_of(table: &'static TableSchema, index: Option<&'static str>, account: &Value) -> Query {
    Query {
        table,
        index,
        partition: account.as_str().expect("an id").to_owned(),
        sort: SortRange::All,
        descending: false,
        limit: 100,
        after: None,
    }
}

#[tokio::test]
async fn the_log_of_what_happened_is_checked_and_what_was_changed_in_it_is_named() {
    let program = Program::new();
    import(&program, "shop", "one").await;
    let (text, code) = words(&program, &["activity", "verify", "--json"]).await;
    let whole: Value = serde_json::from_str(&text).expect("one document");
    let account = &whole["accounts"][0];
    assert_eq!((code, &whole["sound"], &account["pending"]), (0, &true.into(), &0.into()), "{text}");
    let (sequence, digest) =
        (account["head"]["sequence"].as_u64().expect("a place"), account["head"]["digest"].clone());
    assert!(sequence >= 6, "account, source, job, and the run's three: {text}");
    assert_eq!(account["checked"], sequence);
    let head = format!("{sequence}:{}", digest.as_str().expect("a digest"));
    let (text, code) = words(&program, &["activity", "verify", "--head", &head]).await;
    assert!(code == 0 && text.contains("the chain is whole") && text.contains(&head), "{text}");
    assert_eq!(words(&program, &["activity", "verify", "--head", "1:x"]).await.1, 2, "no head");

    let change = |rows: &mut Vec<Map<String, Value>>| drop(rows[2].insert("actor".to_owned(), "nobody".into()));
    meddle(&program, change, rows_of(&ACTIVITY, Some("chain"), &account["account_id"])).await;
    let (text, code) = words(&program, &["activity", "verify"]).await;
    assert!(code == 5 && text.contains("broken: event 3 (evt_") && text.contains(": changed"), "{code}: {text}");
}

#[tokio::test]
async fn a_directory_of_an_earlier_version_that_cannot_be_checked_yet_says_what_to_do() {
    let program = Program::new();
    import(&program, "shop", "one").await;
    let data_dir = program.data_dir();
    let database = rusqlite::Connection::open(data_dir.join("listbackup.db")).expect("a database");
    let earlier = "DROP INDEX rows_activity_chain_partition; \
                   ALTER TABLE rows_activity DROP COLUMN chain_partition; \
                   ALTER TABLE rows_activity DROP COLUMN chain_sort; \
                   UPDATE row_schemas SET definition = 'earlier' WHERE name = 'rows_activity'";
    database.execute_batch(earlier).expect("as a version without chain left it");
    drop(database);
    let mut command = tokio::process::Command::new(program::binary());
    let output = command.args(["activity", "verify", "--data-dir"]).arg(&data_dir).output().await.expect("it starts");
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in ["earlier version", "listbackup up", "activity", &data_dir.display().to_string()] {
        assert!(text.contains(part), "{part}: {text}");
    }
    import(&program, "shop", "two").await;
    let (text, code) = words(&program, &["activity", "verify"]).await;
    assert!(code == 0 && text.contains("the chain is whole"), "after this version wrote there: {code}: {text}");
}

#[tokio::test]
async fn a_monitor_learns_from_the_exit_code_that_a_source_is_stale() {
    let program = Program::new();
    import(&program, "shop", "one").await;
    let (text, code) = words(&program, &["status"]).await;
    assert!(code == 0 && text.contains("not expected") && text.contains("1 of 1") && text.contains("100%"), "{text}");
    let (text, _) = words(&program, &["activity", "verify", "--json"]).await;
    let account = serde_json::from_str::<Value>(&text).expect("one document")["accounts"][0]["account_id"].clone();
    let make_old = |rows: &mut Vec<Map<String, Value>>| {
        rows[0].insert("maxAgeSeconds".to_owned(), 60.into());
        rows[0]["snapshotStreams"]["contacts"]["goodAt"] = "2001-02-03T04:05:06Z".into();
    };
    meddle(&program, make_old, rows_of(&SOURCES, None, &account)).await;
    let (text, code) = words(&program, &["status", "--json"]).await;
    let stale: Value = serde_json::from_str(&text).expect("one document");
    assert_eq!((code, &stale["stale"], &stale["sources"][0]["freshness"]["state"]), (3, &true.into(), &"stale".into()));
    let (text, code) = words(&program, &["status", "--source", "shop"]).await;
    let told = "contacts: no good snapshot since 2001-02-03T04:05:06Z";
    assert!(code == 3 && text.contains("STALE") && text.contains(told), "{text}");
    import(&program, "shop", "two").await;
    let (text, code) = words(&program, &["status"]).await;
    assert!(code == 0 && text.contains("fresh"), "{text}");
}
