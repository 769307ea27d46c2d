//! What every function of a run is handed.

use std::sync::Arc;

use listbackup_connectors::{http::HttpClient, registry::Registry};

use super::{bell::Bell, own_integrations::Loaded, places::Places, settings::RunSettings, source_tokens::Turns};
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
    /// The HTTP client, with the worker's address guard.
    pub http: HttpClient,
    /// The one for integrations of an account's own: never beyond what a server may reach, whoever runs the process.
    pub http_for_own: HttpClient,
    /// Integrations of accounts' own that were loaded.
    pub loaded: Loaded,
    /// Limits.
    pub settings: RunSettings,
    /// Who executes how much at a time.
    pub places: Places,
    /// Who refreshes which tokens.
    pub turns: Turns,
    /// Rung when something is to be sent.
    pub bell: Bell,
    /// This worker.
    pub worker_id: WorkerId,
}
