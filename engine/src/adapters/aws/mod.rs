//! Many processes, one AWS account and region (or a service compatible with it).
//!
//! | port | service |
//! |---|---|
//! | [`Tables`](crate::ports::Tables) | DynamoDB: [`DynamoTables`] |
//! | [`Queue`](crate::ports::Queue) | SQS: [`SqsQueue`] |
//! | [`Blobs`](crate::ports::Blobs) | S3: [`S3Blobs`] |
//! | [`Events`](crate::ports::Events) | EventBridge: [`EventBridgeEvents`] |
//! | [`Keys`](crate::ports::Keys) | KMS: [`KmsKeys`] |
//! | [`Mail`](crate::ports::Mail) | SES: [`SesMail`] |
//! | [`Identity`](crate::ports::Identity) | Cognito: [`CognitoIdentity`] |
//!
//! [`open`] builds all of them of [`AwsClients`] and [`AwsSettings`]; names of what they use follow from the stage. Nothing is made
//! here: tables, queues, bucket, bus, key and pool are deployed before.
//!
//! The cargo feature `aws`, on by default, builds this module. Nothing here reads the environment except the SDK: it
//! looks there for credentials, unless the settings bring them, and for its own `AWS_…` options.

mod batches;
mod blobs;
mod clients;
mod error;
mod events;
mod identity;
mod keys;
mod mail;
mod queue;
mod settings;
mod stores;
mod tables;

pub use blobs::S3Blobs;
pub use clients::AwsClients;
pub use events::EventBridgeEvents;
pub use identity::CognitoIdentity;
pub use keys::KmsKeys;
pub use mail::SesMail;
pub use queue::SqsQueue;
pub use settings::{AwsCredentials, AwsOptions, AwsSettings};
pub use stores::open;
pub use tables::DynamoTables;
