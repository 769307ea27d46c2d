//! What a transaction writes, and whether it may.

use std::collections::BTreeSet;

use listbackup_engine::{
    Error, ErrorKind, Result,
    model::scope::Scope,
    ports::{WRITES_MAX, Write},
    tables::{Ownership, TableSchema},
};
use serde_json::{Map, Value};

use super::{RowKey, State, bug, key_in, reach, row_key};

const ROW_BYTES_MAX: usize = 400 * 1024;
const TRANSACTION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One write whose condition holds.
pub(super) enum Change {
    Put(&'static TableSchema, RowKey, Map<String, Value>, u64),
    Delete(&'static TableSchema, RowKey),
}

/// All of it, if every condition holds. As in the real ones, that a row is written twice is found before any condition is looked at.
pub(super) fn checked(state: &State, scope: Scope<'_>, writes: Vec<Write>, now_s: i64) -> Result<Vec<Change>> {
    if writes.len() > WRITES_MAX {
        return Err(Error::new(ErrorKind::Bug, "too many writes"));
    }
    let mut touched = BTreeSet::new();
    for write in &writes {
        if !touched.insert(written(write)?) {
            return Err(Error::new(ErrorKind::Bug, "a transaction writes a row twice"));
        }
    }
    let mut changes = Vec::new();
    for write in writes {
        changes.extend(change(state, scope, write, now_s)?);
    }
    let sizes = changes.iter().map(|change| match change {
        Change::Put(_, _, body, _) => body.values().map(size).sum(),
        Change::Delete(..) => 0,
    });
    if sizes.sum::<usize>() > TRANSACTION_BYTES_MAX {
        return Err(Error::new(ErrorKind::Invalid, "the transaction is too large"));
    }
    Ok(changes)
}

/// The row that it is about.
fn written(write: &Write) -> Result<RowKey> {
    match write {
        Write::Put { table, body, .. } => key_in(table, body),
        Write::Delete { table, key, .. } | Write::Check { table, key, .. } => row_key(table, key),
    }
}

fn change(state: &State, scope: Scope<'_>, write: Write, now_s: i64) -> Result<Option<Change>> {
    match write {
        Write::Put { table, body, condition } => {
            let (reach, key) = (reach(scope, table)?, key_in(table, &body)?);
            let owner = body.get("accountId").and_then(Value::as_str);
            if owner.is_none() && table.ownership == Ownership::Account {
                return Err(bug("the row says no accountId", table));
            }
            if reach.as_deref().is_some_and(|own| owner != Some(own)) {
                return Err(Error::new(ErrorKind::Denied, "the row is not this account's"));
            }
            if body.values().map(size).sum::<usize>() > ROW_BYTES_MAX {
                return Err(Error::new(ErrorKind::Invalid, "the row is too large"));
            }
            let version = state.check(&key, condition, reach.as_ref(), now_s)? + 1;
            Ok(Some(Change::Put(table, key, body, version)))
        }
        Write::Delete { table, key, condition } => {
            let (reach, key) = (reach(scope, table)?, row_key(table, &key)?);
            state.check(&key, condition, reach.as_ref(), now_s)?;
            Ok(Some(Change::Delete(table, key)))
        }
        Write::Check { table, key, condition } => {
            let (reach, key) = (reach(scope, table)?, row_key(table, &key)?);
            state.check(&key, condition, reach.as_ref(), now_s)?;
            Ok(None)
        }
    }
}

/// About its length as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + size(value)).sum(),
        _ => 5,
    }
}
