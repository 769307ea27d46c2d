//! Writes to DynamoDB whose answers get lost, or that meet other writes.

use std::collections::HashSet;

use listbackup_engine::{ErrorKind, ports::Condition};
use serde_json::{Value, json};

use crate::{
    rows::{Rows, refusal},
    servers::between::Fate,
};

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_done_once() {
    let Some(rows) = Rows::start().await else { return };
    rows.between.next([Fate::IsLost]);
    rows.put("a", Condition::Absent).await.unwrap();
    assert_eq!(rows.between.operations(), ["UpdateItem", "UpdateItem"]);
    rows.between.next([Fate::IsLost]);
    rows.put("a", Condition::Version(1)).await.unwrap();
    rows.between.heard();
    assert_eq!(rows.get("a").await.unwrap().version, 2);

    rows.between.heard();
    rows.between.next([Fate::IsLost]);
    rows.transact(vec![rows.source("b", Condition::Absent), rows.removal("a", Condition::Version(2))]).await.unwrap();
    assert_eq!(rows.between.operations(), ["TransactWriteItems", "TransactWriteItems"]);
    assert_eq!((rows.get("b").await.unwrap().version, rows.get("a").await), (1, None));
    rows.between.next([Fate::IsLost]);
    rows.transact(vec![rows.removal("b", Condition::Version(1))]).await.unwrap();
    assert_eq!(rows.get("b").await, None, "a removal leaves no row to ask");
}

/// As on moto, or when the answer to its token has been forgotten.
#[tokio::test]
async fn a_transaction_that_is_not_known_again_is_known_by_its_rows() {
    let rows = Rows::alone().await;
    let lost = Fate::IsAnswered(500, json!({ "__type": "InternalServerError" }));
    let done_before = Fate::IsAnsweredBy(|request| {
        let write_id = &request["TransactItems"][1]["Update"]["ExpressionAttributeValues"][":writeId"];
        let other = failed_for(json!({ "writeId": { "S": "of somebody else" } }));
        cancelled_for(&[other, failed_for(json!({ "writeId": write_id }))])
    });
    rows.between.next([lost, done_before]);
    rows.put_two().await.unwrap();
    assert_eq!(rows.between.operations(), ["TransactWriteItems", "TransactWriteItems"]);
}

#[tokio::test]
async fn whoever_cannot_know_whether_a_write_happened_is_told_to_look_again() {
    let rows = Rows::alone().await;
    let found = |version: u64| {
        let item = json!({ "accountId": { "S": rows.account.account_id() }, "version": { "N": version.to_string() },
            "writeId": { "S": "of somebody else" } });
        let code = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
        Fate::IsAnswered(400, json!({ "__type": code, "message": "as told", "Item": item }))
    };
    let lost = || Fate::IsAnswered(500, json!({ "__type": "InternalServerError" }));
    rows.between.next([lost(), found(2)]);
    let error = rows.put("a", Condition::Version(1)).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Conflict,
        "somebody else made the version that this write would have made: {error}"
    );
    rows.between.next([lost(), found(3)]);
    let error = rows.put("a", Condition::Version(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert!(error.to_string().contains("may have happened"), "{error}");
    rows.between.next([found(3)]);
    let error = rows.put("a", Condition::Version(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "nothing was lost: {error}");
}

#[tokio::test]
async fn what_is_in_the_way_of_a_write_is_waited_for() {
    let rows = Rows::alone().await;
    let (none, taken) = (json!({ "Code": "None" }), json!({ "Code": "TransactionConflict", "Message": "as told" }));
    let done = || Fate::IsAnswered(200, json!({}));
    for reason in ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"] {
        rows.between.next([cancelled(&[none.clone(), json!({ "Code": reason })]), done()]);
        rows.put_two().await.unwrap();
        let heard = rows.between.heard();
        let tokens: HashSet<_> = heard.iter().map(|heard| heard.request["ClientRequestToken"].to_string()).collect();
        assert_eq!((heard.len(), tokens.len()), (2, 2), "one that was cancelled is another one: {heard:?}");
    }
    rows.between.next([refusal("TransactionConflictException"), done()]);
    rows.put("a", Condition::Any).await.unwrap();
    rows.between.next([refusal("TransactionConflictException"), done()]);
    rows.transact(vec![rows.removal("a", Condition::Any)]).await.unwrap();
    assert_eq!(rows.between.operations(), ["UpdateItem", "UpdateItem", "DeleteItem", "DeleteItem"]);

    rows.between.next((0..8).map(|_| cancelled(&[none.clone(), taken.clone()])));
    let error = rows.put_two().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert_eq!(rows.between.operations().len(), 8);
}

#[tokio::test]
async fn the_first_condition_that_does_not_hold_is_told() {
    let rows = Rows::alone().await;
    let (none, taken) = (json!({ "Code": "None" }), json!({ "Code": "TransactionConflict" }));
    let of = |account: &str| failed_for(json!({ "accountId": { "S": account }, "version": { "N": "4" } }));
    let own = of(&rows.account.account_id().to_string());
    for (reasons, kind, key) in [
        ([none.clone(), own.clone()], ErrorKind::Conflict, "second"),
        ([taken, json!({ "Code": "ConditionalCheckFailed" })], ErrorKind::Conflict, "second"),
        ([own, of("another")], ErrorKind::Conflict, "first"),
        ([none.clone(), of("another")], ErrorKind::Denied, "second"),
        ([none, json!({ "Code": "ValidationError", "Message": "as told" })], ErrorKind::Invalid, "second"),
    ] {
        rows.between.next([cancelled(&reasons)]);
        let error = rows.put_two().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(&format!("{}/{key}", rows.account.account_id())), "{error}");
    }
}

fn cancelled(reasons: &[Value]) -> Fate {
    let (status, answer) = cancelled_for(reasons);
    Fate::IsAnswered(status, answer)
}

fn cancelled_for(reasons: &[Value]) -> (u16, Value) {
    let code = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    (400, json!({ "__type": code, "Message": "as told", "CancellationReasons": reasons }))
}

fn failed_for(item: Value) -> Value {
    json!({ "Code": "ConditionalCheckFailed", "Item": item })
}

impl Rows {
    async fn put_two(&self) -> Result<(), listbackup_engine::Error> {
        self.transact(vec![self.source("first", Condition::Absent), self.source("second", Condition::Absent)]).await
    }
}
