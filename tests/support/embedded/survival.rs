//! Killed and out of space: this binary runs itself as the process that it happens to.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use listbackup_engine::{
    ErrorKind,
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::AccountId,
    ports::{BlobEntry, Key, PutOutcome, Query, QueueName, SortRange},
    tables::SOURCES,
};
use serde_json::{Value, json};

use super::write_pair;
use crate::support::{SeededRandom, Subject};

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
    command
        .args(["embedded::survival::child_process", "--exact", "--nocapture"])
        .env(CHILD_ROLE, role)
        .env(CHILD_DIR, directory);
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
    let mut ids = BTreeSet::new();
    let mut after = None;
    loop {
        let query = Query {
            table: &SOURCES,
            index: None,
            partition: child_account().to_string(),
            sort: SortRange::All,
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
        .args(["embedded::survival::child_process", "--exact", "--nocapture"])
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
