//! `listbackup up`: API, worker, scheduler and indexer in one process on the embedded stores.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroUsize};

use listbackup_engine::{Result, actors::Roles, connectors::http::Network};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    data_dir::DataDir,
    exit::{Done, Outcome},
    output,
    roles::environment,
};
use crate::{
    config::{Config, table},
    demo,
    downloads::DownloadLimits,
    local,
    process::{Process, gave_up},
    state::Service,
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
    /// Network of a proxy before the API, such as 10.2.0.0/16: its X-Forwarded-For says where a sign-in came from; repeat for more
    #[arg(long, value_name = "CIDR", env = "LISTBACKUP_TRUSTED_PROXIES", value_delimiter = ',')]
    trust_proxy: Vec<Network>,
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
    /// Mail server that letters go to, in the place of the folder mail/: smtps://NAME:PASSWORD@HOST:PORT, or smtp:// for STARTTLS; better
    /// given by the environment, which other users of this machine cannot read
    #[arg(long, value_name = "URL", env = "LISTBACKUP_SMTP_URL", hide_env_values = true)]
    smtp_url: Option<SecretString>,
    /// Address that letters come from
    #[arg(long, value_name = "ADDRESS", env = "LISTBACKUP_MAIL_FROM")]
    mail_from: Option<String>,
    /// Also serve a make-believe SaaS product, connect it by OAuth and back it up
    #[arg(long)]
    sandbox: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let config = config(&args)?;
    let worker = args.data_dir.open_to_write(config.worker())?;
    let ports = &worker.ctx.ports;
    let owner = local::ensure(ports, &worker.ctx.system).await?;
    let key_file = local::access_key_file(ports, &owner, worker.stores.data_dir()).await?;
    let services = if args.services.is_empty() { Service::ALL.to_vec() } else { args.services.clone() };
    let mut process = Process::serve(worker.ctx.clone(), &config, services.into_iter().collect())?;
    let address = process.address();
    let demo = if args.sandbox { Some(demo::start(&address, &key_file).await?) } else { None };
    process.work(Roles::All)?;
    output::line(&format!(
        "ListBackup is up\n  API       {address}\n  try it    {address}/system/docs\n  data      {}\n  sign in   Authorization: Bearer $(cat {})\n  keep safe {} (without it nobody can read the backups)",
        worker.stores.data_dir().display(),
        key_file.display(),
        worker.stores.data_dir().join("master.key").display(),
    ));
    if let Some(demo) = &demo {
        output::line(&demo.describe());
    }
    let has_given_up = process.until_stopped().await;
    output::line("stopping: running backups reach a checkpoint first");
    process.stop().await?;
    if let Some(demo) = demo {
        demo.stop().await?;
    }
    if has_given_up { Err(gave_up()) } else { Ok(Done::Whole) }
}

/// The arguments, plans, payments and OAuth apps from the environment, and for all else what holds without settings.
fn config(args: &Args) -> Result<Config> {
    let is_one = |name: &String| table::FOR_ALL.iter().any(|setting| setting.name == name);
    let for_all = environment().into_iter().filter(|(name, _)| is_one(name));
    let url = args.smtp_url.as_ref().map(|url| url.expose_secret().to_owned());
    let of_mail = [("LISTBACKUP_SMTP_URL", url), ("LISTBACKUP_MAIL_FROM", args.mail_from.clone())];
    let of_mail = of_mail.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut config = Config::read(&for_all.chain(of_mail).collect::<BTreeMap<_, _>>())?;
    config.listen = args.listen;
    config.public_url.clone_from(&args.public_url);
    config.proxies.clone_from(&args.trust_proxy);
    config.networks.clone_from(&args.allow_network);
    if args.sandbox {
        config.networks.push("127.0.0.1/32".parse()?);
    }
    config.downloads = DownloadLimits { total: args.downloads_max, per_account: args.downloads_per_account };
    config.slots = args.slots;
    config.slots_per_account = args.slots_per_account;
    config.slots_per_integration = args.slots_per_integration;
    Ok(config)
}
