//! A process that runs for long: a server, the actors beside it, and their end in good order.
//!
//! On SIGTERM, in this order: it says that it is not ready; no new work is taken and every run reaches a checkpoint and lets go of
//! its lease, within the time to drain; answers under way are finished; what is left of events is relayed, where relaying is the process's
//! affair. No notice at all is enough for nothing to be lost: whoever is killed leaves a lease that expires.

use std::{collections::BTreeSet, net::TcpListener, sync::Arc};

use actix::Addr;
use listbackup_engine::{
    Error, ErrorKind, Result,
    actors::{Drain, Engine, GaveUp, Roles},
    run::RunContext,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    config::Config,
    gauges, protection,
    server::{self, RunningServer},
    signal,
    state::{ApiSettings, AppState, Service},
    worker,
};

/// The process while it serves.
pub struct Process {
    ctx: Arc<RunContext>,
    server: RunningServer,
    /// With what it runs.
    engine: Option<(Addr<Engine>, Roles)>,
    _beside: Vec<AbortOnDropHandle<()>>,
}

impl Process {
    /// Serves these services; health, readiness and metrics are always among them.
    ///
    /// # Errors
    /// `Conflict` when the address cannot be listened on.
    pub fn serve(ctx: Arc<RunContext>, config: &Config, services: BTreeSet<Service>) -> Result<Self> {
        let metrics = PrometheusBuilder::new()
            .install_recorder()
            .map_err(|error| Error::new(ErrorKind::Bug, format!("metrics cannot be recorded: {error}")))?;
        let unusable = |error: std::io::Error| server::unusable(config.listen, &error);
        // First: links name the port that it got.
        let listener = TcpListener::bind(config.listen).map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let public_url = config.public_url.clone().map_or_else(|| format!("http://{address}").parse(), Ok);
        let settings = ApiSettings {
            public_url: public_url
                .map_err(|error| Error::new(ErrorKind::Invalid, format!("the public address is no URL: {error}")))?,
            services,
            metrics_token: config.metrics_token.clone(),
            proxies: config.proxies.clone(),
            stripe: config.stripe.clone(),
        };
        let state = AppState::new(ctx.clone(), settings, metrics).limiting_downloads(config.downloads);
        let server = server::serve(state, listener).map_err(unusable)?;
        Ok(Self { ctx, server, engine: None, _beside: Vec::new() })
    }

    /// Where it listens: `http://127.0.0.1:8700`.
    pub fn address(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Starts the actors of these roles, and what tells of their work.
    ///
    /// # Errors
    /// `Invalid` when the environment of the container is not as it should be.
    pub fn work(&mut self, roles: Roles) -> Result<()> {
        self.engine = Some((Engine::start(self.ctx.clone(), roles), roles));
        self._beside.push(AbortOnDropHandle::new(tokio::spawn(gauges::keep(self.ctx.clone(), roles))));
        if let Some(task) = protection::Task::of_this_process()?.filter(|_| roles.work()) {
            self._beside.push(AbortOnDropHandle::new(tokio::spawn(task.keep(self.ctx.clone()))));
        }
        Ok(())
    }

    /// Waits until the process is asked to end. True when it ends by itself instead, since its actors broke off again and again.
    pub async fn until_stopped(&self) -> bool {
        let Some((engine, _)) = &self.engine else {
            signal::stop().await;
            return false;
        };
        tokio::select! {
            () = signal::stop() => false,
            // An error means that the root of the engine is gone: that is no better.
            _ = engine.send(GaveUp) => true,
        }
    }

    /// Ends in good order.
    ///
    /// # Errors
    /// What ended the server before.
    pub async fn stop(self) -> Result<()> {
        self.server.turn_away();
        if let Some((engine, _)) = &self.engine {
            // The engine is the only actor that could be gone, and then there is nothing to drain.
            let _gone = engine.send(Drain).await;
        }
        self.server.stop().await?;
        if self.engine.is_some_and(|(_, roles)| roles.relay()) {
            worker::settle(&self.ctx).await;
        }
        Ok(())
    }
}

/// The end of a process whose actors broke off again and again.
pub fn gave_up() -> Error {
    let message = "the engine broke off again and again (see the log); nothing is lost: start it again";
    Error::new(ErrorKind::Bug, message)
}
