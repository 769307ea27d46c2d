//! Registrations that wait for their code.
//!
//! A code belongs to one registration, with the password given there: a stranger who registers somebody's address
//! cannot have their own password confirmed by the code of the owner's registration.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::{adapters::embedded::database::failed, error::Result};

const CODE_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long a registration can be given a new code.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Somebody who registered.
pub(super) struct Applicant {
    pub(super) email: String,
    pub(super) name: String,
    pub(super) password_hash: String,
}

/// Makes the table when it is missing.
pub(super) fn set_up(connection: &Connection) -> Result<()> {
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS registrations (
                id INTEGER PRIMARY KEY,
                email TEXT NOT NULL,
                name TEXT NOT NULL,
                password_hash TEXT NOT NULL,
                code_hash TEXT NOT NULL,
                code_expires_at_ms INTEGER NOT NULL,
                expires_at_ms INTEGER NOT NULL
            );
            CREATE INDEX IF NOT EXISTS registrations_email ON registrations (email);
            CREATE INDEX IF NOT EXISTS registrations_expiry ON registrations (expires_at_ms);",
        )
        .map_err(failed)
}

/// Keeps a registration, and lets go of those past their time.
pub(super) fn insert(connection: &Connection, applicant: &Applicant, code_hash: &str, now: Timestamp) -> Result<()> {
    connection
        .execute("DELETE FROM registrations WHERE expires_at_ms <= ?1", [now.as_millisecond()])
        .map_err(failed)?;
    connection
        .execute(
            "INSERT INTO registrations (email, name, password_hash, code_hash, code_expires_at_ms, expires_at_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                applicant.email,
                applicant.name,
                applicant.password_hash,
                code_hash,
                later(now, CODE_LIFETIME),
                later(now, LIFETIME)
            ],
        )
        .map(|_| ())
        .map_err(failed)
}

/// The registration that a code belongs to; it and all others of the address are gone then.
pub(super) fn take(connection: &Connection, email: &str, code_hash: &str, now: Timestamp) -> Result<Option<Applicant>> {
    let found = connection
        .query_row(
            "SELECT email, name, password_hash FROM registrations \
             WHERE email = ?1 AND code_hash = ?2 AND code_expires_at_ms > ?3",
            params![email, code_hash, now.as_millisecond()],
            |row| Ok(Applicant { email: row.get(0)?, name: row.get(1)?, password_hash: row.get(2)? }),
        )
        .optional()
        .map_err(failed)?;
    if found.is_some() {
        connection.execute("DELETE FROM registrations WHERE email = ?1", [email]).map_err(failed)?;
    }
    Ok(found)
}

/// Gives the latest registration of an address a new code, which ends its old one; the name in it, or `None`.
pub(super) fn renew(connection: &Connection, email: &str, code_hash: &str, now: Timestamp) -> Result<Option<String>> {
    connection
        .query_row(
            "UPDATE registrations SET code_hash = ?2, code_expires_at_ms = ?3 \
             WHERE id = (SELECT max(id) FROM registrations WHERE email = ?1 AND expires_at_ms > ?4) RETURNING name",
            params![email, code_hash, later(now, CODE_LIFETIME), now.as_millisecond()],
            |row| row.get(0),
        )
        .optional()
        .map_err(failed)
}

fn later(now: Timestamp, lifetime: Duration) -> i64 {
    now.as_millisecond().saturating_add(i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX))
}
