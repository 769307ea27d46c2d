//! Pages of rows, by a table's key or one of its indexes.
//!
//! An index follows its table a moment later. It is asked for keys alone, and the rows are read by these, as they are now: one that is
//! no longer within the query's bounds is left out, one that has moved within them is shown where the index has it still, and
//! one that the index does not have yet comes with a later look.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};

use super::{
    DynamoTables,
    expression::Expression,
    failed,
    item::{self, Attributes},
    pauses::Pauses,
};
use crate::{
    adapters::rows::{
        self, MAX_PAGE_BYTES, Reach, Scalar,
        cursor::{self, Position},
    },
    error::{Error, ErrorKind, Result},
    ports::{ItemPage, Query, SortRange},
    tables::{Attribute, TableSchema},
};

/// The most keys of one BatchGetItem.
const MAX_BATCH_KEYS: usize = 100;

/// How a query goes through its rows.
struct Plan<'a> {
    query: &'a Query,
    /// What rows are read together by.
    partition: Attribute,
    /// What they are ordered by.
    order: Option<Attribute>,
    condition: String,
    expression: Expression,
}

/// A page that is being filled.
struct Filling<'a> {
    query: &'a Query,
    page: ItemPage,
    size_bytes: usize,
    /// Of the last row that was looked at.
    last: Option<Position>,
    /// The rows of an index that are in it: of one that moves, the index may show the old place and the new one.
    shown: HashSet<(String, Scalar)>,
}

impl Filling<'_> {
    fn wanted(&self) -> usize {
        self.query.limit - self.page.items.len()
    }

    fn is_full(&self) -> bool {
        self.wanted() == 0 || self.size_bytes >= MAX_PAGE_BYTES
    }
}

impl DynamoTables {
    /// One page.
    ///
    /// # Errors
    /// `Bug` when the query does not fit the schema, `Invalid` for a cursor of another query.
    pub(super) async fn page(&self, reach: &Reach, query: &Query) -> Result<ItemPage> {
        let after = query.after.as_deref().map(|after| cursor::decode(query, reach, after)).transpose()?;
        let Some(plan) = Plan::of(query)? else { return Ok(ItemPage::default()) };
        let mut start = after.map(|after| plan.start_after(&after));
        let mut filling =
            Filling { query, page: ItemPage::default(), size_bytes: 0, last: None, shown: HashSet::new() };
        loop {
            // One more than is wanted tells whether there are more.
            let (mut entries, following) = self.entries(&plan, start, filling.wanted() + 1).await?;
            let mut has_more = following.is_some();
            while !entries.is_empty() && !filling.is_full() {
                let count = entries.len().min(filling.wanted()).min(MAX_BATCH_KEYS);
                let rest = entries.split_off(count);
                let rows = self.rows_of(&plan, entries).await?;
                has_more |= self.fill(&mut filling, reach, &plan, rows)?;
                entries = rest;
            }
            if filling.is_full() || following.is_none() {
                has_more |= !entries.is_empty();
                let last = filling.last.filter(|_| has_more);
                filling.page.next = last.map(|last| cursor::encode(query, reach, &last));
                return Ok(filling.page);
            }
            start = following;
        }
    }

    /// Puts rows into the page; true when it is full before all of them were looked at.
    fn fill(
        &self,
        filling: &mut Filling<'_>,
        reach: &Reach,
        plan: &Plan<'_>,
        rows: Vec<(Position, Option<Attributes>)>,
    ) -> Result<bool> {
        let query = filling.query;
        for (position, found) in rows {
            if filling.is_full() {
                return Ok(true);
            }
            if let Some(found) = found.filter(|found| plan.admits(found))
                && (query.index.is_none() || filling.shown.insert(key_at(&position)))
                && let Some(shown) = self.shown(query.table, reach, &found)?
            {
                filling.size_bytes += item::text(&found, item::BODY).map_or(0, str::len);
                filling.page.items.push(shown);
            }
            filling.last = Some(position);
        }
        Ok(false)
    }

    /// Items of the table, or keys of the index, from a place on; and the place after them, if there are more.
    async fn entries(
        &self,
        plan: &Plan<'_>,
        start: Option<Attributes>,
        limit: usize,
    ) -> Result<(Vec<Attributes>, Option<Attributes>)> {
        let Query { table, index, descending, .. } = plan.query;
        let request = self
            .client
            .query()
            .table_name(self.settings.table_name(table))
            .set_index_name(index.map(ToOwned::to_owned))
            // An index cannot be read so.
            .consistent_read(index.is_none())
            .key_condition_expression(&plan.condition)
            .set_expression_attribute_names(plan.expression.names())
            .set_expression_attribute_values(plan.expression.values())
            .scan_index_forward(!descending)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start);
        let answer = request.send().await.map_err(|error| failed(error, table))?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key.filter(|key| !key.is_empty())))
    }

    /// The rows that entries stand for, as they are now; those that are gone are left out.
    async fn rows_of(&self, plan: &Plan<'_>, entries: Vec<Attributes>) -> Result<Vec<(Position, Option<Attributes>)>> {
        let positions = entries.iter().map(|entry| plan.position(entry)).collect::<Result<Vec<_>>>()?;
        if plan.query.index.is_none() {
            return Ok(positions.into_iter().zip(entries.into_iter().map(Some)).collect());
        }
        let found = self.batch(plan.query.table, positions.iter().map(key_at).collect()).await?;
        let row = |position: Position| {
            let row = found.get(&key_at(&position)).cloned();
            (position, row)
        };
        Ok(positions.into_iter().map(row).collect())
    }

    /// The items with these keys, at most [`MAX_BATCH_KEYS`], as they are now; those that are gone are left out.
    async fn batch(
        &self,
        table: &TableSchema,
        keys: HashSet<(String, Scalar)>,
    ) -> Result<HashMap<(String, Scalar), Attributes>> {
        let table_name = self.settings.table_name(table);
        let mut left: Vec<_> = keys.iter().map(|(partition, sort)| item::key(table, partition, sort)).collect();
        let (mut found, mut pauses) = (HashMap::new(), Pauses::new(&*self.random));
        while !left.is_empty() {
            let wanted = KeysAndAttributes::builder().set_keys(Some(left)).consistent_read(true).build();
            let wanted = wanted
                .map_err(|error| Error::new(ErrorKind::Bug, "a batch of keys could not be built").caused_by(error))?;
            let answer = self.client.batch_get_item().request_items(&table_name, wanted).send().await;
            let answer = answer.map_err(|error| failed(error, table))?;
            let items = answer.responses.and_then(|mut items| items.remove(&table_name)).unwrap_or_default();
            left =
                answer.unprocessed_keys.and_then(|mut left| left.remove(&table_name)).map_or(vec![], |left| left.keys);
            if !items.is_empty() {
                pauses.restart();
            }
            found.extend(items.into_iter().filter_map(|item| Some((key_of(table, &item)?, item))));
            if !left.is_empty() && !pauses.take().await {
                let message = "DynamoDB left rows of a batch unread each time that it was asked: it is throttled";
                return Err(Error::new(ErrorKind::Retry, message).with("table", table.name).with("unread", left.len()));
            }
        }
        Ok(found)
    }
}

impl<'a> Plan<'a> {
    /// `None` when no row can be in the query's bounds.
    ///
    /// # Errors
    /// `Bug` when the query does not fit the schema.
    fn of(query: &'a Query) -> Result<Option<Self>> {
        let (partition, order) = rows::order_of(query)?;
        if !item::fits(&Scalar::Text(query.partition.clone()), item::MAX_PARTITION_BYTES) {
            return Ok(None);
        }
        let mut expression = Expression::default();
        let value = expression.value("partition", item::partition_value(partition, &query.partition));
        let mut condition = format!("{} = {value}", expression.name(partition.name));
        if let Some(order) = order {
            let Some(bounds) = bounds(&query.sort, order, &mut expression) else { return Ok(None) };
            condition.push_str(&bounds);
        }
        Ok(Some(Self { query, partition, order, condition, expression }))
    }

    /// Whether a row is one of the query's now. DynamoDB has judged that by the index, and takes both ends of `BETWEEN`.
    fn admits(&self, row: &Attributes) -> bool {
        let partition = item::scalar(row, self.partition.name).map(|partition| partition.to_string());
        let Some(order) = self.order else { return partition.as_ref() == Some(&self.query.partition) };
        let is_within = match (&self.query.sort, item::scalar(row, order.name)) {
            (_, None) => false,
            (SortRange::Prefix(prefix), Some(Scalar::Text(order))) => order.starts_with(prefix),
            (SortRange::Between(from, to), Some(Scalar::Text(order))) => {
                from.as_ref().is_none_or(|from| *from <= order) && to.as_ref().is_none_or(|to| order < *to)
            }
            (SortRange::Numbers(from, to), Some(Scalar::Number(order))) => {
                from.is_none_or(|from| from <= order) && to.is_none_or(|to| order < to)
            }
            (_, Some(_)) => true,
        };
        is_within && partition.as_ref() == Some(&self.query.partition)
    }

    /// Where an item of the table or an entry of the index stands.
    fn position(&self, entry: &Attributes) -> Result<Position> {
        let order = self.order.map_or(Some(Scalar::Text(String::new())), |order| item::scalar(entry, order.name));
        match (order, key_of(self.query.table, entry)) {
            (Some(order), Some((partition, sort))) => Ok(Position { order, partition, sort }),
            _ => Err(Error::new(ErrorKind::Corrupt, "an item lacks a part of its key, or has another type of it")
                .with("table", self.query.table.name)
                .with("index", self.query.index.unwrap_or("none"))),
        }
    }

    fn start_after(&self, position: &Position) -> Attributes {
        let mut key = item::key(self.query.table, &position.partition, &position.sort);
        key.insert(self.partition.name.to_owned(), item::partition_value(self.partition, &self.query.partition));
        if let Some(order) = self.order {
            key.insert(order.name.to_owned(), item::value(&position.order));
        }
        key
    }
}

fn key_at(position: &Position) -> (String, Scalar) {
    (position.partition.clone(), position.sort.clone())
}

/// The key of an item or of an entry of an index, as a place has it.
fn key_of(table: &TableSchema, item: &Attributes) -> Option<(String, Scalar)> {
    let partition = item::scalar(item, table.partition.name)?.to_string();
    let sort = table.sort.map_or(Some(Scalar::Text(String::new())), |sort| item::scalar(item, sort.name))?;
    Some((partition, sort))
}

/// The part of the condition that bounds the sort attribute; `None` when nothing can be within the bounds.
fn bounds(range: &SortRange, order: Attribute, expression: &mut Expression) -> Option<String> {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty()).map(Scalar::Text);
    let (from, to) = match range {
        SortRange::All => (None, None),
        SortRange::Prefix(prefix) if prefix.is_empty() => (None, None),
        SortRange::Prefix(prefix) if prefix.len() > item::MAX_SORT_BYTES => return None,
        SortRange::Prefix(prefix) => {
            let prefix = expression.value("prefix", AttributeValue::S(prefix.clone()));
            return Some(format!(" AND begins_with({}, {prefix})", expression.name(order.name)));
        }
        SortRange::Between(_, Some(to)) if to.is_empty() => return None,
        SortRange::Between(Some(from), Some(to)) if from >= to => return None,
        SortRange::Between(from, to) => (text(from), text(to)),
        SortRange::Numbers(Some(from), Some(to)) if from >= to => return None,
        SortRange::Numbers(Some(from), Some(to)) => (Some(Scalar::Number(*from)), Some(Scalar::Number(to - 1))),
        SortRange::Numbers(from, to) => (from.map(Scalar::Number), to.map(Scalar::Number)),
    };
    let mut value = |name, bound: &Scalar| expression.value(name, item::value(bound));
    let bound = match (&from, &to) {
        (None, None) => return Some(String::new()),
        (Some(from), None) => format!(">= {}", value("from", from)),
        (None, Some(to)) => format!("< {}", value("to", to)),
        (Some(from), Some(to)) => format!("BETWEEN {} AND {}", value("from", from), value("to", to)),
    };
    Some(format!(" AND {} {bound}", expression.name(order.name)))
}
