//! The bucket is enough: a lost database is made anew from the objects and the master key, and one object can be read by itself.

#[path = "support/program.rs"]
mod program;
#[path = "support/stored.rs"]
mod stored;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use listbackup_engine::{
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::{Counter, activity::only_events, counter::Of, scope::SystemScope},
    ports::Query,
    store::{Store, key},
    tables::ACTIVITY,
};
use program::{Program, run};
use serde_json::{Value, json};

async fn import(program: &Program, source: &str, stream: &str, ids: impl Iterator<Item = u32>, edit: u32) -> Value {
    let file = program.data_dir().with_file_name("records.jsonl");
    let lines = ids.map(|id| format!("{{\"id\":{id},\"edit\":{}}}\n", if id % 50 == 0 { edit } else { 0 }));
    fs::write(&file, lines.collect::<String>()).expect("a file");
    let mut import = program.command("import");
    import.args(["--json", "--source", source, "--stream", stream, "--key", "id"]).arg(&file);
    serde_json::from_slice(&run(&mut import).await).expect("a report")
}

async fn document(program: &Program, arguments: &[&str]) -> Value {
    let mut command = program.command(arguments[0]);
    command.args(&arguments[1..]).arg("--json");
    serde_json::from_slice(&run(&mut command).await).expect("one document")
}

async fn refused(program: &Program, arguments: &[&str]) -> (i32, String) {
    let output = program.command(arguments[0]).args(&arguments[1..]).output().await.expect("it starts");
    (output.status.code().expect("it ends by itself"), String::from_utf8_lossy(&output.stderr).into_owned())
}

const DATABASE: [&str; 3] = ["listbackup.db", "listbackup.db-wal", "listbackup.db-shm"];

fn lose_database(data_dir: &Path) {
    for file in DATABASE {
        let _ = fs::remove_file(data_dir.join(file));
    }
}

fn copy_database(from: &Path, to: &Path) {
    for file in DATABASE.iter().filter(|file| from.join(file).exists()) {
        fs::copy(from.join(file), to.join(file)).expect("a copy");
    }
}

/// Three snapshots of contacts, the middle one forgotten, and a source with one more.
async fn world() -> (Program, Vec<String>) {
    let program = Program::new();
    let mut made = Vec::new();
    for edit in 1..=3 {
        let report = import(&program, "shop", "contacts", 0..1000, edit).await;
        made.push(report["snapshot_id"].as_str().expect("a snapshot").to_owned());
    }
    import(&program, "desk", "tickets", 0..10, 1).await;
    run(program.command("pin").args([&made[0], "--reason", "before the move"])).await;
    run(program.command("forget").args(["--snapshot", &made[1]])).await;
    (program, made)
}

#[tokio::test]
async fn after_the_database_is_lost_everything_that_was_stored_is_there_again() {
    let (program, made) = world().await;
    let before = document(&program, &["snapshots"]).await;
    let records = program.export(&made[2], "contacts", "id").await;
    lose_database(&program.data_dir());

    // Nothing takes the directory for an empty one: a backup would store everything anew.
    fs::write(program.data_dir().join("listbackup.db"), "").expect("an empty file is no database either");
    for arguments in [&["snapshots"][..], &["forget", "--source", "shop", "--keep-last", "1"], &["verify"]] {
        let (code, told) = refused(&program, arguments).await;
        assert_eq!(code, 5, "{told}");
        assert!(told.contains("listbackup rebuild"), "{told}");
    }

    let rebuilt = document(&program, &["rebuild"]).await;
    let sources = rebuilt["accounts"][0]["sources"].as_array().expect("sources");
    assert_eq!(sources.len(), 2);
    let shop = sources.iter().find(|source| source["source"] == "shop").expect("the source by its name");
    assert_eq!((&shop["snapshots"], &shop["forgotten"], &shop["head"]), (&json!(2), &json!(1), &json!(made[2])));
    assert_eq!((&shop["damages"], &shop["differences"], &shop["strays"]), (&json!([]), &json!([]), &json!([])));
    assert!(rebuilt["lost"].as_array().is_some_and(|lost| lost.len() > 3));

    assert_eq!(document(&program, &["snapshots"]).await, before);
    let verified = document(&program, &["verify", "--data"]).await;
    assert_eq!((&verified["clean"], &verified["complete"]), (&json!(true), &json!(true)));
    assert_eq!(program.export(&made[2], "contacts", "id").await, records);
    let dry = ["forget", "--source", "shop", "--keep-last", "1", "--dry-run"];
    let judged = document(&program, &dry).await;
    assert_eq!(judged["snapshots"][0]["decision"], "keep", "the pin is in the bucket: {judged}");

    let again = document(&program, &["rebuild"]).await;
    for source in again["accounts"][0]["sources"].as_array().expect("sources") {
        assert_eq!((&source["rows_made"], &source["differences"]), (&json!(0), &json!([])), "{source}");
    }
    let next = import(&program, "shop", "contacts", 0..1000, 3).await;
    assert_eq!((&next["bytes_stored"], &next["unchanged"], &next["added"]), (&json!(0), &json!(1000), &json!(0)));
    assert_eq!(document(&program, &["snapshots"]).await.as_array().expect("rows").len(), 4);
    let whole = document(&program, &["rebuild"]).await;
    let made: u64 = whole["accounts"][0]["sources"]
        .as_array()
        .expect("sources")
        .iter()
        .filter_map(|s| s["rows_made"].as_u64())
        .sum();
    assert!(made <= 1, "at most the row of a file that no indexer made yet: {whole}");
}

/// How often each kind of event is in the account's log.
async fn told(program: &Program, account_id: &str) -> BTreeMap<String, usize> {
    let stores = EmbeddedStores::open(program.data_dir(), OpenMode::Read).expect("a directory");
    let query = Query {
        table: &ACTIVITY,
        index: Some("by-account"),
        partition: account_id.to_owned(),
        sort: only_events(),
        descending: false,
        limit: 1000,
        after: None,
    };
    let system = SystemScope::of_this_process();
    let events = stores.ports().tables.query((&system).into(), query).await.expect("events").items;
    let mut kinds = BTreeMap::new();
    for event in events {
        *kinds.entry(event.body["kind"].as_str().expect("a kind").to_owned()).or_default() += 1;
    }
    kinds
}

/// What is counted of the account until now.
async fn counted(program: &Program, account_id: &str) -> Counter {
    let stores = EmbeddedStores::open(program.data_dir(), OpenMode::Read).expect("a directory");
    let place = key(account_id, Of::Account.now());
    let counted = Store::new(stores.ports().tables).get(&SystemScope::of_this_process(), place).await;
    counted.expect("a row").row
}

/// What `activity verify` says.
async fn checked(program: &Program) -> Value {
    let mut command = tokio::process::Command::new(program::binary());
    command.args(["activity", "verify", "--json", "--data-dir"]).arg(program.data_dir());
    serde_json::from_slice(&run(&mut command).await).expect("one document")
}

#[tokio::test]
async fn every_row_that_is_made_anew_is_told_and_none_twice() {
    let (program, _) = world().await;
    lose_database(&program.data_dir());
    let rebuilt = document(&program, &["rebuild"]).await;
    let account_id = rebuilt["accounts"][0]["account_id"].as_str().expect("an account");
    let kinds = told(&program, account_id).await;
    let expected =
        [("account.rebuilt", 1), ("job.created", 2), ("member.added", 1), ("run.rebuilt", 3), ("source.rebuilt", 2)];
    assert_eq!(kinds, expected.map(|(kind, count)| (kind.to_owned(), count)).into());
    document(&program, &["rebuild"]).await;
    assert_eq!(told(&program, account_id).await, kinds, "what is there already is not told again");
    let checked = checked(&program).await;
    assert_eq!((&checked["sound"], &checked["accounts"][0]["pending"]), (&json!(true), &json!(0)), "{checked}");
    assert_eq!(checked["accounts"][0]["checked"], 9);
    let counted = counted(&program, account_id).await;
    assert_eq!((counted.sources, counted.figures.live_records), (2, 1010), "what is live is counted anew");
}

#[tokio::test]
async fn the_first_start_of_a_directory_tells_of_the_account_and_its_owner() {
    let program = Program::new();
    import(&program, "shop", "contacts", 0..10, 1).await;
    let checked = checked(&program).await;
    let kinds = told(&program, checked["accounts"][0]["account_id"].as_str().expect("an account")).await;
    assert_eq!((kinds["account.created"], kinds["member.added"]), (1, 1));
}

#[tokio::test]
async fn objects_and_the_key_alone_are_enough_and_another_key_is_not() {
    let (program, made) = world().await;
    let other = Program::new();
    import(&other, "x", "y", 0..1, 1).await;
    let copy = Program::new();
    fs::create_dir_all(copy.data_dir()).expect("a directory");
    copy_tree(&program.data_dir().join("objects"), &copy.data_dir().join("objects"));
    set_mode(&copy.data_dir(), 0o700);

    let (code, told) = refused(&copy, &["rebuild"]).await;
    assert!(code == 5 && told.contains("master key is missing"), "{told}");
    let wrong = other.data_dir().join("master.key");
    let (code, told) = refused(&copy, &["rebuild", "--key-file", wrong.to_str().expect("a path")]).await;
    assert!(code == 5 && told.contains("does not open the account's data key"), "{told}");
    assert!(!copy.data_dir().join("master.key").exists(), "a wrong key is not kept");

    let key = program.data_dir().join("master.key");
    document(&copy, &["rebuild", "--key-file", key.to_str().expect("a path")]).await;
    assert_eq!(document(&copy, &["verify", "--data"]).await["clean"], true);
    assert_eq!(copy.export(&made[0], "contacts", "id").await.len(), 1000);
    let empty = Program::new();
    assert_eq!(refused(&empty, &["rebuild"]).await.0, 2);
}

#[tokio::test]
async fn an_older_database_is_brought_up_to_date_and_what_changes_is_told() {
    let program = Program::new();
    import(&program, "shop", "contacts", 0..100, 1).await;
    let old = program.data_dir().with_file_name("old");
    fs::create_dir(&old).expect("a directory");
    copy_database(&program.data_dir(), &old);
    let second = import(&program, "shop", "contacts", 0..100, 2).await;
    lose_database(&program.data_dir());
    copy_database(&old, &program.data_dir());
    assert_eq!(document(&program, &["snapshots"]).await.as_array().expect("rows").len(), 1);

    let rebuilt = document(&program, &["rebuild"]).await;
    let source = &rebuilt["accounts"][0]["sources"][0];
    let told = source["differences"][0].as_str().expect("a difference");
    assert!(told.contains("newest snapshot of source shop is ") && told.contains("its row said"), "{told}");
    assert_eq!(source["head"], second["snapshot_id"]);
    assert_eq!(document(&program, &["snapshots"]).await.as_array().expect("rows").len(), 2);
    assert_eq!(document(&program, &["verify", "--data"]).await["clean"], true);
}

#[tokio::test]
async fn behind_a_damaged_manifest_snapshots_are_there_and_told_as_not_proved() {
    let program = Program::new();
    let mut made = Vec::new();
    for edit in 1..=3 {
        let report = import(&program, "shop", "contacts", 0..100, edit).await;
        made.push(report["snapshot_id"].as_str().expect("a snapshot").to_owned());
    }
    lose_database(&program.data_dir());
    let manifests = stored::objects(&program.data_dir(), "snap");
    let mut bytes = fs::read(&manifests[1]).expect("a manifest");
    bytes[60] ^= 1;
    fs::write(&manifests[1], bytes).expect("it is damaged");
    let output = program.command("rebuild").arg("--json").output().await.expect("it starts");
    assert_eq!(output.status.code(), Some(5));
    let rebuilt: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let source = &rebuilt["accounts"][0]["sources"][0];
    assert_eq!((&source["head"], &source["unproved"]), (&json!(made[2]), &json!([made[0]])));
    assert!(source["damages"].to_string().contains(&made[1]), "{source}");
    assert_eq!(program.export(&made[2], "contacts", "id").await.len(), 100);
    assert_eq!(program.export(&made[0], "contacts", "id").await.len(), 100);
}

/// Runs `cat` on a file; what it printed.
async fn cat(file: &Path, key: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = tokio::process::Command::new(program::binary());
    command.arg("cat").arg(file).arg("--key-file").arg(key).args(arguments);
    let output = command.output().await.expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("it ends by itself"), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn one_segment_by_itself_gives_its_records_and_deletions_wherever_it_lies() {
    let program = Program::new();
    import(&program, "shop", "contacts", 0..300, 1).await;
    import(&program, "shop", "contacts", 10..300, 2).await;
    let key = program.data_dir().join("master.key");
    let segments = stored::objects(&program.data_dir(), "seg");
    // A writer is at work in the directory: nothing is in the way of looking at objects.
    let lock = fs::File::options().write(true).open(program.data_dir().join("lock")).expect("the lock");
    lock.try_lock().expect("nobody else has it");
    let mut counts = BTreeMap::new();
    for segment in &segments {
        let (code, records, told) = cat(segment, &key, &[]).await;
        assert_eq!(code, 0, "{told}");
        let all = cat(segment, &key, &["--all"]).await.1;
        for line in records.lines().chain(all.lines()) {
            serde_json::from_str::<Value>(line).expect("each line is JSON");
        }
        let deleted = all.lines().filter(|line| line.ends_with(",\"deleted\":true}")).count();
        assert_eq!(all.lines().count(), records.lines().count() + deleted);
        counts.insert((records.lines().count(), deleted), segment.clone());
        let info: Value = serde_json::from_str(&cat(segment, &key, &["--info"]).await.1).expect("an index");
        assert_eq!((&info["stream"], &info["deletions"]), (&json!("contacts"), &json!(deleted)));
        assert_eq!(info["size_bytes"], fs::metadata(segment).expect("a file").len());
    }
    // 0..300; then 50, 100, … changed, and 0..10 gone.
    assert_eq!(counts.keys().collect::<Vec<_>>(), [&(5, 10), &(300, 0)]);

    let large = &counts[&(300, 0)];
    let path = large.strip_prefix(program.data_dir().join("objects")).expect("below it").to_str().expect("text");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let (file, data_key) = (elsewhere.path().join("lost.seg"), elsewhere.path().join("k"));
    fs::copy(large, &file).expect("a copy");
    fs::copy(&stored::objects(&program.data_dir(), "key")[0], &data_key).expect("a copy");
    let data_key = data_key.to_str().expect("text");
    let found = cat(&file, &key, &["--path", path, "--data-key", data_key, "--stream", "contacts"]).await;
    assert_eq!((found.0, found.1.lines().count()), (0, 300), "{}", found.2);
    for (arguments, told) in [
        (&["--data-key", data_key][..], "--path accounts/"),
        (&["--path", path], "no data key"),
        (&["--path", path, "--data-key", data_key], "--stream NAME"),
        (&["--path", path, "--data-key", data_key, "--stream", "orders"], "altered or belongs elsewhere"),
    ] {
        let (code, printed, error) = cat(&file, &key, arguments).await;
        assert!(code != 0 && printed.is_empty() && error.contains(told), "{arguments:?}: {error}");
    }
    set_mode(&key, 0o644);
    let open_to_others = cat(large, &key, &[]).await;
    assert!(open_to_others.0 == 2 && open_to_others.2.contains("chmod 600"), "{}", open_to_others.2);
}

#[tokio::test]
async fn documents_are_shown_and_damage_ends_what_is_printed_of_a_segment() {
    let program = Program::new();
    let report = import(&program, "shop", "contacts", 0..300, 1).await;
    let key = program.data_dir().join("master.key");
    let manifest = cat(&stored::objects(&program.data_dir(), "snap")[0], &key, &[]).await;
    let manifest: Value = serde_json::from_str(&manifest.1).expect("JSON");
    assert_eq!((&manifest["snapshotId"], &manifest["totals"]["records"]), (&report["snapshot_id"], &json!(300)));
    let (code, printed, told) = cat(&stored::objects(&program.data_dir(), "key")[0], &key, &[]).await;
    assert!(code == 2 && printed.is_empty() && told.contains("wrapped data key"), "{told}");
    let segment = &stored::objects(&program.data_dir(), "seg")[0];
    let mut bytes = fs::read(segment).expect("a segment");
    bytes[20] ^= 1;
    fs::write(segment, bytes).expect("it is damaged");
    let (code, printed, told) = cat(segment, &key, &[]).await;
    assert!(code == 5 && printed.is_empty() && told.contains("block was altered"), "{told}");
}

fn copy_tree(from: &Path, to: &PathBuf) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode is set");
}
