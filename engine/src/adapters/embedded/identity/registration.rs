//! Registrations that wait for their code.
//!
//! A code belongs to one registration, with the password given there: a stranger who registers somebody's address
//! cannot have their own password confirmed by the code of the owner's registration.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    adapters::embedded::database::failed,
    connectors::Problem,
    error::{Error, Result},
};

const CODE_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long a registration can be given a new code.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MIN_PASSWORD_CHARS: usize = 10;
const MAX_PASSWORD_BYTES: usize = 1024;
const MAX_NAME_CHARS: usize = 200;
/// RFC 5321, 4.5.3.1.
const MAX_ADDRESS_BYTES: usize = 254;
const MAX_LOCAL_PART_BYTES: usize = 64;

/// Somebody who registered.
pub(super) struct Applicant {
    pub(super) email: String,
    pub(super) name: String,
    pub(super) password_hash: String,
}

/// The address and name in the form in which they are kept.
///
/// # Errors
/// `Invalid` with every problem.
pub(super) fn check(email: &str, password: &SecretString, name: &str) -> Result<(String, String)> {
    let mut problems = Vec::new();
    let mut problem = |place: &str, message: String| problems.push(Problem { place: place.to_owned(), message });
    let address = normalise(email);
    if address.is_none() {
        problem("/email", "must be an e-mail address, such as ada@example.com".to_owned());
    }
    let password = password.expose_secret();
    if password.chars().count() < MIN_PASSWORD_CHARS {
        problem("/password", format!("must have at least {MIN_PASSWORD_CHARS} characters"));
    }
    if password.len() > MAX_PASSWORD_BYTES {
        problem("/password", format!("must have at most {MAX_PASSWORD_BYTES} bytes"));
    }
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        problem("/name", format!("must be one line of 1 to {MAX_NAME_CHARS} characters"));
    }
    match address {
        Some(address) if problems.is_empty() => Ok((address, name.to_owned())),
        _ => Err(Error::invalid("the registration is not complete", problems)),
    }
}

/// The address in lower case; `None` when it is none.
pub(super) fn normalise(email: &str) -> Option<String> {
    let email = email.trim();
    let (local, domain) = email.rsplit_once('@')?;
    let local_fits = (1..=MAX_LOCAL_PART_BYTES).contains(&local.len())
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..");
    let plain = email
        .chars()
        .all(|letter| !letter.is_whitespace() && !letter.is_control() && !"()<>,;:\\\"[]".contains(letter));
    let labels: Vec<&str> = domain.split('.').collect();
    let domain_fits = labels.len() >= 2
        && labels.iter().all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-')
        });
    let fits = email.len() <= MAX_ADDRESS_BYTES && local_fits && plain && domain_fits && !local.contains('@');
    fits.then(|| email.to_lowercase())
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
