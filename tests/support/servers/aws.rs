//! An AWS account of its own, served by one of the stand-ins for AWS.

use listbackup_engine::{
    adapters::aws::{AwsClients, AwsCredentials, AwsOptions, AwsSettings},
    ports::QueueName,
    tables::{self, Attribute, AttributeType, TableSchema},
};
use serde_json::{Value, json};

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

    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Makes the queues of a stage, each with its dead letters.
    pub async fn make_queues(&self, settings: &AwsSettings) {
        for queue in [QueueName::Jobs, QueueName::Data] {
            let dead = self.clients.sqs.create_queue().queue_name(settings.dead_letter_queue_name(queue));
            dead.send().await.expect("a queue can be made");
            let dead_arn = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{}", settings.dead_letter_queue_name(queue));
            let policy = json!({ "deadLetterTargetArn": dead_arn, "maxReceiveCount": 5 }).to_string();
            let live = self.clients.sqs.create_queue().queue_name(settings.queue_name(queue));
            live.attributes("RedrivePolicy".into(), policy).send().await.expect("a queue can be made");
        }
    }

    /// Makes the key that wraps data keys.
    pub async fn make_key(&self) {
        let key = self.clients.kms.create_key().send().await.expect("a key can be made");
        let id = key.key_metadata.expect("a key is described").key_id;
        let alias = self.clients.kms.create_alias().alias_name(self.settings.kms_key()).target_key_id(id);
        alias.send().await.expect("an alias can be made");
    }

    /// Makes the event bus, and a queue that it tells of failed runs; the queue's address.
    pub async fn make_bus(&self) -> String {
        let bus = self.settings.event_bus();
        self.clients.eventbridge.create_event_bus().name(&bus).send().await.expect("a bus can be made");
        let queue = self.clients.sqs.create_queue().queue_name("failures").send().await;
        let pattern = json!({ "source": ["listbackup"], "detail-type": ["run.failed"] }).to_string();
        let rule = self.clients.eventbridge.put_rule().name("failures").event_bus_name(&bus).event_pattern(pattern);
        rule.send().await.expect("a rule can be made");
        let arn = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:failures");
        let targets = json!({ "Rule": "failures", "EventBusName": bus, "Targets": [{ "Id": "failures", "Arn": arn }] });
        self.ask("events", "AWSEvents.PutTargets", &targets).await;
        queue.expect("a queue can be made").queue_url.expect("a queue has an address")
    }

    /// Makes a user pool and a client of it; the settings with both.
    pub async fn make_user_pool(&self) -> AwsSettings {
        let policy = json!({ "PasswordPolicy": { "MinimumLength": 10, "RequireUppercase": false, "RequireLowercase": false,
            "RequireNumbers": false, "RequireSymbols": false } });
        let pool = json!({ "PoolName": "listbackup-test", "UsernameAttributes": ["email"],
            "AutoVerifiedAttributes": ["email"], "Policies": policy, "MfaConfiguration": "OPTIONAL",
            "AccountRecoverySetting": { "RecoveryMechanisms": [{ "Name": "verified_email", "Priority": 1 }] } });
        let pool = self.ask("cognito-idp", "AWSCognitoIdentityProviderService.CreateUserPool", &pool).await;
        let pool_id = pool["UserPool"]["Id"].as_str().expect("a pool has an id").to_owned();
        let client = json!({ "UserPoolId": pool_id, "ClientName": "listbackup-test", "GenerateSecret": false,
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
            "PreventUserExistenceErrors": "ENABLED", "AccessTokenValidity": 15,
            "TokenValidityUnits": { "AccessToken": "minutes" } });
        let client = self.ask("cognito-idp", "AWSCognitoIdentityProviderService.CreateUserPoolClient", &client).await;
        let client_id = client["UserPoolClient"]["ClientId"].as_str().expect("a client has an id").to_owned();
        AwsSettings::new(AwsOptions {
            user_pool_keys_url: Some(format!("{}/{pool_id}/.well-known/jwks.json", self.url())),
            user_pool_id: Some(pool_id),
            user_pool_client_id: Some(client_id),
            ..options(self.url())
        })
        .expect("the settings are right")
    }

    /// Plain HTTP instead of the SDK, whose types for some requests are not among the tests' dependencies.
    async fn ask(&self, service: &str, target: &str, body: &Value) -> Value {
        let credentials = format!("AWS4-HMAC-SHA256 Credential=test/20261122/{REGION}/{service}/aws4_request");
        let request = reqwest::Client::new()
            .post(self.url())
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.1")
            .header("authorization", format!("{credentials}, SignedHeaders=host, Signature=0"))
            .body(body.to_string());
        let answer = request.send().await.expect("the stand-in answers");
        let status = answer.status();
        let text = answer.text().await.expect("an answer is whole");
        assert!(status.is_success(), "{target}: {status} {text}");
        serde_json::from_str(&text).expect("an answer is JSON")
    }

    /// Makes all tables, with their indexes, and waits until they can be used.
    pub async fn make_tables(&self) {
        for table in tables::ALL {
            self.dynamodb("CreateTable", &creation(&self.settings.table_name(table), table)).await;
        }
        for table in tables::ALL {
            let name = json!({ "TableName": self.settings.table_name(table) });
            let is_ready = |table: &Value| {
                let indexes = table["GlobalSecondaryIndexes"].as_array().into_iter().flatten();
                table["TableStatus"] == "ACTIVE" && indexes.into_iter().all(|index| index["IndexStatus"] == "ACTIVE")
            };
            while !is_ready(&self.dynamodb("DescribeTable", &name).await["Table"]) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// An operation of DynamoDB that must succeed; its answer.
    pub async fn dynamodb(&self, operation: &str, request: &Value) -> Value {
        let (status, answer) = call(&self.server.url(), operation, request).await;
        assert_eq!(status, 200, "{operation} {request}: {answer}");
        answer
    }

    /// Has the bucket tell the data queue, which is there, of every new `.snap` object.
    pub async fn announce_snapshots(&self) {
        // Plain HTTP here too.
        let notification = format!(
            "<NotificationConfiguration><QueueConfiguration>\
             <Queue>arn:aws:sqs:{REGION}:{ACCOUNT}:{}</Queue><Event>s3:ObjectCreated:*</Event>\
             <Filter><S3Key><FilterRule><Name>suffix</Name><Value>.snap</Value></FilterRule></S3Key></Filter>\
             </QueueConfiguration></NotificationConfiguration>",
            self.settings.queue_name(QueueName::Data)
        );
        let address = format!("{}/{}?notification", self.server.url(), self.settings.bucket());
        let answer = reqwest::Client::new().put(address).body(notification).send().await.expect("the stand-in answers");
        assert!(answer.status().is_success(), "{answer:?}");
    }
}

/// An operation of DynamoDB: its status and answer. Plain HTTP, for what the types of the SDK are not among the tests' dependencies.
pub async fn call(endpoint_url: &str, operation: &str, request: &Value) -> (u16, Value) {
    let answer = reqwest::Client::new()
        .post(endpoint_url)
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("content-type", "application/x-amz-json-1.0")
        .header("authorization", format!("AWS4-HMAC-SHA256 Credential=test/20261122/{REGION}/dynamodb/aws4_request"))
        .body(request.to_string())
        .send()
        .await
        .expect("the stand-in answers");
    let status = answer.status().as_u16();
    (status, answer.json().await.expect("an answer is JSON"))
}

/// What makes a table of the schema: pay for each request, and indexes of keys alone.
pub fn creation(name: &str, table: &TableSchema) -> Value {
    let keys = |partition: Attribute, sort: Option<Attribute>| {
        let keys = [Some((partition, "HASH")), sort.map(|sort| (sort, "RANGE"))].into_iter().flatten();
        keys.map(|(key, kind)| json!({ "AttributeName": key.name, "KeyType": kind })).collect::<Vec<_>>()
    };
    let mut attributes: Vec<Attribute> = Vec::new();
    let of_indexes = table.indexes.iter().flat_map(|index| [Some(index.partition), index.sort]);
    for attribute in [Some(table.partition), table.sort].into_iter().chain(of_indexes).flatten() {
        if !attributes.contains(&attribute) {
            attributes.push(attribute);
        }
    }
    let kind = |attribute: &Attribute| match attribute.kind {
        AttributeType::Text => "S",
        AttributeType::Number => "N",
    };
    let definitions = attributes.iter().map(|a| json!({ "AttributeName": a.name, "AttributeType": kind(a) }));
    let mut creation = json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": definitions.collect::<Vec<_>>(),
        "KeySchema": keys(table.partition, table.sort),
    });
    let indexes = table.indexes.iter().map(|index| {
        json!({
            "IndexName": index.name,
            "KeySchema": keys(index.partition, index.sort),
            "Projection": { "ProjectionType": "KEYS_ONLY" },
        })
    });
    if !table.indexes.is_empty() {
        creation["GlobalSecondaryIndexes"] = indexes.collect();
    }
    creation
}

/// Settings for a service compatible with AWS at `endpoint_url`.
pub fn settings(endpoint_url: String) -> AwsSettings {
    AwsSettings::new(options(endpoint_url)).expect("the settings are right")
}

/// The options of [`settings`], for others that differ from them.
pub fn options(endpoint_url: String) -> AwsOptions {
    let credentials =
        AwsCredentials { access_key_id: "test".to_owned(), secret_access_key: "test".into(), session_token: None };
    AwsOptions {
        stage: "test".to_owned(),
        region: REGION.to_owned(),
        bucket: "listbackup-test-objects".to_owned(),
        prefix: PREFIX.to_owned(),
        endpoint_url: Some(endpoint_url),
        credentials: Some(credentials),
        ..AwsOptions::default()
    }
}
