//! `listbackup up`: API, worker, scheduler and indexer in one process on the embedded stores.

use std::{
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
};

use listbackup_engine::{
    Error, ErrorKind, Result,
    actors::{Drain, Engine, GaveUp, Roles},
    connectors::http::Network,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use url::Url;

use super::{
    data_dir::DataDir,
    exit::{Done, Outcome},
    output,
};
use crate::{
    demo,
    downloads::DownloadLimits,
    local,
    server::{self, RunningServer},
    signal,
    state::{ApiSettings, AppState, Service},
    worker::{self, Worker, WorkerSettings},
};

/// Arguments of `up`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup up --sandbox --data-dir ./data
Ends in good order on SIGTERM or Ctrl-C: running backups reach a checkpoint and go on at the next start.")]
pub struct Args {
    #[command(flatten)]
    data_dir: DataDir,
    /// Address of the API
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8700", env = "LISTBACKUP_LISTEN")]
    listen: SocketAddr,
    /// Where people reach the API, for links and OAuth redirects [default: http://ADDR]
    #[arg(long, value_name = "URL", env = "LISTBACKUP_PUBLIC_URL")]
    public_url: Option<Url>,
    /// Services to serve [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    services: Vec<Service>,
    /// Private network that connectors may reach, such as 10.1.0.0/16; repeat for more
    #[arg(long, value_name = "CIDR", env = "LISTBACKUP_ALLOW_NETWORKS", value_delimiter = ',')]
    allow_network: Vec<Network>,
    /// Downloads and exports written at a time; more are answered with 503 and `Retry-After`
    #[arg(long, value_name = "N", default_value_t = DownloadLimits::DEFAULT.total, env = "LISTBACKUP_DOWNLOADS_MAX")]
    downloads_max: NonZeroUsize,
    /// Those of one account; more are answered with 429 and `Retry-After`
    #[arg(
        long,
        value_name = "N",
        default_value_t = DownloadLimits::DEFAULT.per_account,
        env = "LISTBACKUP_DOWNLOADS_PER_ACCOUNT"
    )]
    downloads_per_account: NonZeroUsize,
    /// Backups made at a time
    #[arg(long, value_name = "N", default_value = "4", env = "LISTBACKUP_SLOTS")]
    slots: NonZeroUsize,
    /// Those of one account [default: no limit of its own]
    #[arg(long, value_name = "N", env = "LISTBACKUP_SLOTS_PER_ACCOUNT")]
    slots_per_account: Option<NonZeroUsize>,
    /// Those of one integration [default: no limit of its own]
    #[arg(long, value_name = "N", env = "LISTBACKUP_SLOTS_PER_INTEGRATION")]
    slots_per_integration: Option<NonZeroUsize>,
    /// Also serve a make-believe SaaS product, connect it by OAuth and back it up
    #[arg(long)]
    sandbox: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let mut networks = args.allow_network.clone();
    if args.sandbox {
        networks.push("127.0.0.1/32".parse()?);
    }
    let mut settings = WorkerSettings::of_a_server(networks);
    settings.run.slots = args.slots.get();
    settings.run.slots_per_account = args.slots_per_account.map(NonZeroUsize::get);
    settings.run.slots_per_integration = args.slots_per_integration.map(NonZeroUsize::get);
    let worker = args.data_dir.open_to_write(settings)?;
    let ports = &worker.ctx.ports;
    let owner = local::ensure(ports, &worker.ctx.system).await?;
    let key_file = local::access_key_file(ports, &owner, worker.stores.data_dir()).await?;
    let server = serve(&args, &worker)?;
    let address = format!("http://{}", server.address);
    let demo = if args.sandbox { Some(demo::start(&address, &key_file).await?) } else { None };
    let engine = Engine::start(worker.ctx.clone(), Roles::Worker);
    output::line(&format!(
        "ListBackup is up\n  API       {address}\n  try it    {address}/system/docs\n  data      {}\n  sign in   Authorization: Bearer $(cat {})\n  keep safe {} (without it nobody can read the backups)",
        worker.stores.data_dir().display(),
        key_file.display(),
        worker.stores.data_dir().join("master.key").display(),
    ));
    if let Some(demo) = &demo {
        output::line(&demo.describe());
    }
    let has_given_up = tokio::select! {
        () = signal::stop() => false,
        // An error means that the root of the engine is gone: that is no better.
        _ = engine.send(GaveUp) => true,
    };
    output::line("stopping: running backups reach a checkpoint first");
    // The engine is the only actor that could be gone, and then there is nothing to drain.
    let _gone = engine.send(Drain).await;
    server.stop().await?;
    worker::settle(&worker.ctx).await;
    if let Some(demo) = demo {
        demo.stop().await?;
    }
    if has_given_up {
        let message = "the engine broke off again and again (see the log); nothing is lost: start it again";
        return Err(Error::new(ErrorKind::Bug, message));
    }
    Ok(Done::Whole)
}

fn serve(args: &Args, worker: &Worker) -> Result<RunningServer> {
    let metrics = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Error::new(ErrorKind::Bug, format!("metrics cannot be recorded: {error}")))?;
    let unusable = |error: std::io::Error| server::unusable(args.listen, &error);
    // First: links name the port that it got.
    let listener = TcpListener::bind(args.listen).map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    let public_url = args.public_url.clone().map_or_else(|| format!("http://{address}").parse(), Ok);
    let settings = ApiSettings {
        public_url: public_url.map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("not a URL: {error}")).with("setting", "--public-url")
        })?,
        services: if args.services.is_empty() {
            Service::ALL.into_iter().collect()
        } else {
            args.services.iter().copied().collect()
        },
        metrics_token: None,
    };
    let limits = DownloadLimits { total: args.downloads_max, per_account: args.downloads_per_account };
    let state = AppState::new(worker.ctx.clone(), settings, metrics).limiting_downloads(limits);
    server::serve(state, listener).map_err(unusable)
}
