//! Codes that set a new password.
//!
//! Each letter has a code of its own, and a later one does not end it: whoever asks again and again for somebody else's address must not
//! keep them from using theirs. The first that is used ends all of them.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::{adapters::embedded::database::failed, error::Result};

/// As long as a code that proves an address.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Makes the table when it is missing.
pub(super) fn set_up(connection: &Connection) -> Result<()> {
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS resets (
                code_hash TEXT PRIMARY KEY,
                email TEXT NOT NULL,
                expires_at_ms INTEGER NOT NULL
            );
            CREATE INDEX IF NOT EXISTS resets_email ON resets (email);
            CREATE INDEX IF NOT EXISTS resets_expiry ON resets (expires_at_ms);",
        )
        .map_err(failed)
}

/// Keeps a code, and lets go of those past their time.
pub(super) fn insert(connection: &Connection, email: &str, code_hash: &str, now: Timestamp) -> Result<()> {
    let now_ms = now.as_millisecond();
    let expires_at_ms = now_ms.saturating_add(i64::try_from(LIFETIME.as_millis()).unwrap_or(i64::MAX));
    connection.execute("DELETE FROM resets WHERE expires_at_ms <= ?1", [now_ms]).map_err(failed)?;
    connection
        .execute(
            "INSERT INTO resets (code_hash, email, expires_at_ms) VALUES (?1, ?2, ?3)",
            params![code_hash, email, expires_at_ms],
        )
        .map(|_| ())
        .map_err(failed)
}

/// True when the code is one of this address and not past its time.
pub(super) fn is_known(connection: &Connection, email: &str, code_hash: &str, now: Timestamp) -> Result<bool> {
    connection
        .query_row(
            "SELECT 1 FROM resets WHERE code_hash = ?1 AND email = ?2 AND expires_at_ms > ?3",
            params![code_hash, email, now.as_millisecond()],
            |_| Ok(()),
        )
        .optional()
        .map(|found| found.is_some())
        .map_err(failed)
}

/// Ends every code of an address.
pub(super) fn end_all(connection: &Connection, email: &str) -> Result<()> {
    connection.execute("DELETE FROM resets WHERE email = ?1", [email]).map(|_| ()).map_err(failed)
}
