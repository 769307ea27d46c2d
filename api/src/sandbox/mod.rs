//! A small CRM to back up: something real for a new user, a test and a benchmark, without an account anywhere.
//!
//! Its records are made from a seed when they are asked for, so a million cost no memory; only what changed is kept.
//! It can be written to as well.
//! `connectors/manifests/sandbox.yaml` is the integration that reads it.

mod control;
mod document;
mod draw;
mod fault;
mod files;
mod gate;
mod limit;
mod oauth;
mod record;
mod routes;
mod sign_in;
mod table;
mod world;
mod writes;
mod written;

use std::{
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle, web::Data};

pub use self::{
    control::Stats,
    fault::{Fault, FaultOrder},
    world::{Moved, MovedIds, Mutation},
};
use self::{
    fault::Faults,
    limit::RateLimit,
    oauth::{OAuthClient, OAuthServer},
    world::World,
};

/// What a sandbox is like.
#[derive(Clone, Debug)]
pub struct SandboxSettings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many contacts there are at first; the other streams follow from it.
    pub records: u64,
    /// Decides all data.
    pub seed: u64,
    /// Requests a second for each credential; 0 is no limit.
    pub rate_limit_per_second: u32,
    /// How long each page takes.
    pub page_latency: Duration,
    /// How long an access token lasts.
    pub access_token_life: Duration,
    /// The key that works without a sign-in.
    pub api_key: String,
    /// The id of the one OAuth client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            records: 1000,
            seed: 1,
            rate_limit_per_second: 0,
            page_latency: Duration::ZERO,
            access_token_life: Duration::from_secs(300),
            api_key: "sandbox-key".to_owned(),
            client_id: "sandbox-client".to_owned(),
            client_secret: "sandbox-secret".to_owned(),
        }
    }
}

/// A running sandbox. Stop it; dropping it leaves it running until the runtime ends.
pub struct Sandbox {
    address: SocketAddr,
    handle: ServerHandle,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// What all handlers share.
struct Shared {
    settings: SandboxSettings,
    world: Mutex<World>,
    oauth: Mutex<OAuthServer>,
    limit: Mutex<RateLimit>,
    faults: Mutex<Faults>,
    stats: Mutex<Stats>,
    client: Mutex<OAuthClient>,
}

impl Shared {
    fn new(settings: SandboxSettings) -> Self {
        Self {
            world: Mutex::new(World::new(settings.records, settings.seed)),
            oauth: Mutex::new(OAuthServer::new(settings.seed, settings.access_token_life)),
            limit: Mutex::new(RateLimit::new(settings.rate_limit_per_second)),
            faults: Mutex::default(),
            stats: Mutex::default(),
            client: Mutex::new(OAuthClient {
                client_id: settings.client_id.clone(),
                client_secret: settings.client_secret.clone(),
            }),
            settings,
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        held(&self.world)
    }

    fn oauth(&self) -> MutexGuard<'_, OAuthServer> {
        held(&self.oauth)
    }

    fn stats(&self) -> MutexGuard<'_, Stats> {
        held(&self.stats)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sandbox {
    /// Starts serving; needs a running tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(settings: SandboxSettings) -> std::io::Result<Self> {
        let listen = settings.listen;
        let shared = Data::new(Shared::new(settings));
        let server = HttpServer::new(move || App::new().app_data(shared.clone()).configure(routes::all))
            .workers(2)
            .disable_signals()
            .shutdown_timeout(1)
            .bind(listen)?;
        let address = server.addrs().first().copied().unwrap_or(listen);
        let server = server.run();
        let handle = server.handle();
        Ok(Self { address, handle, server: tokio::spawn(server) })
    }

    /// `http://127.0.0.1:PORT`, the integration's `base_url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops serving; waits for requests in flight for a second.
    ///
    /// # Errors
    /// When the server ended by a fault.
    pub async fn stop(self) -> std::io::Result<()> {
        self.handle.stop(true).await;
        self.server.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }
}
