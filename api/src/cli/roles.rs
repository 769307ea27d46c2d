//! `listbackup serve`, `worker`, `scheduler`, `indexer`, `all`: one role, or all, of a process that runs for long, configured by its
//! environment.

use std::{collections::BTreeMap, sync::Arc};

use listbackup_engine::{Result, actors::Roles, adapters::embedded::EmbeddedStores, run::RunContext};

use super::{
    data_dir::DataDir,
    exit::{Done, Outcome},
    output,
};
use crate::{
    config::{Config, StoresConfig, table},
    process::{Process, gave_up},
    state::Service,
    worker::Worker,
};

/// Arguments of `serve`.
#[derive(clap::Args)]
#[command(after_help = table::help())]
pub struct ServeArgs {
    /// Services to serve, in the place of LISTBACKUP_SERVICES [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    services: Vec<Service>,
}

/// Arguments of the other roles: none, all is in the environment.
#[derive(clap::Args)]
#[command(after_help = table::help())]
pub struct RoleArgs {}

/// What a process does.
struct Duties {
    name: &'static str,
    roles: Option<Roles>,
    /// `None` for none but health and metrics.
    services: Option<Vec<Service>>,
}

/// Serves the API.
pub async fn serve(args: ServeArgs) -> Outcome {
    run(Duties { name: "serve", roles: None, services: Some(args.services) }).await
}

/// Carries out runs.
pub async fn worker() -> Outcome {
    run(Duties { name: "worker", roles: Some(Roles::Worker), services: None }).await
}

/// Looks what is due.
pub async fn scheduler() -> Outcome {
    run(Duties { name: "scheduler", roles: Some(Roles::Scheduler), services: None }).await
}

/// Indexes snapshots.
pub async fn indexer() -> Outcome {
    run(Duties { name: "indexer", roles: Some(Roles::Indexer), services: None }).await
}

/// All of it.
pub async fn all() -> Outcome {
    run(Duties { name: "all", roles: Some(Roles::All), services: Some(Vec::new()) }).await
}

async fn run(duties: Duties) -> Outcome {
    let config = Config::read(&environment())?;
    let opened = Opened::of(&config).await?;
    let services = duties.services.map_or_else(Vec::new, |asked| chosen(asked, &config));
    let mut process = Process::serve(opened.ctx.clone(), &config, services.iter().copied().collect())?;
    if let Some(roles) = duties.roles {
        process.work(roles)?;
    }
    output::line(&format!("listbackup {} is up: {}", duties.name, process.address()));
    let has_given_up = process.until_stopped().await;
    output::line("stopping");
    process.stop().await?;
    if has_given_up { Err(gave_up()) } else { Ok(Done::Whole) }
}

/// By argument, by setting, or all.
fn chosen(asked: Vec<Service>, config: &Config) -> Vec<Service> {
    [asked, config.services.clone()].into_iter().find(|list| !list.is_empty()).unwrap_or_else(|| Service::ALL.to_vec())
}

/// A worker's world over the stores that the settings name.
struct Opened {
    ctx: Arc<RunContext>,
    /// Keeps the data directory locked.
    _stores: Option<EmbeddedStores>,
}

impl Opened {
    async fn of(config: &Config) -> Result<Self> {
        match &config.stores {
            StoresConfig::Embedded(path) => {
                let dir = path.clone().map(DataDir::at).unwrap_or_default();
                let Worker { ctx, stores, .. } = dir.open_to_write(config.worker())?;
                Ok(Self { ctx, _stores: Some(stores) })
            }
            #[cfg(feature = "aws")]
            StoresConfig::Aws { settings, scratch_dir } => {
                use listbackup_engine::adapters::{
                    aws,
                    embedded::{SystemClock, SystemRandom},
                    smtp::SmtpMail,
                };
                let mut ports = aws::open(settings, Arc::new(SystemClock), Arc::new(SystemRandom)).await?;
                if let Some(smtp) = &config.smtp {
                    ports.mail = Arc::new(SmtpMail::new(smtp, ports.clock.clone(), ports.random.clone())?);
                }
                Ok(Self { ctx: crate::worker::context(ports, scratch_dir, config.worker())?, _stores: None })
            }
        }
    }
}

/// What the process was started with. What is not Unicode is none of our settings.
pub(super) fn environment() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}
