//! Rows in DynamoDB.

use std::sync::Arc;

use listbackup_engine::{
    Error, ErrorKind,
    adapters::aws::{AwsClients, AwsSettings, DynamoTables},
    model::scope::AccountScope,
    ports::{Condition, Item, Query, Write},
    tables::{self, JOBS, SOURCES},
};
use serde_json::{Value, json};

use crate::{
    servers::{
        aws::{self, Aws, StandIn},
        between::{Between, Fate},
    },
    suites::{
        self,
        tables::{object, put, query, source, source_key},
    },
    support::{Embedded, MovableClock, Subject},
};

#[tokio::test]
async fn rows_are_kept_as_promised() {
    rows_are_kept_as_promised_by(StandIn::MiniStack).await;
}

#[tokio::test]
async fn rows_are_kept_as_promised_on_moto() {
    rows_are_kept_as_promised_by(StandIn::Moto).await;
}

async fn rows_are_kept_as_promised_by(stand_in: StandIn) {
    let Some(aws) = crate::aws(stand_in).await else { return };
    aws.make_tables().await;
    suites::tables::keeps_all(&subject(&Embedded::new(), &aws.clients, &aws.settings)).await;
}

/// The embedded ports with the rows in DynamoDB.
fn subject(embedded: &Embedded, clients: &AwsClients, settings: &AwsSettings) -> Subject {
    let (mut ports, clock) = (embedded.stores.ports(), Arc::new(MovableClock::new()));
    ports.tables = Arc::new(DynamoTables::new(clients, settings, clock.clone(), ports.random.clone()));
    Subject::with_clock(ports, clock)
}

/// Tables that every request to passes a place where a test may do something to it.
pub struct Rows {
    pub subject: Subject,
    pub account: AccountScope,
    pub between: Between,
    _embedded: Embedded,
    _aws: Option<Aws>,
}

impl Rows {
    /// On ministack; `None`, and the reason is printed, where it is not installed.
    pub async fn start() -> Option<Self> {
        let aws = crate::aws(StandIn::MiniStack).await?;
        aws.make_tables().await;
        let between = Between::before(aws.settings.endpoint_url().unwrap()).await;
        Some(Self::of(between, Some(aws)).await)
    }

    /// Without anything behind: a test answers each operation.
    pub async fn alone() -> Self {
        Self::of(Between::before("http://127.0.0.1:9").await, None).await
    }

    async fn of(between: Between, aws: Option<Aws>) -> Self {
        let (embedded, settings) = (Embedded::new(), aws::settings(between.url.clone()));
        let subject = subject(&embedded, &AwsClients::new(&settings).await, &settings);
        Self { account: subject.account(), subject, between, _embedded: embedded, _aws: aws }
    }

    pub async fn transact(&self, writes: Vec<Write>) -> Result<(), Error> {
        self.subject.ports.tables.transact((&self.account).into(), writes).await
    }

    /// Puts a source of that name.
    pub async fn put(&self, name: &str, condition: Condition) -> Result<(), Error> {
        self.transact(vec![self.source(name, condition)]).await
    }

    pub fn source(&self, name: &str, condition: Condition) -> Write {
        put(&SOURCES, source(&self.account, name, name), condition)
    }

    pub fn removal(&self, name: &str, condition: Condition) -> Write {
        Write::Delete { table: &SOURCES, key: source_key(&self.account, name), condition }
    }

    pub async fn get(&self, name: &str) -> Option<Item> {
        let key = source_key(&self.account, name);
        self.subject.ports.tables.get((&self.account).into(), &SOURCES, &key).await.unwrap()
    }

    /// Puts jobs that are due at these times.
    pub async fn jobs(&self, shard: &str, due: impl IntoIterator<Item = i64>) {
        let job = |due: i64| {
            json!({ "accountId": self.account.account_id(), "jobId": format!("job_{due:04}"), "sourceId": "s",
                "dueShard": shard, "nextDueMs": due })
        };
        let writes: Vec<_> = due.into_iter().map(|due| put(&JOBS, object(job(due)), Condition::Any)).collect();
        for writes in writes.chunks(100) {
            self.transact(writes.to_vec()).await.unwrap();
        }
    }

    /// What a page shows of an attribute.
    pub async fn page(&self, query: Query, attribute: &str) -> (Vec<Value>, Option<String>) {
        let page = self.subject.ports.tables.query((&self.account).into(), query).await.unwrap();
        (page.items.iter().map(|item| item.body[attribute].clone()).collect(), page.next)
    }
}

/// An error as DynamoDB tells it.
pub fn refusal(code: &str) -> Fate {
    Fate::IsAnswered(400, json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "as told" }))
}

#[tokio::test]
async fn tables_that_are_not_those_of_the_schema_are_told_all_at_once() {
    for stand_in in [StandIn::MiniStack, StandIn::Moto] {
        let Some(aws) = crate::aws(stand_in).await else { return };
        let (embedded, clock) = (Embedded::new(), Arc::new(MovableClock::new()));
        let tables = DynamoTables::new(&aws.clients, &aws.settings, clock, embedded.stores.ports().random);
        let places = async || {
            let error = tables.check_tables().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            error.problems().iter().map(|problem| format!("{}: {}", problem.place, problem.message)).collect::<Vec<_>>()
        };
        let missing = places().await;
        assert_eq!(missing.len(), tables::ALL.len(), "{missing:?}");
        assert_eq!(missing[0], "listbackup-test-users: there is no such table");

        let mut other = aws::creation(&aws.settings.table_name(&JOBS), &JOBS);
        other["GlobalSecondaryIndexes"].as_array_mut().unwrap().remove(0);
        let attributes = other["AttributeDefinitions"].as_array_mut().unwrap();
        attributes.retain(|found| found["AttributeName"] != "sourceId");
        attributes.iter_mut().for_each(|found| found["AttributeType"] = json!("S"));
        aws.dynamodb("CreateTable", &other).await;
        let told = places().await;
        let jobs = told.iter().filter(|told| told.starts_with("listbackup-test-jobs: ")).collect::<Vec<_>>();
        assert_eq!(
            jobs,
            [
                "listbackup-test-jobs: it lacks the index by-source by sourceId (S) and jobId (S)",
                "listbackup-test-jobs: its index due must be by dueShard (S) and nextDueMs (N)",
            ]
        );
        aws.dynamodb("DeleteTable", &json!({ "TableName": aws.settings.table_name(&JOBS) })).await;
        aws.make_tables().await;
        tables.check_tables().await.unwrap();
    }
}

#[tokio::test]
async fn each_call_makes_as_many_requests_as_the_documents_say() {
    let Some(rows) = Rows::start().await else { return };
    rows.put("a", Condition::Absent).await.unwrap();
    assert_eq!(rows.between.operations(), ["UpdateItem"], "one conditional write");
    rows.put("b", Condition::Any).await.unwrap();
    rows.put("a", Condition::Version(7)).await.unwrap_err();
    assert_eq!(rows.between.operations(), ["UpdateItem", "UpdateItem"]);
    rows.get("a").await.unwrap();
    assert_eq!(rows.between.operations(), ["GetItem"]);
    rows.transact(vec![rows.removal("b", Condition::Any)]).await.unwrap();
    assert_eq!(rows.between.operations(), ["DeleteItem"]);
    rows.transact(vec![rows.removal("a", Condition::Version(1))]).await.unwrap();
    rows.transact(vec![rows.source("c", Condition::Any), rows.source("d", Condition::Absent)]).await.unwrap();
    assert_eq!(rows.between.operations(), ["TransactWriteItems", "TransactWriteItems"]);
    rows.transact(Vec::new()).await.unwrap();
    assert_eq!(rows.between.operations(), [""; 0], "nothing is asked for nothing");

    let own = query(&SOURCES, None, &rows.account.account_id().to_string());
    let (names, next) = rows.page(Query { limit: 2, ..own }, "name").await;
    assert_eq!((names, next), (vec![json!("c"), json!("d")], None), "a page that is full may be the last");
    assert_eq!(rows.between.operations(), ["Query"]);
    rows.jobs("shard", 0..205).await;
    rows.between.heard();
    for (limit, batches) in [(1, 1), (100, 1), (101, 2), (205, 3), (1000, 3)] {
        let page = Query { limit, ..query(&JOBS, Some("due"), "shard") };
        let (due, next) = rows.page(page, "nextDueMs").await;
        assert_eq!((due.len(), next.is_some()), (limit.min(205), limit < 205));
        let mut expected = vec!["Query"];
        expected.resize(1 + batches, "BatchGetItem");
        assert_eq!(rows.between.operations(), expected, "{limit} rows of an index");
    }
    rows.page(query(&JOBS, Some("due"), "nobody"), "nextDueMs").await;
    assert_eq!(rows.between.operations(), ["Query"], "no row is none to read");
}

/// The stand-ins are never behind, so what is asked for is all that there is to see.
#[tokio::test]
async fn rows_are_read_as_they_are_and_never_from_a_copy_that_is_behind() {
    let Some(rows) = Rows::start().await else { return };
    rows.jobs("shard", 0..3).await;
    rows.between.heard();
    rows.get("a").await;
    rows.page(query(&JOBS, None, &rows.account.account_id().to_string()), "jobId").await;
    rows.page(query(&JOBS, Some("due"), "shard"), "jobId").await;
    let heard = rows.between.heard();
    let [get, own, index, batch] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!((&get.request["ConsistentRead"], &own.request["ConsistentRead"]), (&json!(true), &json!(true)));
    assert_eq!(batch.request["RequestItems"]["listbackup-test-jobs"]["ConsistentRead"], true);
    let entry = index.answer["Items"][0].as_object().unwrap();
    let mut names: Vec<_> = entry.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accountId", "dueShard", "jobId", "nextDueMs"], "an index has keys alone");
}

#[tokio::test]
async fn what_is_too_large_is_told_before_anything_is_sent() {
    let rows = Rows::alone().await;
    let large = |id: &str, size_bytes: usize| source(&rows.account, id, &"x".repeat(size_bytes));
    let long = "x".repeat(1025);
    let mut grouped = source(&rows.account, "long", "long");
    grouped.insert("integration".to_owned(), json!("x".repeat(2049)));
    for (row, told) in [
        (large("row", 410_000), "size in bytes 41"),
        (large(&long, 1), "1024 to sort by"),
        (grouped, "attribute integration"),
    ] {
        let error = rows.transact(vec![put(&SOURCES, row, Condition::Any)]).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(text.contains("sources") && text.contains("key ") && text.contains(told), "{text}");
    }
    let many = (0..11).map(|n| put(&SOURCES, large(&n.to_string(), 400_000), Condition::Any)).collect();
    let error = rows.transact(many).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("4194304") && error.to_string().contains("size in bytes 44"), "{error}");
    assert_eq!(rows.get(&long).await, None, "what cannot be there is not asked for");
    let bounded = query(&SOURCES, None, &"x".repeat(2049));
    assert_eq!(rows.page(bounded, "name").await, (vec![], None));
    assert_eq!(rows.between.operations(), [""; 0]);
}

#[tokio::test]
async fn a_store_that_is_throttled_is_asked_again_and_then_later() {
    let rows = Rows::alone().await;
    let throttled = || refusal("ProvisionedThroughputExceededException");
    rows.between.next([throttled(), Fate::IsAnswered(200, json!({}))]);
    rows.put("a", Condition::Absent).await.unwrap();
    assert_eq!(rows.between.operations(), ["UpdateItem", "UpdateItem"]);
    rows.between.next([throttled(), throttled(), throttled()]);
    let error = rows.put("a", Condition::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    rows.between.next([refusal("ResourceNotFoundException")]);
    let error = rows.put("a", Condition::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "a table that is not there is the operator's affair: {error}");
    assert!(error.to_string().contains("table sources"), "{error}");
}
