//! The SQL of messages and dead letters.
//!
//! A message's id is its sequence number, which is never given twice and stays its own as a dead letter and after a
//! redrive. A receipt is the id and a random number of the delivery, so that it fits one delivery only, for ever.

use rusqlite::{Connection, Row, params};

use crate::{
    adapters::embedded::database::failed,
    error::{Error, ErrorKind, Result},
    ports::{DeadLetter, Message, QueueName, Random},
};

/// A message delivered more often goes to the dead letters.
const MAX_DELIVERIES: i64 = 5;
const ID_PREFIX: &str = "msg_";

/// What a receive found.
pub(super) struct Delivery {
    pub(super) messages: Vec<Message>,
    /// When the next hidden message becomes visible, if nothing was found.
    pub(super) next_visible_ms: Option<i64>,
}

/// Makes the tables that are missing.
pub(in crate::adapters::embedded) fn set_up(connection: &Connection) -> Result<()> {
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS messages (
                sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                queue TEXT NOT NULL,
                body TEXT NOT NULL,
                visible_at_ms INTEGER NOT NULL,
                receive_count INTEGER NOT NULL,
                delivery INTEGER NOT NULL,
                sent_at_ms INTEGER NOT NULL
            );
            CREATE INDEX IF NOT EXISTS messages_visible ON messages (queue, visible_at_ms, sequence);
            CREATE TABLE IF NOT EXISTS dead_letters (
                sequence INTEGER PRIMARY KEY,
                queue TEXT NOT NULL,
                body TEXT NOT NULL,
                receive_count INTEGER NOT NULL,
                sent_at_ms INTEGER NOT NULL
            );
            CREATE INDEX IF NOT EXISTS dead_letters_queue ON dead_letters (queue, sequence);",
        )
        .map_err(failed)
}

/// Adds a message; its id.
pub(in crate::adapters::embedded) fn send(
    connection: &Connection,
    queue: QueueName,
    body: &str,
    now_ms: i64,
    visible_at_ms: i64,
) -> Result<String> {
    connection
        .prepare_cached(
            "INSERT INTO messages (queue, body, visible_at_ms, receive_count, delivery, sent_at_ms) \
             VALUES (?1, ?2, ?3, 0, 0, ?4)",
        )
        .and_then(|mut insert| insert.insert(params![queue.as_str(), body, visible_at_ms, now_ms]))
        .map(id_of)
        .map_err(failed)
}

/// Hands out up to `max` visible messages, the longest visible first, and buries those that failed too often.
pub(super) fn receive(
    connection: &Connection,
    queue: QueueName,
    max: usize,
    now_ms: i64,
    hidden_until_ms: i64,
    random: &dyn Random,
) -> Result<Delivery> {
    let mut messages = Vec::new();
    while messages.len() < max {
        let found = visible(connection, queue, now_ms, max - messages.len())?;
        if found.is_empty() {
            break;
        }
        for message in found {
            if message.receive_count >= MAX_DELIVERIES {
                bury(connection, message.sequence)?;
            } else {
                messages.push(deliver(connection, &message, hidden_until_ms, random)?);
            }
        }
        if hidden_until_ms <= now_ms {
            // Nothing is hidden by a visibility of zero; the same messages would be found again.
            break;
        }
    }
    let next_visible_ms = if messages.is_empty() { next_visible(connection, queue)? } else { None };
    Ok(Delivery { messages, next_visible_ms })
}

struct Stored {
    sequence: i64,
    body: String,
    receive_count: i64,
}

fn visible(connection: &Connection, queue: QueueName, now_ms: i64, max: usize) -> Result<Vec<Stored>> {
    let mut select = connection
        .prepare_cached(
            "SELECT sequence, body, receive_count FROM messages WHERE queue = ?1 AND visible_at_ms <= ?2 \
             ORDER BY visible_at_ms, sequence LIMIT ?3",
        )
        .map_err(failed)?;
    select
        .query_map(params![queue.as_str(), now_ms, i64::try_from(max).unwrap_or(i64::MAX)], |row| {
            Ok(Stored { sequence: row.get(0)?, body: row.get(1)?, receive_count: row.get(2)? })
        })
        .and_then(Iterator::collect)
        .map_err(failed)
}

fn deliver(connection: &Connection, stored: &Stored, hidden_until_ms: i64, random: &dyn Random) -> Result<Message> {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    let delivery = i64::from_le_bytes(bytes);
    connection
        .prepare_cached(
            "UPDATE messages SET visible_at_ms = ?2, receive_count = receive_count + 1, delivery = ?3 \
             WHERE sequence = ?1",
        )
        .and_then(|mut update| update.execute(params![stored.sequence, hidden_until_ms, delivery]))
        .map_err(failed)?;
    Ok(Message {
        id: id_of(stored.sequence),
        body: json(&stored.body)?,
        receipt: format!("{}.{delivery:x}", id_of(stored.sequence)),
        receive_count: u32::try_from(stored.receive_count + 1).unwrap_or(u32::MAX),
    })
}

fn bury(connection: &Connection, sequence: i64) -> Result<()> {
    for sql in [
        "INSERT INTO dead_letters (sequence, queue, body, receive_count, sent_at_ms) \
         SELECT sequence, queue, body, receive_count, sent_at_ms FROM messages WHERE sequence = ?1",
        "DELETE FROM messages WHERE sequence = ?1",
    ] {
        connection.prepare_cached(sql).and_then(|mut sql| sql.execute([sequence])).map_err(failed)?;
    }
    Ok(())
}

fn next_visible(connection: &Connection, queue: QueueName) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT min(visible_at_ms) FROM messages WHERE queue = ?1")
        .and_then(|mut select| select.query_row([queue.as_str()], |row| row.get(0)))
        .map_err(failed)
}

/// Sets when a delivered message becomes visible again; false when the receipt is stale.
pub(super) fn extend(connection: &Connection, queue: QueueName, receipt: &str, visible_at_ms: i64) -> Result<bool> {
    let Some((sequence, delivery)) = parse_receipt(receipt) else { return Ok(false) };
    connection
        .prepare_cached(
            "UPDATE messages SET visible_at_ms = ?4 \
             WHERE sequence = ?1 AND queue = ?2 AND delivery = ?3 AND receive_count > 0",
        )
        .and_then(|mut update| update.execute(params![sequence, queue.as_str(), delivery, visible_at_ms]))
        .map(|changed| changed > 0)
        .map_err(failed)
}

/// Removes a delivered message unless the receipt is stale.
pub(super) fn acknowledge(connection: &Connection, queue: QueueName, receipt: &str) -> Result<()> {
    let Some((sequence, delivery)) = parse_receipt(receipt) else { return Ok(()) };
    connection
        .prepare_cached(
            "DELETE FROM messages WHERE sequence = ?1 AND queue = ?2 AND delivery = ?3 AND receive_count > 0",
        )
        .and_then(|mut delete| delete.execute(params![sequence, queue.as_str(), delivery]))
        .map(|_| ())
        .map_err(failed)
}

/// Dead letters in the order of sending.
pub(super) fn dead_letters(
    connection: &Connection,
    queue: QueueName,
    after: Option<i64>,
    max: usize,
) -> Result<Vec<DeadLetter>> {
    let mut select = connection
        .prepare_cached(
            "SELECT sequence, body, receive_count, sent_at_ms FROM dead_letters \
             WHERE queue = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
        )
        .map_err(failed)?;
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let rows: Vec<_> = select
        .query_map(params![queue.as_str(), after.unwrap_or(0), max], read_dead_letter)
        .and_then(Iterator::collect)
        .map_err(failed)?;
    rows.into_iter()
        .map(|(sequence, body, receive_count, sent_at_ms)| {
            Ok(DeadLetter {
                id: id_of(sequence),
                body: json(&body)?,
                receive_count: u32::try_from(receive_count).unwrap_or(u32::MAX),
                sent_at: jiff::Timestamp::from_millisecond(sent_at_ms).map_err(|error| {
                    Error::new(ErrorKind::Corrupt, "a dead letter's time is out of range").caused_by(error)
                })?,
            })
        })
        .collect()
}

fn read_dead_letter(row: &Row<'_>) -> rusqlite::Result<(i64, String, i64, i64)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

/// Moves a dead letter back, visible at once; false when it is not there.
pub(super) fn redrive(connection: &Connection, queue: QueueName, sequence: i64, now_ms: i64) -> Result<bool> {
    let moved = connection
        .prepare_cached(
            "INSERT INTO messages (sequence, queue, body, visible_at_ms, receive_count, delivery, sent_at_ms) \
             SELECT sequence, queue, body, ?3, 0, 0, sent_at_ms FROM dead_letters WHERE sequence = ?1 AND queue = ?2",
        )
        .and_then(|mut insert| insert.execute(params![sequence, queue.as_str(), now_ms]))
        .map_err(failed)?;
    connection
        .prepare_cached("DELETE FROM dead_letters WHERE sequence = ?1 AND queue = ?2")
        .and_then(|mut delete| delete.execute(params![sequence, queue.as_str()]))
        .map_err(failed)?;
    Ok(moved > 0)
}

/// The sequence number of an id.
///
/// # Errors
/// `Invalid` when it is not an id of a message.
pub(super) fn sequence_of(id: &str) -> Result<i64> {
    id.strip_prefix(ID_PREFIX)
        .and_then(|digits| i64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| Error::new(ErrorKind::Invalid, "this is not the id of a message").with("id", id))
}

fn id_of(sequence: i64) -> String {
    format!("{ID_PREFIX}{sequence:016x}")
}

fn parse_receipt(receipt: &str) -> Option<(i64, i64)> {
    let (id, delivery) = receipt.split_once('.')?;
    Some((sequence_of(id).ok()?, u64::from_str_radix(delivery, 16).ok()?.cast_signed()))
}

fn json(body: &str) -> Result<serde_json::Value> {
    serde_json::from_str(body).map_err(|error| Error::new(ErrorKind::Corrupt, "a message is not JSON").caused_by(error))
}
