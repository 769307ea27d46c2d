//! Rows in SQLite: the tables port, for any schema in [`crate::tables`].

mod columns;
mod cursor;
mod query;
mod schema;

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde_json::{Map, Value};

use self::{columns::Columns, schema::TableSql};
use super::database::{Database, failed};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{AccountId, scope::Scope},
    ports::{Clock, Condition, Item, ItemPage, Key, Query, Tables, Write},
    store,
    tables::{API_KEYS, OAUTH_STATES, Ownership, TableSchema},
};

pub(super) use self::{query::page, schema::set_up};

/// Writes of one transaction, as in DynamoDB.
const MAX_WRITES: usize = 100;
/// Rows past their expiry that one write to their table sweeps out.
const SWEEP_ROWS: usize = 100;

/// The tables of one data directory.
pub(super) struct EmbeddedTables {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl EmbeddedTables {
    pub(super) fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }
}

/// The accounts that have credentials or access keys.
pub(super) fn accounts_with_keys(connection: &Connection) -> Result<Vec<AccountId>> {
    let table = &TableSql::of(&API_KEYS)?.name;
    let mut select = connection.prepare(&format!("SELECT DISTINCT account_id FROM {table}")).map_err(failed)?;
    let ids: Vec<String> = select.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(failed)?;
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}

/// Removes the OAuth sign-ins under way.
pub(super) fn remove_sign_ins(connection: &Connection) -> Result<()> {
    let table = &TableSql::of(&OAUTH_STATES)?.name;
    connection.execute(&format!("DELETE FROM {table}"), []).map(|_| ()).map_err(failed)
}

#[async_trait]
impl Tables for EmbeddedTables {
    async fn get(&self, scope: Scope<'_>, table: &'static TableSchema, key: &Key) -> Result<Option<Item>> {
        let (reach, now_s, key) = (Reach::of(scope, table)?, self.clock.now().as_second(), key.clone());
        self.database.read(move |connection| get(connection, now_s, &reach, table, &key)).await
    }

    async fn transact(&self, scope: Scope<'_>, writes: Vec<Write>) -> Result<()> {
        let (reach, now_s) = (check_writes(scope, &writes)?, self.clock.now().as_second());
        self.database.write(move |connection| transact(connection, now_s, &reach, &writes)).await
    }

    async fn query(&self, scope: Scope<'_>, query: Query) -> Result<ItemPage> {
        let (reach, now_s) = (Reach::of(scope, query.table)?, self.clock.now().as_second());
        self.database.read(move |connection| page(connection, now_s, &reach, &query)).await
    }
}

/// The rows that a call may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All.
    Everything,
    /// Those of the account with this id.
    Account(String),
}

impl Reach {
    /// # Errors
    /// `Denied` for a table that no account owns, unless the scope is the system's.
    fn of(scope: Scope<'_>, table: &TableSchema) -> Result<Self> {
        match scope {
            Scope::System(_) => Ok(Self::Everything),
            Scope::Account(scope) if table.ownership == Ownership::Account => {
                Ok(Self::Account(scope.account_id().to_string()))
            }
            Scope::Account(_) => {
                Err(Error::new(ErrorKind::Denied, "no account owns this table's rows").with("table", table.name))
            }
        }
    }

    fn covers(&self, account_id: Option<&str>) -> bool {
        match self {
            Self::Everything => true,
            Self::Account(own) => account_id == Some(own),
        }
    }
}

/// One row that has not expired and is within reach.
pub(super) fn get(
    connection: &Connection,
    now_s: i64,
    reach: &Reach,
    table: &'static TableSchema,
    key: &Key,
) -> Result<Option<Item>> {
    let sort = columns::sort_key(table, &key.sort)?;
    let mut select = connection.prepare_cached(&TableSql::of(table)?.get).map_err(failed)?;
    let found = select
        .query_row(params![key.partition, sort, now_s], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<String>>(2)?))
        })
        .optional()
        .map_err(failed)?;
    match found {
        Some((body, version, owner)) if reach.covers(owner.as_deref()) => item(table, &body, version).map(Some),
        _ => Ok(None),
    }
}

/// All writes or none, within the caller's transaction.
pub(super) fn transact(connection: &Connection, now_s: i64, reach: &Reach, writes: &[Write]) -> Result<()> {
    let mut swept: Vec<&'static str> = Vec::new();
    for write in writes {
        let table = table_of(write);
        if table.expires.is_some() && !swept.contains(&table.name) {
            swept.push(table.name);
            sweep(connection, now_s, table)?;
        }
        match write {
            Write::Put { table, body, condition } => put(connection, now_s, reach, table, body, *condition)?,
            Write::Delete { table, key, condition } => {
                check(connection, now_s, reach, table, key, *condition)?;
                let mut delete = connection.prepare_cached(&TableSql::of(table)?.delete).map_err(failed)?;
                delete.execute(params![key.partition, columns::sort_key(table, &key.sort)?]).map_err(failed)?;
            }
            Write::Check { table, key, condition } => {
                check(connection, now_s, reach, table, key, *condition)?;
            }
        }
    }
    Ok(())
}

fn put(
    connection: &Connection,
    now_s: i64,
    reach: &Reach,
    table: &'static TableSchema,
    body: &Map<String, Value>,
    condition: Condition,
) -> Result<()> {
    let columns = Columns::of(table, body)?;
    if !reach.covers(columns.account_id.as_deref()) {
        return Err(foreign(table, &columns.key));
    }
    let version = check(connection, now_s, reach, table, &columns.key, condition)?;
    let values = columns.into_values(version + 1);
    let mut upsert = connection.prepare_cached(&TableSql::of(table)?.put).map_err(failed)?;
    upsert.execute(params_from_iter(values)).map_err(failed)?;
    Ok(())
}

/// The row's version, 0 when it is absent, if the condition holds for it.
///
/// # Errors
/// `Conflict` when it does not, `Denied` when the row is another account's.
fn check(
    connection: &Connection,
    now_s: i64,
    reach: &Reach,
    table: &'static TableSchema,
    key: &Key,
    condition: Condition,
) -> Result<i64> {
    let sort = columns::sort_key(table, &key.sort)?;
    let mut select = connection.prepare_cached(&TableSql::of(table)?.version).map_err(failed)?;
    let found = select
        .query_row(params![key.partition, sort, now_s], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?))
        })
        .optional()
        .map_err(failed)?;
    if let Some((_, owner)) = &found
        && !reach.covers(owner.as_deref())
    {
        return Err(foreign(table, key));
    }
    let version = found.map_or(0, |(version, _)| version);
    let holds = match condition {
        Condition::Any => true,
        Condition::Absent => version == 0,
        Condition::Version(wanted) => version > 0 && u64::try_from(version) == Ok(wanted),
    };
    if holds { Ok(version) } else { Err(conflict(table, key)) }
}

fn sweep(connection: &Connection, now_s: i64, table: &'static TableSchema) -> Result<()> {
    let mut delete = connection.prepare_cached(&TableSql::of(table)?.sweep).map_err(failed)?;
    delete.execute(params![now_s, SWEEP_ROWS as i64]).map_err(failed)?;
    Ok(())
}

/// The common reach of all writes.
///
/// # Errors
/// `Denied` for a table that no account owns; `Bug` for too many writes or two on one row.
fn check_writes(scope: Scope<'_>, writes: &[Write]) -> Result<Reach> {
    if writes.len() > MAX_WRITES {
        return Err(Error::new(ErrorKind::Bug, format!("a transaction has at most {MAX_WRITES} writes"))
            .with("writes", writes.len()));
    }
    let mut reach = Reach::Everything;
    let mut seen: Vec<(&str, Key)> = Vec::with_capacity(writes.len());
    for write in writes {
        let (table, key) = (table_of(write), key_of(write)?);
        reach = Reach::of(scope, table)?;
        if seen.iter().any(|(name, other)| *name == table.name && *other == key) {
            return Err(Error::new(ErrorKind::Bug, "a transaction writes a row twice")
                .with("table", table.name)
                .with("key", shown(&key)));
        }
        seen.push((table.name, key));
    }
    Ok(reach)
}

fn table_of(write: &Write) -> &'static TableSchema {
    match write {
        Write::Put { table, .. } | Write::Delete { table, .. } | Write::Check { table, .. } => table,
    }
}

fn key_of(write: &Write) -> Result<Key> {
    match write {
        Write::Put { table, body, .. } => store::key_of(table, body),
        Write::Delete { key, .. } | Write::Check { key, .. } => Ok(key.clone()),
    }
}

fn item(table: &TableSchema, body: &str, version: i64) -> Result<Item> {
    let body = serde_json::from_str(body).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "a stored row is not a JSON object").with("table", table.name).caused_by(error)
    })?;
    Ok(Item { body, version: u64::try_from(version).unwrap_or_default() })
}

fn conflict(table: &TableSchema, key: &Key) -> Error {
    Error::new(ErrorKind::Conflict, "the row is not as the write expects it; read it again")
        .with("table", table.name)
        .with("key", shown(key))
}

fn foreign(table: &TableSchema, key: &Key) -> Error {
    Error::new(ErrorKind::Denied, "the row is not this account's").with("table", table.name).with("key", shown(key))
}

fn shown(key: &Key) -> String {
    if key.sort.is_empty() { key.partition.clone() } else { format!("{}/{}", key.partition, key.sort) }
}
