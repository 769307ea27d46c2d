//! What the program tells of the difference between two snapshots, of one record's history, and of records that hold a text.

#[path = "support/program.rs"]
mod program;

use program::Program;
use serde_json::{Value, json};

/// More digits than a double holds.
const BIG: &str = "12345678901234567890123";

async fn import(program: &Program, lines: &[String]) -> String {
    let file = program.data_dir().with_file_name("contacts.jsonl");
    std::fs::write(&file, lines.join("\n")).expect("a file");
    let mut command = program.command("import");
    command.args(["--json", "--stream", "contacts", "--key", "id"]).arg(file);
    let report: Value = serde_json::from_slice(&program::run(&mut command).await).expect("a report");
    report["snapshot_id"].as_str().expect("a snapshot").to_owned()
}

async fn text(program: &Program, name: &str, arguments: &[&str]) -> String {
    let printed = program::run(program.command(name).args(arguments)).await;
    String::from_utf8(printed).expect("the program prints text")
}

async fn document(program: &Program, name: &str, arguments: &[&str]) -> Value {
    let printed = text(program, name, &[arguments, &["--json"]].concat()).await;
    serde_json::from_str(&printed).expect("one JSON document")
}

fn contact(id: u32, name: &str, city: &str) -> String {
    format!("{{\"id\":{id},\"name\":\"{name}\",\"big\":{BIG},\"address\":{{\"city\":\"{city}\"}}}}")
}

/// Two snapshots: contact 2 moved, 3 went, 4 came, 1 stayed.
async fn two_snapshots(program: &Program) -> (String, String) {
    let first = [contact(1, "Ada", "Rome"), contact(2, "Bo", "Oslo"), contact(3, "Cy", "Rome")];
    let second = [contact(1, "Ada", "Rome"), contact(2, "Bo", "Bonn"), contact(4, "Di", "Oslo")];
    (import(program, &first).await, import(program, &second).await)
}

#[tokio::test]
async fn the_difference_is_told_as_a_summary_record_by_record_and_field_by_field() {
    let program = Program::new();
    let (first, second) = two_snapshots(&program).await;
    let summary = document(&program, "diff", &[&first, &second]).await;
    let counts = json!({ "name": "contacts", "added": 1, "changed": 1, "removed": 1, "unchanged": 1 });
    assert_eq!(summary["streams"], json!([counts]));
    let printed = text(&program, "diff", &[&first, &second, "--stream", "contacts", "--fields"]).await;
    assert_eq!(printed, "~ 2\n    /address/city: \"Oslo\" -> \"Bonn\"\n- 3\n+ 4\n");
    let back = document(&program, "diff", &[&second, &first, "--stream", "contacts"]).await;
    let changes = [("2", "changed"), ("3", "added"), ("4", "removed")];
    assert_eq!(back["records"], json!(changes.map(|(key, change)| json!({ "key": key, "change": change }))));
}

#[tokio::test]
async fn a_records_history_names_the_snapshots_in_which_it_came_changed_and_went() {
    let program = Program::new();
    let (first, second) = two_snapshots(&program).await;
    let third = import(&program, &[contact(1, "Ada", "Rome")]).await;
    assert_eq!(program.export(&third, "contacts", "id").await.keys().collect::<Vec<_>>(), ["1"]);
    let history = document(&program, "history", &["--source", "import", "--stream", "contacts", "--key", "2"]).await;
    let told: Vec<_> = history["versions"]
        .as_array()
        .expect("versions")
        .iter()
        .map(|version| {
            (version["snapshot_id"].as_str().unwrap_or_default(), version["change"].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(told, [(&*first, "added"), (&*second, "changed"), (&*third, "removed")]);
    let printed =
        text(&program, "history", &["--source", "import", "--stream", "contacts", "--key", "2", "--json"]).await;
    assert!(printed.contains(BIG), "numbers keep their digits: {printed}");
}

#[tokio::test]
async fn records_are_found_by_text_by_condition_and_by_range_of_keys() {
    let program = Program::new();
    let (first, _) = two_snapshots(&program).await;
    let stream = ["--snapshot", &first];
    let found = text(&program, "search", &[&["rome"][..], &stream].concat()).await;
    assert_eq!(found, "contacts 1  /address/city\ncontacts 3  /address/city\n");
    let records = [&stream[..], &["--stream", "contacts"]].concat();
    let ids = |printed: String| -> Vec<u64> {
        let id = |line: &str| serde_json::from_str::<Value>(line).expect("a record")["id"].as_u64().expect("an id");
        printed.lines().map(id).collect()
    };
    let by_condition = ["--where", "address.city=Rome", "--where", "id>1"];
    assert_eq!(ids(text(&program, "records", &[&records[..], &by_condition].concat()).await), [3]);
    let by_range = ["--from", "2", "--until", "3"];
    assert_eq!(ids(text(&program, "records", &[&records[..], &by_range].concat()).await), [2]);
}
