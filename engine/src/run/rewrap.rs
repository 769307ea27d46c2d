//! What an account has under the master key, under another one: data keys, credentials, secrets of webhooks and of OAuth apps. What they seal stays as it is.

use futures::TryStreamExt;
use serde_json::Map;

use super::{
    RunContext, credential,
    deliveries::signing,
    event::{self, Subject, event},
    oauth_apps,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{ActivityKind, Credential, OAuthApp, Webhook, scope::AccountScope, webhook::HOOKS},
    ports::{Condition, Keys, Query, SortRange},
    secret,
    store::{self, Versioned, key1},
    tables::{API_KEYS, Row, WEBHOOKS},
};

/// Rows of one look.
const PAGE: usize = 200;

/// How much of an account was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Data keys, or forms of them.
    pub data_keys: usize,
    /// Credentials of sources, webhooks with their secrets, and OAuth apps.
    pub credentials: usize,
}

/// Wraps all that an account has by the master key `new` as well: afterwards either opens all of it. Done again, it does what is
/// missing.
///
/// # Errors
/// `Corrupt` when neither master key opens something; those of the stores.
pub async fn wrap_anew(ctx: &RunContext, scope: &AccountScope, new: &dyn Keys) -> Result<Rewrapped> {
    let data_keys = ctx.snapshots.wrap_keys_anew(scope, new).await?;
    let mut credentials = 0;
    for credential in credentials_of(ctx, scope).await? {
        let (old, context) = (&*ctx.ports.keys, credential::context(credential.account_id, credential.key_id));
        let changed = secret::wrap_anew(old, new, &context, &credential.sealed).await?;
        credentials += usize::from(write(ctx, scope, credential, changed).await?);
    }
    let anew = async |context: &str, sealed: &str| secret::wrap_anew(&*ctx.ports.keys, new, context, sealed).await;
    credentials += write_all(ctx, scope, changed_webhooks(ctx, scope, anew).await?).await?;
    credentials += write_all(ctx, scope, changed_apps(ctx, scope, anew).await?).await?;
    Ok(Rewrapped { data_keys, credentials })
}

/// Deletes what the present master key does not open, where it opens another form of the same; tells it in the activity log.
///
/// # Errors
/// `Corrupt`, before anything of that kind is deleted, when the master key does not open something at all; those of the stores.
pub async fn finish(ctx: &RunContext, scope: &AccountScope, by: &str) -> Result<Rewrapped> {
    let mut changes = Vec::new();
    for credential in credentials_of(ctx, scope).await? {
        let context = credential::context(credential.account_id, credential.key_id);
        let changed = secret::without_other_forms(&*ctx.ports.keys, &context, &credential.sealed).await?;
        changes.push((credential, changed));
    }
    let own = async |context: &str, sealed: &str| secret::without_other_forms(&*ctx.ports.keys, context, sealed).await;
    let webhooks = changed_webhooks(ctx, scope, own).await?;
    let apps = changed_apps(ctx, scope, own).await?;
    let data_keys = ctx.snapshots.remove_other_key_forms(scope).await?;
    let mut credentials = write_all(ctx, scope, webhooks).await? + write_all(ctx, scope, apps).await?;
    for (credential, changed) in changes {
        credentials += usize::from(write(ctx, scope, credential, changed).await?);
    }
    let done = Rewrapped { data_keys, credentials };
    if done != Rewrapped::default() {
        let told = event(
            &ctx.ports,
            scope.account_id(),
            ActivityKind::AccountKeyRewrapped,
            by,
            Subject::default(),
            Map::new(),
        );
        ctx.store.transact(scope, vec![event::keep(&told)?]).await?;
        event::publish(&ctx.ports, scope, &[told]);
    }
    Ok(done)
}

/// The account's credentials; access keys are in the same table, and not sealed.
async fn credentials_of(ctx: &RunContext, scope: &AccountScope) -> Result<Vec<Credential>> {
    let query = Query {
        table: &API_KEYS,
        index: Some("by-account"),
        partition: scope.account_id().to_string(),
        sort: SortRange::All,
        descending: false,
        limit: PAGE,
        after: None,
    };
    let items: Vec<_> = ctx.store.items(scope.into(), query).try_collect().await?;
    items.into_iter().filter(|item| item.body.contains_key("sealed")).map(store::row).collect()
}

/// True when there was something to write. A credential that changed meanwhile or is gone is left to the next attempt.
async fn write(
    ctx: &RunContext,
    scope: &AccountScope,
    credential: Credential,
    changed: Option<String>,
) -> Result<bool> {
    let Some(sealed) = changed else { return Ok(false) };
    let now = ctx.store.get::<Credential>(scope, key1(credential.key_id)).await?;
    if now.row.sealed != credential.sealed {
        return Err(Error::new(ErrorKind::Conflict, "a credential changed meanwhile; run this again")
            .with("credential", credential.key_id));
    }
    let row = Credential { sealed, ..now.row };
    ctx.store.transact(scope, vec![store::put(&row, Condition::Version(now.version))?]).await?;
    Ok(true)
}

/// The account's webhooks whose secrets `change` seals otherwise.
async fn changed_webhooks(
    ctx: &RunContext,
    scope: &AccountScope,
    change: impl AsyncFn(&str, &str) -> Result<Option<String>>,
) -> Result<Vec<Versioned<Webhook>>> {
    let query = Query {
        table: &WEBHOOKS,
        index: None,
        partition: scope.account_id().to_string(),
        sort: SortRange::Prefix(HOOKS.to_owned()),
        descending: false,
        limit: PAGE,
        after: None,
    };
    let mut changed = Vec::new();
    for mut found in ctx.store.query::<Webhook>(scope, query).await?.rows {
        let context = signing::context(found.row.account_id, found.row.webhook_id);
        let before = found.row.clone();
        let former = found.row.former.iter_mut().map(|former| &mut former.sealed);
        for sealed in std::iter::once(&mut found.row.sealed).chain(former) {
            if let Some(other) = change(&context, sealed).await? {
                *sealed = other;
            }
        }
        if found.row != before {
            changed.push(found);
        }
    }
    Ok(changed)
}

/// The account's OAuth apps whose secrets `change` seals otherwise.
async fn changed_apps(
    ctx: &RunContext,
    scope: &AccountScope,
    change: impl AsyncFn(&str, &str) -> Result<Option<String>>,
) -> Result<Vec<Versioned<OAuthApp>>> {
    let mut changed = Vec::new();
    for mut found in oauth_apps::of_account(&ctx.store, &ctx.system, scope.account_id()).await? {
        let context = oauth_apps::context(found.row.account_id, &found.row.integration);
        if let Some(sealed) = change(&context, &found.row.sealed).await? {
            found.row.sealed = sealed;
            changed.push(found);
        }
    }
    Ok(changed)
}

/// Returns how many; `Conflict` when one changed meanwhile.
async fn write_all<R: Row>(ctx: &RunContext, scope: &AccountScope, rows: Vec<Versioned<R>>) -> Result<usize> {
    for Versioned { row, version } in &rows {
        ctx.store.transact(scope, vec![store::put(row, Condition::Version(*version))?]).await?;
    }
    Ok(rows.len())
}
