//! Protection of a task of Amazon ECS from being ended by a service that shrinks: while runs are live.
//!
//! The agent beside each container takes `PUT $ECS_AGENT_URI/task-protection/v1/state`. Protection ends by itself after a time, so a
//! process that hangs does not keep its task for ever. It does not hold against deployments' own time-outs or against the end of Spot
//! capacity: both send SIGTERM, and then runs reach a checkpoint and go on elsewhere.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html>

use std::{net::IpAddr, sync::Arc, time::Duration};

use listbackup_engine::{
    Error, ErrorKind, Result,
    connectors::http::{AddressGuard, HttpClient, HttpClientBuilder, Method, Request},
    run::RunContext,
};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};
use url::{Host, Url};

/// The variable of the container that names its agent.
const AGENT: &str = "ECS_AGENT_URI";
/// How often it is looked whether runs are live.
const EVERY: Duration = Duration::from_secs(5);
/// For how long protection is asked for.
const MINUTES: u64 = 60;
/// When it is asked for anew.
const RENEW_AFTER: Duration = Duration::from_secs(30 * 60);

/// The task that this process is in.
pub struct Task {
    state: Url,
    client: HttpClient,
}

impl Task {
    /// `None` where the process is in no task of ECS.
    ///
    /// # Errors
    /// `Invalid` when the agent's address is none.
    pub fn of_this_process() -> Result<Option<Self>> {
        #[expect(clippy::disallowed_methods, reason = "the container's, not one of our settings")]
        let agent = std::env::var(AGENT).ok();
        agent.map(|agent| Self::with_agent(&agent)).transpose()
    }

    fn with_agent(agent: &str) -> Result<Self> {
        let wrong =
            || Error::new(ErrorKind::Invalid, "the address of the container's agent is none").with("variable", AGENT);
        let state: Url =
            format!("{}/task-protection/v1/state", agent.trim_end_matches('/')).parse().map_err(|_| wrong())?;
        // The agent is on a link-local address, which nothing else of this process may reach.
        let address: IpAddr = match state.host() {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            _ => return Err(wrong()),
        };
        let network = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 }).parse()?;
        Ok(Self { state, client: HttpClientBuilder::new(AddressGuard::allowing(vec![network])).build()? })
    }

    /// Protects the task while runs are live, for ever.
    pub async fn keep(self, ctx: Arc<RunContext>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut protected_since: Option<Instant> = None;
        loop {
            ticks.tick().await;
            let is_wanted = ctx.places.live() > 0;
            let is_right = match protected_since {
                Some(since) => is_wanted && since.elapsed() < RENEW_AFTER,
                None => !is_wanted,
            };
            if is_right {
                continue;
            }
            match self.set(is_wanted).await {
                Ok(()) => protected_since = is_wanted.then(Instant::now),
                Err(error) => tracing::warn!(%error, is_wanted, "the task's protection could not be set; trying again"),
            }
        }
    }

    async fn set(&self, is_protected: bool) -> Result<()> {
        let body = if is_protected {
            json!({ "ProtectionEnabled": true, "ExpiresInMinutes": MINUTES })
        } else {
            json!({ "ProtectionEnabled": false })
        };
        let mut request = Request::post(self.state.clone(), "application/json", body.to_string());
        request.method = Method::PUT;
        let answer = self.client.send_once(request).await?;
        let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let failure = ["failure", "error"].iter().find_map(|name| told.get(name));
        match failure {
            None if answer.status.is_success() => Ok(()),
            _ => Err(Error::new(ErrorKind::Retry, "the container's agent refused")
                .with("status", answer.status.as_u16())
                .with("answer", failure.map(ToString::to_string).unwrap_or_default())),
        }
    }
}
