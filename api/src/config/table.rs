//! Every setting that a process takes from its environment, on this screen.

/// A variable of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What its value must be.
    pub form: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it is for.
    pub meaning: &'static str,
}

const fn setting(name: &'static str, form: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting { name, form, default, meaning }
}

pub(super) const STORES: Setting =
    setting("LISTBACKUP_STORES", "embedded or aws", "embedded", "where everything is kept");
pub(super) const DATA_DIR: Setting = setting(
    "LISTBACKUP_DATA_DIR",
    "a directory",
    "the platform's",
    "all data of embedded stores; one process at a time",
);
pub(super) const STAGE: Setting = setting(
    "LISTBACKUP_STAGE",
    "1 to 20 lower-case letters, digits and hyphens",
    "none; needed on AWS",
    "a part of all names in an AWS account, such as production",
);
pub(super) const REGION: Setting =
    setting("LISTBACKUP_REGION", "a region of AWS, such as eu-central-1", "AWS_REGION", "where the AWS stores are");
pub(super) const BUCKET: Setting =
    setting("LISTBACKUP_BUCKET", "the name of a bucket", "none; needed on AWS", "where snapshots are kept");
pub(super) const PREFIX: Setting = setting(
    "LISTBACKUP_PREFIX",
    "names between single slashes",
    "none",
    "what all objects' keys in the bucket begin with",
);
pub(super) const ENDPOINT_URL: Setting = setting(
    "LISTBACKUP_ENDPOINT_URL",
    "an http or https address",
    "AWS_ENDPOINT_URL, or AWS itself",
    "a service that speaks the protocols of AWS",
);
pub(super) const KMS_KEY: Setting = setting(
    "LISTBACKUP_KMS_KEY",
    "the id, ARN or alias of a key of KMS",
    "alias/listbackup-STAGE",
    "the key that wraps data keys",
);
pub(super) const EVENT_BUS: Setting =
    setting("LISTBACKUP_EVENT_BUS", "the name or ARN of an event bus", "listbackup-STAGE", "where events go");
pub(super) const USER_POOL_ID: Setting = setting(
    "LISTBACKUP_USER_POOL_ID",
    "a region, an underscore, letters and digits",
    "none; needed on AWS",
    "the user pool of Cognito that people sign in to",
);
pub(super) const USER_POOL_CLIENT_ID: Setting =
    setting("LISTBACKUP_USER_POOL_CLIENT_ID", "letters and digits", "none; needed on AWS", "the client of that pool");
pub(super) const USER_POOL_KEYS_URL: Setting = setting(
    "LISTBACKUP_USER_POOL_KEYS_URL",
    "an http or https address",
    "the pool's own",
    "the public keys of the pool's tokens, where a compatible service has them elsewhere",
);
pub(super) const SMTP_URL: Setting = setting(
    "LISTBACKUP_SMTP_URL",
    "smtps://NAME:PASSWORD@HOST:PORT, or smtp:// for STARTTLS, which only a server on this machine goes without",
    "none: a folder, on AWS SES",
    "the mail server that letters go to; needs LISTBACKUP_MAIL_FROM",
);
pub(super) const MAIL_FROM: Setting = setting(
    "LISTBACKUP_MAIL_FROM",
    "an e-mail address that SES has verified, or that the mail server takes",
    "none; no invitations on AWS",
    "the address that letters come from; those of sign-ins on AWS are the user pool's",
);
pub(super) const SCRATCH_DIR: Setting = setting(
    "LISTBACKUP_SCRATCH_DIR",
    "a directory",
    "the system's for temporary files",
    "what a run does not keep in memory, up to some GB with large sources; on AWS",
);
pub(super) const LISTEN: Setting =
    setting("LISTBACKUP_LISTEN", "an address and a port", "127.0.0.1:8700", "the API, health and metrics");
pub(super) const PUBLIC_URL: Setting = setting(
    "LISTBACKUP_PUBLIC_URL",
    "an http or https address",
    "http:// and the address listened on",
    "where people reach the API, for links and OAuth redirects",
);
pub(super) const SERVICES: Setting = setting(
    "LISTBACKUP_SERVICES",
    "names of services between commas: auth, accounts, integrations, sources, jobs, data, activity, billing, analytics, webhooks, system",
    "all",
    "what serve and all serve; health and metrics are always there",
);
pub(super) const METRICS_TOKEN: Setting = setting(
    "LISTBACKUP_METRICS_TOKEN",
    "16 characters or more",
    "none",
    "lets whoever sends it as a bearer token read /metrics; without it only this machine may",
);
pub(super) const TRUSTED_PROXIES: Setting = setting(
    "LISTBACKUP_TRUSTED_PROXIES",
    "networks between commas, such as 10.2.0.0/16",
    "this machine",
    "proxies before the API: their X-Forwarded-For says where a sign-in came from, which attempts are counted by",
);
pub(super) const ALLOW_NETWORKS: Setting = setting(
    "LISTBACKUP_ALLOW_NETWORKS",
    "networks between commas, such as 10.1.0.0/16",
    "none",
    "private networks that connectors may reach",
);
pub(super) const DOWNLOADS_MAX: Setting =
    setting("LISTBACKUP_DOWNLOADS_MAX", "a whole number from 1 on", "32", "downloads and exports written at a time");
pub(super) const DOWNLOADS_PER_ACCOUNT: Setting =
    setting("LISTBACKUP_DOWNLOADS_PER_ACCOUNT", "a whole number from 1 on", "8", "those of one account");
pub(super) const SLOTS: Setting =
    setting("LISTBACKUP_SLOTS", "a whole number from 1 on", "4", "runs that a worker carries out at a time");
pub(super) const SLOTS_PER_ACCOUNT: Setting =
    setting("LISTBACKUP_SLOTS_PER_ACCOUNT", "a whole number from 1 on", "no limit of its own", "those of one account");
pub(super) const SLOTS_PER_INTEGRATION: Setting = setting(
    "LISTBACKUP_SLOTS_PER_INTEGRATION",
    "a whole number from 1 on",
    "no limit of its own",
    "those of one integration",
);
pub(super) const DRAIN_SECONDS: Setting = setting(
    "LISTBACKUP_DRAIN_SECONDS",
    "a whole number from 1 to 43200",
    "25",
    "how long runs may take to reach a checkpoint after SIGTERM; at least 15 below the stop time-out of whoever sends it",
);
pub(super) const PLANS: Setting = setting(
    "LISTBACKUP_PLANS",
    "a file of plans, or its JSON itself",
    "one plan without limits",
    "what accounts may use, and what it costs; README.md has an example",
);
pub(super) const STRIPE_KEY: Setting = setting(
    "LISTBACKUP_STRIPE_KEY",
    "a secret or restricted key of Stripe, sk_… or rk_…",
    "none; no payments",
    "the account at Stripe that is paid to",
);
pub(super) const STRIPE_WEBHOOK_SECRET: Setting = setting(
    "LISTBACKUP_STRIPE_WEBHOOK_SECRET",
    "the signing secret of an endpoint of Stripe, whsec_…",
    "none; no webhooks are taken",
    "what webhooks at /billing/webhooks are signed with",
);
pub(super) const STRIPE_API_URL: Setting = setting(
    "LISTBACKUP_STRIPE_API_URL",
    "an http or https address",
    "https://api.stripe.com",
    "a service that speaks the protocol of Stripe",
);
pub(super) const LOG: Setting = setting(
    "LISTBACKUP_LOG",
    "error, warn, info, debug, or a filter of tracing",
    "info",
    "what goes to standard error",
);

/// OAuth apps, which commands that write into a product need too.
pub const OAUTH_APPS: Setting = setting(
    "LISTBACKUP_OAUTH_APPS",
    "a file of OAuth apps, or its JSON itself",
    "none",
    "OAuth clients of integrations for all accounts; README.md has an example",
);

/// Those that `up` takes from the environment alone: plans and OAuth apps are no affair of a command line, and secrets are none.
pub const FOR_ALL: [&Setting; 5] = [&PLANS, &STRIPE_KEY, &STRIPE_WEBHOOK_SECRET, &STRIPE_API_URL, &OAUTH_APPS];

/// All of them, in the order of the documentation.
pub const ALL: [&Setting; 33] = [
    &STORES,
    &DATA_DIR,
    &STAGE,
    &REGION,
    &BUCKET,
    &PREFIX,
    &ENDPOINT_URL,
    &KMS_KEY,
    &EVENT_BUS,
    &USER_POOL_ID,
    &USER_POOL_CLIENT_ID,
    &USER_POOL_KEYS_URL,
    &SMTP_URL,
    &MAIL_FROM,
    &SCRATCH_DIR,
    &LISTEN,
    &PUBLIC_URL,
    &SERVICES,
    &METRICS_TOKEN,
    &TRUSTED_PROXIES,
    &ALLOW_NETWORKS,
    &DOWNLOADS_MAX,
    &DOWNLOADS_PER_ACCOUNT,
    &SLOTS,
    &SLOTS_PER_ACCOUNT,
    &SLOTS_PER_INTEGRATION,
    &DRAIN_SECONDS,
    &PLANS,
    &STRIPE_KEY,
    &STRIPE_WEBHOOK_SECRET,
    &STRIPE_API_URL,
    &OAUTH_APPS,
    &LOG,
];

/// The settings as `--help` shows them.
pub fn help() -> String {
    let line = |setting: &&Setting| {
        format!("  {}\n      {} [{}; default: {}]", setting.name, setting.meaning, setting.form, setting.default)
    };
    format!("Settings, from the environment:\n{}", ALL.iter().map(line).collect::<Vec<_>>().join("\n"))
}
