//! The settings of a process that runs for long, from its environment: read once, checked whole, and passed down.

mod apps;
mod payments;
mod reader;
pub mod table;

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use listbackup_engine::{
    Error, Result,
    adapters::smtp::SmtpSettings,
    billing::{Plans, stripe::StripeSettings},
    connectors::{Problem, http::Network},
    run::oauth_apps::PlatformApps,
};
use secrecy::SecretString;
use url::Url;

use self::reader::Reader;
use crate::{downloads::DownloadLimits, state::Service, worker::WorkerSettings};

/// The longest time to drain; more is no stop.
const DRAIN_SECONDS_MAX: u64 = 12 * 60 * 60;
/// A shorter token could be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// How a process works.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub stores: StoresConfig,
    /// The mail server that letters go to, if there is one.
    pub smtp: Option<SmtpSettings>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where people reach the API, if it is elsewhere.
    pub public_url: Option<Url>,
    /// Services to serve; empty for all.
    pub services: Vec<Service>,
    /// Lets a collector read the metrics from afar.
    pub metrics_token: Option<SecretString>,
    /// Networks of proxies before the API.
    pub proxies: Vec<Network>,
    /// Private networks that connectors may reach.
    pub networks: Vec<Network>,
    /// Downloads at a time.
    pub downloads: DownloadLimits,
    /// Runs at a time.
    pub slots: NonZeroUsize,
    /// Those of an account.
    pub slots_per_account: Option<NonZeroUsize>,
    /// Those of an integration.
    pub slots_per_integration: Option<NonZeroUsize>,
    /// How long runs may take to reach a checkpoint when the process is to end.
    pub drain: Duration,
    /// What accounts may use.
    pub plans: Plans,
    /// How Stripe is reached, where there are payments.
    pub stripe: Option<StripeSettings>,
    /// OAuth apps for all accounts.
    pub oauth_apps: PlatformApps,
}

/// Where everything is kept.
#[derive(Clone, Debug)]
pub enum StoresConfig {
    /// In a data directory, the platform's unless one is named.
    Embedded(Option<PathBuf>),
    /// In an AWS account.
    #[cfg(feature = "aws")]
    Aws {
        /// Which.
        settings: Box<listbackup_engine::adapters::aws::AwsSettings>,
        /// Where scratch files go.
        scratch_dir: PathBuf,
    },
}

impl Config {
    /// Reads the variables of an environment. Names that begin as ours and are none are told in the log.
    ///
    /// # Errors
    /// `Invalid` with every problem, each at the name of its variable.
    pub fn read(environment: &BTreeMap<String, String>) -> Result<Self> {
        let mut from = Reader::new(environment);
        let stores = stores(&mut from);
        let config = Self {
            listen: from.parsed(&table::LISTEN).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8700))),
            public_url: from.parsed_if(&table::PUBLIC_URL, |url: &Url| matches!(url.scheme(), "http" | "https")),
            services: from.list(&table::SERVICES),
            metrics_token: from
                .parsed_if(&table::METRICS_TOKEN, |token: &String| token.len() >= TOKEN_BYTES_MIN)
                .map(SecretString::from),
            proxies: from.list(&table::TRUSTED_PROXIES),
            networks: from.list(&table::ALLOW_NETWORKS),
            downloads: DownloadLimits {
                total: from.parsed(&table::DOWNLOADS_MAX).unwrap_or(DownloadLimits::DEFAULT.total),
                per_account: from.parsed(&table::DOWNLOADS_PER_ACCOUNT).unwrap_or(DownloadLimits::DEFAULT.per_account),
            },
            slots: from.parsed(&table::SLOTS).unwrap_or(NonZeroUsize::MIN.saturating_add(3)),
            slots_per_account: from.parsed(&table::SLOTS_PER_ACCOUNT),
            slots_per_integration: from.parsed(&table::SLOTS_PER_INTEGRATION),
            drain: from
                .parsed_if(&table::DRAIN_SECONDS, |seconds| (1..=DRAIN_SECONDS_MAX).contains(seconds))
                .map_or(Duration::from_secs(25), Duration::from_secs),
            plans: payments::plans(&mut from),
            stripe: payments::stripe(&mut from),
            oauth_apps: apps::oauth_apps(&mut from),
            smtp: smtp(&mut from),
            stores: stores.unwrap_or(StoresConfig::Embedded(None)),
        };
        from.tell_unknown();
        let problems = from.into_problems();
        if problems.is_empty() { Ok(config) } else { Err(Error::invalid("the settings are not valid", problems)) }
    }

    /// What runs are bounded by.
    pub fn worker(&self) -> WorkerSettings {
        let mut settings = WorkerSettings::of_a_server(self.networks.clone());
        settings.run.slots = self.slots.get();
        settings.run.slots_per_account = self.slots_per_account.map(NonZeroUsize::get);
        settings.run.slots_per_integration = self.slots_per_integration.map(NonZeroUsize::get);
        settings.run.drain_deadline = self.drain;
        settings.run.plans = self.plans.clone();
        settings.run.oauth_apps = self.oauth_apps.clone();
        settings.run.public_url.clone_from(&self.public_url);
        settings.smtp = self.smtp.clone().map(Arc::new);
        settings.run.is_sole_worker = matches!(self.stores, StoresConfig::Embedded(_));
        settings
    }
}

/// `None` with problems told.
fn stores(from: &mut Reader<'_>) -> Option<StoresConfig> {
    match from.text(&table::STORES) {
        None | Some("embedded") => Some(StoresConfig::Embedded(from.text(&table::DATA_DIR).map(PathBuf::from))),
        Some("aws") => aws(from),
        Some(_) => {
            from.refuse(&table::STORES);
            None
        }
    }
}

/// `None` with problems told, or when letters go elsewhere.
fn smtp(from: &mut Reader<'_>) -> Option<SmtpSettings> {
    let url = SecretString::from(from.text(&table::SMTP_URL)?);
    match SmtpSettings::new(&url, from.text(&table::MAIL_FROM)) {
        Ok(settings) => Some(settings),
        Err(error) => {
            for problem in error.problems() {
                let setting = if problem.place == "/smtpUrl" { table::SMTP_URL } else { table::MAIL_FROM };
                from.refuse(&setting);
            }
            None
        }
    }
}

#[cfg(feature = "aws")]
fn aws(from: &mut Reader<'_>) -> Option<StoresConfig> {
    use listbackup_engine::adapters::aws::{AwsOptions, AwsSettings};

    let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
    let options = AwsOptions {
        stage: owned(from.text(&table::STAGE)).unwrap_or_default(),
        region: owned(from.text(&table::REGION).or_else(|| from.other("AWS_REGION"))).unwrap_or_default(),
        bucket: owned(from.text(&table::BUCKET)).unwrap_or_default(),
        prefix: owned(from.text(&table::PREFIX)).unwrap_or_default(),
        endpoint_url: owned(from.text(&table::ENDPOINT_URL).or_else(|| from.other("AWS_ENDPOINT_URL"))),
        kms_key: owned(from.text(&table::KMS_KEY)),
        event_bus: owned(from.text(&table::EVENT_BUS)),
        user_pool_id: owned(from.text(&table::USER_POOL_ID)),
        user_pool_client_id: owned(from.text(&table::USER_POOL_CLIENT_ID)),
        user_pool_keys_url: owned(from.text(&table::USER_POOL_KEYS_URL)),
        mail_from: owned(from.text(&table::MAIL_FROM)),
        credentials: None,
    };
    if options.user_pool_id.is_none() {
        from.refuse(&table::USER_POOL_ID);
    }
    let scratch_dir = from.text(&table::SCRATCH_DIR).map_or_else(std::env::temp_dir, PathBuf::from);
    match AwsSettings::new(options) {
        Ok(settings) => Some(StoresConfig::Aws { settings: Box::new(settings), scratch_dir }),
        Err(error) => {
            for problem in error.problems() {
                let place = variable(&problem.place).unwrap_or(&problem.place).to_owned();
                from.add(Problem { place, message: problem.message.clone() });
            }
            None
        }
    }
}

#[cfg(not(feature = "aws"))]
fn aws(from: &mut Reader<'_>) -> Option<StoresConfig> {
    let message = "must be embedded: this program was built without the cargo feature `aws`".to_owned();
    from.add(Problem { place: table::STORES.name.to_owned(), message });
    None
}

/// The variable that an option of the AWS stores comes from.
#[cfg(feature = "aws")]
fn variable(pointer: &str) -> Option<&'static str> {
    let setting = match pointer {
        "/stage" => table::STAGE,
        "/region" => table::REGION,
        "/bucket" => table::BUCKET,
        "/prefix" => table::PREFIX,
        "/endpointUrl" => table::ENDPOINT_URL,
        "/kmsKey" => table::KMS_KEY,
        "/eventBus" => table::EVENT_BUS,
        "/userPoolId" => table::USER_POOL_ID,
        "/userPoolClientId" => table::USER_POOL_CLIENT_ID,
        "/userPoolKeysUrl" => table::USER_POOL_KEYS_URL,
        "/mailFrom" => table::MAIL_FROM,
        _ => return None,
    };
    Some(setting.name)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn places(variables: &[(&str, &str)]) -> Vec<String> {
        let error = Config::read(&environment(variables)).unwrap_err();
        error.problems().iter().map(|problem| problem.place.clone()).collect()
    }

    #[test]
    fn without_any_setting_a_process_is_a_small_one_on_this_machine() {
        let config = Config::read(&environment(&[])).unwrap();
        assert_eq!((config.listen.to_string().as_str(), config.slots.get()), ("127.0.0.1:8700", 4));
        assert_eq!((config.drain, config.services.len()), (Duration::from_secs(25), 0));
        assert!(matches!(config.stores, StoresConfig::Embedded(None)));
        assert!(config.worker().run.is_sole_worker);
    }

    #[test]
    fn every_setting_arrives_where_it_belongs() {
        let config = Config::read(&environment(&[
            ("LISTBACKUP_DATA_DIR", "/data"),
            ("LISTBACKUP_LISTEN", "0.0.0.0:80"),
            ("LISTBACKUP_PUBLIC_URL", "https://backup.example"),
            ("LISTBACKUP_SERVICES", "auth, jobs"),
            ("LISTBACKUP_METRICS_TOKEN", "0123456789abcdef"),
            ("LISTBACKUP_TRUSTED_PROXIES", "10.2.0.0/16"),
            ("LISTBACKUP_ALLOW_NETWORKS", "10.1.0.0/16,fd00::/8"),
            ("LISTBACKUP_DOWNLOADS_MAX", "2"),
            ("LISTBACKUP_DOWNLOADS_PER_ACCOUNT", "1"),
            ("LISTBACKUP_SLOTS", "10"),
            ("LISTBACKUP_SLOTS_PER_ACCOUNT", "3"),
            ("LISTBACKUP_SLOTS_PER_INTEGRATION", "5"),
            ("LISTBACKUP_DRAIN_SECONDS", "100"),
        ]))
        .unwrap();
        assert!(matches!(&config.stores, StoresConfig::Embedded(Some(dir)) if dir.ends_with("data")));
        assert_eq!(config.listen.to_string(), "0.0.0.0:80");
        assert_eq!(config.public_url.as_ref().map(Url::as_str), Some("https://backup.example/"));
        assert_eq!(config.services, [Service::Auth, Service::Jobs]);
        assert_eq!(config.metrics_token.as_ref().map(ExposeSecret::expose_secret), Some("0123456789abcdef"));
        assert_eq!(
            (config.networks.len(), config.downloads.total.get(), config.downloads.per_account.get()),
            (2, 2, 1)
        );
        assert_eq!(config.proxies, ["10.2.0.0/16".parse().unwrap()]);
        let run = config.worker().run;
        assert_eq!((run.slots, run.slots_per_account, run.slots_per_integration), (10, Some(3), Some(5)));
        assert_eq!(run.drain_deadline, Duration::from_secs(100));
    }

    #[test]
    fn all_problems_are_told_at_once_and_no_secret_with_them() {
        let wrong = [
            ("LISTBACKUP_LISTEN", "8700"),
            ("LISTBACKUP_PUBLIC_URL", "ftp://x"),
            ("LISTBACKUP_SERVICES", "auth,nothing"),
            ("LISTBACKUP_METRICS_TOKEN", "canary"),
            ("LISTBACKUP_SMTP_URL", "smtp://name:canary@mail.example?tls=none"),
            ("LISTBACKUP_MAIL_FROM", "canary"),
            ("LISTBACKUP_SLOTS", "0"),
            ("LISTBACKUP_DRAIN_SECONDS", "0"),
            ("LISTBACKUP_STORES", "paper"),
        ];
        let mut expected: Vec<_> = wrong.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut told = places(&wrong);
        expected.sort();
        told.sort();
        assert_eq!(told, expected);
        let error = Config::read(&environment(&wrong)).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
        for problem in error.problems() {
            assert!(problem.message.contains("must be"), "{problem}");
        }
    }

    #[cfg(feature = "aws")]
    #[test]
    fn what_the_stores_of_aws_lack_is_told_by_the_names_of_variables() {
        let mut told = places(&[("LISTBACKUP_STORES", "aws"), ("LISTBACKUP_PREFIX", "/a"), ("LISTBACKUP_SLOTS", "-1")]);
        told.sort();
        let expected = [
            "LISTBACKUP_BUCKET",
            "LISTBACKUP_PREFIX",
            "LISTBACKUP_REGION",
            "LISTBACKUP_SLOTS",
            "LISTBACKUP_STAGE",
            "LISTBACKUP_USER_POOL_ID",
        ];
        assert_eq!(told, expected);
    }

    #[cfg(feature = "aws")]
    #[test]
    fn region_and_endpoint_may_come_as_other_programs_of_aws_take_them() {
        let variables = [
            ("LISTBACKUP_STORES", "aws"),
            ("LISTBACKUP_STAGE", "test"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
            ("LISTBACKUP_BUCKET", "objects"),
            ("LISTBACKUP_USER_POOL_ID", "eu-central-1_AbC"),
            ("LISTBACKUP_USER_POOL_CLIENT_ID", "abc"),
        ];
        let config = Config::read(&environment(&variables)).unwrap();
        let StoresConfig::Aws { settings, .. } = &config.stores else { panic!("{config:?}") };
        assert_eq!((settings.region(), settings.endpoint_url()), ("eu-central-1", Some("http://127.0.0.1:4566")));
        assert!(!config.worker().run.is_sole_worker, "others may work beside it");
    }
}
