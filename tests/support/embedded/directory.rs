//! The data directory: one writer, readers beside it, closed to other users, whole after closing and opening.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use listbackup_engine::{
    Error, ErrorKind,
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::scope::SystemScope,
    ports::{Condition, Key, Letter, Query, QueueName, SortRange, Write},
    tables::SOURCES,
};
use serde_json::{Value, json};

use super::write_pair;
use crate::support::{Embedded, Subject};

#[tokio::test]
async fn everything_is_there_after_closing_and_opening() {
    let embedded = Embedded::new();
    let account_id = embedded.subject().account().account_id();
    let scope = SystemScope::of_this_process().account(account_id);
    let path = format!("accounts/{account_id}/a");
    let ports = embedded.stores.ports();
    ports.queue.send(QueueName::Jobs, vec![json!("kept")], Duration::ZERO).await.unwrap();
    ports.blobs.put_if_absent(&scope, &path, "kept".into()).await.unwrap();
    ports.blobs.retain_until(&scope, &path, jiff::Timestamp::MAX).await.unwrap();
    let key = ports.keys.generate("c").await.unwrap();
    let jwks = ports.identity.jwks().await.unwrap();
    let issuer = ports.identity.issuer().to_owned();
    drop(ports);

    let embedded = embedded.reopen();
    let ports = embedded.stores.ports();
    let received = ports.queue.receive(QueueName::Jobs, 10, Duration::from_secs(30), Duration::ZERO).await.unwrap();
    assert_eq!(received.iter().map(|message| &message.body).collect::<Vec<_>>(), [&json!("kept")]);
    assert_eq!(ports.blobs.get(&scope, &path).await.unwrap(), "kept");
    assert_eq!(ports.blobs.delete(&scope, &path).await.unwrap_err().kind(), ErrorKind::Denied, "its lock too");
    assert_eq!(*ports.keys.unwrap("c", &key.wrapped).await.unwrap(), *key.plain);
    assert_eq!(ports.identity.jwks().await.unwrap(), jwks);
    assert_eq!(ports.identity.issuer(), issuer);
}

#[tokio::test]
async fn messages_of_an_older_version_are_delivered() {
    let embedded = Embedded::new();
    let queue = embedded.stores.ports().queue;
    queue.send(QueueName::Jobs, vec![json!({ "accountId": "a" })], Duration::ZERO).await.unwrap();
    drop(queue);
    let directory = embedded.close();
    let database = rusqlite::Connection::open(directory.path().join("listbackup.db")).unwrap();
    database.execute_batch("DROP INDEX messages_turns; ALTER TABLE messages DROP COLUMN turn_of").unwrap();
    drop(database);

    let queue = EmbeddedStores::open(directory.path(), OpenMode::Write).unwrap().ports().queue;
    let received = queue.receive(QueueName::Jobs, 10, Duration::from_secs(30), Duration::ZERO).await.unwrap();
    assert_eq!(received.len(), 1);
}

#[tokio::test]
async fn rows_of_an_older_schema_are_found_by_the_indexes_of_the_present_one() {
    let embedded = Embedded::new();
    let subject = embedded.subject();
    let account = subject.account();
    let partition = account.account_id().to_string();
    for (n, integration) in ["stripe", "keap", "stripe"].into_iter().enumerate() {
        let Value::Object(body) =
            json!({ "accountId": partition, "sourceId": format!("s{n}"), "integration": integration })
        else {
            panic!("an object");
        };
        let write = Write::Put { table: &SOURCES, body, condition: Condition::Absent };
        subject.ports.tables.transact((&account).into(), vec![write]).await.unwrap();
    }
    drop(subject);
    let directory = embedded.close();
    // As if the table had been made for an index of the same name over something else.
    let database = rusqlite::Connection::open(directory.path().join("listbackup.db")).unwrap();
    let change = "UPDATE rows_sources SET by_integration_partition = 'x', by_integration_sort = 'y'; \
                  UPDATE row_schemas SET definition = 'older' WHERE name = 'rows_sources'";
    database.execute_batch(change).unwrap();
    drop(database);

    let stores = EmbeddedStores::open(directory.path(), OpenMode::Write).unwrap();
    let found = async |index, partition: &str| {
        let query = Query {
            table: &SOURCES,
            index,
            partition: partition.to_owned(),
            sort: SortRange::All,
            descending: false,
            limit: 10,
            after: None,
        };
        let page = stores.ports().tables.query((&account).into(), query).await.unwrap();
        page.items.iter().map(|item| (item.body["sourceId"].clone(), item.version)).collect::<Vec<_>>()
    };
    assert_eq!(found(Some("by-integration"), "stripe").await, [(json!("s0"), 1), (json!("s2"), 1)]);
    assert_eq!(found(Some("by-integration"), "x").await, []);
    assert_eq!(found(None, &partition).await.len(), 3);
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
    let letter = Letter { to: "a@b.de".to_owned(), subject: "s".to_owned(), text: String::new(), html: String::new() };
    let kinds = [
        reader.tables.transact((&account).into(), vec![delete]).await.unwrap_err().kind(),
        reader.queue.send(QueueName::Jobs, vec![json!(1)], Duration::ZERO).await.unwrap_err().kind(),
        reader.blobs.put_if_absent(&account, &path, "x".into()).await.unwrap_err().kind(),
        reader.blobs.delete(&account, &path).await.unwrap_err().kind(),
        reader.blobs.retain_until(&account, &path, jiff::Timestamp::MAX).await.unwrap_err().kind(),
        reader.mail.send(&letter).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Denied; 6]);
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
    let letter =
        Letter { to: "a@b.de".to_owned(), subject: "s".to_owned(), text: "t".to_owned(), html: "<p>t".to_owned() };
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
        let letter =
            Letter { to: to.to_owned(), subject: subject.to_owned(), text: "t".to_owned(), html: "<p>t".to_owned() };
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
