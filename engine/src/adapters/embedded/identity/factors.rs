//! Second factors as they are stored: whose secret of an authenticator app counts, which code was used last, and recovery codes.
//!
//! The secret itself lies sealed among the others of the directory, so that it goes with them to another master key. A new one has a new
//! name: what is sealed under a name never changes but for its wrapping.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{adapters::embedded::database::failed, error::Result, model::UserId};

/// What the name of a secret begins with.
pub(super) const SECRET_PREFIX: &str = "second-factor/";

/// A person's authenticator app.
pub(super) struct Factor {
    /// Name of the secret.
    pub(super) name: String,
    /// The secret.
    pub(super) sealed: String,
    /// Signing in takes a code; before, the first one is waited for.
    pub(super) is_on: bool,
    /// The time step of the last code that counted.
    pub(super) last_step: i64,
}

/// Makes the tables that are missing.
pub(super) fn set_up(connection: &Connection) -> Result<()> {
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS second_factors (
                user_id TEXT PRIMARY KEY,
                secret_name TEXT NOT NULL,
                is_on INTEGER NOT NULL,
                last_step INTEGER NOT NULL
            );
            CREATE TABLE IF NOT EXISTS recovery_codes (
                user_id TEXT NOT NULL,
                code_hash TEXT NOT NULL,
                PRIMARY KEY (user_id, code_hash)
            );",
        )
        .map_err(failed)
}

/// The app of a person, in use or waiting for its first code.
pub(super) fn find(connection: &Connection, user_id: UserId) -> Result<Option<Factor>> {
    connection
        .query_row(
            "SELECT secret_name, sealed, is_on, last_step FROM second_factors JOIN secrets ON name = secret_name \
             WHERE user_id = ?1",
            [user_id.to_string()],
            |row| Ok(Factor { name: row.get(0)?, sealed: row.get(1)?, is_on: row.get(2)?, last_step: row.get(3)? }),
        )
        .optional()
        .map_err(failed)
}

/// True when signing in takes a code. Whose secret was lost cannot sign in without one either.
pub(super) fn is_on(connection: &Connection, user_id: UserId) -> Result<bool> {
    connection
        .query_row("SELECT is_on FROM second_factors WHERE user_id = ?1", [user_id.to_string()], |row| row.get(0))
        .optional()
        .map(Option::unwrap_or_default)
        .map_err(failed)
}

/// Keeps an app that waits for its first code, in place of any that a person has.
pub(super) fn replace(connection: &Connection, user_id: UserId, name: &str, sealed: &str, now_ms: i64) -> Result<()> {
    remove(connection, user_id)?;
    connection
        .execute("INSERT INTO secrets (name, sealed, created_at_ms) VALUES (?1, ?2, ?3)", params![name, sealed, now_ms])
        .map_err(failed)?;
    connection
        .execute(
            "INSERT INTO second_factors (user_id, secret_name, is_on, last_step) VALUES (?1, ?2, 0, 0)",
            params![user_id.to_string(), name],
        )
        .map(|_| ())
        .map_err(failed)
}

/// Uses up the code of a time step; `false` when that or a later one was used before, or the app is another one now.
pub(super) fn use_step(connection: &Connection, user_id: UserId, name: &str, step: i64) -> Result<bool> {
    connection
        .execute(
            "UPDATE second_factors SET last_step = ?3 WHERE user_id = ?1 AND secret_name = ?2 AND last_step < ?3",
            params![user_id.to_string(), name, step],
        )
        .map(|changed| changed == 1)
        .map_err(failed)
}

/// From now on signing in takes a code; these stand in for one, once each.
pub(super) fn turn_on(connection: &Connection, user_id: UserId, recovery_hashes: &[String]) -> Result<()> {
    connection
        .execute("UPDATE second_factors SET is_on = 1 WHERE user_id = ?1", [user_id.to_string()])
        .map_err(failed)?;
    for hash in recovery_hashes {
        connection
            .execute(
                "INSERT INTO recovery_codes (user_id, code_hash) VALUES (?1, ?2)",
                params![user_id.to_string(), hash],
            )
            .map_err(failed)?;
    }
    Ok(())
}

/// Uses up a recovery code; `false` when there is no such one.
pub(super) fn use_recovery(connection: &Connection, user_id: UserId, hash: &str) -> Result<bool> {
    connection
        .execute("DELETE FROM recovery_codes WHERE user_id = ?1 AND code_hash = ?2", params![user_id.to_string(), hash])
        .map(|changed| changed == 1)
        .map_err(failed)
}

/// How many recovery codes are left.
pub(super) fn recovery_codes(connection: &Connection, user_id: UserId) -> Result<u32> {
    connection
        .query_row("SELECT count(*) FROM recovery_codes WHERE user_id = ?1", [user_id.to_string()], |row| row.get(0))
        .map_err(failed)
}

/// Forgets the app, its secret and the recovery codes.
pub(super) fn remove(connection: &Connection, user_id: UserId) -> Result<()> {
    let user_id = user_id.to_string();
    for delete in [
        "DELETE FROM secrets WHERE name IN (SELECT secret_name FROM second_factors WHERE user_id = ?1)",
        "DELETE FROM second_factors WHERE user_id = ?1",
        "DELETE FROM recovery_codes WHERE user_id = ?1",
    ] {
        connection.execute(delete, [&user_id]).map_err(failed)?;
    }
    Ok(())
}
