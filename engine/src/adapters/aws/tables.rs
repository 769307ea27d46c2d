//! Rows in DynamoDB: the tables port, for any schema in [`crate::tables`].
//!
//! # Items
//!
//! An item has the key and index attributes of its row as attributes of their own, `expiresAt` where rows expire (the time to live
//! of the table), `accountId` where an account owns them, `version`, `writeId` and, in `body`, the row as JSON text: as
//! it was given, to the byte. An index shows keys alone (`KEYS_ONLY`), so a row is stored once, however many indexes it is in.
//!
//! # Writes
//!
//! Nothing is read before it is written: whose row it is, whether it has expired and at which version it must be are one condition
//! that DynamoDB judges with the write. Refused, it answers with the item, which tells a foreign row from a changed one.
//!
//! The SDK repeats a request whose answer was lost, and that one meets what the first one did. So an item says which write made
//! it, and a write that meets its own item was done. Where somebody else has written since, it is not known whether it
//! was: `Retry`. A transaction has a token, by which DynamoDB itself knows it again for ten minutes, and a conditional removal,
//! which leaves no item to ask, is a transaction for that reason.
//!
//! # Requests
//!
//! | call | requests |
//! |---|---|
//! | get | 1 GetItem, consistent |
//! | one put, or one removal without condition | 1 UpdateItem or DeleteItem |
//! | all other writes | 1 TransactWriteItems, at twice the capacity |
//! | page of n rows by the table's key | 1 Query, consistent, for each megabyte |
//! | page of n rows by an index | 1 Query, and 1 BatchGetItem, consistent, for each 100 keys |
//!
//! Rows that are not shown (another account's, expired, moved since the index was written) count as read: a page goes on until
//! it is full. What is throttled, or in another transaction's way, is sent again with growing pauses.

mod check;
mod expression;
mod item;
mod pauses;
mod query;
mod writes;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use self::{item::Attributes, writes::Writes};
use super::{AwsClients, AwsSettings, error};
use crate::{
    adapters::rows::{self, Reach},
    error::{Error, Result},
    model::scope::Scope,
    ports::{Clock, Item, ItemPage, Key, Query, Random, Tables, Write},
    tables::TableSchema,
};

/// Indexes of DynamoDB are behind by milliseconds mostly, and nobody says by how much at most.
const INDEX_DELAY: Duration = Duration::from_secs(2);

/// The tables of one stage; clones share their connections.
#[derive(Clone)]
pub struct DynamoTables {
    client: Client,
    settings: AwsSettings,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl DynamoTables {
    /// The tables of the settings' stage. Nothing is sent yet.
    pub fn new(clients: &AwsClients, settings: &AwsSettings, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { client: clients.dynamodb.clone(), settings: settings.clone(), clock, random }
    }

    /// What an item of `table` shows to a caller now: `None` for a row that has expired or is another account's.
    fn shown(&self, table: &TableSchema, reach: &Reach, found: &Attributes) -> Result<Option<Item>> {
        let is_shown = item::is_live(table, found, self.now_s()) && reach.covers(item::text(found, item::ACCOUNT));
        is_shown.then(|| item::row(table, found)).transpose()
    }

    fn now_s(&self) -> i64 {
        self.clock.now().as_second()
    }

    /// What nobody else says: 32 characters.
    fn unique(&self) -> String {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        format!("{:032x}", u128::from_le_bytes(bytes))
    }
}

#[async_trait]
impl Tables for DynamoTables {
    async fn get(&self, scope: Scope<'_>, table: &'static TableSchema, key: &Key) -> Result<Option<Item>> {
        let reach = Reach::of(scope, table)?;
        let sort = rows::sort_value(table, &key.sort)?;
        if !item::may_exist(table, &key.partition, &sort) {
            return Ok(None);
        }
        let get = self.client.get_item().table_name(self.settings.table_name(table)).consistent_read(true);
        let answer = get.set_key(Some(item::key(table, &key.partition, &sort))).send().await;
        let found = answer.map_err(|error| failed(error, table))?.item;
        found.map_or(Ok(None), |found| self.shown(table, &reach, &found))
    }

    async fn transact(&self, scope: Scope<'_>, writes: Vec<Write>) -> Result<()> {
        let writes = Writes::of(scope, writes, self.now_s(), self.unique())?;
        self.carry_out(&writes).await
    }

    fn index_delay(&self) -> Duration {
        INDEX_DELAY
    }

    async fn query(&self, scope: Scope<'_>, query: Query) -> Result<ItemPage> {
        let reach = Reach::of(scope, query.table)?;
        self.page(&reach, &query).await
    }
}

fn failed<E>(error: SdkError<E, HttpResponse>, table: &TableSchema) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    error::failed("DynamoDB", error).with("table", table.name)
}
