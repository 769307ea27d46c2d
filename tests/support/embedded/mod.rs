//! What only the embedded stores promise.

mod directory;
mod second_factor;
mod signing;
mod survival;

use listbackup_engine::{
    model::AccountId,
    ports::{Condition, Write},
    tables::SOURCES,
};
use serde_json::{Value, json};

use crate::support::Subject;

/// Two rows that belong together.
pub async fn write_pair(subject: &Subject, account_id: AccountId, n: u64) {
    let writes = ["a", "b"].map(|half| {
        let Value::Object(body) = json!({ "accountId": account_id, "sourceId": format!("{n}-{half}") }) else {
            panic!("an object");
        };
        Write::Put { table: &SOURCES, body, condition: Condition::Absent }
    });
    subject.ports.tables.transact((&subject.system).into(), writes.into()).await.unwrap();
}
