//! What every function of a run is handed.

use std::sync::Arc;

use listbackup_connectors::{http::HttpClient, registry::Registry};

use super::{places::Places, settings::RunSettings, source_tokens::Turns};
use crate::{
    model::{WorkerId, scope::SystemScope},
    ports::Ports,
    snapshot::SnapshotStore,
    store::Store,
};

/// The worker's world, shared by all its runs.
pub struct RunContext {
    /// The outside.
    pub ports: Ports,
    /// Typed rows over `ports.tables`.
    pub store: Store,
    /// The worker serves all accounts; narrowed to one for each run.
    pub system: SystemScope,
    /// Snapshots over `ports.blobs` and `ports.keys`.
    pub snapshots: SnapshotStore,
    /// The integrations that ship with the product.
    pub registry: Arc<Registry>,
    /// The one HTTP client, with the worker's address guard.
    pub http: HttpClient,
    /// Limits.
    pub settings: RunSettings,
    /// Who executes how much at a time.
    pub places: Places,
    /// Who refreshes which tokens.
    pub turns: Turns,
    /// This worker.
    pub worker_id: WorkerId,
}
