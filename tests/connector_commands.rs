//! Trying a connector on the command line.

#[path = "support/program.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the kit")]
mod program;
#[path = "support/running.rs"]
mod running;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

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

/// `listbackup connector …` in a folder: exit code, standard output, standard error.
async fn connector(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(binary());
    command.arg("connector").args(arguments).current_dir(folder).kill_on_drop(true);
    let output = command.output().await.expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("a code"), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn a_new_manifest_reads_the_sandbox_as_it_is_and_is_never_written_over() {
    let (product, folder) = (sandbox(20, 0), tempfile::tempdir().expect("a folder"));
    let base = format!("base_url={}", product.url());
    assert_eq!(connector(folder.path(), &["new", "my-shop"]).await.0, 0);
    let (code, said, _) = connector(folder.path(), &["compat", "my-shop.yaml"]).await;
    assert_eq!((code, said.trim()), (0, "my-shop.yaml: runs unmodified"));
    let settings = ["--manifest", "my-shop.yaml", "--set", &base, "--set", "api_key=sandbox-key"];
    let (code, said, told) = connector(folder.path(), &[&["read"], &settings[..]].concat()).await;
    assert_eq!((code, said.matches("\"RECORD\"").count()), (0, 20), "{told}");
    let (code, _, told) = connector(folder.path(), &["new", "my-shop"]).await;
    assert!(code == 2 && told.contains("there already"), "{told}");
}

#[tokio::test]
async fn what_a_manifest_lacks_is_told_with_its_place_and_as_json() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(connector(folder.path(), &["new", "shop"]).await.0, 0);
    let file = folder.path().join("shop.yaml");
    let text = std::fs::read_to_string(&file).expect("a manifest");
    std::fs::write(&file, text.replace("BearerAuthenticator", "BearerAuthentikator")).expect("a file");
    let (code, said, _) = connector(folder.path(), &["compat", "shop.yaml"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("shop.yaml:17:20 streams[0].retriever.requester.authenticator"), "{said}");
    assert!(said.contains("did you mean `BearerAuthenticator`?"), "{said}");
    let (code, said, _) = connector(folder.path(), &["compat", "--json", "shop.yaml"]).await;
    let report: serde_json::Value = serde_json::from_str(&said).expect("one JSON document");
    assert_eq!((code, &report["manifests"][0]["findings"][0]["line"]), (1, &serde_json::json!(17)), "{report}");
}

#[tokio::test]
async fn a_recording_stands_in_for_the_product_and_holds_no_key() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(connector(folder.path(), &["new", "shop"]).await.0, 0);
    let product = sandbox(250, 0);
    let base = format!("base_url={}", product.url());
    let settings = ["--manifest", "shop.yaml", "--set", &base, "--set", "api_key=sandbox-key"];
    let records = |said: &str| {
        let lines = said.lines().filter(|line| line.contains("\"RECORD\""));
        lines.map(|line| line.split("\"emitted_at\"").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let (code, first, told) =
        connector(folder.path(), &[&["read", "--record-http", "kept"], &settings[..]].concat()).await;
    assert_eq!((code, records(&first).len()), (0, 250), "{told}");
    drop(product);
    let other = ["--manifest", "shop.yaml", "--set", &base, "--set", "api_key=another"];
    let (code, again, told) =
        connector(folder.path(), &[&["read", "--replay-http", "kept"], &other[..]].concat()).await;
    assert_eq!((code, records(&again)), (0, records(&first)), "{told}");
    for file in std::fs::read_dir(folder.path().join("kept")).expect("a recording").flatten() {
        let text = std::fs::read_to_string(file.path()).expect("a file");
        assert!(!text.contains("sandbox-key"), "{}", file.path().display());
    }
    let (code, _, told) = connector(
        folder.path(),
        &[
            "check",
            "--manifest",
            "shop.yaml",
            "--set",
            "api_key=x",
            "--set",
            "base_url=http://127.0.0.1:9",
            "--replay-http",
            "kept",
        ],
    )
    .await;
    assert!(code == 2 && told.contains("no answer to GET http://127.0.0.1:9/contacts"), "{told}");
    let (code, said, told) = connector(folder.path(), &[&["test", "--replay-http", "kept"], &other[..]].concat()).await;
    assert!(code == 0 && said.contains("full marks"), "{said}{told}");
}

/// Answers by the path of each request, for ever: a page of two records, empty pages that name another one, a gibibyte.
async fn hostile_product() -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        // Over all connections: no page is named twice, and none is 0, which names nothing.
        let numbers = Arc::new(AtomicU64::new(1));
        while let Ok((mut peer, _)) = listener.accept().await {
            let numbers = numbers.clone();
            tokio::spawn(async move {
                let mut asked = vec![0; 8192];
                while peer.read(&mut asked).await.is_ok_and(|read| read > 0) {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    if asked.starts_with(b"GET /huge") {
                        peer.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"data\": [\"").await?;
                        for _ in 0..1 << 14 {
                            peer.write_all(&[b'x'; 1 << 16]).await?;
                        }
                        return Ok(());
                    }
                    let body = if asked.starts_with(b"GET /endless") {
                        format!("{{\"data\": [], \"next\": {number}}}")
                    } else {
                        "{\"data\": [{\"id\": 1}, {\"id\": 2}]}".to_owned()
                    };
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    peer.write_all((head + &body).as_bytes()).await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    base
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_product_costs_a_backup_its_streams_and_neither_memory_nor_the_others() {
    let (base, folder) = (hostile_product().await, tempfile::tempdir().expect("a folder"));
    let stream = |name: &str| {
        format!(
            "  - type: DeclarativeStream\n    name: {name}\n    primary_key: id\n    retriever:\n      type: SimpleRetriever\n      \
             requester: {{type: HttpRequester, url_base: '{base}', path: /{name}}}\n      record_selector: {{type: RecordSelector, \
             extractor: {{type: DpathExtractor, field_path: [data]}}}}\n      paginator:\n        type: DefaultPaginator\n        \
             page_token_option: {{type: RequestOption, inject_into: request_parameter, field_name: page}}\n        \
             pagination_strategy: {{type: CursorPagination, cursor_value: \"{{{{ response.next }}}}\"}}\n"
        )
    };
    let broken = stream("broken").replace("response.next", "resonse.next");
    let manifest = format!(
        "version: 7.0.0\ntype: DeclarativeSource\ncheck: {{type: CheckStream, stream_names: [fine]}}\nstreams:\n{}{}{}{broken}",
        stream("fine"),
        stream("huge"),
        stream("endless"),
    );
    std::fs::write(folder.path().join("shop.yaml"), manifest).expect("a file");
    // A body that were held whole, or pages that were kept, would not fit.
    let line = format!("ulimit -v 1500000; exec '{}' backup --manifest shop.yaml --data-dir data", binary().display());
    let mut command = Command::new("sh");
    let output =
        command.arg("-c").arg(line).current_dir(folder.path()).kill_on_drop(true).output().await.expect("it runs");
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert_eq!(output.status.code(), Some(3), "{said}");
    for part in [
        "larger than 67108864 bytes",
        "nothing new is on them",
        "warning: the stream broken cannot be read",
        "shop.yaml:48:",
        "nothing is called `resonse` here",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

#[tokio::test]
async fn a_wrong_input_is_told_with_what_is_wrong_where_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(connector(folder.path(), &["new", "shop"]).await.0, 0);
    let product = sandbox(250, 0);
    let base = format!("base_url={}", product.url());
    let settings = ["--manifest", "shop.yaml", "--set", &base, "--set", "api_key=sandbox-key"];
    let recorded = connector(folder.path(), &[&["read", "--record-http", "kept"], &settings[..]].concat()).await;
    assert_eq!(recorded.0, 0, "{}", recorded.2);
    drop(product);
    let file = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).expect("a file");
    for name in ["part", "junk", "none"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    let first = std::fs::read_dir(folder.path().join("kept")).expect("files").flatten().map(|entry| entry.path()).min();
    std::fs::copy(first.expect("one"), folder.path().join("part/0001.json")).expect("a copy");
    file("junk/1.json", "{}");
    file("catalog.json", r#"{"streams": [{"stream": {"name": "contakts"}}]}"#);
    for (arguments, code, words) in [
        (
            &["read", "--catalog", "catalog.json"][..],
            2,
            "stream contakts: the connector has no such stream; it has: contacts",
        ),
        (&["read", "--catalog", "nowhere.json"], 2, "the file cannot be read"),
        (&["read", "--record-http", "catalog.json"], 2, "this is a file; name a folder"),
        (&["read", "--replay-http", "catalog.json"], 2, "name a folder that --record-http wrote"),
        (&["read", "--replay-http", "none"], 2, "record some with --record-http"),
        (
            &["read", "--replay-http", "junk"],
            2,
            "junk/1.json: is no recorded exchange, so it does not belong into the folder",
        ),
        (&["read", "--replay-http", "part"], 2, "the recording has no answer to GET"),
        (
            &["test", "--replay-http", "kept", "--stream", "contakts"],
            2,
            "there is no stream `contakts`; there are: contacts",
        ),
        (&["test", "--replay-http", "part"], 1, "record the whole stream, without --limit"),
        (&["test", "--replay-http", "kept", "--write"], 2, "cannot be used with"),
    ] {
        let (found, said, told) = connector(folder.path(), &[arguments, &settings[..]].concat()).await;
        assert!(found == code && format!("{said}{told}").contains(words), "{arguments:?}: {found} {said}{told}");
    }
    let (code, _, told) = connector(folder.path(), &["discover"]).await;
    assert!(code == 2 && told.contains("--integration <NAME>|--manifest <FILE>"), "{told}");
    let nonsense = ["check", "--manifest", "shop.yaml", "--set", "api_key=x", "--set", "base_url=nonsense"];
    let (code, _, told) = connector(folder.path(), &nonsense).await;
    assert!(code == 2 && told.contains("`nonsense` is no address of a product"), "{told}");
}
