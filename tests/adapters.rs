//! What the ports promise, kept by the embedded stores; and what only these promise: one writer, a private directory,
//! and nothing lost when the process is killed or the disk is full.

#[path = "support/suites/mod.rs"]
mod suites;
mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use listbackup_engine::{
    Error, ErrorKind,
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::{AccountId, scope::SystemScope},
    ports::{BlobEntry, Condition, Key, Letter, PutOutcome, QueueName, Write},
    tables::SOURCES,
};
use serde_json::{Value, json};
use suites::identity::Signing;
use support::{Embedded, SeededRandom, Subject};

// ---- the suites, on a clock that the test owns

#[tokio::test(start_paused = true)]
async fn rows_are_kept_as_promised() {
    suites::tables::keeps_all(&Embedded::new().subject()).await;
}

#[tokio::test(start_paused = true)]
async fn messages_are_delivered_as_promised() {
    suites::queue::keeps_all(&Embedded::new().subject()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_are_stored_as_promised() {
    suites::blobs::keeps_all(&Embedded::new().subject()).await;
}

#[tokio::test]
async fn keys_and_secrets_are_sealed_as_promised() {
    suites::keys::keeps_all(&Embedded::new().subject()).await;
}

#[tokio::test(start_paused = true)]
async fn events_reach_followers_as_promised() {
    suites::events::keeps_all(&Embedded::new().subject()).await;
}

#[tokio::test(start_paused = true)]
async fn people_sign_in_as_promised() {
    let embedded = Embedded::new();
    let mail_dir = embedded.stores.mail_dir();
    let signing = Signing { subject: &embedded.subject(), letters: &|email| letters_to(&mail_dir, email) };
    suites::identity::keeps_all(&signing).await;
}

fn letters_to(mail_dir: &Path, email: &str) -> Vec<String> {
    let mut paths: Vec<PathBuf> = fs::read_dir(mail_dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let line = format!("\nTo: {email}\n");
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).filter(|text| text.contains(&line)).collect()
}

// ---- the data directory

#[tokio::test]
async fn everything_is_there_after_closing_and_opening() {
    let embedded = Embedded::new();
    let account_id = embedded.subject().account().account_id();
    let scope = SystemScope::of_this_process().account(account_id);
    let path = format!("accounts/{account_id}/a");
    let ports = embedded.stores.ports();
    ports.queue.send(QueueName::Jobs, vec![json!("kept")], Duration::ZERO).await.unwrap();
    ports.blobs.put_if_absent(&scope, &path, "kept".into()).await.unwrap();
    let key = ports.keys.generate("c").await.unwrap();
    let jwks = ports.identity.jwks().await.unwrap();
    let issuer = ports.identity.issuer().to_owned();
    drop(ports);

    let embedded = embedded.reopen();
    let ports = embedded.stores.ports();
    let received = ports.queue.receive(QueueName::Jobs, 10, Duration::from_secs(30), Duration::ZERO).await.unwrap();
    assert_eq!(received.iter().map(|message| &message.body).collect::<Vec<_>>(), [&json!("kept")]);
    assert_eq!(ports.blobs.get(&scope, &path).await.unwrap(), "kept");
    assert_eq!(*ports.keys.unwrap("c", &key.wrapped).await.unwrap(), *key.plain);
    assert_eq!(ports.identity.jwks().await.unwrap(), jwks);
    assert_eq!(ports.identity.issuer(), issuer);
}

#[tokio::test]
async fn a_second_writer_is_refused_and_told_of_the_first() {
    let embedded = Embedded::new();
    let refused = refused(EmbeddedStores::open(embedded.directory.path(), OpenMode::Write));
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let text = refused.to_string();
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    assert!(text.contains(&embedded.directory.path().display().to_string()), "{text}");
    let embedded = embedded.reopen();
    // The ports hold the directory as long as they live.
    let ports = embedded.stores.ports();
    let directory = embedded.close();
    assert!(EmbeddedStores::open(directory.path(), OpenMode::Write).is_err());
    drop(ports);
    assert!(EmbeddedStores::open(directory.path(), OpenMode::Write).is_ok());
}

#[tokio::test]
async fn readers_look_beside_a_writer_and_change_nothing() {
    let embedded = Embedded::new();
    let subject = embedded.subject();
    let account = subject.account();
    let account_id = account.account_id();
    let reader = EmbeddedStores::open(embedded.directory.path(), OpenMode::Read).unwrap().ports();
    write_pair(&subject, account_id, 1).await;
    let key = Key { partition: account_id.to_string(), sort: "1-a".to_owned() };
    assert!(reader.tables.get((&account).into(), &SOURCES, &key).await.unwrap().is_some(), "written after it opened");
    let path = format!("accounts/{account_id}/a");
    let delete = Write::Delete { table: &SOURCES, key, condition: Condition::Any };
    let letter = Letter { to: "a@b.de".to_owned(), subject: "s".to_owned(), text: String::new() };
    let kinds = [
        reader.tables.transact((&account).into(), vec![delete]).await.unwrap_err().kind(),
        reader.queue.send(QueueName::Jobs, vec![json!(1)], Duration::ZERO).await.unwrap_err().kind(),
        reader.blobs.put_if_absent(&account, &path, "x".into()).await.unwrap_err().kind(),
        reader.blobs.delete(&account, &path).await.unwrap_err().kind(),
        reader.mail.send(&letter).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Denied; 5]);
    // Without the writer too.
    drop(subject);
    let directory = embedded.close();
    let alone = EmbeddedStores::open(directory.path(), OpenMode::Read).unwrap().ports();
    assert_eq!(alone.blobs.list(&account, &format!("accounts/{account_id}/"), None, 9).await.unwrap(), []);
    let nothing = tempfile::tempdir().unwrap();
    let missing = refused(EmbeddedStores::open(nothing.path(), OpenMode::Read));
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn nothing_in_the_directory_is_open_to_other_users() {
    let parent = tempfile::tempdir().unwrap();
    let data_dir = parent.path().join("new/data");
    let stores = EmbeddedStores::open(&data_dir, OpenMode::Write).unwrap();
    let account = Subject::new(stores.ports()).account();
    let path = format!("accounts/{}/a/b", account.account_id());
    stores.ports().blobs.put_if_absent(&account, &path, "x".into()).await.unwrap();
    let letter = Letter { to: "a@b.de".to_owned(), subject: "s".to_owned(), text: "t".to_owned() };
    stores.ports().mail.send(&letter).await.unwrap();
    let mut places = vec![data_dir];
    while let Some(place) = places.pop() {
        let mode = fs::metadata(&place).unwrap().permissions().mode() & 0o777;
        let expected = if place.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{} has mode {mode:o}", place.display());
        if place.is_dir() {
            places.extend(fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[tokio::test]
async fn a_master_key_that_others_can_read_is_refused_with_the_remedy() {
    let directory = Embedded::new().close();
    let key = directory.path().join("master.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    for mode in [OpenMode::Write, OpenMode::Read] {
        let refused = refused(EmbeddedStores::open(directory.path(), mode));
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.to_string().contains(&format!("chmod 600 {}", key.display())), "{refused}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(EmbeddedStores::open(directory.path(), OpenMode::Write).is_ok());
}

#[tokio::test]
async fn a_missing_or_damaged_master_key_is_never_replaced() {
    let directory = Embedded::new().close();
    let key = directory.path().join("master.key");
    let copy = fs::read(&key).unwrap();
    assert_eq!(copy.len(), 32);
    fs::write(&key, &copy[..31]).unwrap();
    assert_eq!(refused(EmbeddedStores::open(directory.path(), OpenMode::Write)).kind(), ErrorKind::Corrupt);
    fs::remove_file(&key).unwrap();
    assert_eq!(refused(EmbeddedStores::open(directory.path(), OpenMode::Write)).kind(), ErrorKind::Corrupt);
    assert!(!key.exists());
}

#[tokio::test]
async fn letters_cannot_break_out_of_their_header() {
    let embedded = Embedded::new();
    let mail = embedded.stores.ports().mail;
    for (to, subject) in [("a@b.de\nBcc: c@d.de", "s"), ("a@b.de", "s\r\nX: y"), ("", "s")] {
        let letter = Letter { to: to.to_owned(), subject: subject.to_owned(), text: "t".to_owned() };
        assert_eq!(mail.send(&letter).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(fs::read_dir(embedded.stores.mail_dir()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_snapshot_made_just_before_a_crash_is_announced_at_the_next_start() {
    let embedded = Embedded::new();
    let account = embedded.subject().account();
    let path = |n: u8| format!("accounts/{}/sources/s/snapshots/{n}.snap", account.account_id());
    let database = embedded.directory.path().join("listbackup.db");
    let blobs = embedded.stores.ports().blobs;
    blobs.put_if_absent(&account, &path(1).replace(".snap", ".tmp"), "12345".into()).await.unwrap();
    drop(blobs);
    let directory = embedded.close();
    // As the process leaves it when it dies after the object got its name, or before.
    let objects = directory.path().join("objects");
    fs::rename(objects.join(path(1).replace(".snap", ".tmp")), objects.join(path(1))).unwrap();
    fs::write(objects.join(".staging/leftover"), "half").unwrap();
    intend(&database, &[&path(1), &path(2)]);
    let stores = EmbeddedStores::open(directory.path(), OpenMode::Write).unwrap();
    let queue = stores.ports().queue;
    let told = queue.receive(QueueName::Data, 10, Duration::from_secs(30), Duration::ZERO).await.unwrap();
    let expected = json!({ "path": path(1), "sizeBytes": 5 });
    assert_eq!(told.iter().map(|message| &message.body).collect::<Vec<_>>(), [&expected]);
    assert_eq!(fs::read_dir(objects.join(".staging")).unwrap().count(), 0, "leftovers are swept");
}

/// Leaves the notes of objects that are about to be made.
fn intend(database: &Path, paths: &[&str]) {
    let connection = rusqlite::Connection::open(database).unwrap();
    for path in paths {
        connection.execute("INSERT INTO announcements (path, size_bytes) VALUES (?1, 5)", [path]).unwrap();
    }
}

fn refused(outcome: Result<EmbeddedStores, Error>) -> Error {
    match outcome {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

// ---- killed and out of space: this binary runs itself as the process that it happens to

/// Names what a child process shall do, and where.
const CHILD_ROLE: &str = "LISTBACKUP_TEST_CHILD";
const CHILD_DIR: &str = "LISTBACKUP_TEST_CHILD_DIR";

/// Not a test of its own: the body of child processes, and nothing without their variables.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn child_process() {
    let Ok(role) = std::env::var(CHILD_ROLE) else { return };
    let directory = PathBuf::from(std::env::var(CHILD_DIR).unwrap());
    match role.as_str() {
        "write" => write_for_ever(&directory).await,
        "fill" => fill_the_disk(&directory).await,
        "large" => write_too_large_a_file(&directory).await,
        other => panic!("unknown role {other}"),
    }
}

fn child(role: &str, directory: &Path, shell: Option<&str>) -> Command {
    let executable = std::env::current_exe().unwrap();
    let mut command = match shell {
        Some(script) => {
            let mut command = Command::new("unshare");
            command.args(["-rm", "sh", "-c", script]).arg(executable);
            command
        }
        None => Command::new(executable),
    };
    command.args(["child_process", "--exact", "--nocapture"]).env(CHILD_ROLE, role).env(CHILD_DIR, directory);
    command
}

/// One account for a child and its parent.
fn child_account() -> AccountId {
    AccountId::derived(1_800_000_000_000, [7; 10])
}

/// Two rows and a message in two calls, then an object; each is told once the store said that it is durable.
async fn write_for_ever(directory: &Path) {
    let subject = Subject::new(EmbeddedStores::open(directory, OpenMode::Write).unwrap().ports());
    let start = std::process::id() as u64 * 1_000_000;
    let writers = (0..8_u64).map(|writer| write_numbers(&subject, start + writer * 100_000));
    futures::future::join_all(writers).await;
}

async fn write_numbers(subject: &Subject, start: u64) {
    let account_id = child_account();
    for n in start.. {
        write_pair(subject, account_id, n).await;
        println!("\nrows {n}");
        subject.ports.queue.send(QueueName::Jobs, vec![json!(n)], Duration::ZERO).await.unwrap();
        println!("\nmessage {n}");
        let scope = subject.system.account(account_id);
        let outcome = subject.ports.blobs.put_if_absent(&scope, &object_path(n), object(n).into()).await.unwrap();
        assert_eq!(outcome, PutOutcome::Created);
        println!("\nobject {n}");
    }
}

fn object_path(n: u64) -> String {
    format!("accounts/{}/sources/s{}/snapshots/{n}.snap", child_account(), n % 5)
}

fn object(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(5_000)
}

/// Two rows that belong together.
async fn write_pair(subject: &Subject, account_id: AccountId, n: u64) {
    let writes = ["a", "b"].map(|half| {
        let Value::Object(body) = json!({ "accountId": account_id, "sourceId": format!("{n}-{half}") }) else {
            panic!("an object");
        };
        Write::Put { table: &SOURCES, body, condition: Condition::Absent }
    });
    subject.ports.tables.transact((&subject.system).into(), writes.into()).await.unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_nine() {
    let seed = 9;
    let random = SeededRandom::new(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut told: Vec<(String, u64)> = Vec::new();
    for round in 0..8 {
        let mut child = child("write", directory.path(), None).stdout(Stdio::piped()).spawn().unwrap();
        let lines = 20 + usize::try_from(random.below(400)).unwrap();
        told.extend(acknowledged_before_kill(&mut child, lines));
        verify_after_kill(directory.path(), &told, &format!("seed {seed}, round {round}")).await;
    }
    assert!(told.len() > 500, "only {} writes were told", told.len());
}

/// Reads that many lines, kills, and reads what was told until then.
fn acknowledged_before_kill(child: &mut Child, lines: usize) -> Vec<(String, u64)> {
    let mut told = Vec::new();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut killed = false;
    for line in output.lines() {
        let line = line.unwrap();
        if let Some((what @ ("rows" | "message" | "object"), n)) = line.split_once(' ') {
            told.push((what.to_owned(), n.parse().unwrap()));
        }
        if told.len() >= lines && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    let status = child.wait().unwrap();
    assert!(!status.success() && killed, "the child ended by itself: {status}");
    told
}

async fn verify_after_kill(directory: &Path, told: &[(String, u64)], at: &str) {
    let stores = EmbeddedStores::open(directory, OpenMode::Write).unwrap();
    let subject = Subject::new(stores.ports());
    let scope = subject.system.account(child_account());
    let messages = all_messages(&subject, QueueName::Jobs).await;
    let announced = all_messages(&subject, QueueName::Data).await;
    let listed = subject.ports.blobs.list(&scope, &format!("accounts/{}/", child_account()), None, 100_000).await;
    let objects: Vec<BlobEntry> = listed.unwrap();
    for (what, n) in told {
        match what.as_str() {
            "rows" => {
                for half in ["a", "b"] {
                    let key = Key { partition: child_account().to_string(), sort: format!("{n}-{half}") };
                    let found = subject.ports.tables.get((&scope).into(), &SOURCES, &key).await.unwrap();
                    assert!(found.is_some(), "{at}: row {n}-{half} is lost");
                }
            }
            "message" => assert!(messages.contains(&json!(n)), "{at}: message {n} is lost"),
            _ => assert!(objects.iter().any(|entry| entry.path == object_path(*n)), "{at}: object {n} is lost"),
        }
    }
    for entry in &objects {
        let n: u64 = entry.path.rsplit('/').next().unwrap().trim_end_matches(".snap").parse().unwrap();
        assert_eq!(subject.ports.blobs.get(&scope, &entry.path).await.unwrap(), object(n), "{at}: {}", entry.path);
        let message = json!({ "path": entry.path, "sizeBytes": entry.size_bytes });
        assert!(announced.contains(&message), "{at}: {} was never announced", entry.path);
    }
    assert_eq!(halves_without_the_other(&subject).await, Vec::<String>::new(), "{at}");
}

/// Looks at all messages without keeping them: each look hides them only until the next.
async fn all_messages(subject: &Subject, queue: QueueName) -> Vec<Value> {
    let mut bodies = Vec::new();
    let received = subject.ports.queue.receive(queue, 100_000, Duration::from_secs(600), Duration::ZERO).await.unwrap();
    let given_back = received.iter().map(|message| {
        bodies.push(message.body.clone());
        subject.ports.queue.send(queue, vec![message.body.clone()], Duration::ZERO)
    });
    futures::future::try_join_all(given_back).await.unwrap();
    let done = received.iter().map(|message| subject.ports.queue.acknowledge(queue, &message.receipt));
    futures::future::try_join_all(done).await.unwrap();
    bodies
}

async fn halves_without_the_other(subject: &Subject) -> Vec<String> {
    let mut ids = std::collections::BTreeSet::new();
    let mut after = None;
    loop {
        let query = listbackup_engine::ports::Query {
            table: &SOURCES,
            index: None,
            partition: child_account().to_string(),
            sort: listbackup_engine::ports::SortRange::All,
            descending: false,
            limit: 1000,
            after,
        };
        let page = subject.ports.tables.query((&subject.system).into(), query).await.unwrap();
        ids.extend(page.items.iter().map(|item| item.body["sourceId"].as_str().unwrap().to_owned()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let other = |id: &String| if id.ends_with('a') { id.replace('a', "b") } else { id.replace('b', "a") };
    ids.iter().filter(|id| !ids.contains(&other(id))).cloned().collect()
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_leaves_nothing_half_done() {
    let directory = tempfile::tempdir().unwrap();
    let mount = format!(
        "mount -t tmpfs -o size=4m,mode=700 none '{}' || exit 77; exec \"$0\" \"$@\"",
        directory.path().display()
    );
    let Ok(output) = child("fill", directory.path(), Some(&mount)).output() else {
        return println!("skipped: there is no `unshare` to make a small disk with");
    };
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if !text.contains("running 1 test") {
        return println!("skipped: this machine lets tests make no small disk: {text}");
    }
    assert!(output.status.success() && text.contains("full and well"), "{text}");
}

/// Runs where the disk has 4 MiB.
async fn fill_the_disk(directory: &Path) {
    let subject = Subject::new(EmbeddedStores::open(directory, OpenMode::Write).unwrap().ports());
    let (account_id, blobs) = (child_account(), subject.ports.blobs.clone());
    let scope = subject.system.account(account_id);
    let path = |n: u64| format!("accounts/{account_id}/segments/{n}.seg");
    let mut stored = 0;
    let full = loop {
        match blobs.put_if_absent(&scope, &path(stored), vec![1; 300_000].into()).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::Exhausted, "{full}");
    assert!(full.to_string().contains("space"), "{full}");
    assert_eq!(blobs.size(&scope, &path(stored)).await.unwrap(), None, "nothing is at its path");
    assert_eq!(fs::read_dir(directory.join("objects/.staging")).unwrap().count(), 0, "nothing is left behind");

    let mut sent = 0;
    let full = loop {
        let bodies = vec![json!("x".repeat(20_000)), json!("y")];
        match subject.ports.queue.send(QueueName::Jobs, bodies, Duration::ZERO).await {
            Ok(_) => sent += 2,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::Exhausted, "{full}");
    for n in 0..stored {
        assert_eq!(blobs.get(&scope, &path(n)).await.unwrap().len(), 300_000, "what was stored is whole");
    }
    // With space again, the same stores go on, and nothing of what failed is there.
    blobs.delete(&scope, &path(0)).await.unwrap();
    blobs.delete(&scope, &path(1)).await.unwrap();
    write_pair(&subject, account_id, 1).await;
    let received = subject.ports.queue.receive(QueueName::Jobs, 1000, Duration::from_secs(600), Duration::ZERO).await;
    assert_eq!(received.unwrap().len(), sent);
    println!("full and well");
}

#[tokio::test]
async fn a_file_larger_than_allowed_is_refused_and_swept() {
    let directory = tempfile::tempdir().unwrap();
    // Without the signal, the write fails as on a full disk.
    let script = "trap '' XFSZ; ulimit -f 4096 || exit 77; exec \"$0\" \"$@\"";
    let executable = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(executable)
        .args(["child_process", "--exact", "--nocapture"])
        .env(CHILD_ROLE, "large")
        .env(CHILD_DIR, directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("refused and swept"), "{text}");
}

async fn write_too_large_a_file(directory: &Path) {
    let subject = Subject::new(EmbeddedStores::open(directory, OpenMode::Write).unwrap().ports());
    let scope = subject.system.account(child_account());
    let path = format!("accounts/{}/large", child_account());
    let refused = subject.ports.blobs.put_if_absent(&scope, &path, vec![1; 8_000_000].into()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exhausted, "{refused}");
    assert_eq!(subject.ports.blobs.size(&scope, &path).await.unwrap(), None);
    assert_eq!(fs::read_dir(directory.join("objects/.staging")).unwrap().count(), 0);
    assert_eq!(
        subject.ports.blobs.put_if_absent(&scope, &path, vec![1; 1_000].into()).await.unwrap(),
        PutOutcome::Created
    );
    println!("refused and swept");
}
