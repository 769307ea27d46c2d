//! The SQL of messages and dead letters.
//!
//! A message's id is its sequence number, which is never given twice and stays its own as a dead letter and after a
//! redrive. Messages of one account are a group, and groups take turns. A receipt is the id and a random number of the delivery, so that it fits one delivery only, for ever.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use crate::{
    adapters::embedded::database::failed,
    error::{Error, ErrorKind, Result},
    ports::{DeadLetter, Message, QueueDepth, QueueName, Random},
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

/// Makes the tables that are missing, and the column that data of the first version lacks.
pub(in crate::adapters::embedded) fn set_up(connection: &Connection) -> Result<()> {
    make_tables(connection)?;
    let has_groups: bool = connection
        .query_row("SELECT count(*) FROM pragma_table_xinfo('messages') WHERE name = 'turn_of'", [], |row| row.get(0))
        .map_err(failed)?;
    if !has_groups {
        let column = "ALTER TABLE messages ADD COLUMN turn_of TEXT \
                      GENERATED ALWAYS AS (coalesce(json_extract(body, '$.accountId'), '-')) VIRTUAL";
        connection.execute_batch(column).map_err(failed)?;
    }
    connection
        .execute_batch(
            "CREATE INDEX IF NOT EXISTS messages_turns ON messages (queue, turn_of, visible_at_ms, sequence)",
        )
        .map_err(failed)
}

fn make_tables(connection: &Connection) -> Result<()> {
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

/// Hands out up to `max` visible messages: groups take turns, beginning after the one that had the last turn, and of each group
/// the longest visible go first. Buries those that failed too often.
pub(super) fn receive(
    connection: &Connection,
    queue: QueueName,
    max: usize,
    times: Times,
    last_turn: &mut String,
    random: &dyn Random,
) -> Result<Delivery> {
    let mut messages = Vec::new();
    while messages.len() < max {
        let wanted = max - messages.len();
        let groups = groups(connection, queue, times.now_ms, last_turn, wanted)?;
        if groups.is_empty() {
            break;
        }
        let of_each = (wanted / groups.len()).max(1);
        for group in groups {
            for message in visible(connection, queue, &group, times.now_ms, of_each)? {
                if message.receive_count >= MAX_DELIVERIES {
                    bury(connection, message.sequence)?;
                } else {
                    messages.push(deliver(connection, &message, times.hidden_until_ms, random)?);
                }
            }
            *last_turn = group;
        }
        if times.hidden_until_ms <= times.now_ms {
            // Nothing is hidden by a visibility of zero; the same messages would be found again.
            break;
        }
    }
    let next_visible_ms = if messages.is_empty() { next_visible(connection, queue)? } else { None };
    Ok(Delivery { messages, next_visible_ms })
}

/// When messages are received, and until when they are hidden.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) now_ms: i64,
    pub(super) hidden_until_ms: i64,
}

struct Stored {
    sequence: i64,
    body: String,
    receive_count: i64,
}

/// Up to `max` groups with visible messages, in the order of their turns: those after the last turn, then the others.
fn groups(connection: &Connection, queue: QueueName, now_ms: i64, last_turn: &str, max: usize) -> Result<Vec<String>> {
    let mut found = groups_after(connection, queue, now_ms, last_turn, max)?;
    if found.len() < max {
        let from_start = groups_after(connection, queue, now_ms, "", max - found.len())?;
        found.extend(from_start.into_iter().take_while(|group| group.as_str() <= last_turn));
    }
    Ok(found)
}

/// Each step from group to group is one seek in the index, however many messages a group has.
fn groups_after(
    connection: &Connection,
    queue: QueueName,
    now_ms: i64,
    after: &str,
    max: usize,
) -> Result<Vec<String>> {
    let mut select = connection
        .prepare_cached(
            "WITH RECURSIVE turns(turn_of) AS (
                SELECT ?3
                UNION ALL
                SELECT (SELECT turn_of FROM messages WHERE queue = ?1 AND turn_of > turns.turn_of
                        ORDER BY turn_of LIMIT 1)
                FROM turns WHERE turn_of IS NOT NULL
            )
            SELECT turn_of FROM turns WHERE turn_of > ?3 AND EXISTS (
                SELECT 1 FROM messages
                WHERE queue = ?1 AND messages.turn_of = turns.turn_of AND visible_at_ms <= ?2)
            LIMIT ?4",
        )
        .map_err(failed)?;
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    select
        .query_map(params![queue.as_str(), now_ms, after, max], |row| row.get(0))
        .and_then(Iterator::collect)
        .map_err(failed)
}

fn visible(connection: &Connection, queue: QueueName, group: &str, now_ms: i64, max: usize) -> Result<Vec<Stored>> {
    let mut select = connection
        .prepare_cached(
            "SELECT sequence, body, receive_count FROM messages \
             WHERE queue = ?1 AND turn_of = ?2 AND visible_at_ms <= ?3 ORDER BY visible_at_ms, sequence LIMIT ?4",
        )
        .map_err(failed)?;
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    select
        .query_map(params![queue.as_str(), group, now_ms, max], |row| {
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

/// How much is in a queue.
pub(super) fn depth(connection: &Connection, queue: QueueName, now_ms: i64) -> Result<QueueDepth> {
    connection
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE visible_at_ms <= ?2), count(*) FILTER (WHERE visible_at_ms > ?2), min(sent_at_ms), \
             (SELECT count(*) FROM dead_letters WHERE queue = ?1) FROM messages WHERE queue = ?1",
        )
        .and_then(|mut select| {
            select.query_row(params![queue.as_str(), now_ms], |row| {
                let whole = |number: i64| u64::try_from(number).unwrap_or_default();
                let sent_at_ms: Option<i64> = row.get(2)?;
                Ok(QueueDepth {
                    visible: whole(row.get(0)?),
                    hidden: whole(row.get(1)?),
                    dead: whole(row.get(3)?),
                    oldest: sent_at_ms.map(|sent_at_ms| Duration::from_millis(whole(now_ms.saturating_sub(sent_at_ms)))),
                })
            })
        })
        .map_err(failed)
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
