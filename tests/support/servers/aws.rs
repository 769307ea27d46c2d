//! An AWS account of its own, served by one of the stand-ins for AWS.

use listbackup_engine::adapters::aws::{AwsClients, AwsCredentials, AwsOptions, AwsSettings};

use super::{ministack, moto, process::Server, python};

const REGION: &str = "us-east-1";
/// Below which the objects are.
pub const PREFIX: &str = "below/a-prefix";
/// The account of everybody whose access key is not twelve digits.
const ACCOUNT: &str = "000000000000";

/// What stands in for AWS. A promise is tested on both: each was written from AWS's documents by other people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandIn {
    MiniStack,
    Moto,
}

/// A running account with a bucket.
pub struct Aws {
    server: Server,
    /// Who serves it.
    pub stand_in: StandIn,
    /// Where its stores are.
    pub settings: AwsSettings,
    /// Ready to use.
    pub clients: AwsClients,
}

/// Says what is missing, if anything is.
pub fn installed() -> Result<(), String> {
    python().map(drop)
}

impl Aws {
    /// An account with one empty bucket.
    pub async fn start(stand_in: StandIn) -> Self {
        Self::start_with(stand_in, false).await
    }

    /// An account with one empty bucket whose objects can be locked.
    pub async fn with_object_lock(stand_in: StandIn) -> Self {
        Self::start_with(stand_in, true).await
    }

    async fn start_with(stand_in: StandIn, object_lock: bool) -> Self {
        let server = match stand_in {
            StandIn::MiniStack => ministack::start(),
            StandIn::Moto => moto::start(),
        };
        let settings = settings(server.url());
        let clients = AwsClients::new(&settings).await;
        clients
            .s3
            .create_bucket()
            .bucket(settings.bucket())
            .object_lock_enabled_for_bucket(object_lock)
            .send()
            .await
            .expect("a bucket can be made");
        Self { server, stand_in, settings, clients }
    }

    /// Makes a queue that the bucket tells of every new `.snap` object; the queue's address.
    pub async fn announce_snapshots(&self) -> String {
        let queue = self.clients.sqs.create_queue().queue_name("listbackup-test-data").send().await;
        let queue_url = queue.expect("a queue can be made").queue_url.expect("a queue has an address");
        // Plain HTTP instead of the SDK, whose types for this are not among the tests' dependencies.
        let notification = format!(
            "<NotificationConfiguration><QueueConfiguration>\
             <Queue>arn:aws:sqs:{REGION}:{ACCOUNT}:listbackup-test-data</Queue><Event>s3:ObjectCreated:*</Event>\
             <Filter><S3Key><FilterRule><Name>suffix</Name><Value>.snap</Value></FilterRule></S3Key></Filter>\
             </QueueConfiguration></NotificationConfiguration>"
        );
        let address = format!("{}/{}?notification", self.server.url(), self.settings.bucket());
        let answer = reqwest::Client::new().put(address).body(notification).send().await.expect("the stand-in answers");
        assert!(answer.status().is_success(), "{answer:?}");
        self.take_test_event(&queue_url).await;
        queue_url
    }

    /// S3 proves the way of a new notification by an event that names no object.
    async fn take_test_event(&self, queue_url: &str) {
        let receive = self.clients.sqs.receive_message().queue_url(queue_url).wait_time_seconds(20);
        let messages = receive.send().await.expect("a queue can be read").messages.unwrap_or_default();
        let [event] = messages.as_slice() else { panic!("one message was expected: {messages:?}") };
        assert!(event.body().is_some_and(|body| body.contains("s3:TestEvent")), "{event:?}");
        let receipt = event.receipt_handle().expect("a message has a receipt");
        let delete = self.clients.sqs.delete_message().queue_url(queue_url).receipt_handle(receipt);
        delete.send().await.expect("a message can be deleted");
    }
}

/// Settings for a service compatible with AWS at `endpoint_url`.
pub fn settings(endpoint_url: String) -> AwsSettings {
    let credentials =
        AwsCredentials { access_key_id: "test".to_owned(), secret_access_key: "test".into(), session_token: None };
    AwsSettings::new(AwsOptions {
        stage: "test".to_owned(),
        region: REGION.to_owned(),
        bucket: "listbackup-test-objects".to_owned(),
        prefix: PREFIX.to_owned(),
        endpoint_url: Some(endpoint_url),
        credentials: Some(credentials),
    })
    .expect("the settings are right")
}
