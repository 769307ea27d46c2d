//! What the ports promise, kept by the stores of AWS on both of its stand-ins; and what only these meet: answers of their services.

#[path = "support/authenticator.rs"]
mod authenticator;
#[path = "aws/credentials.rs"]
mod credentials;
#[path = "aws/events.rs"]
mod events;
#[path = "aws/identity.rs"]
mod identity;
#[path = "aws/keys.rs"]
mod keys;
#[path = "aws/mail.rs"]
mod mail;
#[path = "aws/objects.rs"]
mod objects;
#[path = "aws/pool_keys.rs"]
mod pool_keys;
#[path = "aws/queue.rs"]
mod queue;
#[path = "aws/row_indexes.rs"]
mod row_indexes;
#[path = "aws/row_writes.rs"]
mod row_writes;
#[path = "aws/rows.rs"]
mod rows;
#[path = "support/servers/mod.rs"]
mod servers;
#[path = "support/suites/mod.rs"]
mod suites;
mod support;

use std::fmt::Debug;

use servers::aws::{self, Aws, StandIn};

/// A client without its HTTP stack compiles, and fails at its first request.
#[tokio::test]
async fn each_service_answers_its_client() {
    for stand_in in [StandIn::MiniStack, StandIn::Moto] {
        let Some(aws) = aws(stand_in).await else { return };
        let clients = &aws.clients;
        answered(clients.dynamodb.list_tables().send().await);
        answered(clients.sqs.list_queues().send().await);
        answered(clients.s3.head_bucket().bucket(aws.settings.bucket()).send().await);
        answered(clients.eventbridge.list_event_buses().send().await);
        answered(clients.kms.list_keys().send().await);
        answered(clients.cognito.list_user_pools().max_results(1).send().await);
    }
}

#[track_caller]
fn answered<T: Debug, E: Debug>(answer: Result<T, E>) {
    if let Err(error) = answer {
        panic!("{error:?}");
    }
}

/// An account with an empty bucket; `None`, and the reason is printed, where no stand-in is installed.
async fn aws(stand_in: StandIn) -> Option<Aws> {
    match aws::installed() {
        Ok(()) => Some(Aws::start(stand_in).await),
        Err(reason) => {
            println!("skipped: {reason}");
            None
        }
    }
}
