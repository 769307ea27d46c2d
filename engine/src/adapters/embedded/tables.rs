//! Rows in SQLite: the tables port, for any schema in [`crate::tables`].

mod columns;
mod query;
mod schema;
mod writes;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use self::schema::TableSql;
use super::database::{Database, failed};
use crate::{
    adapters::rows::{self, Reach},
    error::{Error, ErrorKind, Result},
    model::{AccountId, scope::Scope},
    ports::{Clock, Item, ItemPage, Key, Query, Tables, Write},
    tables::{API_KEYS, OAUTH_STATES, TableSchema, WEBHOOKS},
};

pub(super) use self::{query::page, schema::set_up, writes::Writes};

/// A page of so many rows is read where it is needed, as one row is: waking another thread and coming back takes as long.
const FEW: usize = 64;

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

/// The accounts that have credentials, access keys or webhooks.
pub(super) fn accounts_with_keys(connection: &Connection) -> Result<Vec<AccountId>> {
    let (keys, webhooks) = (&TableSql::of(&API_KEYS)?.name, &TableSql::of(&WEBHOOKS)?.name);
    let select = format!("SELECT account_id FROM {keys} UNION SELECT account_id FROM {webhooks}");
    let mut select = connection.prepare(&select).map_err(failed)?;
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
        let (reach, now_s) = (Reach::of(scope, table)?, self.clock.now().as_second());
        self.database.glance(|connection| get(connection, now_s, &reach, table, key))
    }

    async fn transact(&self, scope: Scope<'_>, writes: Vec<Write>) -> Result<()> {
        let (writes, now_s) = (Writes::of(scope, writes)?, self.clock.now().as_second());
        self.database.write_checked(move |connection| writes.carry_out(connection, now_s)).await
    }

    fn index_delay(&self) -> Duration {
        Duration::ZERO
    }

    async fn query(&self, scope: Scope<'_>, query: Query) -> Result<ItemPage> {
        let (reach, now_s) = (Reach::of(scope, query.table)?, self.clock.now().as_second());
        if query.limit <= FEW {
            return self.database.glance(|connection| page(connection, now_s, &reach, &query));
        }
        self.database.read(move |connection| page(connection, now_s, &reach, &query)).await
    }

    async fn queries(&self, scope: Scope<'_>, queries: Vec<Query>) -> Result<Vec<ItemPage>> {
        let now_s = self.clock.now().as_second();
        let reaches = queries.iter().map(|query| Reach::of(scope, query.table)).collect::<Result<Vec<_>>>()?;
        // Waking another thread for each would take longer than most of them do.
        let pages = move |connection: &Connection| {
            reaches.iter().zip(&queries).map(|(reach, query)| page(connection, now_s, reach, query)).collect()
        };
        self.database.read(pages).await
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
    let sort = rows::sort_value(table, &key.sort)?;
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

fn item(table: &TableSchema, body: &str, version: i64) -> Result<Item> {
    let body = serde_json::from_str(body).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "a stored row is not a JSON object").with("table", table.name).caused_by(error)
    })?;
    Ok(Item { body, version: u64::try_from(version).unwrap_or_default() })
}
