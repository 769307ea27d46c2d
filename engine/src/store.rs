//! Typed rows over the tables port: every noun is read and written through here.

mod unsound;

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value};

use crate::{
    error::{Error, ErrorKind, Result},
    invariants,
    model::scope::Scope,
    ports::{Condition, Item, ItemPage, Key, Query, SortRange, Tables, Write},
    tables::{Row, TableSchema},
};

/// What most indexes are behind by at most, where they are.
const A_MOMENT: Duration = Duration::from_millis(200);

/// A row with the version it was read at.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned<R> {
    /// The row.
    pub row: R,
    /// Its version, for conditional writes.
    pub version: u64,
}

/// A page of rows.
#[derive(Clone, Debug)]
pub struct RowPage<R> {
    /// The rows.
    pub rows: Vec<Versioned<R>>,
    /// Opaque; `None` when there are no more.
    pub next: Option<String>,
}

/// Typed access to the tables.
#[derive(Clone)]
pub struct Store(Arc<dyn Tables>);

impl Store {
    /// Over a tables port.
    pub fn new(tables: Arc<dyn Tables>) -> Self {
        Self(tables)
    }

    /// One row, or `None`.
    ///
    /// # Errors
    /// Those of [`Tables::get`]; `Corrupt` when the row does not have its noun's shape.
    pub async fn find<R: Row>(&self, scope: impl Into<Scope<'_>> + Send, key: Key) -> Result<Option<Versioned<R>>> {
        let scope = scope.into();
        let found = self.0.get(scope, R::TABLE, &key).await?;
        invariants::held(|| found.iter().try_for_each(|item| invariants::own_row(scope, R::TABLE, &item.body)));
        found.map(decode).transpose()
    }

    /// One row as it is stored, or `None`.
    ///
    /// # Errors
    /// Those of [`Tables::get`].
    pub async fn item(
        &self,
        scope: impl Into<Scope<'_>> + Send,
        table: &'static TableSchema,
        key: &Key,
    ) -> Result<Option<Item>> {
        self.0.get(scope.into(), table, key).await
    }

    /// One row that must be there.
    ///
    /// # Errors
    /// `NotFound`, and those of [`Store::find`].
    pub async fn get<R: Row>(&self, scope: impl Into<Scope<'_>> + Send, key: Key) -> Result<Versioned<R>> {
        let id = if key.sort.is_empty() { key.partition.clone() } else { key.sort.clone() };
        self.find(scope, key)
            .await?
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such thing here").with("id", id))
    }

    /// The row that has a value of its own in an index, such as a run by its id. Where indexes are behind, it may have been written just
    /// now: then it is looked for once more, a moment later.
    ///
    /// # Errors
    /// Those of [`Store::query`].
    pub async fn find_by<R: Row>(
        &self,
        scope: impl Into<Scope<'_>> + Send,
        index: &'static str,
        value: impl ToString + Send,
    ) -> Result<Option<Versioned<R>>> {
        let scope = scope.into();
        let query = Query {
            table: R::TABLE,
            index: Some(index),
            partition: value.to_string(),
            sort: SortRange::All,
            descending: false,
            limit: 1,
            after: None,
        };
        let mut found = self.query::<R>(scope, query.clone()).await?.rows;
        if found.is_empty() && !self.index_delay().is_zero() {
            tokio::time::sleep(A_MOMENT).await;
            found = self.query::<R>(scope, query).await?.rows;
        }
        Ok(found.pop())
    }

    /// All writes or none.
    ///
    /// # Errors
    /// Those of [`Tables::transact`].
    pub async fn transact(&self, scope: impl Into<Scope<'_>> + Send, writes: Vec<Write>) -> Result<()> {
        self.0.transact(scope.into(), writes).await
    }

    /// How long a row may be missing from an index: [`Tables::index_delay`].
    pub fn index_delay(&self) -> Duration {
        self.0.index_delay()
    }

    /// The write of a row that is the same each time, at the version that it has now: whoever counts after this and writes it with what
    /// was counted for loses against everybody who did so in between.
    ///
    /// # Errors
    /// Those of [`Store::find`].
    pub async fn gate<R: Row>(&self, scope: impl Into<Scope<'_>> + Send, key: Key, row: R) -> Result<Write> {
        let found = self.find::<R>(scope, key).await?;
        put(&row, found.map_or(Condition::Absent, |found| Condition::Version(found.version)))
    }

    /// A page of rows.
    ///
    /// # Errors
    /// Those of [`Tables::query`]; `Corrupt` when a row does not have its noun's shape.
    pub async fn query<R: Row>(&self, scope: impl Into<Scope<'_>> + Send, query: Query) -> Result<RowPage<R>> {
        let scope = scope.into();
        let page = self.0.query(scope, query).await?;
        invariants::held(|| page.items.iter().try_for_each(|item| invariants::own_row(scope, R::TABLE, &item.body)));
        Ok(RowPage { rows: page.items.into_iter().map(decode).collect::<Result<_>>()?, next: page.next })
    }

    /// A page of the rows that have their noun's shape, for whoever looks after all that is due: one that has another keeps no
    /// other from its turn. It is left out and told, and pages that have nothing else are gone past.
    ///
    /// # Errors
    /// Those of [`Tables::query`].
    pub async fn sound<R: Row>(&self, scope: impl Into<Scope<'_>> + Send, mut query: Query) -> Result<RowPage<R>> {
        let scope = scope.into();
        loop {
            let page = self.0.query(scope, query.clone()).await?;
            invariants::held(|| {
                page.items.iter().try_for_each(|item| invariants::own_row(scope, R::TABLE, &item.body))
            });
            let rows: Vec<Versioned<R>> = page.items.into_iter().filter_map(unsound::left_out).collect();
            if !rows.is_empty() || page.next.is_none() {
                return Ok(RowPage { rows, next: page.next });
            }
            query.after = page.next;
        }
    }

    /// [`Store::rows`] without those that do not have their noun's shape, as in [`Store::sound`].
    ///
    /// # Errors
    /// In the stream: those of [`Tables::query`].
    pub fn sound_rows<'a, R: Row + 'a>(
        &'a self,
        scope: impl Into<Scope<'a>>,
        query: Query,
    ) -> impl Stream<Item = Result<R>> + Send + 'a {
        let rows = self.items(scope.into(), query);
        rows.try_filter_map(|item| std::future::ready(Ok(unsound::left_out(item).map(|found| found.row))))
    }

    /// A page of rows as they are stored.
    ///
    /// # Errors
    /// Those of [`Tables::query`].
    pub async fn page(&self, scope: impl Into<Scope<'_>> + Send, query: Query) -> Result<ItemPage> {
        self.0.query(scope.into(), query).await
    }

    /// All rows that a query finds, in its order. Its limit is the size of the pages that are read, each when it is needed:
    /// what is written meanwhile may be among them or not.
    ///
    /// # Errors
    /// In the stream: those of [`Store::query`].
    pub fn rows<'a, R: Row + 'a>(
        &'a self,
        scope: impl Into<Scope<'a>>,
        query: Query,
    ) -> impl Stream<Item = Result<R>> + Send + 'a {
        self.items(scope.into(), query).map(|item| row(item?))
    }

    /// [`Store::rows`] in a list.
    ///
    /// # Errors
    /// Those of [`Store::query`].
    pub async fn all<R: Row>(&self, scope: impl Into<Scope<'_>> + Send, query: Query) -> Result<Vec<R>> {
        self.items(scope.into(), query).map(|item| row(item?)).try_collect().await
    }

    /// The first page of each of several queries, in the order of these.
    ///
    /// # Errors
    /// Those of [`Store::query`].
    pub async fn page_of_each<R: Row>(
        &self,
        scope: impl Into<Scope<'_>> + Send,
        queries: Vec<Query>,
    ) -> Result<Vec<Vec<R>>> {
        let pages = self.pages(scope.into(), R::TABLE, queries).await?;
        pages.into_iter().map(|page| page.items.into_iter().map(row).collect()).collect()
    }

    /// [`Store::all`] of each of several queries, in the order of these.
    ///
    /// # Errors
    /// Those of [`Store::query`].
    pub async fn all_of_each<R: Row>(
        &self,
        scope: impl Into<Scope<'_>> + Send,
        queries: Vec<Query>,
    ) -> Result<Vec<Vec<R>>> {
        let scope = scope.into();
        let pages = self.pages(scope, R::TABLE, queries.clone()).await?;
        let mut found = Vec::with_capacity(pages.len());
        for (page, query) in pages.into_iter().zip(queries) {
            let mut rows = page.items.into_iter().map(row).collect::<Result<Vec<R>>>()?;
            if page.next.is_some() {
                rows.extend(self.all::<R>(scope, Query { after: page.next, ..query }).await?);
            }
            found.push(rows);
        }
        Ok(found)
    }

    async fn pages(&self, scope: Scope<'_>, table: &'static TableSchema, queries: Vec<Query>) -> Result<Vec<ItemPage>> {
        let pages = self.0.queries(scope, queries).await?;
        invariants::held(|| {
            let mut items = pages.iter().flat_map(|page| &page.items);
            items.try_for_each(|item| invariants::own_row(scope, table, &item.body))
        });
        Ok(pages)
    }

    /// [`Store::rows`] as they are stored, where a table has nouns of several kinds ([`row`] makes one of them).
    ///
    /// # Errors
    /// In the stream: those of [`Tables::query`].
    pub fn items<'a>(&'a self, scope: Scope<'a>, query: Query) -> impl Stream<Item = Result<Item>> + Send + 'a {
        stream::try_unfold(Some(query), move |query| async move {
            let Some(mut query) = query else { return Ok::<_, Error>(None) };
            let page = self.0.query(scope, query.clone()).await?;
            query.after = page.next;
            let following = query.after.is_some().then_some(query);
            Ok(Some((stream::iter(page.items.into_iter().map(Ok)), following)))
        })
        .try_flatten()
    }
}

/// A write that puts a row.
///
/// # Errors
/// `Bug` when the noun does not serialise to an object.
pub fn put<R: Row>(row: &R, condition: Condition) -> Result<Write> {
    Ok(Write::Put { table: R::TABLE, body: body_of(row)?, condition })
}

/// The key of a row.
#[expect(clippy::needless_pass_by_value, reason = "callers hand ids and texts alike, most of them by copy")]
pub fn key(partition: impl ToString, sort: impl ToString) -> Key {
    Key { partition: partition.to_string(), sort: sort.to_string() }
}

/// The key of a row in a table without sort key.
pub fn key1(partition: impl ToString) -> Key {
    key(partition, "")
}

/// The key attributes of a row's body, by its table's schema.
///
/// # Errors
/// `Bug` when one is missing or of another type.
pub fn key_of(table: &TableSchema, body: &Map<String, Value>) -> Result<Key> {
    let text = |name: &'static str| match body.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(Error::new(ErrorKind::Bug, "a row lacks a key attribute")
            .with("table", table.name)
            .with("attribute", name)),
    };
    Ok(Key {
        partition: text(table.partition.name)?,
        sort: table.sort.map_or(Ok(String::new()), |attribute| text(attribute.name))?,
    })
}

fn body_of<R: Row>(row: &R) -> Result<Map<String, Value>> {
    match serde_json::to_value(row) {
        Ok(Value::Object(body)) => Ok(body),
        _ => Err(Error::new(ErrorKind::Bug, "a row must serialise to an object").with("table", R::TABLE.name)),
    }
}

/// The row that an item holds, where a table has nouns of several kinds.
///
/// # Errors
/// `Corrupt` when it does not have its noun's shape.
pub fn row<R: Row>(item: Item) -> Result<R> {
    decode(item).map(|versioned| versioned.row)
}

fn decode<R: Row>(item: Item) -> Result<Versioned<R>> {
    let row = serde_json::from_value(Value::Object(item.body)).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("a stored row has another shape: {error}")).with("table", R::TABLE.name)
    })?;
    Ok(Versioned { row, version: item.version })
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use serde_json::json;

    use super::*;
    use crate::{model::Source, tables::SOURCES};

    /// Ten rows, of which the seventh is a source and the others are no nouns; the cursor is the number of the next one.
    struct Ten;

    fn body(version: u64) -> Map<String, Value> {
        let source = json!({
            "accountId": "acc_01k9zt4m8x7q3v5n2r6w0y1abc", "sourceId": "src_01k9zt4m8x7q3v5n2r6w0y1abc", "name": "CRM",
            "integration": "crm", "settings": {}, "state": "active", "lease": { "epoch": 0 },
            "createdAt": "2026-09-21T13:46:40Z", "updatedAt": "2026-09-21T13:46:40Z",
        });
        match source {
            Value::Object(source) if version == 6 => source,
            _ => Map::new(),
        }
    }

    #[async_trait]
    impl Tables for Ten {
        async fn get(&self, _: Scope<'_>, _: &'static TableSchema, _: &Key) -> Result<Option<Item>> {
            Ok(None)
        }

        async fn transact(&self, _: Scope<'_>, _: Vec<Write>) -> Result<()> {
            Ok(())
        }

        fn index_delay(&self) -> Duration {
            Duration::ZERO
        }

        async fn query(&self, _: Scope<'_>, query: Query) -> Result<ItemPage> {
            let first: u64 = query.after.map_or(0, |after| after.parse().unwrap());
            let next = (first + query.limit as u64).min(10);
            let items = (first..next).map(|version| Item { body: body(version), version }).collect();
            Ok(ItemPage { items, next: (next < 10).then(|| next.to_string()) })
        }
    }

    fn query(limit: usize) -> Query {
        Query {
            table: &SOURCES,
            index: None,
            partition: String::new(),
            sort: SortRange::All,
            descending: false,
            limit,
            after: None,
        }
    }

    #[tokio::test]
    async fn every_row_comes_once_and_in_order_whatever_the_size_of_pages() {
        let store = Store::new(Arc::new(Ten));
        let system = crate::model::scope::SystemScope::of_this_process();
        for limit in [1, 3, 5, 10, 1000] {
            let items: Vec<Item> = store.items((&system).into(), query(limit)).try_collect().await.unwrap();
            assert_eq!(items.iter().map(|item| item.version).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        }
        let error = store.all::<Source>(&system, query(3)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "a row of another shape is not left out");
    }

    #[tokio::test]
    async fn whoever_leaves_out_rows_of_another_shape_finds_the_others_behind_whole_pages_of_them() {
        let store = Store::new(Arc::new(Ten));
        let system = crate::model::scope::SystemScope::of_this_process();
        for limit in [1, 3, 5, 10, 1000] {
            let page = store.sound::<Source>(&system, query(limit)).await.unwrap();
            assert_eq!(page.rows.iter().map(|row| row.version).collect::<Vec<_>>(), [6], "{limit}");
            let rows: Vec<Source> = store.sound_rows(&system, query(limit)).try_collect().await.unwrap();
            assert_eq!(rows.len(), 1, "{limit}");
            let rest = Query { after: page.next.or(Some("10".to_owned())), ..query(limit) };
            assert!(
                store.sound::<Source>(&system, rest).await.unwrap().rows.is_empty(),
                "an end without any is an end"
            );
        }
    }
}
