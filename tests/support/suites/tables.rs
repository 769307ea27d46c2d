//! The promises of the tables port.

use std::collections::BTreeMap;

use listbackup_engine::{
    Error, ErrorKind,
    model::scope::{AccountScope, Scope},
    ports::{Condition, Item, Key, Query, SortRange, WRITES_MAX, Write},
    tables::{OAUTH_STATES, RUNS, SOURCES, TableSchema, USERS},
};
use serde_json::{Map, Value, json};

use super::queries;
use crate::support::{SeededRandom, Subject};

/// Every promise, one after another.
pub async fn keeps_all(subject: &Subject) {
    versions_grow_from_one(subject).await;
    conditions_hold_or_nothing_is_written(subject).await;
    a_transaction_is_all_or_nothing(subject).await;
    misuse_is_told(subject).await;
    an_account_reaches_only_its_own_rows(subject).await;
    system_tables_need_the_system(subject).await;
    queries::keeps_all(subject).await;
    of_racing_writers_one_wins(subject).await;
    rows_past_their_expiry_read_as_absent(subject).await;
    it_behaves_as_a_map(subject).await;
}

pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

pub fn source(account: &AccountScope, id: &str, name: &str) -> Map<String, Value> {
    let integration = format!("{}-stripe", account.account_id());
    object(json!({ "accountId": account.account_id(), "sourceId": id, "integration": integration, "name": name }))
}

pub fn source_key(account: &AccountScope, id: &str) -> Key {
    Key { partition: account.account_id().to_string(), sort: id.to_owned() }
}

pub fn put(table: &'static TableSchema, body: Map<String, Value>, condition: Condition) -> Write {
    Write::Put { table, body, condition }
}

pub fn query(table: &'static TableSchema, index: Option<&'static str>, partition: &str) -> Query {
    Query {
        table,
        index,
        partition: partition.to_owned(),
        sort: SortRange::All,
        descending: false,
        limit: 100,
        after: None,
    }
}

pub async fn write(subject: &Subject, scope: impl Into<Scope<'_>>, write: Write) -> Result<(), Error> {
    subject.ports.tables.transact(scope.into(), vec![write]).await
}

async fn get(subject: &Subject, account: &AccountScope, id: &str) -> Option<Item> {
    subject.ports.tables.get(account.into(), &SOURCES, &source_key(account, id)).await.unwrap()
}

/// Values of `attribute` over all pages.
pub async fn all(subject: &Subject, scope: impl Into<Scope<'_>>, mut query: Query, attribute: &str) -> Vec<String> {
    let scope = scope.into();
    let mut values = Vec::new();
    loop {
        let page = subject.ports.tables.query(scope, query.clone()).await.unwrap();
        assert!(page.items.len() <= query.limit, "a page is longer than asked for");
        values.extend(page.items.iter().map(|item| match &item.body[attribute] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return values,
        }
    }
}

async fn versions_grow_from_one(subject: &Subject) {
    let account = subject.account();
    assert_eq!(get(subject, &account, "a").await, None);
    for version in 1..=3 {
        let body = source(&account, "a", &format!("name {version}"));
        write(subject, &account, put(&SOURCES, body.clone(), Condition::Any)).await.unwrap();
        assert_eq!(get(subject, &account, "a").await, Some(Item { body, version }));
    }
}

async fn conditions_hold_or_nothing_is_written(subject: &Subject) {
    let account = subject.account();
    let named = |name: &str| source(&account, "a", name);
    let key = source_key(&account, "a");
    let refused = async |refused: Write| {
        let error = write(subject, &account, refused).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let context: Vec<_> = error.context().iter().map(|(name, _)| *name).collect();
        assert!(context.contains(&"table") && context.contains(&"key"), "{error}");
    };
    let delete = |condition| Write::Delete { table: &SOURCES, key: key.clone(), condition };
    let check = |condition| Write::Check { table: &SOURCES, key: key.clone(), condition };

    refused(put(&SOURCES, named("x"), Condition::Version(1))).await;
    refused(delete(Condition::Version(1))).await;
    refused(check(Condition::Version(1))).await;
    write(subject, &account, delete(Condition::Any)).await.unwrap();
    write(subject, &account, check(Condition::Absent)).await.unwrap();
    write(subject, &account, put(&SOURCES, named("1"), Condition::Absent)).await.unwrap();
    refused(put(&SOURCES, named("x"), Condition::Absent)).await;
    refused(check(Condition::Absent)).await;
    refused(put(&SOURCES, named("x"), Condition::Version(2))).await;
    write(subject, &account, put(&SOURCES, named("2"), Condition::Version(1))).await.unwrap();
    refused(put(&SOURCES, named("x"), Condition::Version(1))).await;
    write(subject, &account, check(Condition::Version(2))).await.unwrap();
    assert_eq!(get(subject, &account, "a").await.unwrap().body["name"], "2");
    refused(delete(Condition::Version(1))).await;
    write(subject, &account, delete(Condition::Version(2))).await.unwrap();
    assert_eq!(get(subject, &account, "a").await, None);
}

async fn a_transaction_is_all_or_nothing(subject: &Subject) {
    let account = subject.account();
    write(subject, &account, put(&SOURCES, source(&account, "old", "kept"), Condition::Absent)).await.unwrap();
    let writes = |last: Condition| {
        vec![
            put(&SOURCES, source(&account, "new", "n"), Condition::Absent),
            Write::Delete { table: &SOURCES, key: source_key(&account, "old"), condition: Condition::Any },
            Write::Check { table: &SOURCES, key: source_key(&account, "other"), condition: last },
        ]
    };
    let tables = &subject.ports.tables;
    let error = tables.transact((&account).into(), writes(Condition::Version(7))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(get(subject, &account, "new").await, None);
    assert!(get(subject, &account, "old").await.is_some());
    tables.transact((&account).into(), writes(Condition::Absent)).await.unwrap();
    assert!(get(subject, &account, "new").await.is_some());
    assert_eq!(get(subject, &account, "old").await, None);
    tables.transact((&account).into(), Vec::new()).await.unwrap();
}

async fn misuse_is_told(subject: &Subject) {
    let account = subject.account();
    let tables = &subject.ports.tables;
    // Also where another writer came first.
    for condition in [Condition::Any, Condition::Version(7)] {
        let twice = vec![
            put(&SOURCES, source(&account, "a", "1"), condition),
            Write::Delete { table: &SOURCES, key: source_key(&account, "a"), condition },
        ];
        assert_eq!(tables.transact((&account).into(), twice).await.unwrap_err().kind(), ErrorKind::Bug);
    }
    let many = |n| (0..n).map(|n| put(&SOURCES, source(&account, &format!("m{n}"), "1"), Condition::Any)).collect();
    assert_eq!(tables.transact((&account).into(), many(WRITES_MAX + 1)).await.unwrap_err().kind(), ErrorKind::Bug);
    assert_eq!(get(subject, &account, "m0").await, None);
    tables.transact((&account).into(), many(WRITES_MAX)).await.unwrap();
    assert!(get(subject, &account, &format!("m{}", WRITES_MAX - 1)).await.is_some());
    let mut keyless = source(&account, "a", "1");
    keyless.remove("sourceId");
    assert_eq!(
        write(subject, &account, put(&SOURCES, keyless, Condition::Any)).await.unwrap_err().kind(),
        ErrorKind::Bug
    );
    let large = |id: &str, size| put(&SOURCES, source(&account, id, &"x".repeat(size)), Condition::Any);
    let error = write(subject, &account, large("a", 500_000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error =
        tables.transact((&account).into(), ('a'..='k').map(|id| large(&id.to_string(), 400_000)).collect()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid, "4 MiB at once");
    assert_eq!(get(subject, &account, "a").await, None);
}

async fn an_account_reaches_only_its_own_rows(subject: &Subject) {
    let (mine, other) = (subject.account(), subject.account());
    let run = |account: &AccountScope, job: &str| {
        object(json!({ "jobId": job, "runId": "run_1", "accountId": account.account_id() }))
    };
    let job = subject.unique("job");
    let key = Key { partition: job.clone(), sort: "run_1".to_owned() };
    write(subject, &other, put(&RUNS, run(&other, &job), Condition::Absent)).await.unwrap();

    let tables = &subject.ports.tables;
    assert_eq!(tables.get((&mine).into(), &RUNS, &key).await.unwrap(), None, "a foreign row reads as absent");
    assert!(all(subject, &mine, query(&RUNS, None, &job), "runId").await.is_empty());
    let of_other = query(&RUNS, Some("by-account"), &other.account_id().to_string());
    assert!(all(subject, &mine, of_other.clone(), "runId").await.is_empty());
    assert_eq!(all(subject, &other, of_other, "runId").await, ["run_1"]);

    let attempts = [
        put(&RUNS, run(&mine, &job), Condition::Any),
        put(&RUNS, run(&mine, &job), Condition::Absent),
        put(&RUNS, run(&other, &job), Condition::Any),
        put(&RUNS, run(&other, &subject.unique("job")), Condition::Any),
        Write::Delete { table: &RUNS, key: key.clone(), condition: Condition::Any },
        Write::Check { table: &RUNS, key: key.clone(), condition: Condition::Version(1) },
    ];
    for attempt in attempts {
        let shown = format!("{attempt:?}");
        assert_eq!(write(subject, &mine, attempt).await.unwrap_err().kind(), ErrorKind::Denied, "{shown}");
    }
    let found = tables.get((&subject.system).into(), &RUNS, &key).await.unwrap().unwrap();
    assert_eq!((found.version, &found.body["accountId"]), (1, &json!(other.account_id())), "nothing was changed");
}

async fn system_tables_need_the_system(subject: &Subject) {
    let account = subject.account();
    let id = subject.unique("usr");
    let user = object(json!({ "userId": id, "email": format!("{id}@example.com") }));
    let key = Key { partition: id.clone(), sort: String::new() };
    let tables = &subject.ports.tables;
    let denied = write(subject, &account, put(&USERS, user.clone(), Condition::Any)).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied);
    assert_eq!(tables.get((&account).into(), &USERS, &key).await.unwrap_err().kind(), ErrorKind::Denied);
    let by_email = query(&USERS, Some("by-email"), &format!("{id}@example.com"));
    assert_eq!(tables.query((&account).into(), by_email.clone()).await.unwrap_err().kind(), ErrorKind::Denied);
    write(subject, &subject.system, put(&USERS, user, Condition::Absent)).await.unwrap();
    assert_eq!(all(subject, &subject.system, by_email, "userId").await, [id]);
}

async fn of_racing_writers_one_wins(subject: &Subject) {
    let account = subject.account();
    for round in 0..10_u64 {
        let condition = if round == 0 { Condition::Absent } else { Condition::Version(round) };
        let racers = (0..32).map(|racer| {
            let body = source(&account, "head", &format!("{round} {racer}"));
            write(subject, &account, put(&SOURCES, body, condition))
        });
        let outcomes = futures::future::join_all(racers).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "round {round}");
        assert!(outcomes.iter().flat_map(|outcome| outcome.as_ref().err()).all(|e| e.kind() == ErrorKind::Conflict));
    }
    assert_eq!(get(subject, &account, "head").await.unwrap().version, 10);
}

async fn rows_past_their_expiry_read_as_absent(subject: &Subject) {
    let expires_at = subject.ports.clock.now().as_second() + 600;
    let state = |hash: &str| object(json!({ "stateHash": hash, "expiresAt": expires_at }));
    let key = |hash: &str| Key { partition: hash.to_owned(), sort: String::new() };
    let (used, unused) = (subject.unique("state"), subject.unique("state"));
    for hash in [&used, &unused] {
        write(subject, &subject.system, put(&OAUTH_STATES, state(hash), Condition::Absent)).await.unwrap();
    }
    let tables = &subject.ports.tables;
    subject.pass(std::time::Duration::from_secs(599)).await;
    let consume = |hash: &str| Write::Delete { table: &OAUTH_STATES, key: key(hash), condition: Condition::Version(1) };
    write(subject, &subject.system, consume(&used)).await.unwrap();
    assert!(tables.get((&subject.system).into(), &OAUTH_STATES, &key(&unused)).await.unwrap().is_some());
    subject.pass(std::time::Duration::from_secs(1)).await;
    assert_eq!(tables.get((&subject.system).into(), &OAUTH_STATES, &key(&unused)).await.unwrap(), None);
    assert!(all(subject, &subject.system, query(&OAUTH_STATES, None, &unused), "stateHash").await.is_empty());
    let late = write(subject, &subject.system, consume(&unused)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict, "an expired row cannot be consumed");
}

/// Random operations on the port and on a map must never be told apart.
async fn it_behaves_as_a_map(subject: &Subject) {
    let seed = 7;
    let random = SeededRandom::new(seed);
    let account = subject.account();
    let mut model: BTreeMap<String, (String, u64)> = BTreeMap::new();
    for step in 0..600 {
        let id = format!("s{}", random.below(12));
        let version = model.get(&id).map_or(0, |(_, version)| *version);
        let condition = match random.below(4) {
            0 => Condition::Any,
            1 => Condition::Absent,
            2 => Condition::Version(version.max(1)),
            _ => Condition::Version(version + 1),
        };
        let holds = match condition {
            Condition::Any => true,
            Condition::Absent => version == 0,
            Condition::Version(wanted) => version == wanted,
        };
        let name = step.to_string();
        let is_delete = random.below(3) == 0;
        let operation = if is_delete {
            Write::Delete { table: &SOURCES, key: source_key(&account, &id), condition }
        } else {
            put(&SOURCES, source(&account, &id, &name), condition)
        };
        let outcome = write(subject, &account, operation).await;
        assert_eq!(outcome.is_ok(), holds, "seed {seed}, step {step}: {condition:?} at version {version}");
        match (holds, is_delete) {
            (true, true) => drop(model.remove(&id)),
            (true, false) => drop(model.insert(id.clone(), (name, version + 1))),
            (false, _) => {}
        }
        let stored = get(subject, &account, &id)
            .await
            .map(|item| (item.body["name"].as_str().unwrap().to_owned(), item.version));
        assert_eq!(stored.as_ref(), model.get(&id), "seed {seed}, step {step}");
    }
    let listed = all(subject, &account, query(&SOURCES, None, &account.account_id().to_string()), "sourceId").await;
    assert_eq!(listed, model.into_keys().collect::<Vec<_>>(), "seed {seed}");
}
