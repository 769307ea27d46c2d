//! Refresh tokens: each is exchanged once for the next of its family. One that comes a second time was copied by
//! somebody, and there is no telling who is who: the family ends, and the person signs in again.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::people;
use crate::{
    adapters::embedded::database::failed,
    error::{Error, ErrorKind, Result},
    model::{AccountId, UserId},
};

/// A token that is not used for so long ends.
const IDLE_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// So does a family, used or not.
const FAMILY_LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Who may work where.
#[derive(Clone, Copy)]
pub(super) struct Grant {
    pub(super) user_id: UserId,
    pub(super) account_id: AccountId,
}

struct Token {
    family: String,
    grant: Grant,
    used: bool,
    expires_at_ms: i64,
    family_ends_at_ms: i64,
}

/// Makes the table when it is missing.
pub(super) fn set_up(connection: &Connection) -> Result<()> {
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS refresh_tokens (
                token_hash TEXT PRIMARY KEY,
                family TEXT NOT NULL,
                user_id TEXT NOT NULL,
                account_id TEXT NOT NULL,
                used INTEGER NOT NULL,
                expires_at_ms INTEGER NOT NULL,
                family_ends_at_ms INTEGER NOT NULL
            );
            CREATE INDEX IF NOT EXISTS refresh_tokens_family ON refresh_tokens (family);
            CREATE INDEX IF NOT EXISTS refresh_tokens_person ON refresh_tokens (user_id);
            CREATE INDEX IF NOT EXISTS refresh_tokens_end ON refresh_tokens (family_ends_at_ms);",
        )
        .map_err(failed)
}

/// The first token of a new family.
pub(super) fn begin(
    connection: &Connection,
    family: &str,
    token_hash: &str,
    grant: &Grant,
    now: Timestamp,
) -> Result<()> {
    connection
        .execute("DELETE FROM refresh_tokens WHERE family_ends_at_ms <= ?1", [now.as_millisecond()])
        .map_err(failed)?;
    insert(connection, family, token_hash, grant, later(now, IDLE_LIFETIME), later(now, FAMILY_LIFETIME))
}

/// Exchanges a token for the next, for work in the same account or in the one of `switch`; `None` when it is unknown, used, expired, or
/// its person has no place in the account. All but the unknown one also end the family, and a switch that comes to nothing for another
/// reason than the token itself does not.
pub(super) fn rotate(
    connection: &Connection,
    token_hash: &str,
    next_hash: &str,
    switch: Option<Grant>,
    now: Timestamp,
) -> Result<Option<Grant>> {
    let Some(token) = find(connection, token_hash)? else { return Ok(None) };
    if switch.is_some_and(|switch| switch.user_id != token.grant.user_id) {
        return Ok(None);
    }
    let now_ms = now.as_millisecond();
    let grant = switch.unwrap_or(token.grant);
    let Grant { user_id, account_id } = grant;
    if token.used {
        tracing::warn!(user = %user_id, "a refresh token came a second time; its session was ended");
    }
    let expired = token.expires_at_ms <= now_ms || token.family_ends_at_ms <= now_ms;
    let has_ended = token.used || expired;
    if has_ended || !people::may_work_in(connection, now.as_second(), user_id, account_id)? {
        if has_ended || switch.is_none() {
            end_family(connection, &token.family)?;
        }
        return Ok(None);
    }
    connection.execute("UPDATE refresh_tokens SET used = 1 WHERE token_hash = ?1", [token_hash]).map_err(failed)?;
    insert(connection, &token.family, next_hash, &grant, later(now, IDLE_LIFETIME), token.family_ends_at_ms)?;
    Ok(Some(grant))
}

/// Ends the family of a token, if there is one.
pub(super) fn end(connection: &Connection, token_hash: &str) -> Result<()> {
    match find(connection, token_hash)? {
        Some(token) => end_family(connection, &token.family),
        None => Ok(()),
    }
}

/// Ends every family of a person.
pub(super) fn end_all(connection: &Connection, user_id: UserId) -> Result<()> {
    connection
        .execute("DELETE FROM refresh_tokens WHERE user_id = ?1", [user_id.to_string()])
        .map(|_| ())
        .map_err(failed)
}

fn end_family(connection: &Connection, family: &str) -> Result<()> {
    connection.execute("DELETE FROM refresh_tokens WHERE family = ?1", [family]).map(|_| ()).map_err(failed)
}

fn find(connection: &Connection, token_hash: &str) -> Result<Option<Token>> {
    let found = connection
        .query_row(
            "SELECT family, user_id, account_id, used, expires_at_ms, family_ends_at_ms \
             FROM refresh_tokens WHERE token_hash = ?1",
            [token_hash],
            |row| Ok(read(row)),
        )
        .optional()
        .map_err(failed)?;
    found.transpose()
}

fn read(row: &Row<'_>) -> Result<Token> {
    let text = |column: usize| row.get::<_, String>(column).map_err(failed);
    let damaged = |error: Error| Error::new(ErrorKind::Corrupt, "a refresh token's row is damaged").caused_by(error);
    Ok(Token {
        family: text(0)?,
        grant: Grant { user_id: text(1)?.parse().map_err(damaged)?, account_id: text(2)?.parse().map_err(damaged)? },
        used: row.get(3).map_err(failed)?,
        expires_at_ms: row.get(4).map_err(failed)?,
        family_ends_at_ms: row.get(5).map_err(failed)?,
    })
}

fn insert(
    connection: &Connection,
    family: &str,
    token_hash: &str,
    grant: &Grant,
    expires_at_ms: i64,
    family_ends_at_ms: i64,
) -> Result<()> {
    connection
        .execute(
            "INSERT INTO refresh_tokens \
             (token_hash, family, user_id, account_id, used, expires_at_ms, family_ends_at_ms) \
             VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)",
            params![
                token_hash,
                family,
                grant.user_id.to_string(),
                grant.account_id.to_string(),
                expires_at_ms,
                family_ends_at_ms
            ],
        )
        .map(|_| ())
        .map_err(failed)
}

fn later(now: Timestamp, lifetime: Duration) -> i64 {
    now.as_millisecond().saturating_add(i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX))
}
