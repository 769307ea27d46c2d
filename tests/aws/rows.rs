//! Rows in DynamoDB.

use std::sync::Arc;

use listbackup_engine::adapters::aws::DynamoTables;

use crate::{
    servers::aws::{Aws, StandIn},
    suites,
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
    suites::tables::keeps_all(&subject(&Embedded::new(), &aws)).await;
}

/// The embedded ports with the rows in DynamoDB.
fn subject(embedded: &Embedded, aws: &Aws) -> Subject {
    let (mut ports, clock) = (embedded.stores.ports(), Arc::new(MovableClock::new()));
    ports.tables = Arc::new(DynamoTables::new(&aws.clients, &aws.settings, clock.clone(), ports.random.clone()));
    Subject::with_clock(ports, clock)
}
