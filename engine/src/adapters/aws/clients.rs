//! One client for each service, all from the same settings.

use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_s3::{
    config::{
        Credentials,
        interceptors::InterceptorContext,
        retry::{ClassifyRetry, RetryAction},
    },
    error::ProvideErrorMetadata,
    operation::put_object::PutObjectError,
};
use secrecy::{ExposeSecret, SecretString};

use super::settings::{AwsCredentials, AwsSettings};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Up to the head of an answer, so it must hold the upload of a large object, and SQS's wait of 20 s for messages.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// With all attempts and the pauses between them.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(150);
const MAX_ATTEMPTS: u32 = 3;
/// DynamoDB answers within milliseconds; who waits for a row holds a lease meanwhile.
const ROW_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const ROW_OPERATION_TIMEOUT: Duration = Duration::from_secs(20);

/// The clients; clones share their connections.
#[derive(Clone, Debug)]
pub struct AwsClients {
    /// Rows.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// Messages.
    pub sqs: aws_sdk_sqs::Client,
    /// Objects.
    pub s3: aws_sdk_s3::Client,
    /// The event bus.
    pub eventbridge: aws_sdk_eventbridge::Client,
    /// The key that wraps data keys.
    pub kms: aws_sdk_kms::Client,
    /// Letters.
    pub ses: aws_sdk_sesv2::Client,
    /// The user pool.
    pub cognito: aws_sdk_cognitoidentityprovider::Client,
}

impl AwsClients {
    /// Clients for the given settings. Nothing is sent yet: wrong credentials show at the first request.
    pub async fn new(settings: &AwsSettings) -> Self {
        let shared = loader(settings).load().await;
        Self {
            dynamodb: dynamodb(&shared),
            sqs: aws_sdk_sqs::Client::new(&shared),
            s3: s3(&shared, settings),
            eventbridge: aws_sdk_eventbridge::Client::new(&shared),
            kms: aws_sdk_kms::Client::new(&shared),
            ses: aws_sdk_sesv2::Client::new(&shared),
            cognito: aws_sdk_cognitoidentityprovider::Client::new(&shared),
        }
    }
}

fn loader(settings: &AwsSettings) -> ConfigLoader {
    let timeouts = timeouts(ATTEMPT_TIMEOUT, OPERATION_TIMEOUT);
    // A version by its name: a newer SDK changes no behaviour unasked.
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(settings.region().to_owned()))
        .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
        .timeout_config(timeouts);
    if let Some(url) = settings.endpoint_url() {
        loader = loader.endpoint_url(url);
    }
    if let Some(credentials) = settings.credentials() {
        loader = loader.credentials_provider(given(credentials));
    }
    loader
}

fn timeouts(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

fn given(credentials: &AwsCredentials) -> Credentials {
    let token = credentials.session_token.as_ref().map(SecretString::expose_secret);
    Credentials::new(
        &credentials.access_key_id,
        credentials.secret_access_key.expose_secret(),
        token.map(ToOwned::to_owned),
        None,
        "settings of ListBackup",
    )
}

fn dynamodb(shared: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let timeouts = timeouts(ROW_ATTEMPT_TIMEOUT, ROW_OPERATION_TIMEOUT);
    let config = aws_sdk_dynamodb::config::Builder::from(shared).timeout_config(timeouts).build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

fn s3(shared: &SdkConfig, settings: &AwsSettings) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(shared)
        // A compatible service has one host name and no name for each bucket.
        .force_path_style(settings.endpoint_url().is_some())
        .retry_classifier(WritersInConflict)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// S3 answers 409 when a write to the same key was under way or an object was deleted meanwhile, and wants the request to
/// be sent again: only then it says who won. The SDK by itself gives up on it.
#[derive(Debug)]
struct WritersInConflict;

impl ClassifyRetry for WritersInConflict {
    fn classify_retry(&self, attempt: &InterceptorContext) -> RetryAction {
        let code = attempt
            .output_or_error()
            .and_then(Result::err)
            .and_then(|error| error.as_operation_error()?.downcast_ref::<PutObjectError>()?.code());
        match code {
            Some("ConditionalRequestConflict") => RetryAction::transient_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "writers in conflict"
    }
}
