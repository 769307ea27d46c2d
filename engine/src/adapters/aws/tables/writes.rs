//! Writes: one by itself, or several of which all happen or none.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{BuildError, ProvideErrorMetadata, SdkError},
    operation::{
        delete_item::DeleteItemError, transact_write_items::TransactWriteItemsError, update_item::UpdateItemError,
    },
    types::{
        CancellationReason, ConditionCheck, Delete, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
    },
};
use serde_json::{Map, Value};

use super::{
    DynamoTables,
    expression::{Expression, next_version},
    failed,
    item::{self, Attributes},
    pauses::Pauses,
};
use crate::{
    adapters::rows::{self, Facts, Reach, Scalar},
    error::{Error, ErrorKind, Result},
    model::scope::Scope,
    ports::{Condition, Key, Write},
    tables::{Ownership, TableSchema},
};

/// All writes of a call.
pub(super) struct Writes {
    writes: Vec<Prepared>,
    call: Call,
}

/// What a refusal is judged by.
struct Call {
    reach: Reach,
    now_s: i64,
    /// In each item that the call makes.
    write_id: String,
}

/// One write, as DynamoDB takes it.
struct Prepared {
    table: &'static TableSchema,
    key: Key,
    key_attributes: Attributes,
    condition: Condition,
    /// The condition, with whose row it must be, in DynamoDB's language; `None` for nothing.
    holds: Option<String>,
    change: Change,
    expression: Expression,
    item_bytes: usize,
}

enum Change {
    /// By this update.
    Put(String),
    Delete,
    None,
}

impl Writes {
    /// # Errors
    /// `Denied` for a table that no account owns and for another account's row; `Bug` for too many writes, two on one row, or a
    /// row that its table's schema does not fit; `Invalid` for a row, a key or a transaction that is too large.
    pub(super) fn of(scope: Scope<'_>, writes: Vec<Write>, now_s: i64, write_id: String) -> Result<Self> {
        rows::check_count(writes.len())?;
        let mut call = Call { reach: Reach::Everything, now_s, write_id };
        let mut ready: Vec<Prepared> = Vec::with_capacity(writes.len());
        for write in writes {
            let write = Prepared::of(scope, write, &mut call)?;
            if ready.iter().any(|other| std::ptr::eq(other.table, write.table) && other.key == write.key) {
                return Err(rows::twice(write.table, &write.key));
            }
            ready.push(write);
        }
        rows::check_size(ready.iter().map(|write| write.item_bytes).sum())?;
        // A check of nothing.
        ready.retain(|write| write.holds.is_some() || !matches!(write.change, Change::None));
        Ok(Self { writes: ready, call })
    }
}

impl Prepared {
    fn of(scope: Scope<'_>, write: Write, call: &mut Call) -> Result<Self> {
        let mut expression = Expression::default();
        let (table, key, sort, condition, change, item_bytes) = match write {
            Write::Put { table, body, condition } => {
                let facts = Facts::of(table, &body)?;
                call.reach = Reach::of(scope, table)?;
                if !call.reach.covers(facts.account_id.as_deref()) {
                    return Err(rows::foreign(table, &facts.key));
                }
                let copied = copied(table, &facts, &body).map_err(|error| rows::named(error, table, &facts.key))?;
                let texts = [(item::BODY, &*facts.body), (item::WRITE_ID, &*call.write_id)];
                let update = expression.update(texts, &copied, condition);
                (table, facts.key, facts.sort, condition, Change::Put(update), facts.item_bytes)
            }
            Write::Delete { table, key, condition } => {
                let sort = rows::sort_value(table, &key.sort)?;
                (table, key, sort, condition, Change::Delete, 0)
            }
            Write::Check { table, key, condition } => {
                let sort = rows::sort_value(table, &key.sort)?;
                (table, key, sort, condition, Change::None, 0)
            }
        };
        call.reach = Reach::of(scope, table)?;
        if !item::may_exist(table, &key.partition, &sort) {
            return Err(rows::named(too_long("a key"), table, &key));
        }
        let holds = expression.condition(table, condition, &call.reach, call.now_s);
        let key_attributes = item::key(table, &key.partition, &sort);
        Ok(Self { table, key, key_attributes, condition, holds, change, expression, item_bytes })
    }

    /// What it means that the condition did not hold for the item that was found. Repeated is a write that was sent before,
    /// with an answer that was lost or an error of DynamoDB's own.
    fn refused(&self, call: &Call, found: Option<&Attributes>, is_repeated: bool) -> Result<()> {
        let found = found.filter(|found| !found.is_empty());
        if found.is_some_and(|found| is_of(call, found)) {
            return Ok(());
        }
        if found.is_some_and(|found| {
            item::is_live(self.table, found, call.now_s) && !call.reach.covers(item::text(found, item::ACCOUNT))
        }) {
            return Err(rows::foreign(self.table, &self.key));
        }
        // Whoever made the version that this write would have made came before it.
        let somebody_won =
            found.and_then(item::version).is_some_and(|found| next_version(self.condition) == Some(found));
        if is_repeated && !somebody_won {
            let message =
                "the answer to a write was lost, and others have changed the row since: it may have happened or not";
            return Err(rows::named(Error::new(ErrorKind::Retry, message), self.table, &self.key));
        }
        Err(rows::conflict(self.table, &self.key))
    }

    /// Asks for the item that a condition does not hold for.
    fn asks(&self) -> Option<ReturnValuesOnConditionCheckFailure> {
        self.holds.as_ref().map(|_| ReturnValuesOnConditionCheckFailure::AllOld)
    }

    fn to_transaction(&self, table_name: String) -> Result<TransactWriteItem, BuildError> {
        let item = TransactWriteItem::builder();
        let (key, holds) = (Some(self.key_attributes.clone()), self.holds.clone());
        let (names, values) = (self.expression.names(), self.expression.values());
        Ok(match &self.change {
            Change::Put(update) => {
                let put = Update::builder().table_name(table_name).set_key(key).update_expression(update);
                let put = put.set_condition_expression(holds).set_expression_attribute_names(names);
                let put = put.set_expression_attribute_values(values);
                item.update(put.set_return_values_on_condition_check_failure(self.asks()).build()?)
            }
            Change::Delete => {
                let delete = Delete::builder().table_name(table_name).set_key(key);
                let delete = delete.set_condition_expression(holds).set_expression_attribute_names(names);
                let delete = delete.set_expression_attribute_values(values);
                item.delete(delete.set_return_values_on_condition_check_failure(self.asks()).build()?)
            }
            Change::None => {
                let check = ConditionCheck::builder().table_name(table_name).set_key(key);
                let check = check.set_condition_expression(holds).set_expression_attribute_names(names);
                let check = check.set_expression_attribute_values(values);
                item.condition_check(check.set_return_values_on_condition_check_failure(self.asks()).build()?)
            }
        }
        .build())
    }
}

impl DynamoTables {
    /// All or none.
    ///
    /// # Errors
    /// `Conflict` when a condition does not hold, `Denied` when a row is another account's, `Retry` when DynamoDB does not take it now.
    pub(super) async fn carry_out(&self, writes: &Writes) -> Result<()> {
        match writes.writes.as_slice() {
            [] => Ok(()),
            [write] => match (&write.change, write.condition) {
                (Change::Put(update), _) => self.put(&writes.call, write, update).await,
                (Change::Delete, Condition::Any) => self.remove(&writes.call, write).await,
                _ => self.carry_out_together(writes).await,
            },
            _ => self.carry_out_together(writes).await,
        }
    }

    async fn put(&self, call: &Call, write: &Prepared, update: &str) -> Result<()> {
        let request = self
            .client
            .update_item()
            .table_name(self.settings.table_name(write.table))
            .set_key(Some(write.key_attributes.clone()))
            .update_expression(update)
            .set_condition_expression(write.holds.clone())
            .set_expression_attribute_names(write.expression.names())
            .set_expression_attribute_values(write.expression.values())
            .set_return_values_on_condition_check_failure(write.asks());
        let (sent, mut refused) = (Arc::new(AtomicU32::new(0)), 0);
        let mut pauses = Pauses::new(&*self.random);
        loop {
            let counter = sent.clone();
            let counted = request.clone().customize().mutate_request(move |_| {
                counter.fetch_add(1, Ordering::Relaxed);
            });
            let Err(error) = counted.send().await else { return Ok(()) };
            refused += 1;
            if let Some(UpdateItemError::ConditionalCheckFailedException(refusal)) = error.as_service_error() {
                return write.refused(call, refusal.item.as_ref(), sent.load(Ordering::Relaxed) > refused);
            }
            if !is_in_the_way(&error) || !pauses.take().await {
                return Err(failed(error, write.table));
            }
        }
    }

    /// To remove a row twice is to remove it.
    async fn remove(&self, call: &Call, write: &Prepared) -> Result<()> {
        let request = self
            .client
            .delete_item()
            .table_name(self.settings.table_name(write.table))
            .set_key(Some(write.key_attributes.clone()))
            .set_condition_expression(write.holds.clone())
            .set_expression_attribute_names(write.expression.names())
            .set_expression_attribute_values(write.expression.values())
            .set_return_values_on_condition_check_failure(write.asks());
        let mut pauses = Pauses::new(&*self.random);
        loop {
            let Err(error) = request.clone().send().await else { return Ok(()) };
            if let Some(DeleteItemError::ConditionalCheckFailedException(refusal)) = error.as_service_error() {
                return write.refused(call, refusal.item.as_ref(), false);
            }
            if !is_in_the_way(&error) || !pauses.take().await {
                return Err(failed(error, write.table));
            }
        }
    }

    async fn carry_out_together(&self, writes: &Writes) -> Result<()> {
        let items = writes.writes.iter().map(|write| write.to_transaction(self.settings.table_name(write.table)));
        let items = items
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::new(ErrorKind::Bug, "a transaction could not be built").caused_by(error))?;
        let request = self.client.transact_write_items().set_transact_items(Some(items));
        let mut pauses = Pauses::new(&*self.random);
        loop {
            // One that was cancelled did nothing, so the next is another one. What the SDK repeats has the same token.
            let Err(error) = request.clone().client_request_token(self.unique()).send().await else { return Ok(()) };
            let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
            else {
                return Err(failed(error, writes.writes[0].table));
            };
            if let Some(verdict) = writes.verdict(cancelled.cancellation_reasons()) {
                return verdict;
            }
            if !pauses.take().await {
                let message =
                    "other writes, or too many of them, kept a transaction from happening each time that it was tried";
                let first = &writes.writes[0];
                return Err(rows::named(
                    Error::new(ErrorKind::Retry, message).caused_by(error),
                    first.table,
                    &first.key,
                ));
            }
        }
    }
}

impl Writes {
    /// What the reasons, one for each write, say; `None` when the same transaction may succeed a moment later.
    fn verdict(&self, reasons: &[CancellationReason]) -> Option<Result<()>> {
        if reasons.iter().filter_map(CancellationReason::item).any(|found| is_of(&self.call, found)) {
            return Some(Ok(()));
        }
        let reasons = || self.writes.iter().zip(reasons);
        if let Some((write, reason)) = reasons().find(|(_, reason)| reason.code() == Some("ConditionalCheckFailed")) {
            return Some(write.refused(&self.call, reason.item(), false));
        }
        let (write, reason) = reasons().find(|(_, reason)| !may_pass(reason.code()))?;
        let (code, said) = (reason.code().unwrap_or("no code"), reason.message().unwrap_or("nothing more"));
        let message = format!("DynamoDB refused a transaction for good: {code}, {said}");
        Some(Err(rows::named(Error::new(ErrorKind::Invalid, message), write.table, &write.key)))
    }
}

/// Whether the call made the item.
fn is_of(call: &Call, found: &Attributes) -> bool {
    item::text(found, item::WRITE_ID) == Some(&call.write_id)
}

fn may_pass(code: Option<&str>) -> bool {
    let passing = ["None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
    code.is_none_or(|code| passing.contains(&code))
}

/// A transaction has the item in its hands. The SDK gives up on that.
fn is_in_the_way<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.code() == Some("TransactionConflictException")
}

/// The attributes beside the key that are copied out of a row, without a value where the row has none.
fn copied(
    table: &TableSchema,
    facts: &Facts,
    body: &Map<String, Value>,
) -> Result<BTreeMap<&'static str, Option<Scalar>>> {
    let mut copied = BTreeMap::new();
    for index in table.indexes {
        let of_index = [(Some(index.partition), item::MAX_PARTITION_BYTES), (index.sort, item::MAX_SORT_BYTES)];
        for (attribute, max_bytes) in of_index {
            let Some(attribute) = attribute else { continue };
            let value = rows::index_value(attribute, body).map_err(|error| error.with("index", index.name))?;
            if value.as_ref().is_some_and(|value| !item::fits(value, max_bytes)) {
                return Err(too_long("an index attribute").with("attribute", attribute.name));
            }
            copied.insert(attribute.name, value);
        }
    }
    if let Some(name) = table.expires {
        copied.insert(name, facts.expires_at.map(Scalar::Number));
    }
    if table.ownership == Ownership::Account {
        copied.insert(item::ACCOUNT, facts.account_id.clone().map(Scalar::Text));
    }
    copied.remove(table.partition.name);
    if let Some(sort) = table.sort {
        copied.remove(sort.name);
    }
    Ok(copied)
}

fn too_long(what: &str) -> Error {
    let (partition, sort) = (item::MAX_PARTITION_BYTES, item::MAX_SORT_BYTES);
    let message = format!("{what} is empty or too long: at most {partition} bytes to group by, {sort} to sort by");
    Error::new(ErrorKind::Invalid, message)
}
