//! Where in AWS the stores are, checked before anything is sent there.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{
    error::{Error, Problem, Result},
    ports::QueueName,
    tables::TableSchema,
};

/// The stage is a part of the names of tables and queues, which have lengths of their own.
const MAX_STAGE_BYTES: usize = 20;
/// A region and a bucket are labels of a host name.
const MAX_LABEL_BYTES: usize = 63;
const MIN_BUCKET_BYTES: usize = 3;
/// S3 keys have at most 1,024 bytes, of which our own paths take up to 300.
const MAX_PREFIX_BYTES: usize = 512;
/// As long as AWS allows an ARN.
const MAX_NAME_BYTES: usize = 2048;
/// As long as Cognito allows the id of a client.
const MAX_WORD_BYTES: usize = 128;

/// Where the stores are, as an operator wrote it.
#[derive(Clone, Debug, Default)]
pub struct AwsOptions {
    /// Tells installations in one AWS account apart: `production`, `test`.
    pub stage: String,
    /// The region of every service: `eu-central-1`.
    pub region: String,
    /// The bucket of the objects.
    pub bucket: String,
    /// What the keys of all objects begin with, without a slash at either end; empty for none.
    pub prefix: String,
    /// Address of a service compatible with AWS, such as `http://127.0.0.1:4566`; `None` for AWS itself.
    pub endpoint_url: Option<String>,
    /// Id, ARN or alias of the key that wraps data keys; `None` for `alias/listbackup-<stage>`.
    pub kms_key: Option<String>,
    /// Name or ARN of the event bus; `None` for `listbackup-<stage>`.
    pub event_bus: Option<String>,
    /// The user pool, such as `eu-central-1_AbCdEf123`; `None` where nobody signs in.
    pub user_pool_id: Option<String>,
    /// The pool's client, one without secret, through which people sign in; goes with the pool.
    pub user_pool_client_id: Option<String>,
    /// Where the pool's public keys are; `None` for their place in AWS.
    pub user_pool_keys_url: Option<String>,
    /// The address that letters come from; without it none are sent but those of the user pool.
    pub mail_from: Option<String>,
    /// Who calls; `None` to find out by the default chain of the SDK (environment, profile, web identity, container, instance).
    pub credentials: Option<AwsCredentials>,
}

/// An access key of AWS.
#[derive(Clone, Debug)]
pub struct AwsCredentials {
    /// The public part.
    pub access_key_id: String,
    /// The secret part.
    pub secret_access_key: SecretString,
    /// Goes with temporary keys.
    pub session_token: Option<SecretString>,
}

/// [`AwsOptions`] that were checked.
#[derive(Clone, Debug)]
pub struct AwsSettings(AwsOptions);

impl AwsSettings {
    /// Checks the options; nothing is sent.
    ///
    /// # Errors
    /// `Invalid` with every problem, each at the JSON pointer of its option.
    pub fn new(options: AwsOptions) -> Result<Self> {
        let mut problems = Vec::new();
        let mut check = |place: &str, fits: bool, message: String| {
            if !fits {
                problems.push(Problem { place: place.to_owned(), message });
            }
        };
        let stage = &options.stage;
        check("/stage", is_label(stage, 1..=MAX_STAGE_BYTES), label_of("1", MAX_STAGE_BYTES));
        let region = &options.region;
        check("/region", is_label(region, 1..=MAX_LABEL_BYTES), "must be a region, such as eu-central-1".to_owned());
        let bucket = &options.bucket;
        // S3 also allows dots, but then its certificate does not cover the bucket's host name.
        check("/bucket", is_label(bucket, MIN_BUCKET_BYTES..=MAX_LABEL_BYTES), label_of("3", MAX_LABEL_BYTES));
        let message =
            format!("must be names between single slashes, of visible ASCII, {MAX_PREFIX_BYTES} bytes at most");
        check("/prefix", is_prefix(&options.prefix), message);
        let message = "must be an http or https address without user, query and fragment".to_owned();
        check("/endpointUrl", options.endpoint_url.as_deref().is_none_or(is_endpoint), message);
        let name = "must be visible ASCII characters, at most 2048 of them";
        let is_name = |text: &Option<String>| text.as_deref().is_none_or(is_name);
        check("/kmsKey", is_name(&options.kms_key), name.to_owned());
        check("/eventBus", is_name(&options.event_bus), name.to_owned());
        let (pool, client) = (&options.user_pool_id, &options.user_pool_client_id);
        let message = "must be a region, an underscore, and letters and digits".to_owned();
        check("/userPoolId", pool.as_deref().is_none_or(is_user_pool), message);
        let message = "must be letters and digits; a user pool and its client go together".to_owned();
        let fits = client.as_deref().is_none_or(is_word) && client.is_some() == pool.is_some();
        check("/userPoolClientId", fits, message);
        let message = "must be an http or https address without user, query and fragment".to_owned();
        check("/userPoolKeysUrl", options.user_pool_keys_url.as_deref().is_none_or(is_endpoint), message);
        let message = "must be an e-mail address that SES has verified, by itself or by its domain".to_owned();
        check("/mailFrom", options.mail_from.as_deref().is_none_or(is_address), message);
        if let Some(credentials) = &options.credentials {
            let message = || "must be visible ASCII characters".to_owned();
            check("/credentials/accessKeyId", is_visible(&credentials.access_key_id), message());
            let secret = credentials.secret_access_key.expose_secret();
            check("/credentials/secretAccessKey", is_visible(secret), message());
            let token = credentials.session_token.as_ref().map(SecretString::expose_secret);
            check("/credentials/sessionToken", token.is_none_or(is_visible), message());
        }
        if problems.is_empty() {
            Ok(Self(options))
        } else {
            Err(Error::invalid("the settings of AWS are not valid", problems))
        }
    }

    /// The stage.
    pub fn stage(&self) -> &str {
        &self.0.stage
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// The bucket of the objects.
    pub fn bucket(&self) -> &str {
        &self.0.bucket
    }

    /// What the keys of all objects begin with: empty, or with a slash at its end.
    pub(super) fn key_prefix(&self) -> String {
        if self.0.prefix.is_empty() { String::new() } else { format!("{}/", self.0.prefix) }
    }

    /// The name of a table.
    pub fn table_name(&self, table: &TableSchema) -> String {
        self.named(table.name)
    }

    /// A name that tells installations in one AWS account apart.
    fn named(&self, name: &str) -> String {
        format!("listbackup-{}-{name}", self.0.stage)
    }

    /// Address of a compatible service.
    pub fn endpoint_url(&self) -> Option<&str> {
        self.0.endpoint_url.as_deref()
    }

    /// The name of a queue: `listbackup-<stage>-jobs`. That of its dead letters has `-dead` at its end.
    pub fn queue_name(&self, queue: QueueName) -> String {
        format!("listbackup-{}-{}", self.0.stage, queue.as_str())
    }

    /// The name of the queue that a queue's messages go to when they were delivered too often.
    pub fn dead_letter_queue_name(&self, queue: QueueName) -> String {
        format!("{}-dead", self.queue_name(queue))
    }

    /// Id, ARN or alias of the key that wraps data keys.
    pub fn kms_key(&self) -> String {
        self.0.kms_key.clone().unwrap_or_else(|| format!("alias/listbackup-{}", self.0.stage))
    }

    /// Name or ARN of the event bus.
    pub fn event_bus(&self) -> String {
        self.0.event_bus.clone().unwrap_or_else(|| format!("listbackup-{}", self.0.stage))
    }

    /// The user pool and its client, where people sign in.
    pub fn user_pool(&self) -> Option<(&str, &str)> {
        Some((self.0.user_pool_id.as_deref()?, self.0.user_pool_client_id.as_deref()?))
    }

    /// Where the user pool's public keys are, if that is not their place in AWS.
    pub fn user_pool_keys_url(&self) -> Option<&str> {
        self.0.user_pool_keys_url.as_deref()
    }

    /// The address that letters come from.
    pub fn mail_from(&self) -> Option<&str> {
        self.0.mail_from.as_deref()
    }

    /// The given credentials.
    pub(super) fn credentials(&self) -> Option<&AwsCredentials> {
        self.0.credentials.as_ref()
    }
}

fn label_of(min: &str, max: usize) -> String {
    format!("must have {min} to {max} lower-case letters, digits and hyphens, and start and end without a hyphen")
}

fn is_label(text: &str, len: std::ops::RangeInclusive<usize>) -> bool {
    let plain = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
    len.contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_prefix(text: &str) -> bool {
    let is_name = |name: &str| is_visible(name) && !matches!(name, "." | "..") && !name.contains('\\');
    text.is_empty() || (text.len() <= MAX_PREFIX_BYTES && text.split('/').all(is_name))
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && is_visible(text)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_WORD_BYTES && text.bytes().all(|letter| letter.is_ascii_alphanumeric())
}

fn is_user_pool(text: &str) -> bool {
    text.split_once('_').is_some_and(|(region, name)| is_label(region, 1..=MAX_LABEL_BYTES) && is_word(name))
}

fn is_address(text: &str) -> bool {
    let parts = text.split_once('@');
    is_visible(text) && parts.is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.'))
}

fn is_endpoint(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|letter| letter.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> AwsOptions {
        AwsOptions {
            stage: "test".to_owned(),
            region: "eu-central-1".to_owned(),
            bucket: "listbackup-objects".to_owned(),
            prefix: "backups/crm".to_owned(),
            endpoint_url: None,
            kms_key: None,
            event_bus: None,
            user_pool_id: None,
            user_pool_client_id: None,
            user_pool_keys_url: None,
            mail_from: None,
            credentials: None,
        }
    }

    fn places(options: AwsOptions) -> Vec<String> {
        let error = AwsSettings::new(options).unwrap_err();
        error.problems().iter().map(|problem| problem.place.clone()).collect()
    }

    #[test]
    fn right_settings_are_kept() {
        let endpoint_url = Some("http://127.0.0.1:4566".to_owned());
        let settings = AwsSettings::new(AwsOptions { endpoint_url, ..options() }).unwrap();
        assert_eq!((settings.stage(), settings.region()), ("test", "eu-central-1"));
        assert_eq!(settings.table_name(&crate::tables::USERS_ACCOUNTS), "listbackup-test-users-accounts");
        assert_eq!((settings.bucket(), &*settings.key_prefix()), ("listbackup-objects", "backups/crm/"));
        assert_eq!(settings.endpoint_url(), Some("http://127.0.0.1:4566"));
        let settings = AwsSettings::new(AwsOptions { prefix: String::new(), ..options() }).unwrap();
        assert_eq!(settings.key_prefix(), "");
    }

    #[test]
    fn all_problems_are_told_at_once_and_no_secret_with_them() {
        let credentials = AwsCredentials {
            access_key_id: String::new(),
            secret_access_key: "canary secret".into(),
            session_token: Some("canary\ntoken".into()),
        };
        let wrong = AwsOptions {
            stage: "Test".to_owned(),
            region: String::new(),
            bucket: "my.bucket".to_owned(),
            prefix: "a//b".to_owned(),
            endpoint_url: Some("ftp://example.com".to_owned()),
            kms_key: Some(String::new()),
            event_bus: Some("a b".to_owned()),
            user_pool_id: Some("pool".to_owned()),
            user_pool_client_id: None,
            user_pool_keys_url: Some("keys.json".to_owned()),
            mail_from: Some("nobody".to_owned()),
            credentials: Some(credentials),
        };
        assert!(!format!("{wrong:?} {}", AwsSettings::new(wrong.clone()).unwrap_err()).contains("canary"));
        let expected = [
            "/stage",
            "/region",
            "/bucket",
            "/prefix",
            "/endpointUrl",
            "/kmsKey",
            "/eventBus",
            "/userPoolId",
            "/userPoolClientId",
            "/userPoolKeysUrl",
            "/mailFrom",
            "/credentials/accessKeyId",
            "/credentials/secretAccessKey",
            "/credentials/sessionToken",
        ];
        assert_eq!(places(wrong), expected);
    }

    #[test]
    fn names_follow_from_the_stage_unless_they_are_given() {
        let settings = AwsSettings::new(options()).unwrap();
        assert_eq!(settings.queue_name(QueueName::Jobs), "listbackup-test-jobs");
        assert_eq!(settings.dead_letter_queue_name(QueueName::Data), "listbackup-test-data-dead");
        assert_eq!((&*settings.kms_key(), &*settings.event_bus()), ("alias/listbackup-test", "listbackup-test"));
        assert_eq!((settings.user_pool(), settings.user_pool_keys_url()), (None, None));
        let given = |text: &str| Some(text.to_owned());
        let settings = AwsSettings::new(AwsOptions {
            kms_key: given("arn:aws:kms:eu-central-1:1:key/1"),
            event_bus: given("others"),
            user_pool_id: given("eu-central-1_AbC1"),
            user_pool_client_id: given("7client"),
            user_pool_keys_url: given("http://127.0.0.1:1/keys"),
            ..options()
        });
        let settings = settings.unwrap();
        assert_eq!((&*settings.kms_key(), &*settings.event_bus()), ("arn:aws:kms:eu-central-1:1:key/1", "others"));
        assert_eq!(settings.user_pool(), Some(("eu-central-1_AbC1", "7client")));
        assert_eq!(settings.user_pool_keys_url(), Some("http://127.0.0.1:1/keys"));
    }

    #[test]
    fn a_pool_and_its_client_go_together() {
        let client = Some("7client".to_owned());
        assert_eq!(places(AwsOptions { user_pool_client_id: client, ..options() }), ["/userPoolClientId"]);
    }

    #[test]
    fn a_prefix_is_a_plain_path() {
        for text in ["/a", "a/", "a/../b", ".", "a b", "a\\b", "ä"] {
            assert_eq!(places(AwsOptions { prefix: text.to_owned(), ..options() }), ["/prefix"], "{text}");
        }
    }

    #[test]
    fn an_endpoint_carries_nothing_but_a_place() {
        for text in
            ["", "127.0.0.1:4566", "http://user@host", "http://:pass@host", "http://host/?a=b", "http://host/#a"]
        {
            let wrong = AwsOptions { endpoint_url: Some(text.to_owned()), ..options() };
            assert_eq!(places(wrong), ["/endpointUrl"], "{text}");
        }
    }
}
