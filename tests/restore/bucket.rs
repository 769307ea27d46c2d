//! Into a bucket of S3, and out of it with bucket and key alone.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::Notify,
};

use super::{
    Place,
    program::{Program, binary},
    servers::aws::{self, Aws, StandIn},
};

/// A user with a bucket, a place for keys, and a cache.
struct Owner {
    aws: Aws,
    home: TempDir,
}

impl Owner {
    async fn new() -> Self {
        Self { aws: Aws::start(StandIn::MiniStack).await, home: tempfile::tempdir().expect("a directory") }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn store(&self, prefix: &str) -> String {
        self.at(self.aws.settings.endpoint_url().expect("an endpoint"), prefix)
    }

    fn at(&self, endpoint_url: &str, prefix: &str) -> String {
        format!("s3://{}/{prefix}?endpoint={endpoint_url}", self.aws.settings.bucket())
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(binary());
        command.arg(name).kill_on_drop(true);
        self.with_access(&mut command);
        command
    }

    fn with_access(&self, command: &mut Command) {
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.env("AWS_REGION", "us-east-1").env("XDG_CACHE_HOME", self.file("cache"));
        // Nothing of the machine's own.
        command.env("AWS_CONFIG_FILE", "/nonexistent").env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
    }

    /// Copies a snapshot out of a place; the report.
    async fn copy(&self, program: &Program, snapshot: &str, to: &str, key: &str) -> Value {
        let mut command = program.command("restore");
        self.with_access(&mut command);
        command.args(["--json", "--snapshot", snapshot, "--to-store", to, "--to-key-file"]).arg(self.file(key));
        told(&command.output().await.expect("it starts"))
    }

    /// What a command tells of a store that is there with bucket and key alone.
    async fn read(&self, name: &str, store: &str, key: &str, arguments: &[&str]) -> Value {
        let mut command = self.command(name);
        command.args(["--json", "--data-dir", store, "--key-file"]).arg(self.file(key)).args(arguments);
        told(&command.output().await.expect("it starts"))
    }

    /// Paths of the objects in the bucket, without what they all begin with.
    async fn objects(&self) -> Vec<String> {
        let list = self.aws.clients.s3.list_objects_v2().bucket(self.aws.settings.bucket()).send().await;
        let objects = list.expect("a list").contents.unwrap_or_default();
        objects.into_iter().filter_map(|object| object.key).collect()
    }
}

#[track_caller]
fn told(output: &Output) -> Value {
    let printed = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&printed)
        .unwrap_or_else(|error| panic!("{error}: {printed}{}", String::from_utf8_lossy(&output.stderr)))
}

fn moved(report: &Value) -> u64 {
    let streams = report["streams"].as_array().unwrap_or_else(|| panic!("streams: {report}"));
    streams.iter().flat_map(|stream| [&stream["added"], &stream["changed"]]).filter_map(Value::as_u64).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_a_bucket_is_listed_verified_and_restored_with_bucket_and_key_alone() {
    if let Err(reason) = aws::installed() {
        return println!("skipped: {reason}");
    }
    let (place, owner) = (Place::new(300, 0), Owner::new().await);
    let snapshot = place.backup().await;
    let store = owner.store("backups/crm");
    let copy = owner.copy(&place.program, &snapshot, &store, "crm.key").await;
    assert_eq!(copy["status"], "succeeded", "{copy}");
    let copied = copy["snapshot_id"].as_str().expect("a snapshot").to_owned();
    let objects = owner.objects().await;
    assert!(objects.iter().all(|key| key.starts_with("backups/crm/accounts/acc_")), "{objects:?}");

    // Nothing but bucket and key: no cache either.
    std::fs::remove_dir_all(owner.file("cache")).expect("tables were kept for the next copy");
    let list = owner.read("snapshots", &store, "crm.key", &[]).await;
    assert!(list.to_string().contains(&copied), "{list}");
    let verified = owner.read("verify", &store, "crm.key", &["--data"]).await;
    assert_eq!((&verified["clean"], &verified["complete"]), (&json!(true), &json!(true)), "{verified}");
    let judged = owner.read("forget", &store, "crm.key", &["--snapshot", &copied, "--dry-run"]).await;
    assert!(judged.to_string().contains(&copied), "{judged}");
    let collected = owner.read("collect", &store, "crm.key", &["--dry-run"]).await;
    assert_eq!(collected["sources"].as_array().map(Vec::len), Some(1), "{collected}");
    let folder = owner.file("out");
    let to = folder.display().to_string();
    let written = owner.read("restore", &store, "crm.key", &["--snapshot", &copied, "--to", &to]).await;
    assert_eq!(written["snapshot_id"], json!(copied), "{written}");
    let original = place.program.data_dir().with_file_name("original");
    place.restore(&["--snapshot", &snapshot, "--to", &original.display().to_string()]).await;
    for stream in ["companies", "contacts", "deals", "events", "tags"] {
        let read = |folder: &Path| {
            let text = std::fs::read_to_string(folder.join(format!("{stream}.jsonl"))).expect("the file");
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            // Records without a key come in the order of their digests, which are each account's own.
            lines.sort_unstable();
            lines
        };
        assert!(read(&folder) == read(&original), "{stream}");
    }
    let files = |report: Value| report["files"].as_array().map_or(0, Vec::len);
    let there = files(owner.read("files", &store, "crm.key", &["--snapshot", &copied]).await);
    assert_eq!(there, files(place.program.json("files", &["--snapshot", &snapshot]).await));

    // And back into a data directory, as into any store.
    let back = Program::new();
    let directory = back.data_dir().display().to_string();
    let copy = owner.read("restore", &store, "crm.key", &["--snapshot", &copied, "--to-store", &directory]).await;
    assert_eq!(copy["status"], "succeeded", "{copy}");
    let again = copy["snapshot_id"].as_str().expect("a snapshot");
    assert_eq!(place.program.export(&snapshot, "contacts", "id").await, back.export(again, "contacts", "id").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_copy_into_a_bucket_stores_only_what_differs() {
    if let Err(reason) = aws::installed() {
        return println!("skipped: {reason}");
    }
    let (place, owner) = (Place::new(300, 0), Owner::new().await);
    let store = owner.store("");
    let first = place.backup().await;
    owner.copy(&place.program, &first, &store, "crm.key").await;
    let before = owner.objects().await;
    place.patch("/contacts/9", json!({ "notes": "altered" })).await;
    let second = place.backup().await;
    // Also from a machine that never copied there.
    std::fs::remove_dir_all(owner.file("cache")).expect("tables were kept for the next copy");
    let copy = owner.copy(&place.program, &second, &store, "crm.key").await;
    assert_eq!((&copy["status"], moved(&copy)), (&json!("succeeded"), 1), "{copy}");
    let copy = owner.copy(&place.program, &second, &store, "crm.key").await;
    assert_eq!(moved(&copy), 0, "{copy}");
    let after = owner.objects().await;
    assert!(before.iter().filter(|key| key.ends_with(".seg")).all(|key| after.contains(key)));
    let list = owner.read("snapshots", &store, "crm.key", &[]).await;
    assert_eq!(list.as_array().map(Vec::len), Some(3), "{list}");
    assert_eq!(owner.read("verify", &store, "crm.key", &["--data"]).await["clean"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_killed_goes_on_where_it_was() {
    if let Err(reason) = aws::installed() {
        return println!("skipped: {reason}");
    }
    let (place, owner) = (Place::new(300, 0), Owner::new().await);
    let snapshot = place.backup().await;
    let gate = Gate::before(owner.aws.settings.endpoint_url().expect("an endpoint")).await;
    let store = owner.at(&gate.url, "crm");
    let mut command = place.program.command("restore");
    owner.with_access(&mut command);
    command.args(["--json", "--snapshot", &snapshot, "--stream", "contacts", "--to-store", &store]);
    command.arg("--to-key-file").arg(owner.file("crm.key"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    gate.held.notified().await;
    child.kill().await.expect("it was waiting for the bucket");
    let first = gate.open();

    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().await.expect("it starts");
    let (copy, notes) = (told(&output), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(copy["status"], "succeeded", "{copy}");
    assert!(notes.contains("going on with the interrupted run"), "{notes}");
    let stored = first.iter().filter(|line| line.contains("/segments/")).collect::<Vec<_>>();
    assert!(!stored.is_empty(), "{first:?}");
    let second = gate.open();
    assert!(stored.iter().all(|line| !second.contains(line)), "what a checkpoint names is not sent again: {second:?}");
    let copied = copy["snapshot_id"].as_str().expect("a snapshot");
    let out = owner.file("contacts.jsonl").display().to_string();
    let export = ["--snapshot", copied, "--stream", "contacts", "--format", "jsonl", "--out", &out];
    owner.read("export", &store, "crm.key", &export).await;
    let lines = std::fs::read_to_string(&out).expect("the export").lines().count();
    assert_eq!(lines, place.truth("contacts").await.len());
    assert_eq!(owner.read("verify", &store, "crm.key", &["--data"]).await["clean"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_wrong_with_a_bucket_is_told_at_once_and_nothing_is_made() {
    if let Err(reason) = aws::installed() {
        return println!("skipped: {reason}");
    }
    let (place, owner) = (Place::new(100, 0), Owner::new().await);
    let snapshot = place.backup().await;
    let refused = async |arguments: &[&str]| {
        let mut command = place.program.command("restore");
        owner.with_access(&mut command);
        let output = command.args(["--snapshot", &snapshot]).args(arguments).output().await.expect("it starts");
        (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
    };
    let (told, code) = refused(&["--to-store", "s3://My.Bucket/a//b?endpoint=ftp://host&zone=1&region="]).await;
    assert_eq!(code, Some(2), "{told}");
    for place in ["--to-key-file", "bucket", "prefix", "endpoint", "?zone", "region"] {
        assert!(told.contains(&format!("\n  {place}: ")), "{place}: {told}");
    }
    let key = owner.file("crm.key").display().to_string();
    let nowhere = owner.store("").replace(owner.aws.settings.bucket(), "no-such-bucket");
    let (told, code) = refused(&["--to-store", &nowhere, "--to-key-file", &key]).await;
    assert!(code == Some(2) && told.contains("there is no such bucket") && told.contains("no-such-bucket"), "{told}");
    let empty = owner.store("empty");
    assert!(!owner.file("crm.key").exists(), "no key is made for a bucket that is not there");

    owner.copy(&place.program, &snapshot, &owner.store("crm"), "crm.key").await;
    let error = owner.read("snapshots", &empty, "crm.key", &[]).await;
    assert_eq!(error["error"]["code"], "not_found", "{error}");
    let (told, code) = refused(&["--to-store", &owner.store("crm"), "--to-key-file", "/nonexistent/other.key"]).await;
    assert!(code == Some(2) && told.contains("holds a store already"), "{told}");
    owner.copy(&place.program, &snapshot, &owner.store("other"), "other.key").await;
    let error = owner.read("snapshots", &owner.store("crm"), "other.key", &[]).await;
    assert!(error["error"]["message"].as_str().is_some_and(|told| told.contains("does not open")), "{error}");
    let mut command = owner.command("pin");
    let output = command
        .args(["snap_x", "--reason", "it", "--data-dir", &owner.store("crm")])
        .output()
        .await
        .expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains("a bucket can be read"), "{told}");
}

/// Stands before a bucket. It lets the first checkpoint pass; whatever is put after that waits for ever, until it is opened.
struct Gate {
    url: String,
    held: Arc<Notify>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_open: bool,
    has_passed: bool,
    puts: Vec<String>,
}

impl Gate {
    async fn before(endpoint_url: &str) -> Self {
        let to = endpoint_url.strip_prefix("http://").expect("plain HTTP").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let gate = Self { url, held: Arc::default(), state: Arc::default() };
        let (held, state) = (gate.held.clone(), gate.state.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&to).await.expect("the bucket's server");
                tokio::spawn(relay(client, server, held.clone(), state.clone()));
            }
        });
        gate
    }

    /// Lets everything pass from now on. What was put so far.
    fn open(&self) -> Vec<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_open = true;
        std::mem::take(&mut state.puts)
    }
}

async fn relay(client: TcpStream, server: TcpStream, held: Arc<Notify>, state: Arc<Mutex<State>>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut bytes = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
        if let Some(line) = put_line(&bytes[..read]) {
            let passes = {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                let passes = state.is_open || !state.has_passed;
                state.has_passed |= line.contains(".checkpoint");
                if passes {
                    state.puts.push(line);
                }
                passes
            };
            if !passes {
                held.notify_one();
                return std::future::pending().await;
            }
        }
        if to_server.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

/// The path of a request that puts an object, when one begins here.
fn put_line(bytes: &[u8]) -> Option<String> {
    let rest = bytes.strip_prefix(b"PUT ")?;
    let end = rest.iter().position(|byte| *byte == b' ')?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}
