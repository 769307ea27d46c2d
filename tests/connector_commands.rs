//! Trying a connector on the command line.

#[path = "support/program.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the kit")]
mod program;
#[path = "support/running.rs"]
mod running;

use std::path::Path;

use program::binary;
use running::sandbox;
use tokio::process::Command;

async fn read(product: &str, state: &Path) -> (i32, String) {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/manifests/sandbox.yaml");
    let mut command = Command::new(binary());
    command.args(["connector", "read", "--manifest"]).arg(manifest).arg("--state").arg(state).kill_on_drop(true);
    command.args(["--set", &format!("base_url={product}"), "--set", "credentials.auth_type=api_key"]);
    command.args(["--set", "credentials.api_key=sandbox-key"]);
    let output = command.output().await.expect("it runs");
    (output.status.code().expect("a code"), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn states_that_cannot_be_read_are_wrong_input_whoever_notices() {
    let (product, folder) = (sandbox(20, 0), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("state.json");
    let of =
        |state: &str| format!(r#"[{{"stream":{{"stream_descriptor":{{"name":"contacts"}},"stream_state":{state}}}}}]"#);
    for (text, word) in [
        ("nonsense".to_owned(), "not of the expected form"),
        (r#"[{"a":1},{"b":2}]"#.to_owned(), "entry 1"),
        (of(r#"{"updated_at":17}"#), "contacts"),
    ] {
        std::fs::write(&file, &text).expect("a file");
        let (code, said) = read(&product.url(), &file).await;
        assert_eq!(code, 2, "{text}: {said}");
        assert!(said.contains(word), "{text}: {said}");
    }
    std::fs::write(&file, "[]").expect("a file");
    assert_eq!(read(&product.url(), &file).await.0, 0);
}
