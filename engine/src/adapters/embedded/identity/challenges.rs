//! Questions for the second factor: whoever has one has given the right password.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::refresh::Grant;
use crate::{
    adapters::embedded::database::failed,
    error::{Error, ErrorKind, Result},
    model::UserId,
};

/// How long a question can be answered.
pub(super) const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Makes the table when it is missing.
pub(super) fn set_up(connection: &Connection) -> Result<()> {
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS challenges (
                token_hash TEXT PRIMARY KEY,
                user_id TEXT NOT NULL,
                account_id TEXT NOT NULL,
                expires_at_ms INTEGER NOT NULL
            );
            CREATE INDEX IF NOT EXISTS challenges_person ON challenges (user_id);
            CREATE INDEX IF NOT EXISTS challenges_expiry ON challenges (expires_at_ms);",
        )
        .map_err(failed)
}

/// Keeps a question, and lets go of those past their time.
pub(super) fn insert(connection: &Connection, token_hash: &str, grant: &Grant, now: Timestamp) -> Result<()> {
    let now_ms = now.as_millisecond();
    let expires_at_ms = now_ms.saturating_add(i64::try_from(LIFETIME.as_millis()).unwrap_or(i64::MAX));
    connection.execute("DELETE FROM challenges WHERE expires_at_ms <= ?1", [now_ms]).map_err(failed)?;
    connection
        .execute(
            "INSERT INTO challenges (token_hash, user_id, account_id, expires_at_ms) VALUES (?1, ?2, ?3, ?4)",
            params![token_hash, grant.user_id.to_string(), grant.account_id.to_string(), expires_at_ms],
        )
        .map(|_| ())
        .map_err(failed)
}

/// Whom a question was put to, and where they are about to work; `None` when it is unknown or past its time.
pub(super) fn find(connection: &Connection, token_hash: &str, now: Timestamp) -> Result<Option<Grant>> {
    let found: Option<(String, String)> = connection
        .query_row(
            "SELECT user_id, account_id FROM challenges WHERE token_hash = ?1 AND expires_at_ms > ?2",
            params![token_hash, now.as_millisecond()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(failed)?;
    let damaged = |error: Error| Error::new(ErrorKind::Corrupt, "a question's row is damaged").caused_by(error);
    found
        .map(|(user_id, account_id)| {
            Ok(Grant { user_id: user_id.parse().map_err(damaged)?, account_id: account_id.parse().map_err(damaged)? })
        })
        .transpose()
}

/// Ends a question that was answered.
pub(super) fn end(connection: &Connection, token_hash: &str) -> Result<()> {
    connection.execute("DELETE FROM challenges WHERE token_hash = ?1", [token_hash]).map(|_| ()).map_err(failed)
}

/// Ends every question to a person.
pub(super) fn end_all(connection: &Connection, user_id: UserId) -> Result<()> {
    connection.execute("DELETE FROM challenges WHERE user_id = ?1", [user_id.to_string()]).map(|_| ()).map_err(failed)
}
