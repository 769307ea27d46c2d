//! Data keys on the command line: a rotation costs nothing and loses nothing, and an account whose keys were destroyed is gone.

#[path = "support/program.rs"]
mod program;

use program::{Program, binary, run};
use serde_json::Value;
use tokio::process::Command;

fn keys(program: &Program, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("keys").args(arguments).arg("--data-dir").arg(program.data_dir()).kill_on_drop(true);
    command
}

async fn json(command: &mut Command) -> Value {
    serde_json::from_slice(&run(command.arg("--json")).await).expect("one document")
}

async fn import(program: &Program, edit: u32) -> Value {
    let file = program.data_dir().with_file_name("contacts.jsonl");
    let lines = (0..50).map(|id| format!("{{\"id\":{id},\"edit\":{}}}\n", if id == 7 { edit } else { 0 }));
    std::fs::write(&file, lines.collect::<String>()).expect("a file");
    let mut import = program.command("import");
    json(import.args(["--source", "shop", "--stream", "contacts", "--key", "id"]).arg(&file)).await
}

async fn refused(command: &mut Command, code: i32, words: &[&str]) {
    let output = command.output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

#[tokio::test]
async fn after_a_rotation_new_data_is_sealed_under_the_new_key_and_all_of_it_reads_back() {
    let program = Program::new();
    import(&program, 0).await;
    let rotated = json(&mut keys(&program, &["rotate"])).await;
    assert_eq!((&rotated["from"], &rotated["epoch"]), (&1.into(), &2.into()));
    let second = import(&program, 1).await;
    let listed = json(&mut keys(&program, &["list", "--usage"])).await;
    let of = |epoch: usize, what: &str| listed["accounts"][0]["keys"][epoch - 1]["usage"][what].clone();
    for epoch in [1, 2] {
        assert_eq!((of(epoch, "snapshots"), of(epoch, "segments")), (1.into(), 1.into()), "{listed}");
    }
    assert!(of(2, "segment_bytes").as_u64() < of(1, "segment_bytes").as_u64(), "{listed}");
    let text = String::from_utf8(run(&mut keys(&program, &["list"])).await).expect("text");
    assert!(text.contains("what is new") && text.contains("older data"), "{text}");
    let records = program.export(second["snapshot_id"].as_str().expect("an id"), "contacts", "id").await;
    assert_eq!((records.len(), &records["7"]["edit"]), (50, &1.into()));
    assert_eq!(json(program.command("verify").arg("--data")).await["clean"], true);
}

#[tokio::test]
async fn destroying_needs_the_accounts_name_twice_and_no_hold_and_leaves_nothing_to_read() {
    let program = Program::new();
    let snapshot = import(&program, 0).await["snapshot_id"].as_str().expect("an id").to_owned();
    let listed = json(&mut keys(&program, &["list"])).await;
    let account = listed["accounts"][0]["account_id"].as_str().expect("an id").to_owned();
    let destroy = |confirm: &str| {
        let mut command = keys(&program, &["destroy", "--account", &account, "--reason", "contract ended"]);
        command.args(["--confirm", confirm]);
        command
    };
    let other = "acc_0000000001e40r2081040g2081";
    refused(&mut destroy(other), 2, &["nothing was destroyed", &account]).await;
    let mut unknown = keys(&program, &["destroy", "--account", other, "--confirm", other, "--reason", "r"]);
    refused(&mut unknown, 2, &["no account of that id"]).await;
    run(program.command("hold").args([&snapshot, "--reason", "case 4711"])).await;
    refused(&mut destroy(&account), 1, &[&snapshot, "case 4711", "release the holds"]).await;
    run(program.command("release").arg(&snapshot)).await;
    let said = String::from_utf8(run(&mut destroy(&account)).await).expect("text");
    assert!(said.contains("1 key destroyed"), "{said}");

    let gone = ["the account's key was destroyed", "contract ended"];
    for command in ["snapshots", "verify"] {
        let said = String::from_utf8(run(&mut program.command(command)).await).expect("text");
        assert_eq!(said.matches("left out: account").count(), 1, "{said}");
        assert!(said.contains(&account) && said.contains("contract ended"), "{said}");
    }
    assert_eq!(json(program.command("verify").arg("--data")).await["destroyed_accounts"][0]["account_id"], account);
    refused(program.command("history").args(["--source", "shop", "--stream", "contacts", "--key", "7"]), 1, &gone)
        .await;
    let mark = program.data_dir().join(format!("objects/accounts/{account}/keys/destroyed"));
    let mut cat = Command::new(binary());
    cat.arg("cat").arg(&mark).arg("--key-file").arg(program.data_dir().join("master.key"));
    let shown: Value = serde_json::from_slice(&run(&mut cat).await).expect("one document");
    assert_eq!(shown["reason"], "contract ended");
    refused(program.command("records").args(["--snapshot", &snapshot, "--stream", "contacts"]), 1, &gone).await;
    refused(&mut keys(&program, &["rotate"]), 1, &gone).await;
    let file = program.data_dir().with_file_name("contacts.jsonl");
    let mut import = program.command("import");
    refused(import.args(["--source", "shop", "--stream", "contacts", "--key", "id"]).arg(file), 1, &gone).await;
    let listed = json(&mut keys(&program, &["list"])).await;
    assert_eq!(listed["accounts"][0]["keys"], Value::Array(Vec::new()));
    assert_eq!(listed["accounts"][0]["destroyed"]["reason"], "contract ended");
    let said = String::from_utf8(run(&mut destroy(&account)).await).expect("text");
    assert!(said.contains("destroyed already"), "{said}");
    let rebuilt = json(&mut program.command("rebuild")).await;
    assert_eq!(rebuilt["erased"], serde_json::json!([account]));
}
