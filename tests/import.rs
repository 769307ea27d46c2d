//! A file of JSON lines becomes a snapshot that gives it back, and a second file one that stores what differs.

#[path = "support/program.rs"]
mod program;

use std::path::PathBuf;

use program::Program;
use serde::Deserialize;

/// What `listbackup import --json` reports: the document of `backup`.
#[derive(Debug, Deserialize)]
struct Report {
    snapshot_id: Option<String>,
    status: String,
    records: u64,
    added: u64,
    changed: u64,
    removed: u64,
    bytes_stored: u64,
}

/// Contacts with these ids; `edit` makes their content.
fn contacts(ids: impl IntoIterator<Item = u32>, edit: u32) -> String {
    ids.into_iter().map(|id| format!("{{\"id\":{id},\"big\":12345678901234567890123,\"edit\":{edit}}}\n")).collect()
}

async fn import(program: &Program, text: &str, arguments: &[&str]) -> Report {
    let file = write(program, "contacts.jsonl", text);
    let mut command = program.command("import");
    command.arg("--json").args(arguments).arg(file);
    serde_json::from_slice(&program::run(&mut command).await).expect("a report")
}

fn write(program: &Program, name: &str, text: &str) -> PathBuf {
    let folder = program.data_dir().with_file_name("files");
    std::fs::create_dir_all(&folder).expect("a place for files");
    let file = folder.join(name);
    std::fs::write(&file, text).expect("a file");
    file
}

const CONTACTS: &[&str] = &["--stream", "contacts", "--key", "id"];

#[tokio::test]
async fn a_second_file_stores_what_differs_and_both_snapshots_give_their_file_back() {
    let program = Program::new();
    let first_file = contacts(0..20_000, 0);
    let first = import(&program, &first_file, CONTACTS).await;
    assert_eq!((first.status.as_str(), first.records, first.added), ("succeeded", 20_000, 20_000));

    let second_file = [contacts(100..110, 1), contacts(110..20_050, 0), "\n".to_owned()].concat();
    let second = import(&program, &second_file, CONTACTS).await;
    assert_eq!((second.added, second.changed, second.removed), (50, 10, 100), "{second:?}");
    assert!(second.bytes_stored * 20 < first.bytes_stored, "{} after {}", second.bytes_stored, first.bytes_stored);

    for (report, file) in [(&first, &first_file), (&second, &second_file)] {
        let snapshot = report.snapshot_id.as_deref().expect("a snapshot");
        let mut command = program.command("export");
        command.args(["--snapshot", snapshot, "--stream", "contacts", "--format", "jsonl", "--out", "-"]);
        let exported = program::run(&mut command).await;
        assert_eq!(String::from_utf8(exported).expect("text"), file.trim_end().to_owned() + "\n");
    }
}

#[tokio::test]
async fn a_stream_of_another_file_leaves_the_first_one_as_it_is() {
    let program = Program::new();
    import(&program, &contacts(0..10, 0), CONTACTS).await;
    let orders = "{\"order\":\"a\"}\r\n{\"order\":\"b\"}\n{\"order\":\"b\"}";
    let second = import(&program, orders, &["--stream", "orders"]).await;
    assert_eq!((second.records, second.added, second.removed), (2, 2, 0), "{second:?}");
    let snapshot = second.snapshot_id.expect("a snapshot");
    assert_eq!(program.export(&snapshot, "contacts", "id").await.len(), 10);
    assert_eq!(program.export(&snapshot, "orders", "order").await.len(), 2);
}

#[tokio::test]
async fn a_line_that_is_no_object_is_named_and_makes_no_snapshot() {
    let program = Program::new();
    for (text, told) in [
        ("{\"id\":1}\n\n{\"id\":2,}\n", ":3 is not one JSON object"),
        ("{\"id\":1} {\"id\":2}\n", ":1 is not one JSON object: expected the end of the line"),
        ("[1]\n", ":1 is not one JSON object"),
    ] {
        let file = write(&program, "bad.jsonl", text);
        let output = program.command("import").args(CONTACTS).arg(&file).output().await.expect("it starts");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{printed}");
        assert!(printed.contains(&format!("{}{told}", file.display())), "{printed}");
    }
}

/// Runs `export` of a snapshot with these arguments.
async fn export(program: &Program, snapshot: &str, arguments: &[&str]) -> Vec<u8> {
    program::run(program.command("export").args(["--snapshot", snapshot]).args(arguments)).await
}

#[tokio::test]
async fn a_snapshot_is_exported_in_every_form_and_all_of_it_as_an_archive() {
    let program = Program::new();
    import(&program, &contacts(0..10, 0), CONTACTS).await;
    let second = import(&program, "{\"order\":\"a\"}", &["--stream", "orders"]).await;
    let snapshot = second.snapshot_id.expect("a snapshot");
    let csv = export(&program, &snapshot, &["--stream", "contacts", "--format", "csv", "--out", "-"]).await;
    let lines: Vec<_> = std::str::from_utf8(&csv).expect("text").lines().collect();
    assert_eq!((lines.len(), lines[0], lines[1]), (11, "id,big,edit", "0,12345678901234567890123,0"));

    let out = program.data_dir().with_file_name("files").join("out");
    let out = out.to_str().expect("a path");
    for (arguments, magic) in [
        (&["--stream", "contacts", "--format", "parquet"][..], &b"PAR1"[..]),
        (&["--all"], b"PK"),
        (&["--stream", "contacts", "--stream", "orders", "--format", "csv"], b"PK"),
    ] {
        let report = export(&program, &snapshot, &[arguments, &["--out", out, "--json"]].concat()).await;
        let report: serde_json::Value = serde_json::from_slice(&report).expect("a report");
        let file = std::fs::read(out).expect("the file");
        assert_eq!(report["bytes"].as_u64(), Some(file.len() as u64));
        assert_eq!(report["records"], if arguments.contains(&"parquet") { 10 } else { 11 });
        assert!(file.starts_with(magic));
        assert!(!std::path::Path::new(&format!("{out}.partial")).exists());
    }
}

#[tokio::test]
async fn an_export_says_what_it_lacks() {
    let program = Program::new();
    let snapshot = import(&program, &contacts(0..1, 0), CONTACTS).await.snapshot_id.expect("a snapshot");
    for (arguments, told) in [
        (&["--out", "-"][..], "--all"),
        (&["--all", "--stream", "contacts", "--out", "-"], "cannot be used with"),
        (&["--stream", "orders", "--out", "-"], "there are: contacts"),
        (&["--stream", "contacts", "--format", "xlsx", "--out", "-"], "jsonl, csv, parquet"),
    ] {
        let output = program.command("export").args(["--snapshot", &snapshot]).args(arguments).output().await;
        let output = output.expect("it starts");
        assert_eq!(output.status.code(), Some(2));
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(printed.contains(told), "{printed}");
    }
}
