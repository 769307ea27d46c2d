//! The secrets of the directory itself under another master key.

use rusqlite::params;

use super::signing::context;
use crate::{
    adapters::embedded::database::{Database, failed},
    error::Result,
    ports::Keys,
    secret,
};

/// Wraps every secret by `new` as well. Returns how many needed it.
///
/// # Errors
/// `Corrupt` when neither master key opens one; those of the database.
pub(in crate::adapters::embedded) async fn wrap_secrets_anew(
    database: &Database,
    old: &dyn Keys,
    new: &dyn Keys,
) -> Result<usize> {
    let mut changes = Vec::new();
    for (name, sealed) in secrets(database).await? {
        if let Some(changed) = secret::wrap_anew(old, new, &context(&name), &sealed).await? {
            changes.push((name, changed));
        }
    }
    write(database, changes).await
}

/// Drops what `keys` does not open. Returns of how many secrets.
///
/// # Errors
/// `Corrupt`, and nothing is dropped, when it does not open one at all; those of the database.
pub(in crate::adapters::embedded) async fn remove_other_forms(database: &Database, keys: &dyn Keys) -> Result<usize> {
    let mut changes = Vec::new();
    for (name, sealed) in secrets(database).await? {
        if let Some(changed) = secret::without_other_forms(keys, &context(&name), &sealed).await? {
            changes.push((name, changed));
        }
    }
    write(database, changes).await
}

/// Names and sealed texts, of about 200 bytes: the key that signs tokens, and one for each person with a second factor.
async fn secrets(database: &Database) -> Result<Vec<(String, String)>> {
    let select = "SELECT name, sealed FROM secrets ORDER BY name";
    database
        .read(move |connection| {
            let mut select = connection.prepare(select).map_err(failed)?;
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).and_then(Iterator::collect).map_err(failed)
        })
        .await
}

/// All of them or none.
async fn write(database: &Database, changes: Vec<(String, String)>) -> Result<usize> {
    let count = changes.len();
    let update = "UPDATE secrets SET sealed = ?2 WHERE name = ?1";
    database
        .write(move |connection| {
            for (name, sealed) in changes {
                connection.execute(update, params![name, sealed]).map_err(failed)?;
            }
            Ok(())
        })
        .await?;
    Ok(count)
}
