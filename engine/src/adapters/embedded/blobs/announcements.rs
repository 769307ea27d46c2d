//! The message for each new snapshot object, at least once.
//!
//! An intent row is committed before the object gets its name; afterwards one transaction sends the message and removes
//! the row. A crash in between leaves the row, and the next start looks whether the object is there.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use crate::{
    adapters::embedded::{
        database::{Database, failed},
        files,
        queue::{self, EmbeddedQueue},
    },
    error::Result,
    ports::QueueName,
};

/// Makes the table when it is missing.
pub(in crate::adapters::embedded) fn set_up(connection: &Connection) -> Result<()> {
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS announcements (
                intent INTEGER PRIMARY KEY AUTOINCREMENT,
                path TEXT NOT NULL,
                size_bytes INTEGER NOT NULL
            )",
        )
        .map_err(failed)
}

/// Notes that an object is about to be made; the number of the note.
pub(super) async fn intend(database: &Database, path: &str, size_bytes: u64) -> Result<i64> {
    let path = path.to_owned();
    database
        .write(move |connection| {
            connection
                .prepare_cached("INSERT INTO announcements (path, size_bytes) VALUES (?1, ?2)")
                .and_then(|mut insert| insert.insert(params![path, size_bytes.cast_signed()]))
                .map_err(failed)
        })
        .await
}

/// Sends the message of an object that was made.
pub(super) async fn announce(database: &Database, queue: &EmbeddedQueue, intent: i64) -> Result<()> {
    let now_ms = queue.now_ms();
    database.write(move |connection| send(connection, intent, now_ms)).await?;
    queue.announce(QueueName::Data, 1);
    Ok(())
}

/// Drops the note of an object that was not made by its writer.
pub(super) async fn forget(database: &Database, intent: i64) -> Result<()> {
    database.write(move |connection| remove(connection, intent)).await
}

/// At the start: sends what a crash kept from being sent, and drops the notes of objects that were never made.
pub(super) fn settle(connection: &Connection, root: &Path, now_ms: i64) -> Result<()> {
    let mut select = connection.prepare("SELECT intent, path FROM announcements ORDER BY intent").map_err(failed)?;
    let open: Vec<(i64, String)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).and_then(Iterator::collect).map_err(failed)?;
    for (intent, path) in open {
        let object = root.join(path);
        if object.is_file() {
            files::sync_dir(files::parent_of(&object))?;
            send(connection, intent, now_ms)?;
        } else {
            remove(connection, intent)?;
        }
    }
    Ok(())
}

fn send(connection: &Connection, intent: i64, now_ms: i64) -> Result<()> {
    let found: Option<(String, i64)> = connection
        .prepare_cached("SELECT path, size_bytes FROM announcements WHERE intent = ?1")
        .and_then(|mut select| select.query_row([intent], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(failed)?;
    if let Some((path, size_bytes)) = found {
        let body = json!({ "path": path, "sizeBytes": size_bytes }).to_string();
        queue::send_in(connection, QueueName::Data, &body, now_ms, now_ms)?;
        remove(connection, intent)?;
    }
    Ok(())
}

fn remove(connection: &Connection, intent: i64) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM announcements WHERE intent = ?1")
        .and_then(|mut delete| delete.execute([intent]))
        .map(|_| ())
        .map_err(failed)
}
