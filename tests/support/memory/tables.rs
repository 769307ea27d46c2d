//! Rows in memory.

mod writes;

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use listbackup_engine::{
    Error, ErrorKind, Result,
    model::scope::Scope,
    ports::{Clock, Condition, Item, ItemPage, Key, Query, Random, SortRange, Tables, Write},
    tables::{Attribute, AttributeType, Ownership, TableSchema},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::writes::Change;
use super::lock;

/// All rows.
pub struct MemoryTables {
    clock: Arc<dyn Clock>,
    /// How long a row may be missing from a place in an index, as in DynamoDB; and what decides how long each is.
    behind: Option<(Duration, Arc<dyn Random>)>,
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    rows: BTreeMap<RowKey, Row>,
    /// From when on each is found, milliseconds since 1970.
    places: BTreeMap<Place, i64>,
}

/// Table, index, partition, order, row.
type Place = (&'static str, &'static str, String, Sort, RowKey);

#[derive(Clone)]
struct Row {
    body: Arc<Map<String, Value>>,
    version: u64,
    account_id: Option<String>,
    expires_at: Option<i64>,
}

/// Table, partition, sort value.
type RowKey = (&'static str, String, Sort);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Sort {
    Number(i64),
    Text(String),
}

impl MemoryTables {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, behind: None, state: Mutex::default() }
    }

    /// The same with indexes that are behind by up to so much, each place by another time.
    pub fn with_indexes_behind(clock: Arc<dyn Clock>, longest: Duration, random: Arc<dyn Random>) -> Self {
        Self { behind: Some((longest, random)), ..Self::new(clock) }
    }

    /// When a place that a row gets now is found.
    fn found_from_ms(&self) -> i64 {
        let now_ms = self.clock.now().as_millisecond();
        let Some((longest, random)) = &self.behind else { return now_ms };
        let mut bytes = [0; 4];
        random.fill(&mut bytes);
        now_ms + i64::from(u32::from_le_bytes(bytes)) % (longest.as_millis() as i64 + 1)
    }

    fn now_s(&self) -> i64 {
        self.clock.now().as_second()
    }
}

/// The only account whose rows may be touched; `None` is everything.
fn reach(scope: Scope<'_>, table: &TableSchema) -> Result<Option<String>> {
    match scope {
        Scope::System(_) => Ok(None),
        Scope::Account(scope) if table.ownership == Ownership::Account => Ok(Some(scope.account_id().to_string())),
        Scope::Account(_) => Err(Error::new(ErrorKind::Denied, "no account owns this table's rows")),
    }
}

fn bug(message: &'static str, table: &TableSchema) -> Error {
    Error::new(ErrorKind::Bug, message).with("table", table.name)
}

fn sort_of(attribute: Option<Attribute>, text: &str) -> Option<Sort> {
    match attribute {
        Some(Attribute { kind: AttributeType::Number, .. }) => text.parse().ok().map(Sort::Number),
        _ => Some(Sort::Text(text.to_owned())),
    }
}

fn row_key(table: &'static TableSchema, key: &Key) -> Result<RowKey> {
    let sort = sort_of(table.sort, &key.sort).ok_or_else(|| bug("the sort key is no number", table))?;
    Ok((table.name, key.partition.clone(), sort))
}

fn attribute(attribute: Attribute, body: &Map<String, Value>) -> Option<Sort> {
    match (body.get(attribute.name)?, attribute.kind) {
        (Value::String(text), AttributeType::Text) if !text.is_empty() => Some(Sort::Text(text.clone())),
        (Value::Number(number), AttributeType::Number) => number.as_i64().map(Sort::Number),
        _ => None,
    }
}

fn key_in(table: &'static TableSchema, body: &Map<String, Value>) -> Result<RowKey> {
    let wrong = || bug("a key attribute is missing, empty or of another type", table);
    let partition = match attribute(table.partition, body).ok_or_else(wrong)? {
        Sort::Text(text) => text,
        Sort::Number(number) => number.to_string(),
    };
    let sort = match table.sort {
        Some(sort) => attribute(sort, body).ok_or_else(wrong)?,
        None => Sort::Text(String::new()),
    };
    Ok((table.name, partition, sort))
}

/// A row's places in the indexes of its table.
fn places(table: &'static TableSchema, key: &RowKey, body: &Map<String, Value>) -> Vec<Place> {
    let place = |index: &listbackup_engine::tables::IndexSchema| {
        let partition = match attribute(index.partition, body)? {
            Sort::Text(text) => text,
            Sort::Number(number) => number.to_string(),
        };
        let sort = match index.sort {
            Some(sort) => attribute(sort, body)?,
            None => Sort::Text(String::new()),
        };
        Some((table.name, index.name, partition, sort, key.clone()))
    };
    table.indexes.iter().filter_map(place).collect()
}

impl State {
    fn live(&self, key: &RowKey, now_s: i64) -> Option<&Row> {
        self.rows.get(key).filter(|row| row.expires_at.is_none_or(|at| at > now_s))
    }

    /// The row's version, 0 without one, if the condition holds.
    fn check(&self, key: &RowKey, condition: Condition, reach: Option<&String>, now_s: i64) -> Result<u64> {
        let named = |error: Error| error.with("table", key.0).with("key", format!("{} {:?}", key.1, key.2));
        let row = self.live(key, now_s);
        if row.is_some_and(|row| reach.is_some() && row.account_id.as_ref() != reach) {
            return Err(named(Error::new(ErrorKind::Denied, "the row is not this account's")));
        }
        let version = row.map_or(0, |row| row.version);
        let holds = match condition {
            Condition::Any => true,
            Condition::Absent => version == 0,
            Condition::Version(wanted) => version > 0 && version == wanted,
        };
        holds.then_some(version).ok_or_else(|| named(Error::new(ErrorKind::Conflict, "the row is not as expected")))
    }

    fn remove(&mut self, table: &'static TableSchema, key: &RowKey) {
        if let Some(row) = self.rows.remove(key) {
            for place in places(table, key, &row.body) {
                self.places.remove(&place);
            }
        }
    }

    fn put(
        &mut self,
        table: &'static TableSchema,
        (key, body, version): (RowKey, Map<String, Value>, u64),
        found_from_ms: impl Fn() -> i64,
    ) {
        let places = places(table, &key, &body);
        // A place that it had already is found as before.
        let from = |place: &Place| self.places.get(place).copied().unwrap_or_else(&found_from_ms);
        let places: Vec<_> = places.into_iter().map(|place| (place.clone(), from(&place))).collect();
        self.remove(table, &key);
        self.places.extend(places);
        let account_id = body.get("accountId").and_then(Value::as_str).map(str::to_owned);
        let account_id = account_id.filter(|_| table.ownership == Ownership::Account);
        let expires_at = table.expires.and_then(|name| body.get(name)).and_then(Value::as_i64);
        self.rows.insert(key, Row { body: Arc::new(body), version, account_id, expires_at });
    }
}

fn bounds_fit(bounds: &SortRange, sort: Option<Attribute>) -> bool {
    let kind = sort.map(|sort| sort.kind);
    match bounds {
        SortRange::All => true,
        SortRange::Prefix(_) | SortRange::Between(..) => kind == Some(AttributeType::Text),
        SortRange::Numbers(..) => kind == Some(AttributeType::Number),
    }
}

fn least(bounds: &SortRange) -> Sort {
    match bounds {
        SortRange::Prefix(text) | SortRange::Between(Some(text), _) => Sort::Text(text.clone()),
        SortRange::Numbers(Some(number), _) => Sort::Number(*number),
        _ => Sort::Number(i64::MIN),
    }
}

fn is_below_the_end(bounds: &SortRange, sort: &Sort) -> bool {
    match (bounds, sort) {
        (SortRange::Prefix(prefix), Sort::Text(text)) => text.starts_with(prefix.as_str()),
        (SortRange::Between(_, Some(to)), Sort::Text(text)) => text < to,
        (SortRange::Numbers(_, Some(to)), Sort::Number(number)) => number < to,
        _ => true,
    }
}

/// Where a page ended, and of which query.
#[derive(Serialize, Deserialize)]
struct Cursor {
    query: String,
    order: Sort,
    partition: String,
    sort: Sort,
}

fn named(query: &Query, reach: Option<&String>) -> String {
    format!("{:?}", (query.table.name, query.index, &query.partition, &query.sort, query.descending, reach))
}

/// What a query finds, in ascending order.
fn found(state: &State, query: &Query, now_ms: i64) -> Vec<(Sort, RowKey)> {
    let (table, start) = (query.table.name, least(&query.sort));
    let ends = |sort: &Sort| !is_below_the_end(&query.sort, sort);
    match query.index {
        None => {
            let from = (table, query.partition.clone(), start);
            let rows = state.rows.range((Bound::Included(from), Bound::Unbounded)).map(|(key, _)| key);
            rows.take_while(|(of, partition, sort)| *of == table && *partition == query.partition && !ends(sort))
                .map(|key| (key.2.clone(), key.clone()))
                .collect()
        }
        Some(index) => {
            let lowest = ("", String::new(), Sort::Number(i64::MIN));
            let from = (table, index, query.partition.clone(), start, lowest);
            let places = state.places.range((Bound::Included(from), Bound::Unbounded));
            let is_in = |of: &str, in_index: &str, partition: &str, sort: &Sort| {
                of == table && in_index == index && partition == query.partition && !ends(sort)
            };
            places
                .take_while(|((of, in_index, partition, sort, _), _)| is_in(of, in_index, partition, sort))
                .filter(|(_, from_ms)| **from_ms <= now_ms)
                .map(|((.., sort, key), _)| (sort.clone(), key.clone()))
                .collect()
        }
    }
}

#[async_trait]
impl Tables for MemoryTables {
    async fn get(&self, scope: Scope<'_>, table: &'static TableSchema, key: &Key) -> Result<Option<Item>> {
        let (reach, key) = (reach(scope, table)?, row_key(table, key)?);
        let state = lock(&self.state);
        let row = state.live(&key, self.now_s()).filter(|row| reach.is_none() || row.account_id == reach);
        Ok(row.map(|row| Item { body: Map::clone(&row.body), version: row.version }))
    }

    async fn transact(&self, scope: Scope<'_>, writes: Vec<Write>) -> Result<()> {
        let mut state = lock(&self.state);
        let changes = writes::checked(&state, scope, writes, self.now_s())?;
        for change in changes {
            match change {
                Change::Put(table, key, body, version) => {
                    state.put(table, (key, body, version), || self.found_from_ms());
                }
                Change::Delete(table, key) => state.remove(table, &key),
            }
        }
        Ok(())
    }

    fn index_delay(&self) -> Duration {
        self.behind.as_ref().map_or(Duration::ZERO, |(longest, _)| *longest)
    }

    async fn query(&self, scope: Scope<'_>, query: Query) -> Result<ItemPage> {
        let reach = reach(scope, query.table)?;
        let sort = match query.index {
            None => query.table.sort,
            Some(name) => query.table.index(name).ok_or_else(|| bug("there is no such index", query.table))?.sort,
        };
        if !bounds_fit(&query.sort, sort) || query.limit == 0 || query.limit > 1000 {
            return Err(bug("the bounds or the limit do not fit", query.table));
        }
        let name = named(&query, reach.as_ref());
        let invalid = || Error::new(ErrorKind::Invalid, "the cursor is not from this query");
        let after = query.after.as_deref().map(|text| serde_json::from_str::<Cursor>(text).map_err(|_| invalid()));
        let after = after.transpose()?;
        if after.as_ref().is_some_and(|after| after.query != name) {
            return Err(invalid());
        }
        let after = after.map(|after| (after.order, (query.table.name, after.partition, after.sort)));
        let (now_s, now_ms, state) = (self.now_s(), self.clock.now().as_millisecond(), lock(&self.state));
        let mut places = found(&state, &query, now_ms);
        if query.descending {
            places.reverse();
        }
        let is_later = |place: &(Sort, RowKey)| match &after {
            None => true,
            Some(after) if query.descending => place < after,
            Some(after) => place > after,
        };
        let rows = places.into_iter().filter(is_later).filter_map(|place| {
            let row = state.live(&place.1, now_s).filter(|row| reach.is_none() || row.account_id == reach)?;
            Some((place, row))
        });
        let (mut page, mut last) = (ItemPage::default(), None);
        for (place, row) in rows {
            if let Some((order, (_, partition, sort))) = last.take().filter(|_| page.items.len() == query.limit) {
                let cursor = Cursor { query: name, order, partition, sort };
                page.next = Some(serde_json::to_string(&cursor).expect("a cursor is JSON"));
                break;
            }
            page.items.push(Item { body: Map::clone(&row.body), version: row.version });
            last = Some(place);
        }
        Ok(page)
    }
}
