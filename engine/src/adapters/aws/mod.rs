//! Many processes, one AWS account and region (or a service compatible with it).
//!
//! | port | service |
//! |---|---|
//! | [`Tables`](crate::ports::Tables) | DynamoDB: [`DynamoTables`] |
//! | [`Queue`](crate::ports::Queue) | SQS |
//! | [`Blobs`](crate::ports::Blobs) | S3: [`S3Blobs`] |
//! | [`Events`](crate::ports::Events) | EventBridge |
//! | [`Keys`](crate::ports::Keys) | KMS |
//! | [`Identity`](crate::ports::Identity) | Cognito |
//!
//! What stands: settings, one client for each of these services, and the ports of rows and objects. The program takes its stores from
//! [`embedded`](super::embedded) until the other ports stand too.
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
mod queue;
mod settings;
mod tables;

pub use blobs::S3Blobs;
pub use clients::AwsClients;
pub use events::EventBridgeEvents;
pub use identity::CognitoIdentity;
pub use keys::KmsKeys;
pub use queue::SqsQueue;
pub use settings::{AwsCredentials, AwsOptions, AwsSettings};
pub use tables::DynamoTables;
