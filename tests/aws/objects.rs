//! Objects in S3.

use std::{sync::Arc, time::Duration};

use listbackup_engine::{
    ErrorKind,
    adapters::{
        aws::{AwsClients, S3Blobs, SqsQueue},
        embedded::SystemClock,
    },
    ports::{Blobs, PutOutcome, Queue, QueueName},
};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use crate::{
    servers::aws::{self, Aws, StandIn},
    suites,
    support::{Embedded, Subject},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_are_stored_as_promised() {
    objects_are_stored_as_promised_by(StandIn::MiniStack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_are_stored_as_promised_on_moto() {
    objects_are_stored_as_promised_by(StandIn::Moto).await;
}

async fn objects_are_stored_as_promised_by(stand_in: StandIn) {
    let Some(aws) = crate::aws(stand_in).await else { return };
    suites::blobs::stores_objects(&subject(&Embedded::new(), &aws)).await;
}

/// Not on moto: to lock an object that does not exist is an internal error there, where AWS says that there is none.
#[tokio::test]
async fn locked_objects_cannot_be_removed() {
    if let Err(reason) = aws::installed() {
        return println!("skipped: {reason}");
    }
    let aws = Aws::with_object_lock(StandIn::MiniStack).await;
    suites::blobs::locked_objects_cannot_be_removed(&subject(&Embedded::new(), &aws)).await;
}

/// S3's own proof of a new notification, which names no object, is among what is received, and is told to nobody.
#[tokio::test]
async fn the_bucket_tells_the_data_queue_of_each_new_snapshot() {
    let Some(aws) = crate::aws(StandIn::MiniStack).await else { return };
    aws.make_queues(&aws.settings).await;
    aws.announce_snapshots().await;
    let embedded = Embedded::new();
    let subject = subject(&embedded, &aws);
    let account = subject.account();
    let path = |rest: &str| format!("accounts/{}/sources/s/{rest}", account.account_id());
    let (segment, snapshot) = (path("segments/1.seg"), path("snapshots/1.snap"));
    for (path, outcome) in
        [(&segment, PutOutcome::Created), (&snapshot, PutOutcome::Created), (&snapshot, PutOutcome::Exists)]
    {
        assert_eq!(subject.ports.blobs.put_if_absent(&account, path, "12345".into()).await.unwrap(), outcome);
    }

    let queue = SqsQueue::new(&aws.clients, &aws.settings);
    let receive = async |wait_s| {
        let (visibility, wait) = (Duration::from_secs(60), Duration::from_secs(wait_s));
        let told = queue.receive(QueueName::Data, 10, visibility, wait).await.unwrap();
        told.into_iter().map(|message| message.body).collect::<Vec<_>>()
    };
    assert_eq!(receive(20).await, [json!({ "path": snapshot })]);
    assert_eq!(receive(1).await, Vec::<Value>::new(), "a refused put is not told");
}

/// ministack never answers so: it handles one write after another.
#[tokio::test]
async fn a_writer_in_conflict_asks_again_who_won() {
    let (free, taken) = (ResponseTemplate::new(200), refusal(412, "PreconditionFailed"));
    for (answer, outcome) in [(free, PutOutcome::Created), (taken, PutOutcome::Exists)] {
        let s3 = MockServer::start().await;
        let put = || Mock::given(matchers::method("PUT")).and(matchers::header("if-none-match", "*"));
        put().respond_with(refusal(409, "ConditionalRequestConflict")).up_to_n_times(1).expect(1).mount(&s3).await;
        put().respond_with(answer).expect(1).mount(&s3).await;
        let (blobs, embedded) = (blobs(&s3).await, Embedded::new());
        let account = embedded.subject().account();
        let path = format!("accounts/{}/a", account.account_id());
        assert_eq!(blobs.put_if_absent(&account, &path, "x".into()).await.unwrap(), outcome);
    }
}

#[tokio::test]
async fn what_only_an_operator_can_put_right_is_no_denial_of_an_account() {
    for (status, code) in [(403, "AccessDenied"), (404, "NoSuchBucket")] {
        let s3 = MockServer::start().await;
        Mock::given(matchers::any()).respond_with(refusal(status, code)).mount(&s3).await;
        let (blobs, embedded) = (blobs(&s3).await, Embedded::new());
        let account = embedded.subject().account();
        let error = blobs.get(&account, &format!("accounts/{}/a", account.account_id())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(code), "{error}");
    }
}

/// The embedded ports with the objects in S3.
fn subject(embedded: &Embedded, aws: &Aws) -> Subject {
    let mut ports = embedded.stores.ports();
    ports.blobs = Arc::new(S3Blobs::new(&aws.clients, &aws.settings));
    // Locks end by the service's clock.
    ports.clock = Arc::new(SystemClock);
    Subject::new(ports)
}

async fn blobs(s3: &MockServer) -> S3Blobs {
    let settings = aws::settings(s3.uri());
    S3Blobs::new(&AwsClients::new(&settings).await, &settings)
}

fn refusal(status: u16, code: &str) -> ResponseTemplate {
    let body = format!("<Error><Code>{code}</Code><Message>as told</Message></Error>");
    ResponseTemplate::new(status).set_body_raw(body, "application/xml")
}
