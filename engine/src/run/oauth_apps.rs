//! OAuth apps: the OAuth client of an integration, given once for an account and all below it, or by the operator for all.
//!
//! Of several the nearest on the way up counts, and the operator's when no account has one. Whoever wrote a manifest could have its
//! secret sent anywhere: so an integration of an account's own gets only apps of that account and of those between it and the source
//! ([`Reach`]). And whoever makes a source can name hosts: so an app says which ones its secret may go to, and the client refuses others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use listbackup_connectors::http::{GuardedSecret, Hosts};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{RunContext, own_integrations::way_up};
use crate::{
    error::{Error, ErrorKind, Problem, Result},
    model::{AccountId, OAuthApp, oauth_app::APPS, scope::SystemScope},
    ports::{Condition, Ports, Query, SortRange, Write},
    secret,
    store::{self, Store, Versioned, key},
    tables::INTEGRATIONS,
};

/// The longest id of an OAuth client, in bytes.
const CLIENT_ID_MAX: usize = 500;
/// A shorter secret would be found in requests that do not carry it.
const SECRET_MIN: usize = 8;
/// The longest one.
const SECRET_MAX: usize = 2_000;
/// Hosts of one app.
const HOSTS_MAX: usize = 50;
/// Rows of one look.
const PAGE: usize = 200;

/// An OAuth app, with its secret.
#[derive(Clone)]
pub struct App {
    /// The id of the OAuth client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
    /// Where the secret may be sent.
    pub hosts: Hosts,
}

impl App {
    /// Checks what a person or a file says.
    ///
    /// # Errors
    /// `Invalid` with every problem, each at its JSON pointer. None repeats the secret.
    pub fn checked(client_id: &str, client_secret: SecretString, hosts: &[String]) -> Result<Self> {
        let mut problems = Vec::new();
        // RFC 6749, appendix A: both are printable ASCII.
        let is_fit = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.trim() == text;
        let mut tell = |place: &str, message: String| problems.push(Problem { place: place.to_owned(), message });
        if !(1..=CLIENT_ID_MAX).contains(&client_id.len()) || !is_fit(client_id) {
            tell(
                "/client_id",
                format!("must be 1 to {CLIENT_ID_MAX} printable ASCII characters, without spaces around"),
            );
        }
        let secret = client_secret.expose_secret();
        if !(SECRET_MIN..=SECRET_MAX).contains(&secret.len()) || !is_fit(secret) {
            let message =
                format!("must be {SECRET_MIN} to {SECRET_MAX} printable ASCII characters, without spaces around");
            tell("/client_secret", message);
        }
        if hosts.len() > HOSTS_MAX {
            tell("/hosts", format!("must be at most {HOSTS_MAX} hosts"));
        }
        let hosts = Hosts::read(hosts);
        if let Err(error) = &hosts {
            let under = |problem: &Problem| Problem { place: format!("/hosts{}", problem.place), ..problem.clone() };
            problems.extend(error.problems().iter().map(under));
        }
        match hosts {
            Ok(hosts) if problems.is_empty() => Ok(Self { client_id: client_id.to_owned(), client_secret, hosts }),
            _ => Err(Error::invalid("the OAuth app is not valid", problems)),
        }
    }

    /// What keeps its secret from going elsewhere.
    pub fn guard(&self) -> GuardedSecret {
        GuardedSecret::new(self.client_secret.clone(), self.hosts.clone())
    }
}

/// Apps that the operator has for all accounts, by integration. Cheap to clone.
#[derive(Clone, Default)]
pub struct PlatformApps(Arc<BTreeMap<String, App>>);

impl fmt::Debug for PlatformApps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl PlatformApps {
    /// Reads the text of a file of apps: `{"hubspot": {"client_id": "…", "client_secret": "…", "hosts": ["api.hubapi.com"]}}`.
    ///
    /// # Errors
    /// `Invalid` with every problem of it, each at its JSON pointer. None repeats a secret.
    pub fn read(text: &str) -> Result<Self> {
        let problem = |place: String, message: &str| Problem { place, message: message.to_owned() };
        let refused = |problems| Error::invalid("the OAuth apps are not valid", problems);
        // What serde_json says of a text may quote it.
        let file: Value = serde_json::from_str(text).map_err(|error| {
            let message = format!("is not JSON (line {}, column {})", error.line(), error.column());
            refused(vec![problem(String::new(), &message)])
        })?;
        let Some(file) = file.as_object() else {
            return Err(refused(vec![problem(String::new(), "must be an object of integrations and their apps")]));
        };
        let (mut apps, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, given) in file {
            let place = format!("/{name}");
            if !given.is_object() {
                problems.push(problem(place, "must be an object of client_id, client_secret and hosts"));
                continue;
            }
            let unknown = given.as_object().into_iter().flatten().map(|(field, _)| field);
            let unknown = unknown.filter(|field| !["client_id", "client_secret", "hosts"].contains(&field.as_str()));
            let message = "is not a field; fields are client_id, client_secret, hosts";
            problems.extend(unknown.map(|field| problem(format!("{place}/{field}"), message)));
            let text = |field: &str| given.get(field).and_then(Value::as_str).unwrap_or_default();
            let hosts = given.get("hosts").and_then(Value::as_array).into_iter().flatten();
            let hosts: Vec<_> = hosts.map(|host| host.as_str().unwrap_or_default().to_owned()).collect();
            match App::checked(text("client_id"), SecretString::from(text("client_secret")), &hosts) {
                Ok(app) => drop(apps.insert(name.clone(), app)),
                Err(error) => problems.extend(
                    error
                        .problems()
                        .iter()
                        .map(|one| Problem { place: format!("{place}{}", one.place), message: one.message.clone() }),
                ),
            }
        }
        if problems.is_empty() { Ok(Self(Arc::new(apps))) } else { Err(refused(problems)) }
    }

    /// The app for an integration.
    pub fn of(&self, integration: &str) -> Option<&App> {
        self.0.get(integration)
    }
}

/// How far up an integration may take an app from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From every account above, and from the operator: it ships with the program.
    All,
    /// From the accounts up to this one, which has uploaded the integration.
    UpTo(AccountId),
}

impl Reach {
    /// Accounts of the way up, nearest first, that are within reach.
    fn of(self, mut way: Vec<AccountId>) -> Vec<AccountId> {
        if let Self::UpTo(last) = self {
            let count = way.iter().position(|account_id| *account_id == last).map_or(0, |place| place + 1);
            way.truncate(count);
        }
        way
    }
}

/// The app that counts.
pub enum Nearest {
    /// An account's.
    Account(Box<Versioned<OAuthApp>>),
    /// The operator's.
    Platform(App),
}

/// The app that counts for an integration in an account: its own, that of the nearest above within reach, or the operator's.
///
/// # Errors
/// Those of the store.
pub async fn nearest(
    ctx: &RunContext,
    account_id: AccountId,
    integration: &str,
    reach: Reach,
) -> Result<Option<Nearest>> {
    for holder in reach.of(way_up(&ctx.store, &ctx.system, account_id).await?) {
        let place = key(holder, OAuthApp::sort_key(integration));
        if let Some(found) = ctx.store.find::<OAuthApp>(&ctx.system.account(holder), place).await? {
            return Ok(Some(Nearest::Account(Box::new(found))));
        }
    }
    let platform = ctx.settings.oauth_apps.of(integration).filter(|_| reach == Reach::All);
    Ok(platform.cloned().map(Nearest::Platform))
}

/// An app with its secret opened.
///
/// # Errors
/// `Corrupt` when it cannot be opened; `Retry` when the key service cannot be reached.
pub async fn opened(ports: &Ports, nearest: Nearest) -> Result<App> {
    let row = match nearest {
        Nearest::Account(found) => found.row,
        Nearest::Platform(app) => return Ok(app),
    };
    let plain = secret::open(&*ports.keys, &context(row.account_id, &row.integration), &row.sealed).await?;
    let corrupt =
        || Error::new(ErrorKind::Corrupt, "an OAuth app does not have its shape").with("app", &row.integration_key);
    let client_secret = std::str::from_utf8(&plain).map(SecretString::from).map_err(|_| corrupt())?;
    Ok(App { client_id: row.client_id.clone(), client_secret, hosts: Hosts::read(&row.hosts).map_err(|_| corrupt())? })
}

/// An account's app as it is to be, with what it was before; `None` when it is so already.
///
/// # Errors
/// `Corrupt` when what was before cannot be opened; `Retry` when the key service cannot be reached.
pub async fn set(
    ports: &Ports,
    account_id: AccountId,
    integration: &str,
    app: &App,
    before: Option<Versioned<OAuthApp>>,
) -> Result<Option<(OAuthApp, Write)>> {
    let now = ports.clock.now();
    let (created_at, condition) = match before {
        Some(found) => {
            let of_before = (found.row.created_at, Condition::Version(found.version));
            let old = opened(ports, Nearest::Account(Box::new(found))).await?;
            let is_same = old.client_secret.expose_secret() == app.client_secret.expose_secret();
            if is_same && old.client_id == app.client_id && old.hosts == app.hosts {
                return Ok(None);
            }
            of_before
        }
        None => (now, Condition::Absent),
    };
    let secret = app.client_secret.expose_secret().as_bytes();
    let row = OAuthApp {
        account_id,
        integration_key: OAuthApp::sort_key(integration),
        integration: integration.to_owned(),
        client_id: app.client_id.clone(),
        hosts: app.hosts.names(),
        sealed: secret::seal(&*ports.keys, &context(account_id, integration), secret).await?,
        created_at,
        updated_at: now,
    };
    let write = store::put(&row, condition)?;
    Ok(Some((row, write)))
}

/// What removes an account's app.
pub fn removal(app: &Versioned<OAuthApp>) -> Write {
    let key = key(app.row.account_id, &app.row.integration_key);
    Write::Delete { table: &INTEGRATIONS, key, condition: Condition::Version(app.version) }
}

/// What the seal of an app is bound to.
pub(super) fn context(account_id: AccountId, integration: &str) -> String {
    format!("account={account_id};oauth-app={integration}")
}

/// The apps of an account itself.
///
/// # Errors
/// Those of the store.
pub async fn of_account(
    store: &Store,
    system: &SystemScope,
    account_id: AccountId,
) -> Result<Vec<Versioned<OAuthApp>>> {
    let query = Query {
        table: &INTEGRATIONS,
        index: None,
        partition: account_id.to_string(),
        sort: SortRange::Prefix(APPS.to_owned()),
        descending: false,
        limit: PAGE,
        after: None,
    };
    Ok(store.query::<OAuthApp>(&system.account(account_id), query).await?.rows)
}

/// For which integrations there are apps, account by account on the way up.
pub struct AtHand {
    way: Vec<AccountId>,
    apps: BTreeMap<AccountId, BTreeSet<String>>,
    platform: PlatformApps,
}

impl AtHand {
    /// Looks for those of an account.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn of(ctx: &RunContext, account_id: AccountId) -> Result<Self> {
        let way = way_up(&ctx.store, &ctx.system, account_id).await?;
        let mut apps = BTreeMap::new();
        for holder in &way {
            let held = of_account(&ctx.store, &ctx.system, *holder).await?;
            apps.insert(*holder, held.into_iter().map(|app| app.row.integration).collect());
        }
        Ok(Self { way, apps, platform: ctx.settings.oauth_apps.clone() })
    }

    /// True when there is one for an integration.
    pub fn have(&self, integration: &str, reach: Reach) -> bool {
        let is_held = |holder: AccountId| self.apps.get(&holder).is_some_and(|apps| apps.contains(integration));
        reach.of(self.way.clone()).into_iter().any(is_held)
            || reach == Reach::All && self.platform.of(integration).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<String> {
        PlatformApps::read(text).unwrap_err().problems().iter().map(|problem| problem.place.clone()).collect()
    }

    #[test]
    fn a_file_has_an_app_for_each_integration_and_shows_no_secret() {
        let text = r#"{"shop": {"client_id": "id", "client_secret": "canary-1", "hosts": ["*.shop.example"]}}"#;
        let apps = PlatformApps::read(text).unwrap();
        let shop = apps.of("shop").unwrap();
        assert_eq!((shop.client_id.as_str(), shop.hosts.names()), ("id", vec!["*.shop.example".to_owned()]));
        assert!(apps.of("other").is_none());
        assert!(!format!("{apps:?}").contains("canary"));
    }

    #[test]
    fn all_problems_of_a_file_are_told_at_once_and_no_secret_with_them() {
        let text = r#"{"a": 1, "b": {"client_id": "", "client_secret": "canary", "hosts": []},
            "c": {"client_id": "x", "client_secret": "canary-canary", "hosts": ["ok.example", "https://x"], "more": 1}}"#;
        let told = places(text);
        for place in ["/a", "/b/client_id", "/b/client_secret", "/b/hosts", "/c/more", "/c/hosts/1"] {
            assert!(told.iter().any(|one| one == place), "{place} of {told:?}");
        }
        assert_eq!(told.len(), 6, "{told:?}");
        let error = PlatformApps::read(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
        assert_eq!(places("canary"), [""]);
        assert_eq!(places("[]"), [""]);
    }

    #[test]
    fn an_integration_of_an_account_reaches_no_app_above_it() {
        let accounts: Vec<AccountId> =
            ["1", "2", "3"].map(|n| format!("acc_0000000001e40r2081040g208{n}").parse().unwrap()).into();
        assert_eq!(Reach::All.of(accounts.clone()), accounts);
        assert_eq!(Reach::UpTo(accounts[1]).of(accounts.clone()), accounts[..2]);
        assert_eq!(Reach::UpTo(accounts[2]).of(accounts[..2].to_vec()), []);
    }
}
