//! All ports over one AWS account and region.

use std::sync::Arc;

use super::{
    AwsClients, AwsSettings, CognitoIdentity, DynamoTables, EventBridgeEvents, KmsKeys, S3Blobs, SesMail, SqsQueue,
};
use crate::{
    error::Result,
    ports::{Clock, Ports, Random},
};

/// The ports over the services that the settings name. Whether the tables are those of this version is asked first. That this cannot be
/// found out is no reason not to start: what is wrong then shows with the first request, and may have passed by then.
///
/// # Errors
/// `Invalid` when the settings name no user pool, or with every difference between a table and its schema.
pub async fn open(settings: &AwsSettings, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Ports> {
    let clients = AwsClients::new(settings).await;
    let tables = Arc::new(DynamoTables::new(&clients, settings, clock.clone(), random.clone()));
    match tables.check_tables().await {
        Err(error) if error.problems().is_empty() => {
            tracing::warn!(%error, "it could not be found out whether the tables are those of this version");
        }
        checked => checked?,
    }
    let identity = CognitoIdentity::new(&clients, settings, tables.clone(), clock.clone(), random.clone())?;
    Ok(Ports {
        queue: Arc::new(SqsQueue::new(&clients, settings)),
        blobs: Arc::new(S3Blobs::new(&clients, settings)),
        events: Arc::new(EventBridgeEvents::new(&clients, settings, tables.clone())),
        keys: Arc::new(KmsKeys::new(&clients, settings)),
        mail: Arc::new(SesMail::new(&clients, settings)),
        identity: Arc::new(identity),
        tables,
        clock,
        random,
    })
}
